/* The checkpoint at a path; see choose.h. Thread: any. */
#include "common/checkpoint/choose.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/text.h"
#include "common/base/util.h"
#include "common/checkpoint/name.h"

enum { LIST_MAX = 1 << 16 };

bool checkpoint_is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool join(char path[PATH_MAX], const char *folder, const char *name)
{
    const int n = snprintf(path, PATH_MAX, "%s/%s", folder, name);
    return n > 0 && n < PATH_MAX;
}

/* ---- one ---- */

/* The manifest of the checkpoint in a folder; `train_step` by its name, if it has one of ours. */
static dp_err read_one(const char *folder, const uint64_t *train_step, struct manifest *ret_manifest, dp_error *err)
{
    char path[PATH_MAX];
    if (!join(path, folder, CHECKPOINT_MANIFEST))
        return dp_fail(err, DP_IO, "the path is too long: %.80s...", folder);
    dp_err e = manifest_read(path, ret_manifest, err);
    if (e || !train_step || ret_manifest->train_step == *train_step)
        return e;
    e = dp_fail(err, DP_DATA, "%.400s: is of training step %" PRIu64 ", and the folder has another's name", path,
                ret_manifest->train_step);
    manifest_fini(ret_manifest);
    return e;
}

dp_err checkpoint_trust(const char *folder, struct checkpoint_chosen *ret_chosen, dp_error *err)
{
    if (!str_copy(ret_chosen->path, sizeof ret_chosen->path, folder))
        return dp_fail(err, DP_IO, "the path is too long: %.80s...", folder);
    return read_one(folder, NULL, &ret_chosen->manifest, err);
}

static dp_err choose_one(const char *path, struct checkpoint_chosen *ret_chosen, dp_error *err)
{
    dp_err e = checkpoint_trust(path, ret_chosen, err);
    if (e)
        return e;
    e = manifest_verify(&ret_chosen->manifest, path, NULL, err);
    if (e)
        manifest_fini(&ret_chosen->manifest);
    return e;
}

/* ---- the newest of a folder ---- */

/* A file that this process cannot read may be whole: an older checkpoint must not take its place. */
static bool is_damage(dp_err e)
{
    return e != DP_SYSTEM && e != DP_NOMEM;
}

/* One that is damaged is no error. */
static dp_err pass_over(struct checkpoint_list *all, struct checkpoint_damage damage, const dp_error *why,
                        dp_error *err)
{
    if (!is_damage(why->code)) {
        *err = *why;
        return why->code;
    }
    all->damaged++;
    if (damage.tell)
        damage.tell(damage.arg, why);
    return DP_OK;
}

static dp_err add(struct checkpoint_list *all, struct checkpoint_candidate candidate, dp_error *err)
{
    if (all->count == all->room) {
        const size_t room = all->room ? 2 * all->room : 16;
        struct checkpoint_candidate *list = room <= LIST_MAX ? realloc(all->list, room * sizeof *list) : NULL;
        if (!list)
            return dp_fail(err, DP_NOMEM, "out of memory for a list of checkpoints");
        all->list = list;
        all->room = room;
    }
    all->list[all->count++] = candidate;
    return DP_OK;
}

/* A checkpoint whose manifest cannot be read is told of. */
static dp_err add_entry(struct checkpoint_list *all, const char *dir, const char *name, struct checkpoint_damage damage,
                        dp_error *err)
{
    char folder[PATH_MAX];
    struct manifest manifest = {0};
    struct checkpoint_candidate candidate = {0};
    dp_error why = {.code = DP_OK};
    if (!checkpoint_name_parse(name, &candidate.train_step))
        return DP_OK;
    if (!join(folder, dir, name))
        return dp_fail(err, DP_IO, "the path is too long: %.80s...", dir);
    if (read_one(folder, &candidate.train_step, &manifest, &why))
        return pass_over(all, damage, &why, err);
    candidate.generation = manifest.generation;
    all->generation = MAX(all->generation, manifest.generation);
    manifest_fini(&manifest);
    return add(all, candidate, err);
}

dp_err checkpoint_list_read(const char *dir, struct checkpoint_damage damage, struct checkpoint_list *ret_list,
                            dp_error *err)
{
    DIR *entries = opendir(dir);
    dp_err e = DP_OK;
    *ret_list = (struct checkpoint_list){0};
    if (!entries)
        return dp_fail(err, DP_IO, "%.400s: cannot read the folder: %s", dir, strerror(errno));
    for (const struct dirent *entry; !e && (entry = readdir(entries));)
        e = add_entry(ret_list, dir, entry->d_name, damage, err);
    closedir(entries);
    return e;
}

void checkpoint_list_fini(struct checkpoint_list *list)
{
    free(list->list);
    *list = (struct checkpoint_list){0};
}

/* The later one: of the last time that the job was begun, or else the farther one. */
static bool is_later(const struct checkpoint_candidate *a, const struct checkpoint_candidate *b)
{
    return a->generation != b->generation ? a->generation > b->generation : a->train_step > b->train_step;
}

/* Takes the latest one from the list. */
static struct checkpoint_candidate take_latest(struct checkpoint_list *all)
{
    size_t at = 0;
    for (size_t i = 1; i < all->count; i++)
        if (is_later(&all->list[i], &all->list[at]))
            at = i;
    struct checkpoint_candidate latest = all->list[at];
    all->list[at] = all->list[--all->count];
    return latest;
}

dp_err checkpoint_list_choose(const char *dir, struct checkpoint_list *all, struct checkpoint_damage damage,
                              struct checkpoint_chosen *ret_chosen, bool *ret_found, dp_error *err)
{
    dp_err e = DP_OK;
    *ret_found = false;
    while (!e && !*ret_found && all->count > 0) {
        char name[CHECKPOINT_NAME_MAX], folder[PATH_MAX];
        dp_error why = {.code = DP_OK};
        checkpoint_name(take_latest(all).train_step, name);
        (void)join(folder, dir, name); /* fits: its manifest's path did */
        if (choose_one(folder, ret_chosen, &why))
            e = pass_over(all, damage, &why, err);
        else
            *ret_found = true;
    }
    return e;
}

/* The newest whole one of a folder. */
static dp_err choose_latest(const char *dir, struct checkpoint_damage damage, struct checkpoint_chosen *ret_chosen,
                            dp_error *err)
{
    struct checkpoint_list all;
    bool found = false;
    dp_err e = checkpoint_list_read(dir, damage, &all, err);
    if (!e)
        e = checkpoint_list_choose(dir, &all, damage, ret_chosen, &found, err);
    const size_t damaged = all.damaged;
    checkpoint_list_fini(&all);
    if (e || found)
        return e;
    if (damaged)
        return dp_fail(err, DP_DATA, "%.400s: has checkpoints, and none of them is whole", dir);
    return dp_fail(err, DP_DATA, "%.400s: is a folder without a checkpoint of dp; give a model, or a --checkpoint-dir",
                   dir);
}

dp_err checkpoint_choose(const char *path, struct checkpoint_damage damage, struct checkpoint_chosen *ret_chosen,
                         dp_error *err)
{
    char manifest[PATH_MAX];
    uint64_t train_step;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (checkpoint_name_parse(name, &train_step) ||
        (join(manifest, path, CHECKPOINT_MANIFEST) && !access(manifest, F_OK)))
        return choose_one(path, ret_chosen, err);
    return choose_latest(path, damage, ret_chosen, err);
}
