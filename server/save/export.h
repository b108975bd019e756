/* A model as a safetensors file, made of theta and tables at one step, from pinned versions and copies of rows, off the
 * head's loop. It is written to a file, or read by pieces for dp-ctl. A dense-range table is one tensor; a hashed one
 * `name` is `name.ids` (U64, ascending) and `name.values`, a row each. Thread: head; long work runs on a libuv worker,
 * and until its end nothing else may be done with the export. */
#ifndef DP_SERVER_SAVE_EXPORT_H
#define DP_SERVER_SAVE_EXPORT_H

#include <limits.h>
#include <uv.h>

#include "server/job/job.h"
#include "server/table/copy.h"

struct export;

/* Facts of a model that its file has. */
struct export_facts {
    uint64_t steps;          /* of training that it has seen */
    bool complete, diverged; /* it is that of a job that is done; its loss or values are not finite */
    uint64_t bytes, digest;  /* of the file; 0 until export_seal is done */
};

/* Told from the loop when the work is done; err->code is DP_OK, or what went wrong. */
typedef void (*export_done)(void *arg, const dp_error *err);

/* An export of theta at `step`; borrowed job. Versions are added shard by shard with export_add. DP_NOMEM. */
DP_MUST_CHECK dp_err export_new(const struct job *job, uint64_t step, struct export **ret_export, dp_error *err);
/* The pinned versions of a shard, one per slice, and the rows of its parts (taken: they are released by export_free).
 */
void export_add(struct export *export, uint32_t shard, struct version **pinned, struct rows_copy *copies);
/* The file will say of itself that its training diverged ("diverged": "yes"). So it does where values are not finite.
 */
void export_mark_diverged(struct export *export);
/* Whether all shards that hold something have been added. */
bool export_whole(const struct export *export);
void export_free(struct export **export);
struct export_facts export_facts(const struct export *export);

/* Starts the threads that the work below is done by. libuv starts them with the first work, and aborts where it cannot:
 * so it is done before the job, with little, and found out beforehand. DP_SYSTEM. Call it once. */
DP_MUST_CHECK dp_err export_pool_start(uv_loop_t *loop, dp_error *err);

/* Makes a whole export ready for export_read: lays it out and digests it. */
void export_seal(struct export *export, uv_loop_t *loop, export_done done, void *arg);
/* Bytes [offset, offset + bytes) of the file once it is sealed; within it, from a multiple of 4 on. */
void export_read(struct export *export, uint64_t offset, size_t bytes, void *to);

/* The path of a file, and how to write there; all of it is borrowed until the writing is done. */
struct export_place {
    const char *path;
    bool exact; /* a model that is not finished does not go to another path than this one */
    int *held;  /* as in file_replace_held */
};
/* Writes a whole export; may be called again where that failed. A finished model replaces `path`. One that is not, or
 * diverged, goes there only where no finished model and no other file is, else to `path`.stopped or `path`.diverged
 * (common/tensor/safetensors_peek.h), or nowhere. */
void export_write(struct export *export, uv_loop_t *loop, const struct export_place *place, export_done done,
                  void *arg);
/* The path that it was written to last. */
const char *export_path(const struct export *export);

#endif
