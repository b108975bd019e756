/* BLAS set-up and the fingerprint of what decides bits; see numerics.h. */
#include "common/kernels/numerics.h"

#include <cblas.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/kernels/kernels.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the two below: clients may be made side by side */
static char fingerprint[160];
static const struct kernels *made_for; /* the table that the fingerprint names; NULL: none yet */

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

static void make(void)
{
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
             kernels_get()->name, version, openblas_get_corename());
}

const char *numerics_fingerprint(void)
{
    pthread_mutex_lock(&lock);
    if (made_for != kernels_get())
        make();
    made_for = kernels_get();
    pthread_mutex_unlock(&lock);
    return fingerprint;
}
