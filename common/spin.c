/* See spin.h. */
#include "spin.h"

#include <sched.h>
#include <stdatomic.h>

#include "util.h"

/* Asked once. A machine with more cores than a cpu_set_t holds has many. */
static bool cores_many(void)
{
    static atomic_int known;
    int cores = atomic_load_explicit(&known, memory_order_relaxed);
    if (cores == 0) {
        cpu_set_t set;
        cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : CPU_SETSIZE;
        atomic_store_explicit(&known, cores, memory_order_relaxed);
    }
    return cores > 1;
}

void spin_begin(struct spin *spin)
{
    spin->since_ns = 0;
    if (spin->rest > 0)
        spin->rest--;
    else if (cores_many())
        spin->since_ns = mono_ns();
}

static bool in_time(const struct spin *spin, uint64_t most_us)
{
    return mono_ns() - spin->since_ns < most_us * 1000;
}

static void in_vain(struct spin *spin)
{
    spin->since_ns = 0;
    spin->rest_len = MIN(2 * spin->rest_len + 1, (uint32_t)SPIN_REST_MAX);
    spin->rest = spin->rest_len;
}

bool spin_more(struct spin *spin)
{
    if (spin->since_ns == 0)
        return false;
    if (in_time(spin, SPIN_US)) {
        sched_yield();
        return true;
    }
    in_vain(spin);
    return false;
}

void spin_found(struct spin *spin)
{
    if (spin->since_ns == 0)
        return;
    if (!in_time(spin, SPIN_LATE_US)) {
        in_vain(spin);
        return;
    }
    spin->rest_len = 0;
    spin->since_ns = 0;
}
