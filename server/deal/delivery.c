/* Whether a member delivers what it owes; see delivery.h. Thread: head. */
#include "server/deal/delivery.h"

#include <assert.h>

#include "common/base/util.h"

/* Weight of the last step in shown_us. */
#define SHOWN_WEIGHT 0.2

static uint64_t since(uint64_t then_us, uint64_t now_us)
{
    return now_us - MIN(now_us, then_us);
}

void delivery_owe(struct delivery *d, uint64_t now_us)
{
    if (d->owed_us == 0)
        d->owed_us = MAX(now_us, 1);
    if (d->silent_us == 0)
        d->silent_us = d->owed_us;
}

bool delivery_came(struct delivery *d, bool owes, uint64_t now_us)
{
    d->came_us = MAX(d->came_us, MAX(now_us, 1));
    d->owed_us = d->silent_us = 0;
    d->misses = d->silent = 0;
    if (owes)
        delivery_owe(d, now_us);
    if (!d->hung || now_us < d->until_us)
        return false;
    d->hung = false;
    d->hung_us = now_us;
    return true;
}

void delivery_took(struct delivery *d, uint64_t took_us)
{
    d->longest_us = MAX(took_us, d->longest_us - d->longest_us / 16);
}

void delivery_hang(struct delivery *d, uint64_t cost_us, uint64_t now_us)
{
    uint64_t out_us = MAX((uint64_t)DELIVERY_OUT_US, DELIVERY_OUT_TIMES * cost_us);
    bool again = d->hung_us > 0 && since(d->hung_us, now_us) < DELIVERY_RELAPSE_US;
    d->relapses = again ? MIN(d->relapses + 1, (uint32_t)DELIVERY_OUT_DOUBLINGS) : 0;
    d->hung = true;
    d->hung_us = MAX(now_us, 1);
    d->until_us = now_us + (out_us << d->relapses);
    d->probe_us = 0;
}

bool delivery_step_ended(struct delivery *d, uint64_t allowed_us, uint64_t now_us)
{
    if (d->owed_us == 0)
        return false;
    d->silent++;
    bool overdue = since(d->owed_us, now_us) > allowed_us;
    bool silent = d->silent >= DELIVERY_SILENT && since(d->silent_us, now_us) > DELIVERY_SILENT_US;
    if (!overdue)
        d->owed_us = 0; /* the head has told the member that it need not go on */
    d->misses += overdue || silent;
    if (d->hung || d->misses < (uint32_t)(d->came_us ? DELIVERY_MISSES : DELIVERY_MISSES_NEW))
        return false;
    delivery_hang(d, 0, now_us);
    return true;
}

static void set_floor(struct delivery *d, double slot_us, uint64_t now_us)
{
    if (d->floor_us <= 0) {
        bool again = d->floor_until_us > 0 && since(d->floor_until_us, now_us) < DELIVERY_RELAPSE_US;
        d->lapses = again ? MIN(d->lapses + 1, (uint32_t)DELIVERY_FLOOR_DOUBLINGS) : 0;
        d->floor_until_us = now_us + ((uint64_t)DELIVERY_FLOOR_US << d->lapses);
    }
    assert(d->lapses <= DELIVERY_FLOOR_DOUBLINGS);
    d->floor_us = slot_us;
}

void delivery_shown(struct delivery *d, double slot_us)
{
    d->shown_us = d->shown_us > 0 ? d->shown_us + SHOWN_WEIGHT * (slot_us - d->shown_us) : slot_us;
}

void delivery_late(struct delivery *d, bool late, double slot_us, uint64_t now_us)
{
    d->late = late ? d->late + 1 : 0;
    if (d->late < DELIVERY_LATE)
        return;
    set_floor(d, slot_us, now_us);
    d->late = 0;
}

void delivery_forget(struct delivery *d, uint64_t now_us)
{
    if (now_us >= d->floor_until_us)
        d->floor_us = 0;
}

void delivery_probed(struct delivery *d, uint64_t step, uint32_t slot, uint64_t now_us)
{
    d->probe_step = step;
    d->probe_slot = slot;
    d->probe_us = MAX(now_us, 1);
    d->probe_opened_us = 0;
}

void delivery_opened(struct delivery *d, uint64_t step, uint64_t now_us)
{
    if (d->probe_us > 0 && d->probe_opened_us == 0 && step >= d->probe_step)
        d->probe_opened_us = MAX(now_us, 1);
}

void delivery_answered(struct delivery *d, uint64_t step, uint32_t first, uint32_t end, uint64_t now_us)
{
    if (d->probe_us == 0 || step != d->probe_step || d->probe_slot < first || d->probe_slot >= end)
        return;
    if (d->probe_opened_us > 0 && now_us > d->probe_opened_us)
        d->shown_us = (double)(now_us - d->probe_opened_us);
    d->probe_us = 0;
}
