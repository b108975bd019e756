/* The folder of a job's checkpoints; see folder.h. Thread: one at a time. */
#include "server/store/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "common/checkpoint/name.h"

enum { HOLDER_MAX = 200, FOLDER_MODE = 0777, FILE_MODE = 0666 };
static const char MANIFEST[] = CHECKPOINT_MANIFEST, SHARD[] = "shard-", DRAFT[] = ".tmp", OLD[] = ".old",
                  ASIDE[] = ".aside";

/* ---- names ---- */

void folder_name(uint64_t train_step, char name[FOLDER_NAME_MAX])
{
    checkpoint_name(train_step, name);
}

void folder_shard_file(uint32_t shard, char name[FOLDER_NAME_MAX])
{
    snprintf(name, FOLDER_NAME_MAX, "%s%" PRIu32 ".safetensors", SHARD, shard);
}

/* .step-000000001234.tmp, or with another end. */
static void hidden_name(uint64_t train_step, const char *end, char name[FOLDER_NAME_MAX])
{
    char whole[CHECKPOINT_NAME_MAX];
    checkpoint_name(train_step, whole);
    snprintf(name, FOLDER_NAME_MAX, ".%.*s%s", FOLDER_NAME_MAX - 8, whole, end);
}

/* Whether it is a hidden name of a checkpoint: of which, and with which end. */
static bool hidden_parse(const char *name, uint64_t *ret_step, const char **ret_end)
{
    static const char *const ENDS[] = {DRAFT, OLD, ASIDE};
    char inner[FOLDER_NAME_MAX];
    const char *end = name[0] == '.' ? strrchr(name + 1, '.') : NULL;
    if (!end || end - name > FOLDER_NAME_MAX)
        return false;
    snprintf(inner, sizeof inner, "%.*s", (int)(end - name - 1), name + 1);
    for (size_t i = 0; i < ARRAY_LEN(ENDS); i++)
        if (strcmp(end, ENDS[i]) == 0) {
            *ret_end = ENDS[i];
            return checkpoint_name_parse(inner, ret_step);
        }
    return false;
}

static bool is_our_file(const char *name)
{
    char again[FOLDER_NAME_MAX];
    if (strcmp(name, MANIFEST) == 0)
        return true;
    if (strncmp(name, SHARD, sizeof SHARD - 1) != 0)
        return false;
    folder_shard_file((uint32_t)strtoul(name + sizeof SHARD - 1, NULL, 10), again);
    return strcmp(again, name) == 0;
}

static bool join_path(const struct folder *folder, const char *name, const char *file, char *path)
{
    int n = snprintf(path, PATH_MAX, "%s/%s%s%s", folder->path, name, file[0] ? "/" : "", file);
    return n > 0 && n < PATH_MAX;
}

bool folder_draft_path(const struct folder *folder, uint64_t train_step, const char *file, char *path)
{
    char name[FOLDER_NAME_MAX];
    hidden_name(train_step, DRAFT, name);
    return join_path(folder, name, file, path);
}

bool folder_path(const struct folder *folder, uint64_t train_step, const char *file, char *path)
{
    char name[FOLDER_NAME_MAX];
    folder_name(train_step, name);
    return join_path(folder, name, file, path);
}

/* ---- DIR and its lock ---- */

/* A file system that has nothing to sync of a folder says EINVAL. */
static int sync_names(int fd)
{
    return fsync(fd) && errno != EINVAL ? -1 : 0;
}

dp_err folder_sync(const struct folder *folder, dp_error *err)
{
    if (sync_names(folder->fd))
        return dp_fail(err, DP_IO, "%.400s: the folder cannot be written to the disk: %s", folder->path,
                       strerror(errno));
    return DP_OK;
}

