/* A shard's thread; see thread.h.
 *
 * Invariant: the event queue cannot fill up with completed steps: a slice holds at most SLICE_VERSIONS versions, and
 * lets go of them only as the head announces that it has seen them. Thread: shard, unless stated. */
#include "server/net/thread.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/net/zuv_bind.h"
#include "server/net/rows.h"
#include "server/zmtp/gate.h"

enum { HEAD_LINGER_MS = 500 }; /* for what the head says last */
enum { ARRIVALS_ROOM = 2 * SESSIONS_MAX };
enum { COMMANDS_ROOM = 2 * SESSIONS_MAX, EVENTS_ROOM = 8 * SLICE_VERSIONS, RECEIVE_QUEUE = 64 };

_Static_assert((int)CONSISTENCY_STALENESS_MAX == (int)FRAME_STALENESS_MAX, "clients refuse a wider window");

static void on_wake(uv_async_t *wake)
{
    port_obey(wake->data);
    port_send_letters(wake->data);
}

static void run(void *arg)
{
    struct port *port = arg;
    uv_run(&port->loop, UV_RUN_DEFAULT);
}

/* A ROUTER that refuses what is too large before reading it and never blocks. */
static dp_err open_socket(struct port *port, void *context, const struct port_place *place, void **ret_socket,
                          dp_error *err)
{
    void *socket = zmq_socket(context, ZMQ_ROUTER);
    if (!socket)
        return dp_fail(err, DP_SYSTEM, "cannot make a socket for shard %u: %s", port->id, zmq_strerror(zmq_errno()));
    int yes = 1, linger = place->post ? HEAD_LINGER_MS : 0, queue = RECEIVE_QUEUE, replies = PORT_REPLY_QUEUE;
    int64_t largest = FRAME_ROWS_BYTES_MAX + 4096;
    zmq_setsockopt(socket, ZMQ_ROUTER_MANDATORY, &yes, sizeof yes);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt(socket, ZMQ_SNDHWM, &replies, sizeof replies);
    zmq_setsockopt(socket, ZMQ_RCVHWM, &queue, sizeof queue);
    zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &largest, sizeof largest);
    gate_listening(true);
    dp_err e = place->ports.first
                   ? zuv_bind_ports(socket, place->listen, &place->ports, port->endpoint, sizeof port->endpoint, err)
                   : zuv_bind(socket, place->listen, port->endpoint, sizeof port->endpoint, err);
    gate_listening(false);
    if (e) {
        zmq_close(socket);
        return e;
    }
    *ret_socket = socket;
    return DP_OK;
}

static dp_err allocate(struct port *port, dp_error *err)
{
    port->sessions = mem_array_zero(SESSIONS_MAX, sizeof *port->sessions);
    if (!port->sessions || queue_init(&port->commands, COMMANDS_ROOM, sizeof(struct command)) ||
        queue_init(&port->events, EVENTS_ROOM, sizeof(struct event)) ||
        queue_init(&port->arrivals, ARRIVALS_ROOM, sizeof(struct arrival)))
        return dp_fail(err, DP_NOMEM, "out of memory for shard %u", port->id);
    return DP_OK;
}

void port_fini(struct port *port)
{
    port_drop_queues(port);
    port_grants_fini(port);
    port_shm_fini(port);
    shard_fini(&port->shard);
    graves_free(&port->graves);
    arena_fini(&port->arena);
    queue_fini(&port->commands);
    queue_fini(&port->events);
    queue_fini(&port->arrivals);
    free(port->sessions);
    free(port->slice_elems);
    port_rows_fini(port);
    port_payloads_fini(port);
    port_replies_fini(port);
    *port = (struct port){0};
}

/* Without the door the port does all that it must: workers use their sockets. */
static dp_err open_door(struct port *port, const struct port_place *place, dp_error *err)
{
    if (place->mode == SHM_OFF || port_shm_open(port, place->shm, err) == DP_OK)
        return DP_OK;
    if (place->mode == SHM_ON)
        return err->code;
    log_warn("shared-memory-unused shard=%u reason=\"%s\"", port->id, err->text);
    return DP_OK;
}

static dp_err start_thread(struct port *port, dp_error *err)
{
    if (uv_thread_create(&port->thread, run, port))
        return dp_fail(err, DP_SYSTEM,
                       "cannot start a thread for shard %u; raise the limit of threads (ulimit -u, pids.max) or of "
                       "memory (ulimit -v)",
                       port->id);
    port->running = true;
    return DP_OK;
}

dp_err port_start(struct port *port, uint32_t id, void *zmq_context, const struct port_place *place,
                  uv_async_t *wake_head, dp_error *err)
{
    *port = (struct port){.id = id,
                          .wake_head = wake_head,
                          .post = place->post,
                          .malformed_limit = {.per_second = 5},
                          .budget_limit = {.per_second = 1},
                          .grant_limit = {.per_second = 1}};
    struct shard_calls calls = {port_reply_params,
                                port_reply_refuse,
                                port_tell_completed,
                                port_tell_arrived,
                                port_tell_failed,
                                port_tell_sums,
                                port_shm_room,
                                port_reply_rows,
                                port_tell_ready,
                                port_tell_few,
                                port};
    shard_init(&port->shard, id, &port->counters, &calls);
    void *socket = NULL;
    dp_err e = allocate(port, err);
    if (e)
        goto fail;
    e = open_socket(port, zmq_context, place, &socket, err);
    if (e)
        goto fail;
    if (uv_loop_init(&port->loop)) {
        zmq_close(socket);
        e = dp_fail(err, DP_SYSTEM, "cannot make an event loop for shard %u", id);
        goto fail;
    }
    uv_async_init(&port->loop, &port->wake, on_wake);
    uv_timer_init(&port->loop, &port->tell_later);
    port->wake.data = port->tell_later.data = port;
    e = zuv_init(&port->zuv, &port->loop, socket, port_on_message, port, err);
    if (e) {
        zmq_close(socket);
        goto fail_loop;
    }
    e = open_door(port, place, err);
    if (e) {
        zuv_close(&port->zuv, NULL);
        goto fail_loop;
    }
    e = start_thread(port, err);
    if (e) {
        zuv_close(&port->zuv, NULL);
        shm_door_close(&port->door);
        goto fail_loop;
    }
    return DP_OK;
fail_loop:
    uv_close((uv_handle_t *)&port->wake, NULL);
    uv_close((uv_handle_t *)&port->tell_later, NULL);
    uv_run(&port->loop, UV_RUN_DEFAULT);
    uv_loop_close(&port->loop);
fail:
    port_fini(port);
    return e;
}

void port_announce_fence(struct port *port, uint64_t fence)
{
    atomic_store_explicit(&port->all_fenced, fence, memory_order_release);
    zuv_wake(&port->wake);
}

bool port_send(struct port *port, const struct command *command)
{
    if (!queue_put(&port->commands, command))
        return false;
    zuv_wake(&port->wake);
    return true;
}

void port_announce_low(struct port *port, uint64_t global_low)
{
    atomic_store_explicit(&port->global_low, global_low, memory_order_release);
    zuv_wake(&port->wake);
}

void port_stop(struct port *port)
{
    if (!port->running)
        return;
    /* The shard drains its commands, so room comes. */
    while (!port_send(port, &(struct command){.kind = COMMAND_STOP}))
        zuv_wake(&port->wake);
    uv_thread_join(&port->thread);
    uv_loop_close(&port->loop);
    port->running = false;
}
