/* Seats; see seats.h. Thread: head. */
#include "server/seats/seats.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/util.h"

dp_err seats_reserve(struct seats *seats, uint32_t more)
{
    struct seat *list = mem_array_zero((size_t)seats->count + more, sizeof *list);
    if (!list)
        return DP_NOMEM;
    if (seats->count)
        memcpy(list, seats->list, seats->count * sizeof *list);
    free(seats->list);
    seats->list = list;
    seats->room = seats->count + more;
    return DP_OK;
}

void seats_add(struct seats *seats, const struct seat *seat)
{
    assert(seats->count < seats->room && seat->link && seat->counters);
    seats->list[seats->count] = *seat;
    seats->list[seats->count++].runs = true;
}

void seats_stop(struct seats *seats)
{
    for (uint32_t s = 0; s < seats->count; s++) {
        struct seat *seat = &seats->list[s];
        if (seat->runs)
            seat->ops->stop(seat);
        seat->runs = false;
    }
}

void seats_fini(struct seats *seats)
{
    for (uint32_t s = 0; s < seats->count; s++) {
        assert(!seats->list[s].runs);
        seats->list[s].ops->free(&seats->list[s]);
    }
    free(seats->list);
    *seats = (struct seats){0};
}

static struct seat *at(const struct seats *seats, uint32_t shard)
{
    assert(shard < seats->count);
    return &seats->list[shard];
}

const struct seat *seats_at(const struct seats *seats, uint32_t shard)
{
    return at(seats, shard);
}

bool seats_send(struct seats *seats, uint32_t shard, const struct command *command)
{
    return shard_link_send(at(seats, shard)->link, command);
}

bool seats_take(struct seats *seats, uint32_t shard, struct event *ret_event)
{
    struct seat *seat = at(seats, shard);
    return seat->runs && shard_link_take(seat->link, ret_event);
}

bool seats_take_arrival(struct seats *seats, struct arrival *ret_arrival)
{
    struct seat *seat = at(seats, seats->arrivals_of);
    return seat->runs && shard_link_take_arrival(seat->link, ret_arrival);
}

/* ---- steps, fences and pins of the shards ---- */

void seats_begin(struct seats *seats, uint32_t shard, uint64_t low)
{
    at(seats, shard)->low = low;
}

void seats_hear_arrivals(struct seats *seats, uint32_t shard)
{
    assert(shard < seats->count);
    seats->arrivals_of = shard;
}

void seats_forget(struct seats *seats)
{
    for (uint32_t s = 0; s < seats->count; s++)
        seats->list[s].low = 0;
    seats->arrivals_of = 0;
}

void seats_completed(struct seats *seats, uint32_t shard, uint64_t step)
{
    at(seats, shard)->low = step + 1;
}

uint64_t seats_low(const struct seats *seats)
{
    uint64_t low = UINT64_MAX;
    for (uint32_t s = 0; s < seats->count; s++)
        low = MIN(low, seats->list[s].low);
    return low;
}

void seats_announce_low(struct seats *seats, uint64_t low)
{
    for (uint32_t s = 0; s < seats->count; s++)
        shard_link_announce_low(seats->list[s].link, low);
}

uint64_t seats_fence(struct seats *seats)
{
    return ++seats->fences;
}

void seats_see_fences(struct seats *seats)
{
    uint64_t known = seats->fences;
    for (uint32_t s = 0; s < seats->count; s++)
        known = MIN(known, shard_link_fenced(seats->list[s].link));
    if (known == seats->all_fenced)
        return;
    seats->all_fenced = known;
    for (uint32_t s = 0; s < seats->count; s++)
        shard_link_announce_fences(seats->list[s].link, known);
}

uint64_t seats_pin(struct seats *seats, uint64_t step)
{
    seats->pins++;
    for (uint32_t s = 0; s < seats->count; s++)
        if (!seats_send(seats, s, &(struct command){.kind = COMMAND_PIN, .pin = {step, seats->pins}}))
            return 0;
    return seats->pins;
}
