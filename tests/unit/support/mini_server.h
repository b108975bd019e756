/* A small dp-server for tests of the client: a thread with plain ROUTER sockets for a head and some shards, which keeps
 * theta = theta + sum of gradients, in bsp or with slots that commit on arrival, and misbehaves on demand. Integer
 * gradients make its sums exact, whatever their order. Thread: mini_* are the test's; `opts` may be changed while it
 * runs. */
#ifndef DP_TESTS_UNIT_SUPPORT_MINI_SERVER_H
#define DP_TESTS_UNIT_SUPPORT_MINI_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/tensor/plan.h"

enum {
    MINI_SHARDS = 2,
    MINI_SLICES = 3,
    MINI_ALL = MINI_SHARDS * MINI_SLICES,
    MINI_ELEMS = 37,
    MINI_SESSIONS = 16,
    MINI_STEPS = 64
};

struct mini_slice {
    uint64_t open;              /* the step that is being collected */
    uint64_t covered;           /* bitmap of its slots */
    uint64_t ahead[MINI_STEPS]; /* on arrival: the same of each step */
    uint64_t version;
    float theta[MINI_ELEMS];
    float sum[MINI_ELEMS];
    double loss; /* over all steps */
    uint64_t count;
    uint8_t from_id[32]; /* routing id that named it last, */
    size_t from_id_size;
    unsigned from_changes; /* and how often it had been another */
    bool parked;
    uint64_t parked_step;
    uint64_t parked_have;
    uint8_t parked_id[32];
    size_t parked_id_size;
};

enum { MINI_PART_ROWS = 50, MINI_DIM = 2, MINI_LISTS = 64 };

/* Row ids that came with a name. */
struct mini_list {
    uint64_t hash;
    uint32_t count;
    uint64_t *ids;
};

/* A shard's part of the table; mini_rows.h. */
struct mini_part {
    uint64_t open;
    uint64_t covered;
    float theta[MINI_PART_ROWS][MINI_DIM];
    float sum[MINI_PART_ROWS][MINI_DIM];
    struct mini_list lists[MINI_LISTS];
    size_t list_count;
    bool parked;
    uint64_t parked_step;
    struct mini_list parked_list;
    uint8_t parked_id[32];
    size_t parked_id_size;
};

/* The address of a peer: a socket and a routing id. */
struct mini_peer {
    void *socket;
    const void *id;
    size_t id_size;
};

enum mini_wrong { MINI_RIGHT, MINI_SHORT, MINI_UNCHANGED, MINI_FOREIGN_PART, MINI_OTHER_LIST };

struct mini_options {
    atomic_int drop_params;       /* replies to pulls that are not sent */
    atomic_int double_params;     /* replies to pulls that are sent twice */
    atomic_int drop_pushes;       /* messages to shards that are not read */
    atomic_int busy;              /* messages to shards that are answered with BUSY */
    atomic_int not_dealt;         /* pushes to shards that are refused, as slots of others */
    atomic_int forget_sessions;   /* 1: forgets them now */
    atomic_int restart;           /* 1: begins anew as another incarnation */
    atomic_int rebind_shards;     /* 1: closes the shards' sockets and opens them again */
    atomic_int asks;              /* 1: can be asked of Ask; before mini_start */
    atomic_int mute;              /* 1: says nothing any more */
    atomic_int challenges;        /* hellos that are answered with a challenge, whatever they prove */
    atomic_int refuse_join;       /* 1: answers Join with REFUSED */
    atomic_int notice;            /* a dp_err: sends it to the worker as a Notice */
    atomic_int wrong_size;        /* 1: parameters come with the wrong number of bytes */
    atomic_int other_seed;        /* 1: the job has another seed, which Welcome says */
    atomic_int other_labels;      /* 1: Joined has other labels */
    atomic_int wrong_rows;        /* answers about rows that are wrong in the way of enum mini_wrong */
    atomic_int forget_lists;      /* messages about rows before which the part's lists are forgotten */
    atomic_int low;               /* adds to global_low of heartbeat answers */
    _Atomic uint64_t first_slots; /* bitmap assigned at Joined */
    _Atomic uint64_t extra_slots; /* assigned for the step once first_slots have come; 0: none */
    _Atomic uint64_t start_step;
    _Atomic uint64_t train_step; /* that Joined tells */
};

struct mini {
    struct mini_options opts;
    struct plan plan;
    bool tables;        /* the job has a table; set before mini_start */
    uint32_t staleness; /* more than 0: slots commit on arrival; likewise */
    char endpoint[64];  /* of the head */
    /* Counts of what it saw. */
    atomic_uint pushes;     /* that counted */
    atomic_uint duplicates; /* pushes of what was there */
    atomic_uint pulls;
    atomic_uint questions;  /* Asks that it answered */
    atomic_uint row_pushes; /* to parts, that counted */
    atomic_uint lists;      /* lists of row ids that it was sent and had not */
    atomic_uint hellos;
    atomic_uint proofs; /* hellos that proved to be of this user, by the challenge given last */
    atomic_uint joins;
    atomic_uint beats;
    atomic_int bye; /* code of the Bye, -1: none came */
    /* The thread's. */
    pthread_t thread;
    atomic_bool stop;
    void *zmq;
    void *head;
    void *shards[MINI_SHARDS];
    char shard_endpoints[MINI_SHARDS][64];
    struct mini_slice slices[MINI_ALL];
    struct mini_part parts[MINI_SHARDS];
    uint64_t sessions[MINI_SESSIONS];
    size_t session_count;
    uint64_t incarnation;
    uint8_t challenge[32];
    uint8_t worker_id[32];
    size_t worker_id_size;
    uint64_t worker_session;
    bool extra_sent;
};

/* A job of `steps` training steps, each an epoch of 16 rows in 8 slots, with 5 evaluation rows if `evaluate`. */
struct mini *mini_new(uint64_t steps, bool evaluate);
/* Starts the thread; options may be set before. */
void mini_start(struct mini *mini);
void mini_free(struct mini **mini);

#endif
