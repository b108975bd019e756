/* Commands: the head's words to a shard. A command owns all that it points to; command_fini frees it. The values know
 * no thread and no address, so that they can be sent to another process (server/link/wire). Thread: any. */
#ifndef DP_SERVER_LINK_COMMAND_H
#define DP_SERVER_LINK_COMMAND_H

#include <stddef.h>

#include "common/net/shm.h"
#include "common/tensor/tensor.h"
#include "server/deal/grants.h"
#include "server/link/setting.h"
#include "server/step/job.h"
#include "server/table/part.h"

/* A job's share of a shard, in one block of memory but for constraints that it owns, and rates of the past. The
 * receiver keeps it for the life of the job: `job` refers to rows of linear constraints. */
struct command_start {
    uint64_t incarnation;
    enum shm_mode shm;
    struct shard_job job; /* without `live` and `planes`, which are the shard's own */
    bool owns_constraints;
    struct schedule_past rates; /* settings of the past that the job's schedule has, if any; heap */
    uint64_t checkpoint;        /* 1 + training steps of the checkpoint that it begins with; 0: with none */
    char
        *init_from; /* model or checkpoint of another job that it begins with (server/store/warm.h); heap, NULL: none */
    uint32_t first_slice, first_part; /* their ids in the job */
    uint32_t slice_count, part_count;
    struct range *slices;     /* [slice_count] of theta */
    struct part_range *parts; /* [part_count] */
    max_align_t room[];
};
/* With the counts set and room for as many slices and parts; settings of the past are copied. NULL when out of memory.
 */
struct command_start *command_start_new(const struct shard_job *job, uint32_t slice_count, uint32_t part_count);
void command_start_free(struct command_start **start);

enum command_kind {
    COMMAND_START,
    COMMAND_RESET, /* the job is settled anew: as before START */
    COMMAND_OPEN,
    COMMAND_CLOSE,
    COMMAND_GRANT,
    COMMAND_PIN,
    COMMAND_OWED, /* answered by EVENT_OWED */
    COMMAND_TOTALS,
    COMMAND_PREPARE,
    COMMAND_SET,
    COMMAND_ROSTER,
    COMMAND_GO,
    COMMAND_DROP,
    COMMAND_CUT,    /* answered by EVENT_CUT, once, unless it gives up what is not asked any more */
    COMMAND_STOP,   /* the last one: the thread ends */
    COMMAND_LEVELS, /* needs no room within the process, where only the latest counts */
    COMMAND_KINDS
};

/* A session of a worker begins. */
struct command_open {
    uint64_t session; /* token */
    uint64_t worker;  /* number that the process chose */
    char *name;       /* heap */
};
/* It ends. */
struct command_close {
    uint64_t session;
    uint64_t fence; /* ascending */
};
/* theta of a step is wanted: EVENT_PINNED has the same number. */
struct command_pin {
    uint64_t step, pin;
};
/* Sums over all shards, for EVENT_SUMS of the same step and phase. */
struct command_totals {
    uint64_t step;
    uint32_t phase;
    uint32_t count;
    double *totals; /* [count], [tensor][value], heap */
};
/* Asks for the promise that EVENT_PREPARED gives. */
struct command_prepare {
    uint64_t step;
    enum setting_kind setting;
};
struct command_set {
    uint64_t step; /* the first that it holds for */
    struct setting setting;
};
struct command_roster {
    uint64_t number;
    uint32_t slots;
    uint8_t *live; /* [slots], heap */
};
/* Steps before this one may be committed. */
struct command_go {
    uint64_t step;
};
/* Slots that are not live are left out of the step. */
struct command_drop {
    uint64_t step;
    uint32_t count; /* of them that had samples */
    uint32_t slots;
    uint8_t *live; /* [slots], heap */
};

/* The shard's state at a step is to be written to its file of the checkpoint of `train_step` training steps. One at a
 * time: what was asked before is given up. */
struct command_cut {
    uint64_t number; /* EVENT_CUT has the same */
    uint64_t step;   /* of the plan; UINT64_MAX: only gives up */
    uint64_t train_step;
};

/* Progress of all shards together. */
struct command_levels {
    uint64_t low;    /* steps complete on all shards */
    uint64_t fences; /* the latest fence that all shards know */
};

struct command {
    enum command_kind kind;
    union {
        struct command_start *start; /* heap */
        struct command_open open;
        struct command_close close;
        struct deal *grant; /* heap */
        struct command_pin pin;
        struct command_totals totals;
        struct command_prepare prepare;
        struct command_set set;
        struct command_roster roster;
        struct command_go go;
        struct command_drop drop;
        struct command_cut cut;
        struct command_levels levels;
    };
};

/* Frees what the command owns. */
void command_fini(struct command *command);

#endif
