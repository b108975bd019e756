#include "tests/unit/support/checkpoints.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "server/shard/cut.h"
#include "tests/unit/support/files.h"
#include "tests/unit/support/manifests.h"

enum { SHARDS_MAX = 8 };

void checkpoints_open(struct folder *ret_folder)
{
    char dir[PATH_MAX];
    dp_error err;
    folder_make(dir);
    cr_assert_eq(folder_open(dir, "lock", "test", ret_folder, &err), DP_OK, "%s", err.text);
}

void checkpoints_close(struct folder *folder)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%s", folder->path);
    folder_close(folder);
    folder_unmake(dir);
}

static void write_shard(const struct folder *folder, struct shard *shard, struct manifest_file *file)
{
    char path[PATH_MAX];
    folder_shard_file(shard->id, file->name);
    cr_assert(folder_draft_path(folder, shard->cut.train_step, file->name, path));
    FILE *out = fopen(path, "wb");
    cr_assert_not_null(out);
    cr_assert(cut_is_ready(shard));
    for (bool more = true; more;) {
        struct blob bytes = {0};
        cr_assert_eq(cut_next(shard, &bytes, &more), DP_OK);
        if (bytes.bytes)
            cr_assert_eq(fwrite(bytes.data, 1, bytes.bytes, out), bytes.bytes);
        file->bytes += bytes.bytes;
        blob_release(&bytes);
    }
    cr_assert_eq(fclose(out), 0);
}

void checkpoints_write(const struct folder *folder, struct shard *const *shards, uint32_t count)
{
    struct manifest_file files[SHARDS_MAX] = {0};
    uint32_t written = 0;
    dp_error err;
    cr_assert_leq(count, SHARDS_MAX);
    cr_assert_eq(folder_begin(folder, shards[0]->cut.train_step, &err), DP_OK, "%s", err.text);
    for (uint32_t s = 0; s < count; s++)
        if (shards[s]->piece_count > 0)
            write_shard(folder, shards[s], &files[written++]);
    const struct shard *first = shards[0];
    manifest_commit(folder, first->cut.step, first->cut.train_step, first->own.plan.train_steps, files, written);
}
