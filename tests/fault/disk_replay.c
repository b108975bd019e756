/* The states; see disk_replay.h. */
#include "tests/fault/disk_replay.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/store/folder.h"
#include "common/checkpoint/manifest.h"
#include "tests/fault/disk_log.h"
#include "tests/fault/disk_model.h"
#include "tests/fault/fleet.h"

enum {
    PENDING_MAX = 256,
    SEEN_BITS = 20,
    SUBSETS_OF = 6,
    SUBSETS_OF_THOROUGH = 10,
    RANDOM = 24,
    RANDOM_THOROUGH = 400
};

/* The lock and the job's log are not part of a checkpoint. */
static const char *const SKIPPED[] = {"lock", "log.jsonl", NULL};

/* The best checkpoint of a folder, as a server chooses it. */
struct best {
    uint64_t generation, train_step; /* 0: there is none */
};

struct chosen {
    size_t at;
    uint8_t fates[PENDING_MAX];
};

struct walk {
    struct disk_replay *replay;
    struct disk_model *model;
    uint64_t *seen; /* [1 << SEEN_BITS] digests */
    struct best safe;
    struct chosen *sample;
    uint64_t random;
    char path[FLEET_PATH_MAX];
};

static bool fails(struct walk *walk, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fails(struct walk *walk, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)!vsnprintf(walk->replay->why, sizeof walk->replay->why, format, args);
    va_end(args);
    return false;
}

/* ---- reading ---- */

static bool is_better(const struct best *a, const struct best *b)
{
    return a->generation != b->generation ? a->generation > b->generation : a->train_step > b->train_step;
}

static bool read_one(const struct folder *folder, uint64_t train_step, struct best *best, dp_error *err)
{
    char path[PATH_MAX];
    struct manifest manifest = {0};
    dp_err e = folder_path(folder, train_step, "manifest.json", path) ? manifest_read(path, &manifest, err)
                                                                      : dp_fail(err, DP_IO, "the path is too long");
    if (!e && folder_path(folder, train_step, "", path))
        e = manifest_verify(&manifest, path, NULL, err);
    const struct best found = {manifest.generation, train_step};
    if (!e && is_better(&found, best))
        *best = found;
    manifest_fini(&manifest);
    return !e;
}

/* Each checkpoint that has a name is whole. */
static bool read_all(const char *path, struct best *ret_best, dp_error *err)
{
    struct folder folder;
    uint64_t *steps = NULL;
    size_t count = 0;
    struct best best = {0, 0};
    if (folder_open(path, "lock", "a test", &folder, err))
        return false;
    bool good = !folder_list(&folder, &steps, &count, err);
    for (size_t i = 0; good && i < count; i++)
        good = read_one(&folder, steps[i], &best, err);
    free(steps);
    folder_close(&folder);
    *ret_best = best;
    return good;
}

/* ---- states ---- */

/* Whether it is there already; else it is from now on. */
static bool seen_before(struct walk *walk, uint64_t digest)
{
    const uint64_t mask = (UINT64_C(1) << SEEN_BITS) - 1;
    digest |= digest == 0;
    for (uint64_t at = digest & mask;; at = (at + 1) & mask) {
        if (walk->seen[at] == digest)
            return true;
        if (walk->seen[at] == 0) {
            walk->seen[at] = digest;
            return false;
        }
    }
}

/* Each state has the same chance to be among those that a server is started on. */
static void sample(struct walk *walk, size_t at, const uint8_t *fates)
{
    struct disk_replay *replay = walk->replay;
    uint64_t slot = random_below(&walk->random, replay->states);
    if (replay->states <= replay->runs)
        slot = replay->states - 1;
    if (slot >= replay->runs)
        return;
    walk->sample[slot].at = at;
    memcpy(walk->sample[slot].fates, fates, PENDING_MAX);
}

static bool check_folder(struct walk *walk, size_t at, struct best *ret_best)
{
    dp_error err;
    if (!read_all(walk->path, ret_best, &err))
        return fails(walk, "after call %zu, seen as whole: %.300s", at, err.text);
    if (is_better(&walk->safe, ret_best))
        return fails(walk, "after call %zu: the checkpoint of step %" PRIu64 " was on the disk, and is gone", at,
                     walk->safe.train_step);
    return true;
}