static bool sync_parent(int folder)
{
    int fd = openat(folder, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && sync_names(fd) == 0;
    if (fd >= 0)
        close(fd);
    return synced;
}

static dp_err open_folder(const char *dir, struct folder *folder, dp_error *err)
{
    if (!str_copy(folder->path, sizeof folder->path, dir))
        return dp_fail(err, DP_IO, "option --checkpoint-dir: the path is too long: %.80s...", dir);
    const bool made = mkdir(dir, FOLDER_MODE) == 0;
    if (!made && errno != EEXIST)
        return dp_fail(err, DP_IO, "option --checkpoint-dir: %.400s: cannot make the folder: %s%s", dir,
                       strerror(errno), errno == ENOENT ? "; make the one around it first" : "");
    folder->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->fd < 0)
        return dp_fail(err, DP_IO, "option --checkpoint-dir: %.400s: cannot open the folder: %s", dir, strerror(errno));
    if (!sync_parent(folder->fd) && made)
        return dp_fail(err, DP_IO,
                       "option --checkpoint-dir: %.400s: the folder around it cannot be written to the disk: %s", dir,
                       strerror(errno));
    return DP_OK;
}

/* The lock's text is of its latest holder, who may have ended since. */
static dp_err tell_holder(const struct folder *folder, dp_error *err)
{
    char holder[HOLDER_MAX + 1] = {0}, shown[HOLDER_MAX + 1];
    ssize_t n = pread(folder->lock, holder, HOLDER_MAX, 0);
    holder[n > 0 ? strcspn(holder, "\n") : 0] = '\0';
    text_clean(shown, sizeof shown, holder);
    return dp_fail(err, DP_BUSY,
                   "option --checkpoint-dir: %.300s is in use by %s: end that server first, or give another folder",
                   folder->path, shown[0] ? shown : "another server");
}

static dp_err take_lock(struct folder *folder, const char *lock_name, const char *holder, dp_error *err)
{
    char line[HOLDER_MAX + 1];
    int n = snprintf(line, sizeof line, "%.*s\n", HOLDER_MAX - 1, holder);
    folder->lock = openat(folder->fd, lock_name, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (folder->lock < 0)
        return dp_fail(err, DP_IO, "option --checkpoint-dir: %.400s: cannot make a file there: %s", folder->path,
                       strerror(errno));
    if (flock(folder->lock, LOCK_EX | LOCK_NB) == 0) {
        /* For people: a full disk must not keep a server out that is to go on. */
        (void)!(ftruncate(folder->lock, 0) == 0 && pwrite(folder->lock, line, (size_t)n, 0) == n);
        return DP_OK;
    }
    if (errno == EWOULDBLOCK)
        return tell_holder(folder, err);
    return dp_fail(err, DP_IO, "option --checkpoint-dir: %.400s: cannot be locked: %s; give a folder on a local disk",
                   folder->path, strerror(errno));
}

dp_err folder_open(const char *dir, const char *lock_name, const char *holder, struct folder *ret_folder, dp_error *err)
{
    struct folder folder = {.fd = -1, .lock = -1};
    dp_err e = open_folder(dir, &folder, err);
    if (!e)
        e = take_lock(&folder, lock_name, holder, err);
    if (e)
        folder_close(&folder);
    else
        *ret_folder = folder;
    return e;
}

void folder_close(struct folder *folder)
{
    if (!folder->path[0])
        return;
    if (folder->lock >= 0)
        close(folder->lock);
    if (folder->fd >= 0)
        close(folder->fd);
    *folder = (struct folder){.fd = -1, .lock = -1};
}

/* ---- removing ---- */

/* NULL and errno 0 at the end. */
static const struct dirent *next_entry(DIR *dir)
{
    errno = 0;
    return readdir(dir);
}

/* Calls `each` with the name of every entry of a folder; an error of `each` ends it. The descriptor is taken. */
static dp_err each_entry(int fd, dp_err (*each)(void *arg, int folder, const char *name, dp_error *err), void *arg,
                         dp_error *err)
{
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return dp_fail(err, DP_IO, "cannot read a folder: %s", strerror(errno));
    }
    dp_err e = DP_OK;
    for (const struct dirent *entry; !e && (entry = next_entry(dir));)
        e = each(arg, dirfd(dir), entry->d_name, err);
    if (!e && errno)
        e = dp_fail(err, DP_IO, "cannot read a folder: %s", strerror(errno));
    closedir(dir);
    return e;
}

static dp_err remove_ours(void *arg, int folder, const char *name, dp_error *err)
{
    (void)arg;
    if (is_our_file(name) && unlinkat(folder, name, 0) && errno != EISDIR)
        return dp_fail(err, DP_IO, "%s: cannot be removed: %s", name, strerror(errno));
    return DP_OK;
}

