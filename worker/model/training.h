/* The training behind a model's file: its metadata "steps", "complete" and "diverged". Thread: any. */
#ifndef DP_WORKER_MODEL_TRAINING_H
#define DP_WORKER_MODEL_TRAINING_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/tensor/safetensors.h"

struct model_state {
    uint64_t steps;  /* of training; 0 where the file does not say it */
    bool unfinished; /* of a job that was stopped, or still ran */
    bool diverged;   /* its loss or parameters were no finite numbers any more */
};

/* A file that does not say it counts as finished: other tools may have made it. */
struct model_state model_state_read(const struct safetensors_meta *meta);
/* A line to `out` about a model that is not what a job was to make of it; nothing about others. */
void model_state_warn(const struct model_state *state, const char *path, FILE *out);

#endif
