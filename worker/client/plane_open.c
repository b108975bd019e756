/* Connections to the shards, opened and closed, and the memory that theta takes. Thread: the one that uses the client.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/mem_room.h"
#include "common/base/util.h"
#include "worker/client/client.h"

enum { QUEUE_SLACK = 64 };

static struct link_limits shard_limits(const struct dp_client *client, const struct shard *shard)
{
    uint64_t largest = 0;
    for (uint32_t i = 0; i < shard->slice_count; i++)
        largest = MAX(largest, client->theta.slices[shard->first_slice + i].count);
    /* A step's nodes for each piece, and once more for what is sent again. */
    uint64_t queue = (uint64_t)plane_pieces_of(shard) * (client->job.view.slots + 1) * 2 + QUEUE_SLACK;
    uint64_t bytes = MAX(largest * sizeof(float), shard->part_count > 0 ? FRAME_ROWS_BYTES_MAX : UINT64_C(0));
    /* A ping would wait behind a gradient, for longer than ZeroMQ waits for its answer. */
    return (struct link_limits){
        .queue = (int)MIN(queue, (uint64_t)INT32_MAX), .bytes_max = bytes, .ping_ms = LINK_NO_PINGS};
}

static dp_err shard_open(struct dp_client *client, uint32_t number, uint64_t deadline_ms, struct shard *shard,
                         dp_error *err)
{
    const struct job_shard *from = &client->layout.shards[number];
    char name[ENDPOINT_TEXT_MAX];
    endpoint_text(from->at_head ? &client->head : &from->endpoint, name);
    *shard = (struct shard){.first_slice = from->first_slice,
                            .slice_count = from->slice_count,
                            .lane_count = from->slice_count > 1 ? FRAME_LANES : 1,
                            .first_part = from->first_part,
                            .part_count = from->part_count};
    (void)str_copy(shard->shm, sizeof shard->shm, from->shm);
    dp_err e = DP_OK;
    if (from->at_head)
        shard->address = client->head_address;
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
    for (uint32_t i = 0; i < client->layout.shard_count; i++) {
        const struct job_shard *shard = &client->layout.shards[i];
        if (shard->slice_count + shard->part_count > 0)
            files += (shard->slice_count > 1 ? FRAME_LANES : 1) * (uint64_t)LINK_FILES + 2;
    }
    return descriptors_check(files, err);
}

/* Shards without parameters are left out. */
static dp_err shards_open(struct dp_client *client, uint64_t deadline_ms, dp_error *err)
{
    dp_err files =
        client->joined ? DP_OK : plane_check_files(client, err); /* it may not have closed its old ones yet */
    if (files)
        return files;
    client->shards = mem_array_zero(client->layout.shard_count, sizeof *client->shards);
    if (!client->shards)
        return dp_fail(err, DP_NOMEM, "no memory for %u shards", client->layout.shard_count);
    dp_err e = DP_OK;
    for (uint32_t i = 0; e == DP_OK && i < client->layout.shard_count; i++) {
        const struct job_shard *from = &client->layout.shards[i];
        if (from->slice_count + from->part_count > 0)
            e = shard_open(client, i, deadline_ms, &client->shards[client->shard_count++], err);
    }
    return e;
}

static dp_err plane_links(struct dp_client *client, dp_error *err)
{
    size_t count = (size_t)client->shard_count * FRAME_LANES + 1;
    client->links = mem_array(count, sizeof(struct link *));
    client->items = mem_array(2 * count, sizeof *client->items);
    if (!client->links || !client->items)
        return dp_fail(err, DP_NOMEM, "no memory for %zu connections", count);
    client->links[client->link_count++] = &client->head_link;
    for (uint32_t i = 0; i < client->shard_count; i++)
        for (uint32_t k = 0; k < client->shards[i].lane_count; k++)
            client->links[client->link_count++] = &client->shards[i].lanes[k];
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
    const struct theta *theta = &client->theta;
    const struct job_layout *layout = &client->layout;
    return theta->slice_count == layout->slice_count &&
           memcmp(theta->slices, layout->slices, layout->slice_count * sizeof *layout->slices) == 0 &&
           parts_same(&client->tables.layout, layout);
}

/* theta keeps what it has if it is cut as before. */
static dp_err plane_pieces(struct dp_client *client, dp_error *err)
{
    keys_forget_all(&client->tables);
    if (client->theta.slices && pieces_same(client))
        return DP_OK;
    struct range *slices = client->layout.slices;
    client->layout.slices = NULL;
    if (client->theta.slices) {
        step_forget(client);
        theta_fini(&client->theta);
    }
    dp_err e = theta_init(&client->theta, slices, client->layout.slice_count, client->layout.part_count, err);
    return e ? e : tables_init(&client->tables, &client->job.view, &client->layout, err);
}

/* theta of this step and of the next, which the server has where it is shared, and a gradient. */
static dp_err plane_check_memory(const struct dp_client *client, dp_error *err)
{
    char what[80];
    const uint64_t copies = client->done ? 1 : 3, elems = client->theta.elems;
    snprintf(what, sizeof what, "this worker, which needs %s of %llu parameters",
             client->done ? "a gradient" : "two copies and a gradient", (unsigned long long)elems);
    return mem_check_room(what, copies * elems * sizeof(float), err);
}

/* One connection is used where memory is shared: what lies in a ring is told in order. */
static void lanes_drop(struct dp_client *client)
{
    for (uint32_t i = 0; client->done && i < client->shard_count; i++)
        while (client->shards[i].lane_count > 1)
            link_close(&client->shards[i].lanes[--client->shards[i].lane_count], 0);
}

dp_err plane_open(struct dp_client *client, uint64_t deadline_ms, dp_error *err)
{
    const bool again = client->theta.slices != NULL; /* it has all that already */
    plane_close(client);
    dp_err e = plane_pieces(client, err);
    if (e == DP_OK)
        e = shards_open(client, deadline_ms, err);
    if (e == DP_OK)
        e = share_open(client, err);
    lanes_drop(client);
    if (e == DP_OK)
        e = plane_links(client, err);
    for (uint32_t i = 0; e == DP_OK && i < client->shard_count; i++)
        for (uint32_t k = 0; k < client->shards[i].lane_count; k++)
            ask_greet(client, &client->shards[i], k);
    return e || again ? e : plane_check_memory(client, err);
}

void plane_close(struct dp_client *client)
{
    share_close(client);
    for (uint32_t i = 0; i < client->shard_count; i++)
        for (uint32_t k = 0; k < client->shards[i].lane_count; k++)
            link_close(&client->shards[i].lanes[k], 0);
    mem_freep(&client->shards);
    mem_freep(&client->links);
    mem_freep(&client->items);
    client->shard_count = 0;
    client->link_count = 0;
}
