/* Connections to the shards, opened and closed, and the memory that theta takes. Thread: the one that uses the client.
 */
#include "worker/client/plane_open.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem_room.h"
#include "common/base/util.h"
#include "worker/client/plane/ask.h"
#include "worker/client/plane/piece.h"
#include "worker/client/reach_shard.h"
#include "worker/client/state.h"

enum { QUEUE_SLACK = 64 };

static struct link_limits shard_limits(const struct dp_client *client, const struct shard *shard)
{
    uint64_t largest = 0;
    for (uint32_t i = 0; i < shard->slice_count; i++)
        largest = MAX(largest, client->plane.theta.slices[shard->first_slice + i].count);
    /* A step's nodes for each piece, and once more for what is sent again. */
    uint64_t queue = (uint64_t)piece_count(shard) * (client->job.view.slots + 1) * 2 + QUEUE_SLACK;
    uint64_t bytes = MAX(largest * sizeof(float), shard->part_count > 0 ? FRAME_ROWS_BYTES_MAX : UINT64_C(0));
    /* A ping would wait behind a gradient, for longer than ZeroMQ waits for its answer. */
    return (struct link_limits){
        .queue = (int)MIN(queue, (uint64_t)INT32_MAX), .bytes_max = bytes, .ping_ms = LINK_NO_PINGS};
}

static dp_err shard_open(struct dp_client *client, uint32_t number, uint64_t deadline_ms, struct shard *shard,
                         dp_error *err)
{
    const struct job_shard *from = &client->head.layout.shards[number];
    char name[ENDPOINT_TEXT_MAX];
    endpoint_text(from->at_head ? &client->head.named : &from->endpoint, name);
    *shard = (struct shard){.first_slice = from->first_slice,
                            .slice_count = from->slice_count,
                            .lane_count = from->slice_count > 1 ? FRAME_LANES : 1,
                            .first_part = from->first_part,
                            .part_count = from->part_count};
    (void)str_copy(shard->shm, sizeof shard->shm, from->shm);
    dp_err e = DP_OK;
    if (from->at_head)
        shard->address = client->head.address;
    else
        e = shard_reach(client, number, &from->endpoint, deadline_ms, &shard->address, err);
    struct link_limits limits = shard_limits(client, shard);
    for (uint32_t i = 0; e == DP_OK && i < shard->lane_count; i++)
        e = link_open(&shard->lanes[i], client->zmq, name, &shard->address, limits, err);
    return e;
}

/* A Unix socket of each shard, and what is passed by it, go on top where memory is shared. */
static dp_err plane_check_files(const struct dp_client *client, dp_error *err)
{
    uint64_t files = 0;
    for (uint32_t i = 0; i < client->head.layout.shard_count; i++) {
        const struct job_shard *shard = &client->head.layout.shards[i];
        if (shard->slice_count + shard->part_count > 0)
            files += (shard->slice_count > 1 ? FRAME_LANES : 1) * (uint64_t)LINK_FILES + 2;
    }
    return descriptors_check(files, err);
}

/* Shards without parameters are left out. */
static dp_err shards_open(struct dp_client *client, uint64_t deadline_ms, dp_error *err)
{
    dp_err files =
        client->session.joined ? DP_OK : plane_check_files(client, err); /* it may not have closed its old ones yet */
    if (files)
        return files;
    assert(!client->plane.shards && client->plane.shard_count == 0);
    client->plane.shards = mem_array_zero(client->head.layout.shard_count, sizeof *client->plane.shards);
    if (!client->plane.shards)
        return dp_fail(err, DP_NOMEM, "no memory for %u shards", client->head.layout.shard_count);
    dp_err e = DP_OK;
    for (uint32_t i = 0; e == DP_OK && i < client->head.layout.shard_count; i++) {
        const struct job_shard *from = &client->head.layout.shards[i];
        if (from->slice_count + from->part_count > 0)
            e = shard_open(client, i, deadline_ms, &client->plane.shards[client->plane.shard_count++], err);
    }
    return e;
}

