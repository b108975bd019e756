/* The past of a job, as its files tell it: settings by the step that they hold from, and sums over slots.
 * Values alone; server/update/schedule.h and server/step/consistency.h have their meaning. Thread: any. */
#ifndef DP_COMMON_TENSOR_HISTORY_H
#define DP_COMMON_TENSOR_HISTORY_H

#include <stddef.h>
#include <stdint.h>

enum {
    SCHEDULE_PAST_MAX = 1 << 20,    /* learning rates that are kept */
    SCHEDULE_PERIODS_MAX = 64,      /* times that a job goes on with another end of its schedule, and one */
    CONSISTENCY_STALENESS_MAX = 32, /* S of async */
    CONSISTENCY_CHANGES_MAX = 256,  /* more than there are steps in use */
};

/* Learning rates of long ago, ascending: rows of tables are brought up to date from the step that last touched them. */
struct schedule_past {
    size_t count, room;
    struct schedule_change {
        uint64_t from; /* first step it holds for; ascending */
        double lr;
    } * list;
};

/* Lengths of a schedule, for the same reason. An empty list: it has had one. */
struct schedule_periods {
    uint32_t count;
    struct schedule_period {
        uint64_t from; /* first training step it holds for; ascending, the first is 0 */
        uint64_t period;
    } list[SCHEDULE_PERIODS_MAX];
};

/* A zeroed one is bsp throughout. */
struct consistency {
    uint32_t change_count;
    struct consistency_change {
        uint64_t from; /* first step it holds for; ascending */
        uint32_t staleness;
    } changes[CONSISTENCY_CHANGES_MAX];
};

/* Sums over the samples of a node. */
struct metrics {
    uint64_t count;
    double loss;
    uint64_t correct;
};

#endif
