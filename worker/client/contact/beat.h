/* Heartbeats: a thread with a connection of its own tells the head that the worker lives, and knows by the answers that
 * the head does, however long the worker computes.
 *
 * Its beats also find out that the way to the server is interrupted, and when it is there again. TCP itself tries a
 * connection again only after about as long as the interruption has lasted. So while beats have no answer, the thread
 * connects anew beside the old connection; the first connection that is answered becomes the thread's.
 * Thread: the client's, but for the thread itself. */
#ifndef DP_WORKER_CLIENT_CONTACT_BEAT_H
#define DP_WORKER_CLIENT_CONTACT_BEAT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/link.h"

/* Connections beside the old one: one tries anew every second, the other is for round trips of seconds. */
enum { BEAT_SPARES = 2 };

struct beat_spare {
    struct link link;
    bool open;
    uint64_t opened_ms;
    uint64_t heard_ms; /* 0: not yet */
};

struct beat {
    pthread_t thread;
    bool running;
    int wake; /* eventfd, written to stop */
    void *zmq;
    struct endpoint address;
    struct link link;
    struct beat_spare spares[BEAT_SPARES];
    uint32_t unanswered; /* beats, */
    uint64_t waits_ms;   /* and when the first of them was sent */
    uint64_t sent_ms;    /* the last one */
    uint64_t trip_ms;    /* that an answer took lately */
    uint64_t outage_ms;  /* since when nothing gets through; 0: as far as is known, everything does */
    struct arena arena;
    uint64_t session;
    uint64_t incarnation;
    uint32_t interval_ms;
    /* Said to the head; written by the client. */
    _Atomic uint64_t step;
    _Atomic uint32_t slots_done;
    _Atomic uint64_t samples;
    _Atomic uint64_t slots_computed; /* of training steps */
    _Atomic uint64_t busy_us;        /* with them */
    atomic_bool shm;
    _Atomic uint64_t moved_bytes; /* to and from the shards' hosts, as far as it was looked at */
    /* Heard of the head; written by the thread. */
    _Atomic uint64_t heard_ms;       /* mono_ms of the last answer */
    _Atomic uint64_t late_ms;        /* when answers were last overdue */
    _Atomic uint64_t global_low;     /* steps complete on all shards */
    atomic_bool refused;             /* the head does not know the session any more */
    _Atomic uint32_t outages;        /* that are over: what was under way in any connection may be stuck */
    _Atomic uint64_t outage_told_ms; /* length of the last one */
};

struct beat_target {
    const char *name;
    const struct endpoint *address;
    uint64_t session;
    uint64_t incarnation;
    uint32_t interval_ms;
};

/* Starts the thread; counts as having heard of the head now. DP_SYSTEM. */
DP_MUST_CHECK dp_err beat_start(struct beat *beat, void *zmq, const struct beat_target *target, dp_error *err);
/* Whether beats have been answered in time for so long. Thread: any. */
bool beat_is_well(const struct beat *beat, uint64_t for_ms, uint64_t now_ms);
/* The head has said that the steps before `low` are complete. Thread: any. */
void beat_raise_low(struct beat *beat, uint64_t low);
/* Stops and joins it; what it heard stays readable. One that does not run is fine. */
void beat_stop(struct beat *beat);

#endif
