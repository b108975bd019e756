/* Grants of a session; see grants.h. */
#include "server/deal/grants.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/util.h"

enum { SET_HELD, SET_DEALT, SET_EXTRA, SET_LATE, SET_COUNT = SET_LATE + GRANTS_LATE };

struct deal *deal_new(uint32_t slots, uint32_t extras)
{
    size_t owners = slots * sizeof(uint32_t);
    struct deal *deal = mem_array_zero(1, sizeof *deal + owners + (size_t)extras * sizeof(struct deal_extra));
    if (!deal)
        return NULL;
    deal->slots = slots;
    deal->owner = deal->room;
    deal->extra = (struct deal_extra *)(deal->owner + slots);
    deal->probe.session = GRANTS_NO_PROBE;
    return deal;
}

dp_err grants_init(struct grants *grants, uint32_t slots)
{
    struct grants made = {.slots = slots, .words = (slots + 63) / 64, .probe.session = GRANTS_NO_PROBE};
    made.sets = mem_array_zero((size_t)made.words * SET_COUNT, sizeof *made.sets);
    if (!made.sets)
        return DP_NOMEM;
    *grants = made;
    return DP_OK;
}

void grants_fini(struct grants *grants)
{
    free(grants->sets);
    *grants = (struct grants){0};
}

static uint64_t *set_at(const struct grants *grants, uint32_t which)
{
    return grants->sets + (size_t)which * grants->words;
}

static void set_clear(struct grants *grants, uint32_t which)
{
    memset(set_at(grants, which), 0, grants->words * sizeof(uint64_t));
}

static void set_add(struct grants *grants, uint32_t which, uint32_t slot)
{
    assert(slot < grants->slots);
    set_at(grants, which)[slot / 64] |= UINT64_C(1) << (slot % 64);
}

/* Slots that are lost one after the other share a set for GRANTS_GRACE steps, then the other one: by the time it is
 * needed again, what it has is out of date. */
static void turn_late(struct grants *grants, uint64_t step)
{
    struct grants_late *late = grants->late;
    if (step < late[0].begun + GRANTS_GRACE && late[0].until > 0)
        return;
    memcpy(set_at(grants, SET_LATE + 1), set_at(grants, SET_LATE), grants->words * sizeof(uint64_t));
    late[1] = late[0];
    set_clear(grants, SET_LATE);
    late[0] = (struct grants_late){.begun = step};
}

void grants_begin(struct grants *grants)
{
    set_clear(grants, SET_DEALT);
}

void grants_dealt(struct grants *grants, uint32_t slot)
{
    set_add(grants, SET_DEALT, slot);
}

void grants_end(struct grants *grants, uint64_t step)
{
    uint64_t *held = set_at(grants, SET_HELD), *dealt = set_at(grants, SET_DEALT), lost = 0;
    for (uint32_t i = 0; i < grants->words; i++)
        lost |= held[i] & ~dealt[i];
    if (lost) {
        turn_late(grants, step);
        grants->late[0].until = MAX(grants->late[0].until, step + GRANTS_GRACE);
        for (uint32_t i = 0; i < grants->words; i++)
            set_at(grants, SET_LATE)[i] |= held[i] & ~dealt[i];
    }
    memcpy(held, dealt, grants->words * sizeof *held);
}

void grants_extra(struct grants *grants, uint64_t step, uint32_t slot)
{
    if (step < grants->extra_step)
        return;
    if (step > grants->extra_step)
        set_clear(grants, SET_EXTRA);
    grants->extra_step = step;
    set_add(grants, SET_EXTRA, slot);
}

void grants_probe(struct grants *grants, const struct grants_probe *probe)
{
    grants->probe = *probe;
}

void grants_leave(struct grants *grants, uint64_t step)
{
    grants->probe.session = GRANTS_NO_PROBE;
    grants_begin(grants);
    grants_end(grants, step);
}

/* Bits of the word that may be pushed for the step. */
static uint64_t allowed(const struct grants *grants, uint64_t step, uint32_t word)
{
    uint64_t bits = set_at(grants, SET_HELD)[word];
    if (step == grants->extra_step)
        bits |= set_at(grants, SET_EXTRA)[word];
    if (step == grants->probe.step && grants->probe.session != GRANTS_NO_PROBE && grants->probe.slot / 64 == word)
        bits |= UINT64_C(1) << (grants->probe.slot % 64);
    for (uint32_t i = 0; i < GRANTS_LATE; i++)
        if (step < grants->late[i].until)
            bits |= set_at(grants, SET_LATE + i)[word];
    return bits;
}

uint32_t grants_lacking(const struct grants *grants, uint64_t step, uint32_t first, uint32_t end)
{
    if (grants->slots == 0)
        return first;
    for (uint32_t at = first; at < end; at = (at / 64 + 1) * 64) {
        uint64_t lacking = ~allowed(grants, step, at / 64) >> (at % 64);
        if (lacking)
            return MIN(at + (uint32_t)__builtin_ctzll(lacking), end);
    }
    return end;
}
