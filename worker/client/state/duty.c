/* Slots that a worker owes at a step. Invariant: both lists are in strictly ascending order of steps. Thread: the
 * client's. */
#include "worker/client/state/duty.h"

#include <assert.h>
#include <string.h>

static void entry_fill(struct duty_entry *entry, uint64_t step, const uint32_t *slots, size_t count)
{
    *entry = (struct duty_entry){.step = step};
    for (size_t i = 0; i < count; i++)
        if (slots[i] < SLOT_SET_MAX)
            slot_set_add(&entry->slots, slots[i]);
}

/* Index of the assignment that is in force at `step`, or assign_count if there is none. */
static size_t assign_find(const struct duty *duty, uint64_t step)
{
    size_t found = duty->assign_count;
    for (size_t i = 0; i < duty->assign_count && duty->assigns[i].step <= step; i++)
        found = i;
    return found;
}

/* Assignments before the one in force, and extras of past steps, are of no use any more. */
static void duty_forget(struct duty *duty, uint64_t step)
{
    size_t past = assign_find(duty, step);
    if (past > 0 && past < duty->assign_count) {
        duty->assign_count -= past;
        memmove(duty->assigns, duty->assigns + past, duty->assign_count * sizeof *duty->assigns);
    }
    past = 0;
    while (past < duty->extra_count && duty->extras[past].step < step)
        past++;
    duty->extra_count -= past;
    memmove(duty->extras, duty->extras + past, duty->extra_count * sizeof *duty->extras);
}

static bool entries_ascend(const struct duty_entry *entries, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (entries[i].step <= entries[i - 1].step)
            return false;
    return true;
}

static void duty_take_slots(struct duty *duty, const struct duty_assign *assign)
{
    while (duty->assign_count > 0 && duty->assigns[duty->assign_count - 1].step >= assign->from_step)
        duty->assign_count--;
    if (duty->assign_count == DUTY_ASSIGNS_MAX)
        duty->assign_count--;
    entry_fill(&duty->assigns[duty->assign_count++], assign->from_step, assign->slots, assign->slot_count);
}

/* Extras of one step add up: each message may speak of another lost worker. */
static void duty_take_extras(struct duty *duty, const struct duty_assign *assign)
{
    struct duty_entry more;
    entry_fill(&more, assign->extra_step, assign->extra_slots, assign->extra_count);
    size_t at = 0;
    while (at < duty->extra_count && duty->extras[at].step < more.step)
        at++;
    if (at < duty->extra_count && duty->extras[at].step == more.step) {
        slot_set_union(&duty->extras[at].slots, &more.slots);
        return;
    }
    if (at == DUTY_EXTRAS_MAX)
        return;
    duty->extra_count -= duty->extra_count == DUTY_EXTRAS_MAX;
    memmove(duty->extras + at + 1, duty->extras + at, (duty->extra_count - at) * sizeof *duty->extras);
    duty->extras[at] = more;
    duty->extra_count++;
}

void duty_take(struct duty *duty, const struct duty_assign *assign, uint64_t step)
{
    duty_forget(duty, step);
    duty_take_slots(duty, assign);
    if (assign->extra_count > 0 && assign->extra_step >= step)
        duty_take_extras(duty, assign);
    assert(duty->assign_count <= DUTY_ASSIGNS_MAX && entries_ascend(duty->assigns, duty->assign_count));
    assert(duty->extra_count <= DUTY_EXTRAS_MAX && entries_ascend(duty->extras, duty->extra_count));
}

void duty_at(const struct duty *duty, uint64_t step, struct slot_set *ret_slots)
{
    *ret_slots = (struct slot_set){0};
    size_t in_force = assign_find(duty, step);
    if (in_force < duty->assign_count)
        *ret_slots = duty->assigns[in_force].slots;
    for (size_t i = 0; i < duty->extra_count; i++)
        if (duty->extras[i].step == step)
            slot_set_union(ret_slots, &duty->extras[i].slots);
}
