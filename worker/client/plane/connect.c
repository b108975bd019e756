/* The plane's connections, opened and closed, and the memory that theta takes. Thread: the one that uses the client. */
#include "worker/client/plane/connect.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/mem_room.h"
#include "common/base/process.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "worker/client/plane/ask.h"
#include "worker/client/plane/piece.h"

enum { QUEUE_SLACK = 64 };

static bool parts_same(const struct row_layout *rows, const struct job_layout *layout)
{
    bool same = rows->part_count == layout->part_count;
    for (uint32_t i = 0; same && i < layout->part_count; i++)
        same = rows->tables[rows->parts[i].table].tensor == layout->parts[i].tensor &&
               rows->parts[i].first == layout->parts[i].first && rows->parts[i].last == layout->parts[i].last;
    return same;
}

bool plane_fits(const struct plane *plane, const struct job_layout *layout)
{
    const struct theta *theta = &plane->theta;
    return theta->slices && theta->slice_count == layout->slice_count &&
           memcmp(theta->slices, layout->slices, layout->slice_count * sizeof *layout->slices) == 0 &&
           parts_same(&plane->tables.layout, layout);
}

dp_err plane_cut(struct plane *plane, struct job_layout *layout, dp_error *err)
{
    keys_forget_all(&plane->tables);
    if (plane_fits(plane, layout))
        return DP_OK;
    struct range *slices = layout->slices;
    layout->slices = NULL;
    if (plane->theta.slices)
        theta_fini(&plane->theta);
    dp_err e = theta_init(&plane->theta, slices, layout->slice_count, layout->part_count, err);
    return e ? e : tables_init(&plane->tables, &plane->job->view, layout, err);
}

static uint32_t lanes_of(const struct job_shard *shard)
{
    return shard->slice_count > 1 ? FRAME_LANES : 1;
}

/* A Unix socket of each shard, and what is passed by it, go on top where memory is shared. */
dp_err plane_check_files(const struct job_layout *layout, dp_error *err)
{
    uint64_t files = 0;
    for (uint32_t i = 0; i < layout->shard_count; i++)
        if (job_shard_pieces(&layout->shards[i]) > 0)
            files += lanes_of(&layout->shards[i]) * (uint64_t)LINK_FILES + 2;
    return descriptors_check(files, err);
}

dp_err plane_reserve(struct plane *plane, const struct job_layout *layout, dp_error *err)
{
    assert(!plane->shards && plane->shard_count == 0);
    plane->shards = mem_array_zero(layout->shard_count, sizeof *plane->shards);
    return plane->shards ? DP_OK : dp_fail(err, DP_NOMEM, "no memory for %u shards", layout->shard_count);
}

static struct link_limits shard_limits(const struct plane *plane, const struct shard *shard)
{
    uint64_t largest = 0;
    for (uint32_t i = 0; i < shard->slice_count; i++)
        largest = MAX(largest, plane->theta.slices[shard->first_slice + i].count);
    /* A step's nodes for each piece, and once more for what is sent again. */
    uint64_t queue = (uint64_t)piece_count(shard) * (plane->job->view.slots + 1) * 2 + QUEUE_SLACK;
    uint64_t bytes = MAX(largest * sizeof(float), shard->part_count > 0 ? FRAME_ROWS_BYTES_MAX : UINT64_C(0));
    /* A ping would wait behind a gradient, for longer than ZeroMQ waits for its answer. */
    return (struct link_limits){
        .queue = (int)MIN(queue, (uint64_t)INT32_MAX), .bytes_max = bytes, .ping_ms = LINK_NO_PINGS};
}

dp_err plane_connect(struct plane *plane, void *zmq, const struct job_shard *from, const char *name,
                     const struct endpoint *address, dp_error *err)
{
    struct shard *shard = &plane->shards[plane->shard_count++];
    *shard = (struct shard){.first_slice = from->first_slice,
                            .slice_count = from->slice_count,
                            .lane_count = lanes_of(from),
                            .address = *address,
                            .first_part = from->first_part,
                            .part_count = from->part_count};
    (void)str_copy(shard->shm, sizeof shard->shm, from->shm);
    struct link_limits limits = shard_limits(plane, shard);
    dp_err e = DP_OK;
    for (uint32_t i = 0; e == DP_OK && i < shard->lane_count; i++)
        e = link_open(&shard->lanes[i], zmq, name, &shard->address, limits, err);
    return e;
}

/* A carrier that needs an order has one connection for each shard. */
static void lanes_drop(struct plane *plane)
{
    for (uint32_t i = 0; plane->carrier.ops->in_order && i < plane->shard_count; i++)
        while (plane->shards[i].lane_count > 1)
            link_close(&plane->shards[i].lanes[--plane->shards[i].lane_count], 0);
}

static dp_err links_list(struct plane *plane, struct link *head, dp_error *err)
{
    size_t count = (size_t)plane->shard_count * FRAME_LANES + 1;
    plane->links = mem_array(count, sizeof(struct link *));
    plane->items = mem_array(2 * count, sizeof *plane->items);
    if (!plane->links || !plane->items)
        return dp_fail(err, DP_NOMEM, "no memory for %zu connections", count);
    plane->links[plane->link_count++] = head;
    for (uint32_t i = 0; i < plane->shard_count; i++)
        for (uint32_t k = 0; k < plane->shards[i].lane_count; k++)
            plane->links[plane->link_count++] = &plane->shards[i].lanes[k];
    return DP_OK;
}

dp_err plane_greet(struct plane *plane, struct link *head, dp_error *err)
{
    lanes_drop(plane);
    dp_err e = links_list(plane, head, err);
    for (uint32_t i = 0; e == DP_OK && i < plane->shard_count; i++)
        for (uint32_t k = 0; k < plane->shards[i].lane_count; k++)
            ask_greet(plane, &plane->shards[i], k);
    return e;
}

dp_err plane_check_memory(const struct plane *plane, dp_error *err)
{
    char what[80];
    const struct carrier_ops *carrier = plane->carrier.ops;
    const uint64_t elems = plane->theta.elems;
    snprintf(what, sizeof what, "this worker, which needs %s of %llu parameters", carrier->copies_as,
             (unsigned long long)elems);
    return mem_check_room(what, carrier->copies * elems * sizeof(float), err);
}

void plane_disconnect(struct plane *plane)
{
    carrier_close(plane);
    for (uint32_t i = 0; i < plane->shard_count; i++)
        for (uint32_t k = 0; k < plane->shards[i].lane_count; k++)
            link_close(&plane->shards[i].lanes[k], 0);
    mem_freep(&plane->shards);
    mem_freep(&plane->links);
    mem_freep(&plane->items);
    plane->shard_count = 0;
    plane->link_count = 0;
}
