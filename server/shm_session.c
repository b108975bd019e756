/* What a session shares with a shard; the invariants are in shm_session.h. Thread: shard. */
#include "shm_session.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

/* What all sessions of the process have mapped: without these bounds one of them could take the last address or the
 * last mapping, and then nothing can be allocated. */
#define MAPPED_BYTES_MAX (UINT64_C(1) << 45)   /* of 2^47 that there are */
#define SESSION_BYTES_MIN (UINT64_C(64) << 30) /* a session may have so much of a process's limit in any case */
enum { MAPPED_SHARE = 2, SESSION_SHARE = 16, MAPS_USUAL = 65530 };
static atomic_uint_fast64_t mapped_bytes, mapped_count;

struct shm_slab {
    struct shm memory;
    uint64_t elems;
    uint64_t bytes; /* as they were counted */
    uint32_t refs;  /* payloads, and the session while it has it */
};

static void slab_drop(void *owner)
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

/* Bytes that the session has passed, without those of the slab that is to be replaced. */
static uint64_t session_bytes(const struct shm_session *session, uint32_t but)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < SHM_SLABS_MAX; i++)
        bytes += session->slabs[i] && i != but ? session->slabs[i]->bytes : 0;
    return bytes;
}

/* One that goes when a new one takes its number counts until then. */
static dp_err check_mapped(const struct shm_session *session, uint32_t number, uint64_t bytes, dp_error *err)
{
    uint64_t most = bytes_most(), mine = session_bytes(session, number), all = atomic_load(&mapped_bytes);
    if (mine + bytes > MAX(most / SESSION_SHARE, MIN(most, SESSION_BYTES_MIN)))
        return dp_fail(err, DP_NOMEM,
                       "the session has passed %" PRIu64 " MiB of slabs, %" PRIu64 " MiB more are too many", mine >> 20,
                       bytes >> 20);
    if (all + bytes > most || atomic_load(&mapped_count) >= maps_most())
        return dp_fail(err, DP_NOMEM, "all sessions have passed as many slabs as the server can map");
    return DP_OK;
}

struct shm_session *shm_session_new(struct slice *slices, uint32_t slice_count)
{
    struct shm_session *session = mem_array_zero(1, sizeof *session);
    uint64_t *lent = mem_array_zero(slice_count, sizeof *lent);
    if (!session || !lent) {
        free(session);
        free(lent);
        return NULL;
    }
    *session = (struct shm_session){.slices = slices, .slice_count = slice_count, .lent = lent};
    return session;
}

void shm_session_free(struct shm_session **ref)
{
    struct shm_session *session = *ref;
    if (!session)
        return;
    for (uint32_t i = 0; i < session->slice_count; i++)
        shm_session_returned(session, i, UINT64_MAX);
    for (uint32_t i = 0; i < SHM_SLABS_MAX; i++)
        if (session->slabs[i])
            slab_drop(session->slabs[i]);
    shm_ring_fini(&session->ring);
    free(session->lent);
    free(session);
    *ref = NULL;
}

dp_err shm_session_slab(struct shm_session *session, uint32_t number, int fd, uint64_t bytes, dp_error *err)
{
    dp_err e = check_mapped(session, number, bytes, err);
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
    if (session->slabs[number])
        slab_drop(session->slabs[number]);
    session->slabs[number] = slab;
    return DP_OK;
}

bool shm_session_payload(const struct shm_session *session, uint32_t number, uint64_t at, uint64_t count,
                         struct blob *ret_payload)
{
    struct shm_slab *slab = number < SHM_SLABS_MAX ? session->slabs[number] : NULL;
    if (!slab || at > slab->elems || count > slab->elems - at)
        return false;
    slab->refs++;
    *ret_payload = (struct blob){.data = (float *)slab->memory.base + at,
                                 .bytes = (size_t)count * sizeof(float),
                                 .owner = slab,
                                 .release = slab_drop};
    return true;
}

bool shm_is_slab(const struct blob *payload)
{
    return payload->release == slab_drop;
}

bool shm_session_lend(struct shm_session *session, uint32_t slice, struct version *version)
{
    if (!session->begun || version->plane == VERSION_UNSHARED)
        return false;
    uint64_t bit = UINT64_C(1) << version->plane;
    if (!(session->lent[slice] & bit))
        version_retain(version);
    session->lent[slice] |= bit;
    return true;
}

void shm_session_returned(struct shm_session *session, uint32_t slice, uint64_t have)
{
    for (uint64_t left = session->lent[slice]; left; left &= left - 1) {
        uint32_t plane = (uint32_t)__builtin_ctzll(left);
        struct version *version = &session->slices[slice].shared[plane];
        if (version->number >= have)
            continue;
        session->lent[slice] &= ~(UINT64_C(1) << plane);
        version_release(version);
    }
}
