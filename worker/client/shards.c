/* The shards of the job: found, connected to, and left again. Thread: the one that uses the client. */
#include "worker/client/shards.h"

#include "worker/client/plane/connect.h"
#include "worker/client/reach_shard.h"
#include "worker/client/state.h"

static dp_err shard_open(struct dp_client *client, uint32_t number, uint64_t deadline_ms, dp_error *err)
{
    const struct job_shard *from = &client->head.layout.shards[number];
    struct endpoint address = client->head.address;
    char name[ENDPOINT_TEXT_MAX];
    dp_err e = from->at_head ? DP_OK : shard_reach(client, number, &from->endpoint, deadline_ms, &address, err);
    if (e)
        return e;
    endpoint_text(from->at_head ? &client->head.named : &from->endpoint, name);
    return plane_connect(&client->plane, client->zmq, from, name, &address, err);
}

/* Shards without parameters are left out. */
static dp_err shards_connect(struct dp_client *client, uint64_t deadline_ms, dp_error *err)
{
    const struct job_layout *layout = &client->head.layout;
    /* A client that has joined may not have closed its old connections yet. */
    dp_err e = client->session.joined ? DP_OK : plane_check_files(layout, err);
    if (e == DP_OK)
        e = plane_reserve(&client->plane, layout, err);
    for (uint32_t i = 0; e == DP_OK && i < layout->shard_count; i++)
        if (job_shard_pieces(&layout->shards[i]) > 0)
            e = shard_open(client, i, deadline_ms, err);
    return e;
}

dp_err shards_open(struct dp_client *client, uint64_t deadline_ms, dp_error *err)
{
    struct plane *plane = &client->plane;
    const bool again = plane->theta.slices != NULL; /* it has all memory already */
    shards_close(client);
    if (again && !plane_fits(plane, &client->head.layout))
        step_forget(client);
    dp_err e = plane_cut(plane, &client->head.layout, err);
    if (e == DP_OK)
        e = shards_connect(client, deadline_ms, err);
    if (e == DP_OK)
        e = carrier_open(plane, client->config.shm, client->config.server, err);
    if (e == DP_OK)
        e = plane_greet(plane, &client->head.link, err);
    return e || again ? e : plane_check_memory(plane, err);
}

void shards_close(struct dp_client *client)
{
    if (carrier_return_theta(&client->plane))
        step_lose(client);
    plane_disconnect(&client->plane);
}
