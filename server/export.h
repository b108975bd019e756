/* Export of theta to a safetensors file, from pinned versions, off the head's loop. Thread: head; the writing runs on a
 * libuv worker. */
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
/* The pinned versions of a shard, one per slice (taken: they are released after writing). */
void export_add(struct export *export, uint32_t shard, struct version **pinned);
/* The file will say of itself that its training diverged ("diverged": "yes"). */
void export_mark_diverged(struct export *export);
/* Whether all shards with a part of theta have been added. */
bool export_whole(const struct export *export);
/* Writes the file; calls done from the loop, then frees the export. */
void export_start(struct export **export, uv_loop_t *loop, export_done done, void *arg);
void export_free(struct export **export);

#endif