static dp_err plane_links(struct dp_client *client, dp_error *err)
{
    size_t count = (size_t)client->plane.shard_count * FRAME_LANES + 1;
    client->plane.links = mem_array(count, sizeof(struct link *));
    client->plane.items = mem_array(2 * count, sizeof *client->plane.items);
    if (!client->plane.links || !client->plane.items)
        return dp_fail(err, DP_NOMEM, "no memory for %zu connections", count);
    client->plane.links[client->plane.link_count++] = &client->head.link;
    for (uint32_t i = 0; i < client->plane.shard_count; i++)
        for (uint32_t k = 0; k < client->plane.shards[i].lane_count; k++)
            client->plane.links[client->plane.link_count++] = &client->plane.shards[i].lanes[k];
    return DP_OK;
}

static bool parts_same(const struct row_layout *rows, const struct job_layout *layout)
{
    bool same = rows->part_count == layout->part_count;
    for (uint32_t i = 0; same && i < layout->part_count; i++)
        same = rows->tables[rows->parts[i].table].tensor == layout->parts[i].tensor &&
               rows->parts[i].first == layout->parts[i].first && rows->parts[i].last == layout->parts[i].last;
    return same;
}

static bool pieces_same(const struct dp_client *client)
{
    const struct theta *theta = &client->plane.theta;
    const struct job_layout *layout = &client->head.layout;
    return theta->slice_count == layout->slice_count &&
           memcmp(theta->slices, layout->slices, layout->slice_count * sizeof *layout->slices) == 0 &&
           parts_same(&client->plane.tables.layout, layout);
}

/* theta keeps what it has if it is cut as before. */
static dp_err plane_pieces(struct dp_client *client, dp_error *err)
{
    keys_forget_all(&client->plane.tables);
    if (client->plane.theta.slices && pieces_same(client))
        return DP_OK;
    struct range *slices = client->head.layout.slices;
    client->head.layout.slices = NULL;
    if (client->plane.theta.slices) {
        step_forget(client);
        theta_fini(&client->plane.theta);
    }
    dp_err e =
        theta_init(&client->plane.theta, slices, client->head.layout.slice_count, client->head.layout.part_count, err);
    return e ? e : tables_init(&client->plane.tables, &client->job.view, &client->head.layout, err);
}

static dp_err plane_check_memory(const struct dp_client *client, dp_error *err)
{
    char what[80];
    const struct carrier_ops *carrier = client->plane.carrier.ops;
    const uint64_t elems = client->plane.theta.elems;
    snprintf(what, sizeof what, "this worker, which needs %s of %llu parameters", carrier->copies_as,
             (unsigned long long)elems);
    return mem_check_room(what, carrier->copies * elems * sizeof(float), err);
}

/* A carrier that needs an order has one connection for each shard. */
static void lanes_drop(struct dp_client *client)
{
    for (uint32_t i = 0; client->plane.carrier.ops->in_order && i < client->plane.shard_count; i++)
        while (client->plane.shards[i].lane_count > 1)
            link_close(&client->plane.shards[i].lanes[--client->plane.shards[i].lane_count], 0);
}

dp_err plane_open(struct dp_client *client, uint64_t deadline_ms, dp_error *err)
{
    const bool again = client->plane.theta.slices != NULL; /* it has all that already */
    plane_close(client);
    dp_err e = plane_pieces(client, err);
    if (e == DP_OK)
        e = shards_open(client, deadline_ms, err);
    if (e == DP_OK)
        e = carrier_open(&client->plane, client->config.shm, client->config.server, err);
    lanes_drop(client);
    if (e == DP_OK)
        e = plane_links(client, err);
    for (uint32_t i = 0; e == DP_OK && i < client->plane.shard_count; i++)
        for (uint32_t k = 0; k < client->plane.shards[i].lane_count; k++)
            ask_greet(&client->plane, &client->plane.shards[i], k);
    return e || again ? e : plane_check_memory(client, err);
}

void plane_close(struct dp_client *client)
{
    if (carrier_return_theta(&client->plane))
        step_lose(client);
    carrier_close(&client->plane);
    for (uint32_t i = 0; i < client->plane.shard_count; i++)
        for (uint32_t k = 0; k < client->plane.shards[i].lane_count; k++)
            link_close(&client->plane.shards[i].lanes[k], 0);
    mem_freep(&client->plane.shards);
    mem_freep(&client->plane.links);
    mem_freep(&client->plane.items);
    client->plane.shard_count = 0;
    client->plane.link_count = 0;
}
