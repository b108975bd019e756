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

/* Memory of the shard's room, or where that is taken still by a checkpoint before, of the heap. Empty: out of memory.
 */
static struct blob room_for(struct slice *slice, uint32_t array)
{
    const uint64_t count = slice->range.count;
    if (!slice->cells && slice->job->room)
        slice->cells = keep_room_cells(slice->job->room, count);
    struct blob room = slice->cells ? keep_cell_take(&slice->cells[array], count) : (struct blob){0};
    if (room.data)
        return room;
    float *floats = mem_array(count, sizeof *floats);
    return floats ? (struct blob){floats, count * sizeof *floats, floats, free} : room;
}

/* Array i is state i, and theta is behind them. Empty: out of memory. */
static struct blob copy_of(struct slice *slice, uint32_t array, const float *floats)
{
    struct blob copy = room_for(slice, array);
    if (copy.data)
        memcpy(copy.data, floats, copy.bytes);
    return copy;
}

/* A plane that stays held while a disk is slow keeps later versions of its number from workers that map it. */
static void leave_plane(struct slice *slice, struct slice_kept *kept)
{
    if (!kept->version || kept->version->plane == VERSION_UNSHARED || slice->job->planes->readers == 0)
        return;
    kept->theta = copy_of(slice, slice->job->rule->state_count, kept->version->theta);
    if (!kept->theta.data)
        return; /* the plane is held, then */
    version_release(kept->version);
    kept->version = NULL;
}

void slice_keep_before(struct slice *slice)
{
    struct slice_kept *kept = slice->kept;
    if (!kept)
        return;
    if (kept->changed) /* not the first commit, which has enough to copy; the planes suffice for one more */
        leave_plane(slice, kept);
    kept->copying = !kept->changed;
    for (uint32_t i = 0; kept->copying && i < slice->job->rule->state_count; i++)
        if (!kept->taken[i])
            kept->state[i] = room_for(slice, i); /* empty: its taker hears of it */
    kept->changed = true;
}

void slice_keep_run(struct slice *slice, uint64_t at, size_t n)
{
    struct slice_kept *kept = slice->kept;
    if (!kept || !kept->copying)
        return;
    for (uint32_t i = 0; i < slice->job->rule->state_count; i++)
        if (kept->state[i].data)
            memcpy((float *)kept->state[i].data + at, slice->state[i] + at, n * sizeof(float));
}

void slice_keep_after(struct slice *slice)
{
    if (slice->kept)
        slice->kept->copying = false;
}

static void release_version(void *owner)
{
    version_release(owner);
}

static struct blob move(struct blob *from)
{
    struct blob bytes = *from;
    *from = (struct blob){0};
    return bytes;
}

struct blob slice_kept_theta(struct slice *slice)
{
    struct slice_kept *kept = slice->kept;
    struct version *version = kept->version;
    assert(version || kept->theta.data);
    kept->version = NULL;
    return version ? (struct blob){version->theta, slice->range.count * sizeof(float), version, release_version}
                   : move(&kept->theta);
}

dp_err slice_kept_state(struct slice *slice, uint32_t state, struct blob *ret_bytes)
{
    struct slice_kept *kept = slice->kept;
    assert(state < slice->job->rule->state_count && !kept->taken[state]);
    struct blob copy = kept->changed ? move(&kept->state[state]) : copy_of(slice, state, slice->state[state]);
    if (!copy.data)
        return DP_NOMEM;
    kept->taken[state] = true;
    *ret_bytes = copy;
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
        blob_release(&kept->state[i]);
    blob_release(&kept->theta);
    free(kept->arrived);
    free(kept->accepted);
    free(kept);
}
