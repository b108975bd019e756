/* Slices kept at a step; see keep.h. Thread: shard. */
#include "server/dense/keep.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Steps of which some slots are in theta already. Steps that commit once have none: what has come of them is computed
 * again. */
static dp_err keep_arrivals(const struct slice *slice, struct slice_kept *kept)
{
    const struct steps *window = &slice->window;
    if (window->opened == window->next || shard_job_staleness(slice->job, window->next) == 0)
        return DP_OK;
    kept->open = window->opened - window->next;
    kept->accepted_bytes = (window->slots + 7) / 8;
    kept->arrived = mem_array(kept->open, sizeof *kept->arrived);
    kept->accepted = mem_array_zero(kept->open, kept->accepted_bytes);
    if (!kept->arrived || !kept->accepted)
        return DP_NOMEM;
    for (uint64_t i = 0; i < kept->open; i++) {
        kept->arrived[i] = slice->arrived[(window->next + i) % SLICE_VERSIONS];
        (void)steps_accepted(window, window->next + i, kept->accepted + i * kept->accepted_bytes);
    }
    return DP_OK;
}

dp_err slice_keep(struct slice *slice)
{
    assert(!slice->kept);
    slice->kept = mem_array_zero(1, sizeof *slice->kept);
    if (!slice->kept || keep_arrivals(slice, slice->kept)) {
        slice_kept_drop(slice);
        return DP_NOMEM;
    }
    slice->kept->version = slice->at[slice->window.next % SLICE_VERSIONS];
    version_retain(slice->kept->version);
    return DP_OK;
}

/* NULL when out of memory. */
static float *copy_of(const struct slice *slice, const float *floats)
{
    float *copy = mem_array(slice->range.count, sizeof *copy);
    if (copy)
        memcpy(copy, floats, slice->range.count * sizeof *copy);
    return copy;
}

/* A plane that stays held while a disk is slow keeps later versions of its number from workers that map it. */
static void leave_plane(const struct slice *slice, struct slice_kept *kept)
{
    if (!kept->version || kept->version->plane == VERSION_UNSHARED || slice->job->planes->readers == 0)
        return;
    kept->theta = copy_of(slice, kept->version->theta);
    if (!kept->theta)
        return; /* the plane is held, then */
    version_release(kept->version);
    kept->version = NULL;
}

void slice_keep_before(struct slice *slice)
{
    struct slice_kept *kept = slice->kept;
    if (!kept || kept->changed)
        return;
    kept->changed = true;
    leave_plane(slice, kept);
    for (uint32_t i = 0; i < slice->job->rule->state_count; i++)
        if (!kept->taken[i])
            kept->state[i] = copy_of(slice, slice->state[i]); /* NULL: its taker hears of it */
}

static void release_version(void *owner)
{
    version_release(owner);
}

/* Floats of the heap, which the blob owns. */
static struct blob blob_of(const struct slice *slice, float *floats)
{
    return (struct blob){floats, slice->range.count * sizeof *floats, floats, free};
}

struct blob slice_kept_theta(struct slice *slice)
{
    struct slice_kept *kept = slice->kept;
    float *copy = kept->theta;
    struct version *version = kept->version;
    assert(version || copy);
    kept->theta = NULL;
    kept->version = NULL;
    return copy ? blob_of(slice, copy)
                : (struct blob){version->theta, slice->range.count * sizeof(float), version, release_version};
}

dp_err slice_kept_state(struct slice *slice, uint32_t state, struct blob *ret_bytes)
{
    struct slice_kept *kept = slice->kept;
    assert(state < slice->job->rule->state_count && !kept->taken[state]);
    float *copy = kept->changed ? kept->state[state] : copy_of(slice, slice->state[state]);
    if (!copy)
        return DP_NOMEM;
    kept->state[state] = NULL;
    kept->taken[state] = true;
    *ret_bytes = blob_of(slice, copy);
    return DP_OK;
}

void slice_kept_drop(struct slice *slice)
{
    struct slice_kept *kept = slice->kept;
    slice->kept = NULL;
    if (!kept)
        return;
    if (kept->version)
        version_release(kept->version);
    for (uint32_t i = 0; i < UPDATE_STATE_MAX; i++)
        free(kept->state[i]);
    free(kept->theta);
    free(kept->arrived);
    free(kept->accepted);
    free(kept);
}
