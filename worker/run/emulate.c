/* Emulated compute; see emulate.h. Thread: any. */
#include "worker/run/emulate.h"

#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/entropy.h"
#include "common/base/rng.h"
#include "common/base/util.h"

#define STALL_FACTOR_MAX 1e6
#define LOOK_NS UINT64_C(100000000) /* the stop flag is looked at so often */

dp_err emulate_init(struct emulate *emulate, double slot_ms, double slower, const char *stalls, dp_error *err)
{
    struct emulate made = {.slot_ms = slot_ms, .slower = slower, .stall_factor = 1, .seed = entropy_u64()};
    if (slot_ms <= 0 && (stalls || slower > 1))
        return dp_fail(err, DP_USAGE, "option --emulate-%s is a multiple of --emulate-slot-ms: give that as well",
                       stalls ? "stalls" : "slower");
    if (stalls) {
        char *at, *end = NULL;
        made.stall_factor = strtod(stalls, &at);
        if (*at == '@')
            made.stall_share = strtod(at + 1, &end);
        if (!end || end == at + 1 || *end || !(made.stall_factor >= 1 && made.stall_factor <= STALL_FACTOR_MAX) ||
            !(made.stall_share >= 0 && made.stall_share <= 1))
            return dp_fail(err, DP_USAGE,
                           "option --emulate-stalls: '%s' is not FACTOR@SHARE with a factor from 1 to %.0f and a share "
                           "of slots from 0 to 1, such as 3@0.2",
                           stalls, STALL_FACTOR_MAX);
    }
    *emulate = made;
    return DP_OK;
}

double emulate_slot_ms(const struct emulate *emulate, uint64_t step, uint32_t slot)
{
    const uint32_t counter[4] = {(uint32_t)step, (uint32_t)(step >> 32), slot, 0};
    uint32_t words[4];
    if (emulate->slot_ms <= 0)
        return 0;
    rng_philox(emulate->seed, counter, words);
    bool stalls = words[0] * 0x1p-32 < emulate->stall_share;
    return emulate->slot_ms * emulate->slower * (stalls ? emulate->stall_factor : 1);
}

static bool is_stopped(const struct emulate *emulate)
{
    return emulate->stop && __atomic_load_n(emulate->stop, __ATOMIC_RELAXED);
}

void emulate_wait(const struct emulate *emulate, uint64_t step, uint32_t slot, uint64_t begin_ns)
{
    uint64_t end_ns = begin_ns + (uint64_t)(emulate_slot_ms(emulate, step, slot) * 1e6);
    for (uint64_t now = mono_ns(); now < end_ns && !is_stopped(emulate); now = mono_ns()) {
        const uint64_t until = MIN(end_ns, now + LOOK_NS);
        const struct timespec at = {(time_t)(until / 1000000000u), (long)(until % 1000000000u)};
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    }
}
