/* The shards' files of a checkpoint, open to be read, whatever layout of shards has written them. Thread: one at a
 * time. */
#ifndef DP_COMMON_CHECKPOINT_FILES_H
#define DP_COMMON_CHECKPOINT_FILES_H

#include <stddef.h>

#include "common/checkpoint/manifest.h"
#include "common/checkpoint/shard_file.h"

struct checkpoint_files {
    struct shard_file *list; /* [count], heap */
    size_t count;
};

/* Opens the files that the manifest lists, in `folder`, the checkpoint's own; their bytes are taken for whole
 * (manifest_verify). DP_IO, DP_DATA naming a file. */
DP_MUST_CHECK dp_err checkpoint_files_open(const char *folder, const struct manifest *manifest,
                                           struct checkpoint_files *ret_files, dp_error *err);
/* Accepts a zeroed one. */
void checkpoint_files_close(struct checkpoint_files *files);

/* The file, and its range, that have an element of a dense tensor; NULL: none has. */
const struct shard_file *checkpoint_files_find(const struct checkpoint_files *files, const char *tensor,
                                               uint64_t element, uint32_t *ret_range);
/* Whether the files have all rows of a table with ids [first, last] that were touched. DP_DATA naming one that they
 * lack. */
DP_MUST_CHECK dp_err checkpoint_files_check_rows(const struct checkpoint_files *files, const char *table,
                                                 uint64_t first, uint64_t last, dp_error *err);

#endif
