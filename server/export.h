/* Export of theta and tables to a safetensors file, from pinned versions and copies of rows, off the head's loop. A
 * dense-range table is one tensor; a hashed one `name` is `name.ids` (U64, ascending) and `name.values`, a row each.
 * Thread: head; the writing runs on a libuv worker. */
#ifndef DP_EXPORT_H
#define DP_EXPORT_H

#include <uv.h>

#include "job.h"

struct export;

/* Told when the file is in place (err->code is DP_OK) or could not be written. */
typedef void (*export_done)(void *arg, const dp_error *err);

/* An export of theta at `step` to `path`; borrowed job and path. Versions are added shard by shard with export_add.
 * DP_NOMEM. */
DP_MUST_CHECK dp_err export_new(const struct job *job, const char *path, uint64_t step, struct export **ret_export,
                                dp_error *err);
/* The pinned versions of a shard, one per slice, and the rows of its parts (taken: they are released after writing). */
void export_add(struct export *export, uint32_t shard, struct version **pinned, struct rows_copy *copies);
/* The file will say of itself that its training diverged ("diverged": "yes"). */
void export_mark_diverged(struct export *export);
/* Whether all shards that hold something have been added. */
bool export_whole(const struct export *export);
/* Writes the file; calls done from the loop, then frees the export. */
void export_start(struct export **export, uv_loop_t *loop, export_done done, void *arg);
void export_free(struct export **export);

/* For export.c: what the file says of the training data (export_schema.c). DP_NOMEM, DP_RANGE. */
struct safetensors_meta;
DP_MUST_CHECK dp_err export_schema(const Dp__Schema *schema, struct safetensors_meta *meta);

#endif
