/* Workers that come to the door of shared memory; see guests.h. Thread: shard. */
#include "server/net/guests.h"

#include "server/net/reply.h"
#include "server/net/sessions.h"
#include "server/net/shm.h"

static struct port_session *guest_session(struct port_state *port, uint64_t token, dp_error *err)
{
    struct port_session *session = port_session_find(port, token);
    if (!session)
        (void)dp_fail(err, DP_HELLO_REQUIRED, "unknown session");
    return session;
}

static bool on_hello(void *arg, const struct shm_message *message, struct shm_message *answer, int *ret_fd,
                     dp_error *err)
{
    struct port_state *port = arg;
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
    session->carrier = &carrier_shm;
    planes->readers++;
    answer->planes = planes->count;
    answer->stride_bytes = planes->stride_bytes;
    *ret_fd = planes->count ? planes->memory.fd : -1;
    return true;
}

static void on_begin(void *arg, uint64_t token)
{
    struct port_state *port = arg;
    dp_error err;
    struct port_session *session = guest_session(port, token, &err);
    if (session && session->shm)
        session->shm->begun = true;
}

static dp_err on_slab(void *arg, uint64_t token, const struct shm_message *message, int fd, dp_error *err)
{
    struct port_state *port = arg;
    struct port_session *session = guest_session(port, token, err);
    if (!session || !session->shm)
        return DP_HELLO_REQUIRED;
    return shm_session_slab(session->shm, message->slab, fd, message->bytes, err);
}

static void on_malformed(void *arg, const dp_error *err)
{
    port_malformed(arg, err);
}

dp_err port_guests_open(struct port_state *port, const char *name, dp_error *err)
{
    const struct shm_calls calls = {on_hello, on_begin, on_slab, on_malformed, port};
    return shm_door_open(&port->memory.door, &port->loop, name, &calls, err);
}