/* *ret_best stays where the state was seen before. */
static bool try_state(struct walk *walk, size_t at, const uint8_t *fates, struct best *ret_best)
{
    struct disk_state *state = disk_state_new(walk->model, at, fates);
    uint64_t digest = disk_state_digest(state) ^ (walk->safe.generation << 32) ^ walk->safe.train_step;
    bool good = true;
    walk->replay->tried++;
    if (!seen_before(walk, digest)) {
        walk->replay->states++;
        sample(walk, at, fates);
        good = disk_state_write(state, walk->path) ? check_folder(walk, at, ret_best)
                                                   : fails(walk, "cannot make the folder of a state");
        fleet_folder_remove(walk->path);
    }
    disk_state_free(&state);
    return good;
}

/* Fates number `k` of `pending` events; false: there are no more. */
static bool subset(size_t pending, size_t k, uint8_t *fates)
{
    if (k >= (size_t)1 << pending)
        return false;
    for (size_t i = 0; i < pending; i++)
        fates[i] = k >> i & 1 ? DISK_KEPT : DISK_LOST;
    return true;
}

/* All but one have the one fate. */
static bool single(size_t pending, size_t k, uint8_t *fates)
{
    static const uint8_t FATES[][2] = {
        {DISK_LOST, DISK_KEPT}, {DISK_KEPT, DISK_LOST}, {DISK_KEPT, DISK_ZEROS}, {DISK_LOST, DISK_LOST}};
    if (pending == 0 || k >= 4 * pending)
        return false;
    memset(fates, FATES[k % 4][0], pending);
    fates[k / 4] = FATES[k % 4][1];
    return true;
}

static bool by_chance(struct walk *walk, size_t pending, size_t k, uint8_t *fates)
{
    if (k >= (walk->replay->thorough ? RANDOM_THOROUGH : RANDOM))
        return false;
    for (size_t i = 0; i < pending; i++)
        fates[i] = (uint8_t)random_below(&walk->random, 3);
    return true;
}

static bool try_crash(struct walk *walk, size_t at)
{
    const size_t pending = disk_model_pending(walk->model, at);
    const size_t few = walk->replay->thorough ? SUBSETS_OF_THOROUGH : SUBSETS_OF;
    uint8_t fates[PENDING_MAX] = {0};
    struct best best = walk->safe;
    if (pending > PENDING_MAX)
        return fails(walk, "call %zu: %zu events are not synced", at, pending);
    memset(fates, DISK_LOST, sizeof fates);
    if (!try_state(walk, at, fates, &best)) /* with nothing but what is synced */
        return false;
    walk->safe = best;
    bool good = true;
    for (size_t k = 0; good && pending <= few && subset(pending, k, fates); k++)
        good = try_state(walk, at, fates, &best);
    for (size_t k = 0; good && single(pending, k, fates); k++)
        good = try_state(walk, at, fates, &best);
    for (size_t k = 0; good && pending > 0 && by_chance(walk, pending, k, fates); k++)
        good = try_state(walk, at, fates, &best);
    return good;
}

/* ---- servers on some of them ---- */

static bool run_one(struct walk *walk, const struct chosen *chosen)
{
    struct disk_replay *replay = walk->replay;
    struct disk_state *state = disk_state_new(walk->model, chosen->at, chosen->fates);
    bool good = disk_state_write(state, walk->path) ? replay->run(replay->arg, walk->path)
                                                    : fails(walk, "cannot make the folder of a state");
    if (!good)
        printf("# a server was started on the state after call %zu, %s\n", chosen->at, walk->path);
    if (good)
        fleet_folder_remove(walk->path);
    disk_state_free(&state);
    replay->ran++;
    return good;
}

bool disk_replay(struct disk_replay *replay)
{
    struct walk walk = {.replay = replay, .random = replay->seed};
    walk.model = disk_model_new(replay->log, SKIPPED);
    if (!walk.model)
        return fails(&walk, "the log has a call on a name that it does not know");
    walk.seen = calloc(UINT64_C(1) << SEEN_BITS, sizeof *walk.seen);
    walk.sample = calloc(replay->runs + 1, sizeof *walk.sample);
    if (!walk.seen || !walk.sample)
        abort();
    fleet_path(replay->folder, "state", walk.path);
    bool good = true;
    for (size_t at = 0; good && at < disk_model_crashes(walk.model); at++)
        good = try_crash(&walk, at);
    for (size_t i = 0; good && i < replay->runs && i < replay->states; i++)
        good = run_one(&walk, &walk.sample[i]);
    free(walk.seen);
    free(walk.sample);
    disk_model_free(&walk.model);
    return good;
}
