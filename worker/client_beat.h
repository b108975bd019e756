/* Heartbeats: a thread with a connection of its own tells the head that the worker lives, and knows by the answers that
 * the head does, however long the worker computes. Thread: the client's, but for the thread itself. */
#ifndef DP_CLIENT_BEAT_H
#define DP_CLIENT_BEAT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client_link.h"

struct beat {
    pthread_t thread;
    bool running;
    int wake; /* eventfd, written to stop */
    struct link link;
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
    /* Heard of the head; written by the thread. */
    _Atomic uint64_t heard_ms;   /* mono_ms of the last answer */
    _Atomic uint64_t global_low; /* steps complete on all shards */
    atomic_bool refused;         /* the head does not know the session any more */
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
/* The head has said that so many steps are complete. Thread: any. */
void beat_raise_low(struct beat *beat, uint64_t low);
/* Stops and joins it; what it heard stays readable. One that does not run is fine. */
void beat_stop(struct beat *beat);

#endif
