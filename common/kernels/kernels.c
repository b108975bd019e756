/* The choice of kernels. Thread: main, before others start; readers any. */
#include "common/kernels/kernels.h"

#include <string.h>

#include "common/base/util.h"
#include "common/kernels/kernels_math.h"

#if defined(__x86_64__)
static bool cpu_has_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}

static bool cpu_has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}
#endif

static bool cpu_has_c(void)
{
    return true;
}

/* Best first. */
static const struct {
    const struct kernels *table;
    bool (*usable)(void);
} VERSIONS[] = {
#if defined(__x86_64__)
    {&kernels_avx512, cpu_has_avx512},
    {&kernels_avx2, cpu_has_avx2},
#endif
    {&kernels_ref, cpu_has_c},
};

static const struct kernels *in_force = &kernels_ref;

const struct kernels *kernels_get(void)
{
    return in_force;
}

dp_err kernels_select(const char *name, dp_error *err)
{
    bool any = strcmp(name, "auto") == 0, known = false;
    for (size_t i = 0; i < ARRAY_LEN(VERSIONS); i++) {
        if (!any && strcmp(name, VERSIONS[i].table->name) != 0)
            continue;
        known = true;
        if (!VERSIONS[i].usable())
            continue;
        in_force = VERSIONS[i].table;
        return DP_OK;
    }
    if (known)
        return dp_fail(err, DP_USAGE, "kernels %s: this CPU lacks the instructions; use auto", name);
    return dp_fail(err, DP_USAGE, "kernels %s: unknown; use auto, ref, avx2 or avx512", name);
}
