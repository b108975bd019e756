/* The state of a shard: types only, for the files of this room; see shard.h for the invariants. Thread: shard. */
#ifndef DP_SERVER_SHARD_STATE_H
#define DP_SERVER_SHARD_STATE_H

#include "server/shard/calls.h"
#include "server/shard/counters.h"
#include "server/shard/gate.h"
#include "server/shard/phases.h"
#include "server/shard/piece.h"

/* The parts of tables that a shard holds. */
struct shard_tables {
    uint32_t first_part; /* id of parts[0] in the job */
    uint32_t count;
    struct part *parts;
    struct rowcache cache;
};

/* cut.c: the step at which pieces are kept for a checkpoint, and how far its bytes have been given. */
struct cut {
    bool armed;
    dp_err fault; /* a piece could not be kept, or must not be */
    uint64_t step, train_step;
    uint32_t kept; /* pieces */
    struct multipliers multipliers;
    bool begun;              /* the head of the file was given */
    uint32_t section, piece; /* place of the next bytes */
};

struct shard {
    uint32_t id;
    bool failed;                     /* and the head has been told: its job ends */
    struct planes planes;            /* for versions that workers map; made before shard_start, or zeroed */
    const struct shard_job *job;     /* &own, NULL until the job is settled */
    struct shard_job own;            /* the job's, with this shard's copy of what may be set */
    struct schedule_past past_rates; /* learning rates of steps long ago, for tables */
    uint32_t first_slice;            /* id of slices[0] in the job */
    uint32_t slice_count;
    struct slice *slices;
    struct shard_tables tables;
    struct piece *pieces; /* [piece_count] the slices, then the parts */
    uint32_t piece_count;
    uint64_t low;        /* steps complete on all pieces */
    uint64_t global_low; /* steps complete on all shards, as the head announced */
    uint64_t total_steps;
    struct gate gate;
    struct phases phases;
    struct cut cut;
    struct metrics first_metrics[SLICE_VERSIONS]; /* of the first piece, of steps >= low, at step % SLICE_VERSIONS */
    uint8_t accepted[STEPS_ACCEPTED_BYTES];       /* scratch of answers */
    struct shard_counters *counters;
    struct shard_calls calls;
};

#endif
