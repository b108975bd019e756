/* What a client shares with the shards of a server on its host: whether it does, theta's planes, slabs, and how far the
 * shards are with what it pushed.
 *
 * Invariant: what was computed on a theta in shared memory is handed in only in the session that was lent it. Once the
 * server has given a session up it writes over what that was lent, and its worker may learn of that late: so with the
 * session goes all of the step at hand, which begins anew. Thread: the one that uses the client. */
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "worker/client/client.h"

/* Why memory is not even tried to be shared, NULL if it is. */
static const char *apart(const struct dp_client *client)
{
    char here[SHM_HOST_MAX];
    shm_host(here);
    if (!client->host[0])
        return "the server shares no memory";
    if (strcmp(client->host, here) != 0)
        return "the server runs on another host, or in another network namespace";
    return NULL;
}

static bool make_slab(void *arg, uint32_t number, size_t bytes, struct shm *ret_memory)
{
    struct dp_client *client = arg;
    dp_error err;
    dp_err e = shm_new(bytes, SHM_WRITERS, ret_memory, &err);
    if (e == DP_OK) {
        e = client_shm_pass(&client->shm, number, ret_memory, &err);
        shm_close(ret_memory);
    }
    if (e == DP_OK)
        return true;
    shm_fini(ret_memory);
    client_notice(client, "gradients go by the socket, not by shared memory: %.300s", err.text);
    return false;
}

/* Those shards that have parameters, in the order of theta. */
static dp_err places_fill(const struct dp_client *client, struct shm_place **ret_places, dp_error *err)
{
    struct shm_place *places = mem_array_zero(client->shard_count, sizeof *places);
    uint64_t at = 0;
    if (!places)
        return dp_fail(err, DP_NOMEM, "no memory for %u shards", client->shard_count);
    for (uint32_t i = 0; i < client->shard_count; i++) {
        const struct shard *shard = &client->shards[i];
        (void)str_copy(places[i].name, sizeof places[i].name, shard->shm);
        places[i].range.first = at;
        for (uint32_t s = 0; s < shard->slice_count; s++)
            places[i].range.count += client->theta.slices[shard->first_slice + s].count;
        at += places[i].range.count;
    }
    *ret_places = places;
    return DP_OK;
}

static dp_err share(struct dp_client *client, dp_error *err)
{
    AUTOFREE struct shm_place *places = NULL;
    struct views views;
    dp_err e = places_fill(client, &places, err);
    if (e)
        return e;
    AUTOFREE uint64_t *done = mem_array_zero(client->theta.piece_count, sizeof *done);
    if (!done)
        return dp_fail(err, DP_NOMEM, "no memory for %u slices and parts", client->theta.piece_count);
    e = client_shm_open(&client->shm, places, client->shard_count, client->session, client->incarnation, client->stop,
                        &views, err);
    if (e)
        return e;
    theta_share(&client->theta, &views);
    client->done = done;
    done = NULL;
    client->slabs.share = make_slab;
    client->slabs.arg = client;
    atomic_store_explicit(&client->beat.shm, true, memory_order_relaxed);
    return DP_OK;
}

dp_err share_open(struct dp_client *client, dp_error *err)
{
    if (client->shm_mode == DP_SHM_OFF)
        return DP_OK;
    const char *why = apart(client);
    dp_err e = why ? dp_fail(err, DP_REFUSED, "%s", why) : share(client, err);
    if (e == DP_HELLO_REQUIRED || e == DP_STOPPED)
        return e;
    if (e && client->shm_mode == DP_SHM_ON)
        return dp_fail(err, DP_REFUSED, "no memory can be shared with %s, as was asked for: %.300s", client->server,
                       err->text);
    if (e && !why)
        client_notice(client, "parameters come by the socket, not by shared memory: %.300s", err->text);
    return DP_OK;
}

void share_close(struct dp_client *client)
{
    if (!client->done)
        return;
    if (theta_unshare(&client->theta))
        step_lose(client);
    client_shm_close(&client->shm);
    slab_pool_renew(&client->slabs);
    mem_freep(&client->done);
    client->slabs.done = 0;
    atomic_store_explicit(&client->beat.shm, false, memory_order_relaxed);
}

void share_take(struct dp_client *client, uint32_t piece, uint64_t done)
{
    if (client->done)
        client->done[piece] = MAX(client->done[piece], done);
}

uint32_t share_name(struct dp_client *client, struct slab *slab)
{
    if (!slab || !slab_is_shared(&client->slabs, slab))
        return 0;
    slab->until = MAX(slab->until, client->theta.step + 1);
    return 1 + slab->number;
}

static uint32_t shard_number(const struct dp_client *client, const struct shard *shard)
{
    return (uint32_t)(shard - client->shards);
}

dp_err share_rows(struct dp_client *client, const struct shard *shard, const Dp__Rows *rows, uint64_t bytes,
                  const void **ret_values, dp_error *err)
{
    if (!client->done)
        return dp_fail(err, DP_PROTO, "rows of part %u are in shared memory, and there is none", rows->part);
    return client_shm_rows(&client->shm, shard_number(client, shard), rows->ring, rows->ring_at, bytes, ret_values,
                           err);
}

void share_rows_taken(struct dp_client *client, const struct shard *shard, uint64_t end)
{
    rings_take(&client->shm.rings[shard_number(client, shard)], end);
}

uint64_t share_taken(const struct dp_client *client, const struct shard *shard)
{
    return client->done ? client->shm.rings[shard_number(client, shard)].taken : 0;
}

void share_count_done(struct dp_client *client)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; client->done && i < client->theta.piece_count; i++)
        least = MIN(least, client->done[i]);
    uint64_t low = atomic_load_explicit(&client->beat.global_low, memory_order_relaxed);
    client->slabs.done = client->done ? MAX(least, low) : 0;
}
