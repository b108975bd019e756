/* A port's part of the shared-memory plane: who comes to its door, and sessions that are over.
 *
 * A session ends in two steps. At its fence it is unknown from then on, and all that it sends is refused; what it was
 * lent stays as it is, since its worker may still be reading, and pushing to shards that have not heard of the fence.
 * Once the head has seen that all have, what it was lent is taken back. Thread: shard. */
#include <inttypes.h>
#include <string.h>

#include "log.h"
#include "port.h"

/* Rows of tables go by sockets, and with them the rest of such a job. */
static bool has_tables(const struct tensors *tensors)
{
    bool any = false;
    for (uint32_t i = 0; i < tensors->count; i++)
        any |= tensors->list[i].kind != TENSOR_DENSE;
    return any;
}

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
    const struct planes *planes = &port->shard.planes;
    if (!session)
        return false;
    if (message->incarnation != port->incarnation || session->shm) {
        (void)dp_fail(err, DP_PROTO, "the session is of another incarnation, or has come before");
        return false;
    }
    if (!planes->count) {
        (void)dp_fail(err, DP_NOMEM, "the server has no memory to share");
        return false;
    }
    session->shm = shm_session_new(port->shard.slices, port->shard.slice_count);
    if (!session->shm) {
        (void)dp_fail(err, DP_NOMEM, "the server is out of memory");
        return false;
    }
    answer->planes = planes->count;
    answer->stride_bytes = planes->stride_bytes;
    *ret_fd = planes->memory.fd;
    return true;
}

static dp_err on_slab(void *arg, uint64_t token, uint32_t number, int fd, dp_error *err)
{
    struct port *port = arg;
    struct port_session *session = guest_session(port, token, err);
    if (!session || !session->shm)
        return DP_HELLO_REQUIRED;
    return shm_session_slab(session->shm, number, fd, tensors_total(&port->shard.own.tensors) * sizeof(float), err);
}

static void on_malformed(void *arg, const dp_error *err)
{
    port_malformed(arg, err);
}

dp_err port_shm_open(struct port *port, const char *name, dp_error *err)
{
    const struct shm_calls calls = {on_hello, on_slab, on_malformed, port};
    return shm_door_open(&port->door, &port->loop, name, &calls, err);
}

dp_err port_shm_start(struct port *port, const struct command *start, dp_error *err)
{
    struct range range = {0};
    if (!port->door.open || start->slice_count == 0 || has_tables(&start->job->tensors))
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
    }
}

void port_shm_fini(struct port *port)
{
    port_shm_fenced(port, UINT64_MAX);
    for (uint32_t i = 0; port->sessions && i < PORT_SESSIONS_MAX; i++)
        shm_session_free(&port->sessions[i].shm);
}
