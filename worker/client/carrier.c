/* The carriers: the one of the sockets, and the choice between them. Thread: the one that uses the client. */
#include "worker/client/carrier.h"

#include <assert.h>
#include <string.h>

#include "common/base/util.h"
#include "worker/client/carrier_shm.h"
#include "worker/client/state.h"

/* ---- sockets ---- */

static uint32_t socket_push(struct dp_client *client, struct slab *slab)
{
    (void)client;
    (void)slab;
    return 0;
}

static dp_err socket_rows(struct dp_client *client, const struct shard *shard, const Dp__Rows *rows, uint64_t bytes,
                          const void **ret_values, dp_error *err)
{
    (void)client;
    (void)shard;
    (void)bytes;
    (void)ret_values;
    return dp_fail(err, DP_PROTO, "rows of part %u are in shared memory, and there is none", rows->part);
}

static void socket_rows_read(struct dp_client *client, const struct shard *shard, uint64_t end)
{
    (void)client;
    (void)shard;
    (void)end;
}

static uint64_t socket_rows_end(const struct dp_client *client, const struct shard *shard)
{
    (void)client;
    (void)shard;
    return 0;
}

static void socket_read(struct dp_client *client, uint32_t piece, uint64_t done)
{
    (void)client;
    (void)piece;
    (void)done;
}

static uint64_t socket_free_before(const struct dp_client *client)
{
    (void)client;
    return 0;
}

static bool socket_return_theta(struct dp_client *client)
{
    (void)client;
    return false;
}

static void socket_close(struct dp_client *client)
{
    (void)client;
}

static const struct carrier_ops SOCKETS = {
    .copies = 3, /* theta of this step and of the next, and a gradient */
    .copies_as = "two copies and a gradient",
    .push = socket_push,
    .rows = socket_rows,
    .rows_read = socket_rows_read,
    .rows_end = socket_rows_end,
    .read = socket_read,
    .free_before = socket_free_before,
    .return_theta = socket_return_theta,
    .close = socket_close,
};

/* ---- the choice ---- */

void carrier_init(struct carrier *carrier)
{
    *carrier = (struct carrier){.ops = &SOCKETS};
}

/* Why memory is not even tried to be shared, NULL if it is. */
static const char *apart(const struct dp_client *client)
{
    char here[SHM_HOST_MAX];
    shm_host(here);
    if (!client->session.host[0])
        return "the server shares no memory";
    if (strcmp(client->session.host, here) != 0)
        return "the server runs on another host, or in another network namespace";
    return NULL;
}

dp_err carrier_open(struct dp_client *client, dp_error *err)
{
    assert(client->carrier.ops == &SOCKETS); /* it was closed with the session before */
    if (client->config.shm == DP_SHM_OFF)
        return DP_OK;
    const char *why = apart(client);
    dp_err e = why ? dp_fail(err, DP_REFUSED, "%s", why) : carrier_shm_open(client, err);
    if (e == DP_HELLO_REQUIRED || e == DP_STOPPED)
        return e;
    if (e && client->config.shm == DP_SHM_ON)
        return dp_fail(err, DP_REFUSED, "no memory can be shared with %s, as was asked for: %.300s",
                       client->config.server, err->text);
    if (e && !why)
        tell_notice(&client->tell, "parameters come by the socket, not by shared memory: %.300s", err->text);
    return DP_OK;
}

bool carrier_return_theta(struct dp_client *client)
{
    return client->carrier.ops->return_theta(client);
}

void carrier_close(struct dp_client *client)
{
    client->carrier.ops->close(client);
    carrier_init(&client->carrier);
}

void carrier_free_slabs(struct dp_client *client)
{
    client->slabs.done = client->carrier.ops->free_before(client);
}
