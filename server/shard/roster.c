/* Rosters of a shard; the invariants are in roster.h. Thread: shard. */
#include "server/shard/roster.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/shard/shard.h"

dp_err roster_init(struct roster *roster, uint32_t slots)
{
    *roster = (struct roster){.on = true};
    roster->live = mem_array_zero(slots, 1);
    roster->coming = mem_array_zero(slots, 1);
    return roster->live && roster->coming ? DP_OK : DP_NOMEM;
}

void roster_fini(struct roster *roster)
{
    free(roster->live);
    free(roster->coming);
    *roster = (struct roster){0};
}

bool roster_lets_go(const struct roster *roster, uint64_t step)
{
    return !roster->on || step < roster->go;
}

static bool slot_is_void(const void *arg, uint32_t slot)
{
    const uint8_t *live = arg;
    return !live[slot];
}

/* Opens the slice's step anew under the roster now in force; of what had arrived, slots that are not void stay. There
 * are no inner nodes: workers push their one slot, and nothing is folded before the commit. */
static void slice_revise(struct slice *slice, const uint8_t *live)
{
    struct steps *window = &slice->window;
    uint64_t step = window->next;
    if (step >= slice->total_steps)
        return;
    for (uint32_t k = 0; k < window->slots; k++)
        if (!live[k]) {
            blob_release(&slice->nodes[window->leaves + k].gradient);
            slice->nodes[window->leaves + k] = (struct node){0};
        }
    steps_open(window, step, slot_is_void, live);
    for (uint32_t k = 0; k < window->slots; k++) {
        uint32_t node = window->leaves + k, replaced;
        if (slice->nodes[node].gradient.data)
            (void)steps_offer(window, step, node, slice->replaced, &replaced);
    }
}

/* Whether each slice has committed all that may go. */
static bool all_at_go(const struct shard *shard)
{
    for (uint32_t i = 0; i < shard->slice_count; i++)
        if (shard->slices[i].window.next < MIN(shard->roster.go, shard->total_steps))
            return false;
    return true;
}

/* The first step that is not ready on all slices: complete, by somebody. */
static uint64_t first_unready(const struct shard *shard)
{
    uint64_t first = UINT64_MAX;
    for (uint32_t i = 0; i < shard->slice_count; i++) {
        const struct steps *window = &shard->slices[i].window;
        bool ready = steps_held(window, window->next) > 0 && steps_complete(window, window->next);
        first = MIN(first, window->next + ready);
    }
    return first;
}

static void tell(struct shard *shard)
{
    struct roster *roster = &shard->roster;
    uint64_t ready = first_unready(shard);
    if (ready == roster->told_ready && roster->number == roster->told_number)
        return;
    roster->told_ready = ready;
    roster->told_number = roster->number;
    shard->calls.emit(shard->calls.arg, &(struct event){.kind = EVENT_READY, .ready = {ready, roster->number}});
}

/* The most that a slice is owed of a training step that all of them are at; UINT32_MAX if they are not. */
static uint32_t most_owed(const struct shard *shard)
{
    uint64_t step = shard->roster.go;
    uint32_t most = 0;
    if (step >= shard->total_steps || plan_at(&shard->own.plan, step).kind != PLAN_TRAIN)
        return UINT32_MAX;
    for (uint32_t i = 0; i < shard->slice_count; i++) {
        if (shard->slices[i].window.next != step)
            return UINT32_MAX;
        most = MAX(most, steps_missing(&shard->slices[i].window, step));
    }
    return most;
}

static void tell_few(struct shard *shard)
{
    struct roster *roster = &shard->roster;
    if (shard->own.slowest == 0 || roster->told_few || most_owed(shard) > shard->own.slowest)
        return;
    roster->told_few = true;
    shard->calls.emit(shard->calls.arg, &(struct event){.kind = EVENT_FEW, .few = {roster->go}});
}

void roster_look(struct shard *shard)
{
    struct roster *roster = &shard->roster;
    if (roster->number != roster->coming_number && all_at_go(shard)) {
        memcpy(roster->live, roster->coming, shard->own.plan.slots);
        roster->number = roster->coming_number;
        for (uint32_t i = 0; i < shard->slice_count; i++)
            slice_revise(&shard->slices[i], roster->live);
    }
    tell(shard);
    tell_few(shard);
}

void roster_drop(struct shard *shard, uint64_t step, const uint8_t *live, uint32_t count)
{
    assert(shard->roster.go == step && all_at_go(shard));
    shard->roster.drop_step = step;
    shard->roster.drop_count = count;
    for (uint32_t i = 0; i < shard->slice_count; i++)
        slice_revise(&shard->slices[i], live);
    shard_go(shard, step + 1);
}

uint32_t roster_dropped(const struct roster *roster, uint64_t step)
{
    return step == roster->drop_step ? roster->drop_count : 0;
}

void roster_asked(struct roster *roster)
{
    roster->told_few = false;
}

void roster_take(struct shard *shard, uint64_t number, const uint8_t *live)
{
    struct roster *roster = &shard->roster;
    roster->coming_number = number;
    memcpy(roster->coming, live, shard->own.plan.slots);
    roster_look(shard);
}
