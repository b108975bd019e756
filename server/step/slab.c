/* Slabs; see slab.h. Thread: shard. */
#include "server/step/slab.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "common/base/util.h"

/* Mappings of all sessions of the process: without these bounds one session could take the last address or the
 * last mapping, and then nothing can be allocated. */
#define MAPPED_BYTES_MAX (UINT64_C(1) << 45)   /* of 2^47 that there are */
#define SESSION_BYTES_MIN (UINT64_C(64) << 30) /* a session may have so much of a process's limit in any case */
enum { MAPPED_SHARE = 2, SESSION_SHARE = 16, MAPS_USUAL = 65530 };
static atomic_uint_fast64_t mapped_bytes, mapped_count;

void shm_slab_drop(void *owner)
{
    struct shm_slab *slab = owner;
    if (--slab->refs > 0)
        return;
    shm_fini(&slab->memory);
    atomic_fetch_sub(&mapped_bytes, slab->bytes);
    atomic_fetch_sub(&mapped_count, 1);
    free(slab);
}

static uint64_t bytes_most(void)
{
    struct rlimit limit;
    bool limited = getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    return limited ? MIN((uint64_t)limit.rlim_cur / MAPPED_SHARE, MAPPED_BYTES_MAX) : MAPPED_BYTES_MAX;
}

static uint64_t maps_most(void)
{
    char text[32];
    FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
    uint64_t maps = file && fgets(text, sizeof text, file) ? strtoull(text, NULL, 10) : 0;
    if (file)
        fclose(file);
    return (maps > 0 ? maps : MAPS_USUAL) / MAPPED_SHARE;
}

/* One that goes when a new one takes its number counts until then. */
static dp_err check_mapped(uint64_t mine, uint64_t bytes, dp_error *err)
{
    uint64_t most = bytes_most(), all = atomic_load(&mapped_bytes);
    if (mine + bytes > MAX(most / SESSION_SHARE, MIN(most, SESSION_BYTES_MIN)))
        return dp_fail(err, DP_NOMEM,
                       "the session has passed %" PRIu64 " MiB of slabs, %" PRIu64 " MiB more are too many", mine >> 20,
                       bytes >> 20);
    if (all + bytes > most || atomic_load(&mapped_count) >= maps_most())
        return dp_fail(err, DP_NOMEM, "all sessions have passed as many slabs as the server can map");
    return DP_OK;
}

dp_err shm_slab_new(int fd, uint64_t bytes, uint64_t session_bytes, struct shm_slab **ret_slab, dp_error *err)
{
    dp_err e = check_mapped(session_bytes, bytes, err);
    if (e)
        return e;
    struct shm_slab *slab = mem_array(1, sizeof *slab);
    if (!slab)
        return dp_fail(err, DP_NOMEM, "out of memory for a slab");
    e = shm_map(fd, (size_t)bytes, &slab->memory, err);
    if (e) {
        free(slab);
        return e;
    }
    slab->refs = 1;
    slab->elems = bytes / sizeof(float);
    slab->bytes = slab->memory.bytes;
    atomic_fetch_add(&mapped_bytes, slab->bytes);
    atomic_fetch_add(&mapped_count, 1);
    *ret_slab = slab;
    return DP_OK;
}

bool shm_slab_payload(struct shm_slab *slab, uint64_t at, uint64_t count, struct blob *ret_payload)
{
    if (at > slab->elems || count > slab->elems - at)
        return false;
    slab->refs++;
    *ret_payload = (struct blob){.data = (float *)slab->memory.base + at,
                                 .bytes = (size_t)count * sizeof(float),
                                 .owner = slab,
                                 .release = shm_slab_drop};
    return true;
}

bool shm_is_slab(const struct blob *payload)
{
    return payload->release == shm_slab_drop;
}
