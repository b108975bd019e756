/* The folder of a job's checkpoints, --checkpoint-dir DIR:
 *
 *     DIR/lock                      held (flock) by the server that uses DIR; its text names the holder
 *     DIR/log.jsonl                 the job's log (journal.h)
 *     DIR/settings.jsonl            what dp-ctl has set (settings.h)
 *     DIR/step-000000001234/        a whole checkpoint: shard-N.safetensors (shard_file.h) and manifest.json
 *     DIR/.step-000000001234.tmp/   one that is being written, or was when its server was killed
 *     DIR/.step-000000001234.old/   one that is being removed
 *     DIR/.step-000000001234.aside/ one whose name another takes, where the file system cannot exchange the two, or
 * could not sync their exchange
 *
 * 1234 are the training steps that theta has seen. The rename of the second to the first is the commit.
 *
 * Invariants:
 *   1. A folder without the dot is whole: all its bytes were on the disk before it got the name.
 *   2. Nothing is deleted but what a server of dp has made: folders and files of these names, with a manifest of ours
 * or none yet. May wait for the disk: not for the head's loop or a shard's once a job runs. Thread: one at a time. */
#ifndef DP_SERVER_STORE_FOLDER_H
#define DP_SERVER_STORE_FOLDER_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/dp_err.h"

struct folder {
    char path[PATH_MAX];
    int fd;   /* of DIR */
    int lock; /* -1: not held */
};

/* Makes DIR where it is missing, opens it, and takes its lock. `lock_name`: "lock", a member's "lock.NAME". `holder`:
 * one line, such as "dp-server 1234 on HOST". DP_IO with option, path and reason: no folder, no right to write, no
 * locks; DP_BUSY naming the holder. */
DP_MUST_CHECK dp_err folder_open(const char *dir, const char *lock_name, const char *holder, struct folder *ret_folder,
                                 dp_error *err);
/* Lets go of the lock. Accepts a zeroed one. */
void folder_close(struct folder *folder);

enum { FOLDER_NAME_MAX = 40 };
/* step-000000001234 */
void folder_name(uint64_t train_step, char name[FOLDER_NAME_MAX]);
/* DIR/.step-000000001234.tmp/FILE to path[PATH_MAX]; FILE "": the folder. False: it is too long. */
bool folder_draft_path(const struct folder *folder, uint64_t train_step, const char *file, char *path);
/* The same for DIR/step-000000001234/FILE. */
bool folder_path(const struct folder *folder, uint64_t train_step, const char *file, char *path);
/* shard-3.safetensors */
void folder_shard_file(uint32_t shard, char name[FOLDER_NAME_MAX]);

/* Names in DIR are on the disk. DP_IO. */
DP_MUST_CHECK dp_err folder_sync(const struct folder *folder, dp_error *err);
/* Removes drafts and halves of removed checkpoints that a killed server has left, and puts a checkpoint back that was
 * put aside for one that did not come. Before any other use of the folder. DP_IO. */
DP_MUST_CHECK dp_err folder_sweep(const struct folder *folder, dp_error *err);
/* An empty folder for a checkpoint that is to be written; one that was left there is emptied. DP_IO. */
DP_MUST_CHECK dp_err folder_begin(const struct folder *folder, uint64_t train_step, dp_error *err);
/* Its files are written and synced: writes manifest.json[bytes], syncs it and the folder, renames the folder, syncs
 * DIR. A checkpoint of the same step that was there is replaced. DP_IO: nothing has changed in DIR but the draft; where
 * DIR could not be synced the checkpoint is there, and may be lost with the machine's power, and the one that it
 * replaces is there as well, put aside. */
DP_MUST_CHECK dp_err folder_commit(const struct folder *folder, uint64_t train_step, const char *manifest, size_t bytes,
                                   dp_error *err);
/* Removes a draft. A file that cannot be removed stays, until folder_sweep. */
void folder_give_up(const struct folder *folder, uint64_t train_step);

/* Checkpoints in DIR: training steps, ascending; heap. Drafts do not count. DP_IO, DP_NOMEM. */
DP_MUST_CHECK dp_err folder_list(const struct folder *folder, uint64_t **ret_steps, size_t *ret_count, dp_error *err);
/* Removes a checkpoint: renamed to its dot-name first, so that a half of one is never there. Files that are not ours
 * stay, and so does the folder then. DP_IO. */
DP_MUST_CHECK dp_err folder_remove(const struct folder *folder, uint64_t train_step, dp_error *err);

#endif
