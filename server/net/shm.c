/* A port's part of the shared-memory plane: the carrier of its sessions, and sessions that are over.
 *
 * A session ends in two steps. At its fence it is unknown from then on, and all that it sends is refused; what it was
 * lent stays as it is, since its worker may still be reading, and pushing to shards that have not heard of the fence.
 * Once the head has seen that all have, what it was lent is taken back. Thread: shard. */
#include "server/net/shm.h"

#include <assert.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "server/net/payload.h"
#include "server/shard/pieces.h"

dp_err port_shm_start(struct port_state *port, const struct command_start *start, dp_error *err)
{
    struct range range = {0};
    if (!port->memory.door.entry.open || start->slice_count == 0)
        return DP_OK;
    range.first = start->slices[0].first;
    for (uint32_t i = 0; i < start->slice_count; i++)
        range.count += start->slices[i].count;
    dp_err e = planes_init(&port->shard.planes, tensors_total(&start->job.tensors), range, err);
    if (e == DP_OK || start->shm == SHM_ON)
        return e;
    log_warn("shared-memory-unused shard=%u reason=\"%s\" action=\"all workers use their sockets\"", port->id,
             err->text);
    return DP_OK;
}

/* ---- the carrier ---- */

/* The worker may send what found no room in its slabs. */
static dp_err take(struct port_state *port, const struct port_session *session, const struct carrier_push *push,
                   struct blob *ret_floats, dp_error *err)
{
    if (!push->slab || !shm_session_payload(session->shm, push->slab - 1, push->at, push->count, ret_floats))
        return port_payload_take(port, session, push, ret_floats, err);
    counter_add(&port->counters->shm_bytes_in, ret_floats->bytes);
    return DP_OK;
}

static bool lend(struct port_state *port, const struct port_session *session, const struct params *params,
                 Dp__Params *body)
{
    uint32_t slice = params->slice - port->shard.first_slice;
    body->done = pieces_find(&port->shard, params->slice)->window->next;
    if (!params->version || !shm_session_lend(session->shm, slice, params->version))
        return false;
    body->plane = 1 + params->version->plane;
    counter_add(&port->counters->shm_bytes_out, port->limits.slice_elems[slice] * sizeof(float));
    return true;
}

static void lend_rows(struct port_state *port, const struct port_session *session, const struct rows_params *rows,
                      Dp__Rows *body)
{
    body->done = pieces_find(&port->shard, rows->part)->window->next;
    if (!rows->shared)
        return;
    body->ring = session->shm->ring.number;
    body->ring_at = rows->at;
    counter_add(&port->counters->shm_bytes_out, rows->bytes);
}

static void done(const struct port_session *session, uint32_t slice, uint64_t have)
{
    shm_session_returned(session->shm, slice, have);
}

static void done_rows(const struct port_session *session, uint64_t taken)
{
    shm_ring_taken(&session->shm->ring, taken);
}

/* A larger ring takes the place of the session's, which the worker still has mapped. */
static dp_err ring_renew(struct port_state *port, const struct port_session *session, uint64_t bytes, dp_error *err)
{
    struct shm_ring *ring = &session->shm->ring, next;
    dp_err e = shm_ring_next(ring, bytes, &next, err);
    if (e)
        return e;
    struct shm_message message = {.kind = SHM_RING, .ring = next.number, .bytes = next.memory.bytes};
    e = shm_door_pass(&port->memory.door, session->token, &message, next.memory.fd);
    if (e) {
        shm_ring_fini(&next);
        return dp_fail(err, e, "the worker does not take it");
    }
    shm_close(&next.memory);
    shm_ring_fini(ring);
    *ring = next;
    return DP_OK;
}

static float *room(struct port_state *port, const struct port_session *session, uint64_t bytes, uint64_t *ret_at)
{
    struct shm_session *shm = session->shm->begun ? session->shm : NULL;
    dp_error err;
    float *found = shm ? shm_ring_take(&shm->ring, bytes, ret_at) : NULL;
    if (found || !shm || shm->no_ring)
        return found;
    if (ring_renew(port, session, bytes, &err) == DP_OK)
        return shm_ring_take(&shm->ring, bytes, ret_at);
    shm->no_ring = true;
    log_warn(
        "shared-memory-unused shard=%u session=%u reason=\"%s\" action=\"rows that find no room go by the socket\"",
        port->id, session_number(session->token), err.text);
    return NULL;
}

const struct carrier carrier_shm = {take, lend, room, lend_rows, done, done_rows};

float *port_room(void *arg, uint32_t number, uint64_t bytes, uint64_t *ret_at)
{
    struct port_state *port = arg;
    const struct port_session *session = &port->sessions[number];
    return session->carrier->room(port, session, bytes, ret_at);
}

/* ---- sessions that end ---- */

void port_shm_hear(struct port_state *port, const struct port_session *session)
{
    assert((session->carrier == &carrier_shm) == (session->shm != NULL));
    if (session->shm && !session->shm->begun)
        shm_door_hear(&port->memory.door, session->token);
}

void port_shm_fence(struct port_state *port, struct port_session *session, uint64_t fence)
{
    struct shm_session *shm = session->shm;
    if (!shm)
        return;
    shm_door_dismiss(&port->memory.door, session->token);
    shm->fence = fence;
    shm->next = port->memory.over;
    port->memory.over = shm;
    session->shm = NULL;
    session->carrier = &carrier_socket;
}

void port_shm_fenced(struct port_state *port, uint64_t known)
{
    for (struct shm_session **at = &port->memory.over; *at;) {
        struct shm_session *shm = *at;
        if (shm->fence > known) {
            at = &shm->next;
            continue;
        }
        *at = shm->next;
        shm_session_free(&shm);
        port->shard.planes.readers--;
    }
}

void port_shm_fini(struct port_state *port)
{
    port_shm_fenced(port, UINT64_MAX);
    for (uint32_t i = 0; port->sessions && i < SESSIONS_MAX; i++) {
        port->sessions[i].carrier = &carrier_socket;
        shm_session_free(&port->sessions[i].shm);
    }
}
