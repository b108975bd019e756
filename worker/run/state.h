/* The state of a training run, shared by the files of its chapters: data, joining, preparation, the loop. Types only.
 * Thread: main; slots are computed by the pool's. */
#ifndef DP_WORKER_RUN_STATE_H
#define DP_WORKER_RUN_STATE_H

#include "common/tensor/tensor.h"
#include "worker/data/blocks.h"
#include "worker/data/data.h"
#include "worker/data/look.h"
#include "worker/dp.h"
#include "worker/model/model.h"
#include "worker/run/report.h"
#include "worker/run/slot_pool.h"
#include "worker/run/tally.h"
#include "worker/run/touched.h"
#include "worker/run/train.h"

/* All that a worker holds. */
struct train {
    const struct train_options *opts;
    struct report report;
    dp_client *client;
    const struct model *model;
    struct data train_data, eval_data; /* train_data: only name, rows and features where there are blocks */
    struct data_blocks *blocks;        /* --memory-limit */
    bool has_eval;
    struct schema job_schema;  /* of a job that is settled; borrowed from the client */
    struct schema eval_schema; /* that the evaluation data are matched with; borrowed from the training data */
    char *note;                /* assumptions made in reading them */
    struct label_list labels;  /* class -> label; before joining as our data have it, then as the job has it */
    float *train_targets, *eval_targets, *block_map;
    struct data_look train_look, eval_look; /* for warnings */
    struct tensors tensors;
    struct slot_work work;
    struct touched *touched; /* if the weight is a table */
    struct slot_pool *pool;
    struct tally steps_done;
    uint64_t slots_done, samples_done; /* of ours */
    uint32_t rank;                     /* of a local job: the slot of ours */
    uint64_t task_elems;               /* of the task at hand: floats of a gradient */
    bool diverged;                     /* a gradient was not finite, and the user was told */
};

#endif
