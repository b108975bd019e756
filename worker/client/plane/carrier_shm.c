/* The carrier for a server on the same host: theta's planes, slabs, and how far the shards have read the pushes.
 *
 * Invariant: a gradient that was computed on a theta in shared memory is handed in only in the session that was lent
 * it. Once the server has given a session up, it writes over the memory that it lent, and the worker may learn of that
 * late. So the step at hand ends with the session, and begins anew. Thread: the one that uses the client. */
#include "worker/client/plane/carrier_shm.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "worker/client/plane/plane.h"

static bool make_slab(void *arg, uint32_t number, size_t bytes, struct shm *ret_memory)
{
    struct plane *plane = arg;
    dp_error err;
    dp_err e = shm_new(bytes, SHM_WRITERS, ret_memory, &err);
    if (e == DP_OK) {
        e = client_shm_pass(&plane->carrier.shm, number, ret_memory, &err);
        shm_close(ret_memory);
    }
    if (e == DP_OK)
        return true;
    shm_fini(ret_memory);
    tell_notice(plane->tell, "gradients go by the socket, not by shared memory: %.300s", err.text);
    return false;
}

/* Those shards that have parameters, in the order of theta. */
static dp_err places_fill(const struct plane *plane, struct shm_place **ret_places, dp_error *err)
{
    struct shm_place *places = mem_array_zero(plane->shard_count, sizeof *places);
    uint64_t at = 0;
    if (!places)
        return dp_fail(err, DP_NOMEM, "no memory for %u shards", plane->shard_count);
    for (uint32_t i = 0; i < plane->shard_count; i++) {
        const struct shard *shard = &plane->shards[i];
        (void)str_copy(places[i].name, sizeof places[i].name, shard->shm);
        places[i].range.first = at;
        for (uint32_t s = 0; s < shard->slice_count; s++)
            places[i].range.count += plane->theta.slices[shard->first_slice + s].count;
        at += places[i].range.count;
    }
    *ret_places = places;
    return DP_OK;
}

static bool shared_return_theta(struct plane *plane)
{
    return theta_unshare(&plane->theta);
}

/* Slabs that nobody holds any more are freed here. */
static void shared_close(struct plane *plane)
{
    client_shm_close(&plane->carrier.shm);
    slab_pool_renew(&plane->slabs);
    mem_freep(&plane->carrier.done);
    plane->slabs.done = 0;
    atomic_store_explicit(&plane->beat->shm, false, memory_order_relaxed);
}

static void shared_read(struct plane *plane, uint32_t piece, uint64_t done)
{
    assert(piece < plane->theta.piece_count);
    plane->carrier.done[piece] = MAX(plane->carrier.done[piece], done);
}

static uint32_t shared_push(struct plane *plane, struct slab *slab)
{
    if (!slab_is_shared(&plane->slabs, slab))
        return 0;
    slab->until = MAX(slab->until, plane->theta.step + 1);
    return 1 + slab->number;
}

static dp_err shared_rows(struct plane *plane, const struct shard *shard, const Dp__Rows *rows, uint64_t bytes,
                          const void **ret_values, dp_error *err)
{
    uint32_t number = (uint32_t)(shard - plane->shards);
    return client_shm_rows(&plane->carrier.shm, number, rows->ring, rows->ring_at, bytes, ret_values, err);
}

static void shared_rows_read(struct plane *plane, const struct shard *shard, uint64_t end)
{
    rings_take(&plane->carrier.shm.rings[shard - plane->shards], end);
}

static uint64_t shared_rows_end(const struct plane *plane, const struct shard *shard)
{
    return plane->carrier.shm.rings[shard - plane->shards].taken;
}

static uint64_t shared_free_before(const struct plane *plane)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < plane->theta.piece_count; i++)
        least = MIN(least, plane->carrier.done[i]);
    return MAX(least, atomic_load_explicit(&plane->beat->global_low, memory_order_relaxed));
}

static const struct carrier_ops SHARED = {
    .in_order = true, /* the shard is told in order how far a ring was read */
    .of_session = true,
    .copies = 1, /* a gradient: the server has theta */
    .copies_as = "a gradient",
    .push = shared_push,
    .rows = shared_rows,
    .rows_read = shared_rows_read,
    .rows_end = shared_rows_end,
    .read = shared_read,
    .free_before = shared_free_before,
    .return_theta = shared_return_theta,
    .close = shared_close,
};

dp_err carrier_shm_open(struct plane *plane, dp_error *err)
{
    AUTOFREE struct shm_place *places = NULL;
    struct views views;
    dp_err e = places_fill(plane, &places, err);
    if (e)
        return e;
    AUTOFREE uint64_t *done = mem_array_zero(plane->theta.piece_count, sizeof *done);
    if (!done)
        return dp_fail(err, DP_NOMEM, "no memory for %u slices and parts", plane->theta.piece_count);
    e = client_shm_open(&plane->carrier.shm, places, plane->shard_count, plane->session->id,
                        plane->session->incarnation, plane->tell->stop, &views, err);
    if (e)
        return e;
    theta_share(&plane->theta, &views);
    plane->carrier.done = done;
    plane->carrier.ops = &SHARED;
    done = NULL;
    plane->slabs.share = make_slab;
    plane->slabs.arg = plane;
    atomic_store_explicit(&plane->beat->shm, true, memory_order_relaxed);
    return DP_OK;
}
