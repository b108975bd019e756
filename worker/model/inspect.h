/* `dp-worker inspect`: the content of a model's file or a checkpoint, without data and without a server. Thread: one.
 */
#ifndef DP_WORKER_MODEL_INSPECT_H
#define DP_WORKER_MODEL_INSPECT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "common/base/dp_err.h"
#include "common/checkpoint/saved.h"

struct inspect_options {
    const char *path;         /* as saved_open takes it */
    bool json;                /* one object on a line instead of a table */
    bool quiet;               /* no table */
    const volatile int *stop; /* becomes non-zero: end with DP_STOPPED; may be NULL */
};

/* Reads all values, in pieces. DP_IO, DP_DATA naming the file and its fault. */
DP_MUST_CHECK dp_err inspect_run(const struct inspect_options *opts, dp_error *err);

/* The document that --json prints; worker/run/README.md has its members. */
DP_MUST_CHECK dp_err inspect_document(const struct saved *saved, const volatile int *stop, json_t **ret_document,
                                      dp_error *err);

#endif
