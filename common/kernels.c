/* Which kernels are in force, BLAS set-up, and the fingerprint of what decides bits.
 * Thread: main, before others start; readers any. */
#include "kernels.h"

#include <cblas.h>
#include <stdio.h>
#include <string.h>

#include "kernels_math.h"
#include "util.h"

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
static char fingerprint[160];

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
        fingerprint[0] = 0;
        return DP_OK;
    }
    if (known)
        return dp_fail(err, DP_USAGE, "kernels %s: this CPU lacks the instructions; use auto", name);
    return dp_fail(err, DP_USAGE, "kernels %s: unknown; use auto, ref, avx2 or avx512", name);
}

void blas_init(void)
{
    openblas_set_num_threads(1);
}

/* "0.3.21" of "OpenBLAS 0.3.21 DYNAMIC_ARCH ...". */
static void blas_version(char *version, size_t size)
{
    const char *config = openblas_get_config();
    const char *space = strchr(config, ' ');
    const char *from = space ? space + 1 : config;
    snprintf(version, size, "%.*s", (int)strcspn(from, " "), from);
}

const char *numerics_fingerprint(void)
{
    if (fingerprint[0])
        return fingerprint;
#if defined(__clang__)
    const char *compiler = "clang";
    int major = __clang_major__;
#else
    const char *compiler = "gcc";
    int major = __GNUC__;
#endif
    char version[32];
    blas_version(version, sizeof version);
    snprintf(fingerprint, sizeof fingerprint, "dp-%s %s-%d %s openblas-%s-%s", DP_VERSION_TEXT, compiler, major,
             in_force->name, version, openblas_get_corename());
    return fingerprint;
}
