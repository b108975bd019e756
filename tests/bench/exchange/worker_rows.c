/* See worker.h. With as many slots as workers, a worker has one once all have joined, and the same rows from
 * then on. */
#include <string.h>

#include "tests/bench/exchange/bench.h"
#include "tests/bench/exchange/worker.h"

/* Steele et al. 2014: splitmix64. */
static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/* Marks EXCHANGE_ROWS distinct rows, others for another slot. */
static void slot_mark(uint32_t slot, uint8_t *mine, uint8_t *all)
{
    uint64_t state = slot + 1;
    memset(mine, 0, EXCHANGE_TABLE_ROWS);
    for (uint64_t count = 0; count < EXCHANGE_ROWS;) {
        uint64_t id = random_next(&state) % EXCHANGE_TABLE_ROWS;
        count += !mine[id];
        mine[id] = all[id] = 1;
    }
}

/* The sorted rows of these slots go to ids[]; returns how many. */
static uint64_t slots_rows(const uint32_t *slots, uint32_t slot_count, uint64_t *ids)
{
    static uint8_t mine[EXCHANGE_TABLE_ROWS], all[EXCHANGE_TABLE_ROWS];
    uint64_t count = 0;
    memset(all, 0, sizeof all);
    for (uint32_t i = 0; i < slot_count; i++)
        slot_mark(slots[i], mine, all);
    for (uint64_t id = 0; id < EXCHANGE_TABLE_ROWS; id++)
        if (all[id])
            ids[count++] = id;
    return count;
}

dp_err worker_rows(void *arg, const dp_ask *ask, dp_rows *ret_rows, dp_error *err)
{
    static uint64_t ids[EXCHANGE_TABLE_ROWS], count;
    static uint32_t last_count, last_slots[EXCHANGE_WORKERS_MAX];
    (void)arg;
    if (ask->slot_count > EXCHANGE_WORKERS_MAX)
        return dp_fail(err, DP_USAGE, "%u slots", ask->slot_count);
    if (ask->slot_count != last_count || memcmp(ask->slots, last_slots, last_count * sizeof *last_slots) != 0) {
        last_count = ask->slot_count;
        memcpy(last_slots, ask->slots, last_count * sizeof *last_slots);
        count = slots_rows(last_slots, last_count, ids);
    }
    *ret_rows = (dp_rows){ids, count};
    return DP_OK;
}
