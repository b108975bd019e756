/* A shard's thread; see thread.h.
 *
 * Invariant: the event queue cannot fill up with completed steps: a slice holds at most SLICE_VERSIONS versions, and
 * lets go of them only as the head announces that it has seen them. Thread: shard, unless stated. */
#include "server/net/thread.h"

#include <stdlib.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/text.h"
#include "server/net/commands.h"
#include "server/net/cut.h"
#include "server/net/events.h"
#include "server/net/grants.h"
#include "server/net/guests.h"
#include "server/net/letters.h"
#include "server/net/payload.h"
#include "server/net/receive.h"
#include "server/net/reply.h"
#include "server/net/shm.h"
#include "server/net/state.h"
#include "server/net/tables.h"
#include "server/zmtp/tcp.h"

enum { HEAD_LINGER_MS = 500 }; /* for what the head says last */
enum { ARRIVALS_ROOM = 2 * SESSIONS_MAX };
enum { COMMANDS_ROOM = 2 * SESSIONS_MAX, EVENTS_ROOM = 8 * SLICE_VERSIONS, RECEIVE_QUEUE = 64 };

_Static_assert((int)CONSISTENCY_STALENESS_MAX == (int)FRAME_STALENESS_MAX, "clients refuse a wider window");

static void on_wake(uv_async_t *wake)
{
    port_obey(wake->data);
    port_cut_pump(wake->data);
    port_send_letters(wake->data);
}

static void run(void *arg)
{
    struct port_state *state = arg;
    uv_run(&state->loop, UV_RUN_DEFAULT);
}

static void wake_thread(void *arg)
{
    zuv_wake(arg);
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

static dp_err allocate(struct port *port, uv_async_t *wake_head, dp_error *err)
{
    const struct link_rooms rooms = {COMMANDS_ROOM, EVENTS_ROOM, ARRIVALS_ROOM};
    port->link = &port->local.link;
    port->state = mem_array_zero(1, sizeof *port->state);
    if (port->state)
        port->state->sessions = mem_array_zero(SESSIONS_MAX, sizeof *port->state->sessions);
    if (!port->state || !port->state->sessions ||
        link_local_init(&port->local, &rooms, (struct link_waker){wake_thread, &port->wake},
                        (struct link_waker){wake_thread, wake_head}))
        return dp_fail(err, DP_NOMEM, "out of memory for shard %u", port->id);
    return DP_OK;
}

static void state_init(struct port *port, const struct port_place *place)
{
    const struct shard_calls calls = {.params = port_reply_params,
                                      .rows = port_reply_rows,
                                      .refuse = port_reply_refuse,
                                      .room = port_room,
                                      .arrived = port_arrived,
                                      .emit = port_emit,
                                      .cut = port_cut_ready,
                                      .arg = port->state};
    struct port_state *state = port->state;
    state->id = port->id;
    state->counters = &port->counters;
    state->link = &port->local;
    state->post = place->post;
    state->wake = &port->wake;
    state->cut = (struct port_cut){.folder = place->checkpoints, .writer = place->writer};
    state->grant_limit = state->replies.budget_limit = (struct log_limit){.per_second = 1};
    state->replies.malformed_limit = (struct log_limit){.per_second = 5};
    shard_init(&state->shard, port->id, &port->counters, &calls);
}

static void state_fini(struct port_state *state)
{
    port_cut_drop(state);
    port_grants_fini(state);
    port_shm_fini(state);
    shard_fini(&state->shard);
    graves_free(&state->graves);
    arena_fini(&state->arena);
    free(state->sessions);
    port_tables_fini(state);
    free(state->limits.slice_elems);
    command_start_free(&state->start);
    port_payloads_fini(state);
    port_replies_fini(state);
}

void port_fini(struct port *port)
{
    link_local_fini(&port->local);
    if (port->state)
        state_fini(port->state);
    free(port->state);
    *port = (struct port){0};
}

/* Without the door the port does all that it must: workers use their sockets. */
static dp_err open_door(struct port *port, const struct port_place *place, dp_error *err)
{
    if (place->mode == SHM_OFF)
        return DP_OK;
    if (port_guests_open(port->state, place->shm, err) == DP_OK) {
        (void)str_copy(port->shm_name, sizeof port->shm_name, place->shm);
        return DP_OK;
    }
    if (place->mode == SHM_ON)
        return err->code;
    log_warn("shared-memory-unused shard=%u reason=\"%s\"", port->id, err->text);
    return DP_OK;
}

static dp_err start_thread(struct port *port, dp_error *err)
{
    if (uv_thread_create(&port->thread, run, port->state))
        return dp_fail(err, DP_SYSTEM,
                       "cannot start a thread for shard %u; raise the limit of threads (ulimit -u, pids.max) or of "
                       "memory (ulimit -v)",
                       port->id);
    port->running = true;
    if (port->state->post)
        post_open(port->state->post, &port->wake);
    return DP_OK;
}

/* The socket is the loop's, or closed. */
static dp_err start_loop(struct port *port, void *socket, const struct port_place *place, dp_error *err)
{
    struct port_state *state = port->state;
    dp_err e = zuv_init(&state->zuv, &state->loop, socket, port_on_message, state, err);
    if (e) {
        zmq_close(socket);
        return e;
    }
    e = open_door(port, place, err);
    if (e == DP_OK)
        e = start_thread(port, err);
    if (e == DP_OK)
        return DP_OK;
    zuv_close(&state->zuv, NULL);
    shm_door_close(&state->memory.door);
    return e;
}

dp_err port_start(struct port *port, uint32_t id, void *zmq_context, const struct port_place *place,
                  uv_async_t *wake_head, dp_error *err)
{
    void *socket = NULL;
    *port = (struct port){.id = id};
    dp_err e = allocate(port, wake_head, err);
    if (e)
        goto fail;
    struct port_state *state = port->state;
    state_init(port, place);
    e = open_socket(port, zmq_context, place, &socket, err);
    if (e)
        goto fail;
    if (uv_loop_init(&state->loop)) {
        zmq_close(socket);
        e = dp_fail(err, DP_SYSTEM, "cannot make an event loop for shard %u", id);
        goto fail;
    }
    uv_async_init(&state->loop, &port->wake, on_wake);
    uv_timer_init(&state->loop, &state->telling.later);
    port->wake.data = state->telling.later.data = state;
    e = start_loop(port, socket, place, err);
    if (e == DP_OK)
        return DP_OK;
    uv_close((uv_handle_t *)&port->wake, NULL);
    uv_close((uv_handle_t *)&state->telling.later, NULL);
    uv_run(&state->loop, UV_RUN_DEFAULT);
    uv_loop_close(&state->loop);
fail:
    port_fini(port);
    return e;
}

void port_stop(struct port *port)
{
    if (!port->running)
        return;
    /* The shard drains its commands, so room comes. */
    while (!shard_link_send(port->link, &(struct command){.kind = COMMAND_STOP}))
        zuv_wake(&port->wake);
    uv_thread_join(&port->thread);
    if (port->state->post)
        post_open(port->state->post, NULL);
    uv_loop_close(&port->state->loop);
    port->running = false;
}
