/* The carriers: the one of the sockets, and the choice between them. Thread: the one that uses the client. */
#include "worker/client/plane/carrier.h"

#include <assert.h>
#include <string.h>

#include "worker/client/plane/carrier_shm.h"
#include "worker/client/plane/plane.h"

/* ---- sockets ---- */

static uint32_t socket_push(struct plane *plane, struct slab *slab)
{
    (void)plane;
    (void)slab;
    return 0;
}

static dp_err socket_rows(struct plane *plane, const struct shard *shard, const Dp__Rows *rows, uint64_t bytes,
                          const void **ret_values, dp_error *err)
{
    (void)plane;
    (void)shard;
    (void)bytes;
    (void)ret_values;
    return dp_fail(err, DP_PROTO, "rows of part %u are in shared memory, and there is none", rows->part);
}

static void socket_rows_read(struct plane *plane, const struct shard *shard, uint64_t end)
{
    (void)plane;
    (void)shard;
    (void)end;
}

static uint64_t socket_rows_end(const struct plane *plane, const struct shard *shard)
{
    (void)plane;
    (void)shard;
    return 0;
}

static void socket_read(struct plane *plane, uint32_t piece, uint64_t done)
{
    (void)plane;
    (void)piece;
    (void)done;
}

static uint64_t socket_free_before(const struct plane *plane)
{
    (void)plane;
    return 0;
}

static bool socket_return_theta(struct plane *plane)
{
    (void)plane;
    return false;
}

static void socket_close(struct plane *plane)
{
    (void)plane;
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
static const char *apart(const struct plane *plane)
{
    char here[SHM_HOST_MAX];
    shm_host(here);
    if (!plane->session->host[0])
        return "the server shares no memory";
    if (strcmp(plane->session->host, here) != 0)
        return "the server runs on another host, or in another network namespace";
    return NULL;
}

dp_err carrier_open(struct plane *plane, dp_shm wish, const char *server, dp_error *err)
{
    assert(plane->carrier.ops == &SOCKETS); /* it was closed with the session before */
    if (wish == DP_SHM_OFF)
        return DP_OK;
    const char *why = apart(plane);
    dp_err e = why ? dp_fail(err, DP_REFUSED, "%s", why) : carrier_shm_open(plane, err);
    if (e == DP_HELLO_REQUIRED || e == DP_STOPPED)
        return e;
    if (e && wish == DP_SHM_ON)
        return dp_fail(err, DP_REFUSED, "no memory can be shared with %s, as was asked for: %.300s", server, err->text);
    if (e && !why)
        tell_notice(plane->tell, "parameters come by the socket, not by shared memory: %.300s", err->text);
    return DP_OK;
}

bool carrier_return_theta(struct plane *plane)
{
    return plane->carrier.ops->return_theta(plane);
}

void carrier_close(struct plane *plane)
{
    plane->carrier.ops->close(plane);
    carrier_init(&plane->carrier);
}

void carrier_free_slabs(struct plane *plane)
{
    plane->slabs.done = plane->carrier.ops->free_before(plane);
}