static dp_err empty(const struct folder *folder, const char *name, dp_error *err)
{
    int fd = openat(folder->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return dp_fail(err, DP_IO, "%.400s/%s: cannot open the folder: %s", folder->path, name, strerror(errno));
    if (each_entry(fd, remove_ours, NULL, err))
        return dp_fail_in(err, "%.300s/%s", folder->path, name);
    return DP_OK;
}

/* A folder with files of others stays, under its hidden name. */
static dp_err remove_hidden(const struct folder *folder, const char *name, dp_error *err)
{
    dp_err e = empty(folder, name, err);
    if (e)
        return e;
    if (unlinkat(folder->fd, name, AT_REMOVEDIR) && errno != ENOTEMPTY && errno != EEXIST)
        return dp_fail(err, DP_IO, "%.400s/%s: cannot be removed: %s", folder->path, name, strerror(errno));
    return DP_OK;
}

static bool is_folder(int in, const char *name)
{
    struct stat st;
    return fstatat(in, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* One that was put aside is put back where its server was killed before another took the name. */
static dp_err sweep_entry(void *arg, int fd, const char *name, dp_error *err)
{
    char whole[FOLDER_NAME_MAX];
    uint64_t step;
    const char *end;
    if (!hidden_parse(name, &step, &end) || !is_folder(fd, name))
        return DP_OK;
    folder_name(step, whole);
    if (end == ASIDE && faccessat(fd, whole, F_OK, AT_SYMLINK_NOFOLLOW) && renameat(fd, name, fd, whole) == 0)
        return DP_OK;
    return remove_hidden(arg, name, err);
}

static int reopen(const struct folder *folder)
{
    return openat(folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Synced first: a name that the disk does not have yet may be what keeps a checkpoint from losing its files here. */
dp_err folder_sweep(const struct folder *folder, dp_error *err)
{
    dp_err e = folder_sync(folder, err);
    if (e)
        return e;
    int fd = reopen(folder);
    if (fd < 0)
        return dp_fail(err, DP_IO, "%.400s: cannot read the folder: %s", folder->path, strerror(errno));
    return each_entry(fd, sweep_entry, (void *)folder, err);
}

static void drop_hidden(const struct folder *folder, uint64_t train_step, const char *end)
{
    char name[FOLDER_NAME_MAX];
    dp_error ignored;
    hidden_name(train_step, end, name);
    if (is_folder(folder->fd, name))
        (void)!remove_hidden(folder, name, &ignored);
}

void folder_give_up(const struct folder *folder, uint64_t train_step)
{
    drop_hidden(folder, train_step, DRAFT);
}

dp_err folder_remove(const struct folder *folder, uint64_t train_step, dp_error *err)
{
    char name[FOLDER_NAME_MAX], old[FOLDER_NAME_MAX];
    folder_name(train_step, name);
    hidden_name(train_step, OLD, old);
    if (is_folder(folder->fd, old)) {
        if (folder_sync(folder, err)) /* the disk may still have it by the other name */
            return err->code;
        drop_hidden(folder, train_step, OLD);
    }
    if (renameat(folder->fd, name, folder->fd, old))
        return dp_fail(err, DP_IO, "%.400s/%s: cannot be removed: %s", folder->path, name, strerror(errno));
    dp_err e = folder_sync(folder, err); /* its name goes before its files do */
    return e ? e : remove_hidden(folder, old, err);
}

/* ---- a checkpoint is written ---- */

dp_err folder_begin(const struct folder *folder, uint64_t train_step, dp_error *err)
{
    char name[FOLDER_NAME_MAX];
    hidden_name(train_step, DRAFT, name);
    if (mkdirat(folder->fd, name, FOLDER_MODE) == 0)
        return DP_OK;
    if (errno != EEXIST)
        return dp_fail(err, DP_IO, "%.400s/%s: cannot make the folder: %s", folder->path, name, strerror(errno));
    return empty(folder, name, err);
}

static dp_err write_manifest(int draft, const char *text, size_t bytes, dp_error *err)
{
    int fd = openat(draft, MANIFEST, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
    if (fd < 0)
        return dp_fail(err, DP_IO, "%s: cannot be made: %s", MANIFEST, strerror(errno));
    dp_err e = file_write_all(fd, text, bytes, err);
    if (!e && fsync(fd))
        e = dp_fail(err, DP_IO, "%s: cannot be written to the disk: %s", MANIFEST, strerror(errno));
    if (close(fd) && !e)
        e = dp_fail(err, DP_IO, "%s: cannot be closed: %s", MANIFEST, strerror(errno));
    return e;
}

static dp_err complete_draft(const struct folder *folder, const char *draft, const char *text, size_t bytes,
                             dp_error *err)
{
    int fd = openat(folder->fd, draft, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return dp_fail(err, DP_IO, "cannot open the folder: %s", strerror(errno));
    dp_err e = write_manifest(fd, text, bytes, err);
    if (!e && sync_names(fd))
        e = dp_fail(err, DP_IO, "the folder cannot be written to the disk: %s", strerror(errno));
    close(fd);
    return e;
}

/* For a file system that cannot exchange names: a kill between the two leaves the checkpoint of before aside, and
 * folder_sweep puts it back. */
static int take_by_turns(const struct folder *folder, const char *draft, const char *name, const char *aside)
{
    const bool any = renameat(folder->fd, name, folder->fd, aside) == 0;
    if (!any && errno != ENOENT)
        return -1;
    if (renameat(folder->fd, draft, folder->fd, name) == 0)
        return 0;
    const int reason = errno;
    if (any)
        (void)renameat(folder->fd, aside, folder->fd, name);
    errno = reason;
    return -1;
}

/* The draft takes the name. A checkpoint that has it takes the draft's: at no moment is there none. */
static int take_name(const struct folder *folder, const char *draft, const char *name, const char *aside)
{
    if (renameat2(folder->fd, draft, folder->fd, name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno == EEXIST && renameat2(folder->fd, draft, folder->fd, name, RENAME_EXCHANGE) == 0)
        return 0;
    return errno == EINVAL || errno == ENOSYS ? take_by_turns(folder, draft, name, aside) : -1;
}

dp_err folder_commit(const struct folder *folder, uint64_t train_step, const char *manifest, size_t bytes,
                     dp_error *err)
{
    char draft[FOLDER_NAME_MAX], name[FOLDER_NAME_MAX], aside[FOLDER_NAME_MAX];
    hidden_name(train_step, DRAFT, draft);
    hidden_name(train_step, ASIDE, aside);
    folder_name(train_step, name);
    if (complete_draft(folder, draft, manifest, bytes, err))
        return dp_fail_in(err, "%.300s/%s", folder->path, draft);
    if (take_name(folder, draft, name, aside))
        return dp_fail(err, DP_IO, "%.400s/%s: cannot take its name: %s", folder->path, name, strerror(errno));
    if (folder_sync(folder, err)) {
        /* The disk may still have the name for the checkpoint that had it: it keeps its files. */
        (void)renameat(folder->fd, draft, folder->fd, aside);
        return err->code;
    }
    drop_hidden(folder, train_step, DRAFT);
    drop_hidden(folder, train_step, ASIDE);
    return DP_OK;
}

/* ---- those that are there ---- */

struct listing {
    uint64_t *steps;
    size_t count, room;
};

static dp_err list_entry(void *arg, int fd, const char *name, dp_error *err)
{
    struct listing *list = arg;
    uint64_t step;
    (void)fd;
    if (!checkpoint_name_parse(name, &step))
        return DP_OK;
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 16;
        uint64_t *steps = realloc(list->steps, room * sizeof *steps);
        if (!steps)
            return dp_fail(err, DP_NOMEM, "out of memory for a list of checkpoints");
        list->steps = steps;
        list->room = room;
    }
    list->steps[list->count++] = step;
    return DP_OK;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

dp_err folder_list(const struct folder *folder, uint64_t **ret_steps, size_t *ret_count, dp_error *err)
{
    struct listing list = {0};
    int fd = reopen(folder);
    if (fd < 0)
        return dp_fail(err, DP_IO, "%.400s: cannot read the folder: %s", folder->path, strerror(errno));
    dp_err e = each_entry(fd, list_entry, &list, err);
    if (e) {
        free(list.steps);
        return e;
    }
    if (list.count > 0)
        qsort(list.steps, list.count, sizeof *list.steps, by_number);
    *ret_steps = list.steps;
    *ret_count = list.count;
    return DP_OK;
}
