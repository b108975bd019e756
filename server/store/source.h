/* First values of a job (server/step/first_values.h) out of the shard files of a checkpoint, whatever layout of shards
 * has written them. Thread: one at a time. */
#ifndef DP_SERVER_STORE_SOURCE_H
#define DP_SERVER_STORE_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/dp_err.h"
#include "server/step/first_values.h"

struct folder;

/* Opens the files of the checkpoint of a training step, as its manifest lists them; their bytes are taken for whole
 * (manifest_verify). DP_IO, DP_DATA naming a file. */
DP_MUST_CHECK dp_err source_open(const struct folder *folder, uint64_t train_step, struct values_source **ret_source,
                                 dp_error *err);
/* Elements of theta, ascending, at which the slots change that have come on arrival: a slice that lies on both sides of
 * one cannot begin. Heap; none for a job that commits whole steps. DP_NOMEM. */
DP_MUST_CHECK dp_err source_cuts(struct values_source *source, uint64_t **ret_cuts, size_t *ret_count, dp_error *err);
/* Accepts NULL. */
void source_close(struct values_source **source);

#endif
