/* The files of a checkpoint; see files.h. Thread: one at a time. */
#include "common/checkpoint/files.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

/* Opens the next file. */
static dp_err open_file(struct checkpoint_files *files, const char *path, const struct manifest *manifest,
                        dp_error *err)
{
    struct shard_file *file = &files->list[files->count];
    dp_err e = shard_file_open(path, file, err);
    if (e)
        return e;
    files->count++;
    if (file->facts.step == manifest->step && file->facts.train_step == manifest->train_step &&
        file->facts.slots == files->list[0].facts.slots)
        return DP_OK;
    return dp_fail(err, DP_DATA, "%.400s: is of another checkpoint, of training step %" PRIu64, path,
                   file->facts.train_step);
}

dp_err checkpoint_files_open(const char *folder, const struct manifest *manifest, struct checkpoint_files *ret_files,
                             dp_error *err)
{
    char path[PATH_MAX];
    struct checkpoint_files files = {.list = mem_array_zero(manifest->file_count, sizeof *files.list)};
    dp_err e = DP_OK;
    if (!files.list)
        return dp_fail(err, DP_NOMEM, "out of memory for a checkpoint");
    for (size_t i = 0; !e && i < manifest->file_count; i++) {
        if (snprintf(path, sizeof path, "%s/%s", folder, manifest->files[i].name) >= (int)sizeof path)
            e = dp_fail(err, DP_IO, "the path is too long: %.80s...", folder);
        else
            e = open_file(&files, path, manifest, err);
    }
    if (e)
        checkpoint_files_close(&files);
    else
        *ret_files = files;
    return e;
}

void checkpoint_files_close(struct checkpoint_files *files)
{
    for (size_t f = 0; f < files->count; f++)
        shard_file_close(&files->list[f]);
    free(files->list);
    *files = (struct checkpoint_files){0};
}

const struct shard_file *checkpoint_files_find(const struct checkpoint_files *files, const char *tensor,
                                               uint64_t element, uint32_t *ret_range)
{
    for (size_t f = 0; f < files->count; f++) {
        const struct shard_file_facts *facts = &files->list[f].facts;
        for (uint32_t r = 0; r < facts->range_count; r++) {
            const struct shard_file_range *range = &facts->ranges[r];
            if (element >= range->first && element - range->first < range->count &&
                strcmp(range->tensor, tensor) == 0) {
                *ret_range = r;
                return &files->list[f];
            }
        }
    }
    return NULL;
}

/* The part that has a row; NULL: none has. */
static const struct shard_file_part *find_part(const struct checkpoint_files *files, const char *table, uint64_t id)
{
    for (size_t f = 0; f < files->count; f++) {
        const struct shard_file_facts *facts = &files->list[f].facts;
        for (uint32_t p = 0; p < facts->part_count; p++) {
            const struct shard_file_part *part = &facts->parts[p];
            if (part->first <= id && id <= part->last && strcmp(part->tensor, table) == 0)
                return part;
        }
    }
    return NULL;
}

dp_err checkpoint_files_check_rows(const struct checkpoint_files *files, const char *table, uint64_t first,
                                   uint64_t last, dp_error *err)
{
    for (uint64_t id = first;;) {
        const struct shard_file_part *found = find_part(files, table, id);
        if (!found)
            return dp_fail(err, DP_DATA, "the checkpoint lacks row %" PRIu64 " of table '%s'", id, table);
        if (found->last >= last)
            return DP_OK;
        id = found->last + 1;
    }
}
