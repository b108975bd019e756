/* A port's part of the shared-memory plane: who comes to its door, and sessions that are over.
 *
 * A session ends in two steps. At its fence it is unknown from then on, and all that it sends is refused; what it was
 * lent stays as it is, since its worker may still be reading, and pushing to shards that have not heard of the fence.
 * Once the head has seen that all have, what it was lent is taken back. Thread: shard. */
#include <inttypes.h>
#include <string.h>

#include "common/base/log.h"
#include "server/net/thread.h"

/* The session of a guest; NULL with the reason. */
static struct port_session *guest_session(struct port *port, uint64_t token, dp_error *err)
{
    struct port_session *session = &port->sessions[session_number(token)];
    if (token == 0 || session->token != token)
        port_obey(port);
    if (token != 0 && session->token == token)
        return session;
    (void)dp_fail(err, DP_HELLO_REQUIRED, "unknown session");
    return NULL;
}

static bool on_hello(void *arg, const struct shm_message *message, struct shm_message *answer, int *ret_fd,
                     dp_error *err)
{
    struct port *port = arg;
    struct port_session *session = guest_session(port, message->session, err);
    struct planes *planes = &port->shard.planes;
    if (!session)
        return false;
    if (message->incarnation != port->incarnation || session->shm) {
        (void)dp_fail(err, DP_PROTO, "the session is of another incarnation, or has come before");
        return false;
    }
    if (!port->shard.job || (port->shard.slice_count > 0 && !planes->count)) {
        (void)dp_fail(err, DP_NOMEM, "the server has no memory to share");
        return false;
    }
    session->shm = shm_session_new(port->shard.slices, port->shard.slice_count);
    if (!session->shm) {
        (void)dp_fail(err, DP_NOMEM, "the server is out of memory");
        return false;
    }
    planes->readers++;
    answer->planes = planes->count;
    answer->stride_bytes = planes->stride_bytes;
    *ret_fd = planes->count ? planes->memory.fd : -1;
    return true;
}

static void on_begin(void *arg, uint64_t token)
{
    struct port *port = arg;
    dp_error err;
    struct port_session *session = guest_session(port, token, &err);
    if (session && session->shm)
        session->shm->begun = true;
}

static dp_err on_slab(void *arg, uint64_t token, const struct shm_message *message, int fd, dp_error *err)
{
    struct port *port = arg;
    struct port_session *session = guest_session(port, token, err);
    if (!session || !session->shm)
        return DP_HELLO_REQUIRED;
    return shm_session_slab(session->shm, message->slab, fd, message->bytes, err);
}

static void on_malformed(void *arg, const dp_error *err)
{
    port_malformed(arg, err);
}

dp_err port_shm_open(struct port *port, const char *name, dp_error *err)
{
    const struct shm_calls calls = {on_hello, on_begin, on_slab, on_malformed, port};
    return shm_door_open(&port->door, &port->loop, name, &calls, err);
}

dp_err port_shm_start(struct port *port, const struct command *start, dp_error *err)
{
    struct range range = {0};
    if (!port->door.open || start->slice_count == 0)
        return DP_OK;
    range.first = start->slices[0].first;
    for (uint32_t i = 0; i < start->slice_count; i++)
        range.count += start->slices[i].count;
    dp_err e = planes_init(&port->shard.planes, tensors_total(&start->job->tensors), range, err);
    if (e == DP_OK || start->shm == SHM_ON)
        return e;
    log_warn("shared-memory-unused shard=%u reason=\"%s\" action=\"all workers use their sockets\"", port->id,
             err->text);
    return DP_OK;
}

dp_err port_shm_payload(const struct port_session *session, uint32_t slab, uint64_t at, uint64_t count,
                        struct blob *ret_payload, dp_error *err)
{
    if (session->shm && shm_session_payload(session->shm, slab - 1, at, count, ret_payload))
        return DP_OK;
    return dp_fail(err, DP_PROTO, "push of slab %u, which was not passed or does not have what is said to be in it",
                   slab);
}

/* A larger ring takes the place of the session's, which the worker still has mapped. */
static dp_err ring_renew(struct port *port, const struct port_session *session, uint64_t bytes, dp_error *err)
{
    struct shm_ring *ring = &session->shm->ring, next;
    dp_err e = shm_ring_next(ring, bytes, &next, err);
    if (e)
        return e;
    struct shm_message message = {.kind = SHM_RING, .ring = next.number, .bytes = next.memory.bytes};
    e = shm_door_pass(&port->door, session->token, &message, next.memory.fd);
    if (e) {
        shm_ring_fini(&next);
        return dp_fail(err, e, "the worker does not take it");
    }
    shm_close(&next.memory);
    shm_ring_fini(ring);
    *ring = next;
    return DP_OK;
}

float *port_shm_room(void *arg, uint32_t number, uint64_t bytes, uint64_t *ret_at)
{
    struct port *port = arg;
    const struct port_session *session = &port->sessions[number];
    struct shm_session *shm = session->shm && session->shm->begun ? session->shm : NULL;
    dp_error err;
    float *room = shm ? shm_ring_take(&shm->ring, bytes, ret_at) : NULL;
    if (room || !shm || shm->no_ring)
        return room;
    if (ring_renew(port, session, bytes, &err) == DP_OK)
        return shm_ring_take(&shm->ring, bytes, ret_at);
    shm->no_ring = true;
    log_warn(
        "shared-memory-unused shard=%u session=%u reason=\"%s\" action=\"rows that find no room go by the socket\"",
        port->id, number, err.text);
    return NULL;
}

void port_shm_hear(struct port *port, const struct port_session *session)
{
    if (session->shm && !session->shm->begun)
        shm_door_hear(&port->door, session->token);
}

void port_shm_fence(struct port *port, struct port_session *session, uint64_t fence)
{
    struct shm_session *shm = session->shm;
    if (!shm)
        return;
    shm_door_dismiss(&port->door, session->token);
    shm->fence = fence;
    shm->next = port->over;
    port->over = shm;
    session->shm = NULL;
}

void port_shm_fenced(struct port *port, uint64_t known)
{
    for (struct shm_session **at = &port->over; *at;) {
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

void port_shm_fini(struct port *port)
{
    port_shm_fenced(port, UINT64_MAX);
    for (uint32_t i = 0; port->sessions && i < SESSIONS_MAX; i++)
        shm_session_free(&port->sessions[i].shm);
}
