/* Memory that a session shares with a shard; the invariants are in shm_session.h. Thread: shard. */
#include "server/shard/shm_session.h"

#include <stdlib.h>

/* Bytes that the session has passed, without those of the slab that is to be replaced. */
static uint64_t session_bytes(const struct shm_session *session, uint32_t but)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < SHM_SLABS_MAX; i++)
        bytes += session->slabs[i] && i != but ? session->slabs[i]->bytes : 0;
    return bytes;
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
            shm_slab_drop(session->slabs[i]);
    shm_ring_fini(&session->ring);
    free(session->lent);
    free(session);
    *ref = NULL;
}

dp_err shm_session_slab(struct shm_session *session, uint32_t number, int fd, uint64_t bytes, dp_error *err)
{
    struct shm_slab *slab;
    dp_err e = shm_slab_new(fd, bytes, session_bytes(session, number), &slab, err);
    if (e)
        return e;
    if (session->slabs[number])
        shm_slab_drop(session->slabs[number]);
    session->slabs[number] = slab;
    return DP_OK;
}

bool shm_session_payload(const struct shm_session *session, uint32_t number, uint64_t at, uint64_t count,
                         struct blob *ret_payload)
{
    struct shm_slab *slab = number < SHM_SLABS_MAX ? session->slabs[number] : NULL;
    return slab && shm_slab_payload(slab, at, count, ret_payload);
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
        struct version *version = &session->slices[slice].versions.shared[plane];
        if (version->number >= have)
            continue;
        session->lent[slice] &= ~(UINT64_C(1) << plane);
        version_release(version);
    }
}
