/* Slots computed side by side: a few threads, each with its own scratch. With one thread the slot is computed by the
 * caller. Bits do not depend on the number of threads or on who computes what. Thread: one uses a pool; the computing
 * threads are the pool's. */
#ifndef DP_WORKER_RUN_SLOT_POOL_H
#define DP_WORKER_RUN_SLOT_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/tensor/plan.h"
#include "worker/data/blocks.h"
#include "worker/dp.h"
#include "worker/model/model.h"
#include "worker/run/emulate.h"
#include "worker/run/touched.h"

/* The input of every slot of a job. Borrowed for the pool's life; immutable. */
struct slot_work {
    const struct model *model;
    struct model_spec spec;
    struct plan plan;
    struct labelled sets[ROW_SETS];
    struct data_blocks *blocks; /* instead of the training set, where it is not held whole; else NULL */
    const float *block_map;     /* for those: the target of each of their labels; NULL: labels are targets */
    struct emulate emulate;
};

/* One slot: in, and once it is done, out. */
struct slot_job {
    uint64_t step;
    uint32_t slot;
    const float *theta;
    struct touched_slot touched; /* if the weight is a table: the slot's rows over the columns that theta has */
    float *grad;                 /* the answer, NULL where nothing but metrics is pushed */
    dp_metrics metrics;
    dp_error err; /* code != DP_OK: its data could not be read */
};

struct slot_pool;

/* DP_NOMEM, DP_SYSTEM. */
DP_MUST_CHECK dp_err slot_pool_new(const struct slot_work *work, uint32_t threads, struct slot_pool **ret_pool,
                                   dp_error *err);
/* Jobs that can be under way at a time: give no more. */
uint32_t slot_pool_room(const struct slot_pool *pool);
void slot_pool_give(struct slot_pool *pool, const struct slot_job *job);
/* Waits for a job to be done; one must be under way. In any order. */
struct slot_job slot_pool_take(struct slot_pool *pool);
/* Waits for the threads. Jobs under way are dropped. Accepts NULL. */
void slot_pool_free(struct slot_pool **pool);

#endif
