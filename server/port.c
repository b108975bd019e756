/* A shard's thread; see port.h.
 *
 * Invariants:
 *   1. A session opened by the head before it answers a worker is known here before that worker's first message is
 * looked at: unknown tokens make the thread drain its commands and look again.
 *   2. What a reply refers to (version, lease) is given back exactly once, by libzmq's free callback, from whatever
 * thread.
 *   3. The event queue cannot fill up with completed steps: a slice holds at most SLICE_VERSIONS versions, and lets go
 * of them only as the head announces that it has seen them. Thread: shard, unless stated. */
#include "port.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "port_rows.h"

enum { ARRIVALS_ROOM = 2 * PORT_SESSIONS_MAX };
enum {
    COMMANDS_ROOM = 2 * PORT_SESSIONS_MAX,
    EVENTS_ROOM = 8 * SLICE_VERSIONS,
    RECEIVE_QUEUE = 64,
    REPLY_QUEUE = 4096,
    MIB = 1 << 20
};

_Static_assert((int)CONSISTENCY_STALENESS_MAX == (int)FRAME_STALENESS_MAX, "clients refuse a wider window");

/* What a reply in flight holds. */
struct reply_lease {
    struct reply_lease *next;
    struct port *port;
    struct version *version;
    struct port_session *session;
    uint64_t bytes;
};

/* A received payload that is kept where it is. */
struct kept_frame {
    struct kept_frame *next;
    struct port *port;
    zmq_msg_t msg;
};

/* ---- payloads in ---- */

static void frame_give_back(void *owner)
{
    struct kept_frame *frame = owner;
    zmq_msg_close(&frame->msg);
    frame->next = frame->port->frames;
    frame->port->frames = frame;
}

static struct kept_frame *frame_take(struct port *port)
{
    struct kept_frame *frame = port->frames;
    if (frame)
        port->frames = frame->next;
    else
        frame = mem_array(1, sizeof *frame);
    if (frame) {
        frame->port = port;
        zmq_msg_init(&frame->msg);
    }
    return frame;
}

/* Takes the payload of a message. libzmq leaves small frames wherever they were in its buffer: those are copied to an
 * aligned place; large ones stay. */
dp_err port_payload_take(struct port *port, zmq_msg_t *msg, struct blob *ret_blob)
{
    struct kept_frame *frame = frame_take(port);
    if (!frame)
        return DP_NOMEM;
    size_t bytes = zmq_msg_size(msg);
    if ((uintptr_t)zmq_msg_data(msg) % sizeof(float) == 0) {
        zmq_msg_move(&frame->msg, msg);
    } else {
        if (zmq_msg_init_size(&frame->msg, bytes)) {
            zmq_msg_init(&frame->msg);
            frame_give_back(frame);
            return DP_NOMEM;
        }
        memcpy(zmq_msg_data(&frame->msg), zmq_msg_data(msg), bytes);
        counter_add(&port->counters.copies, 1);
        counter_add(&port->counters.copied_bytes, bytes);
    }
    *ret_blob = (struct blob){zmq_msg_data(&frame->msg), bytes, frame, frame_give_back};
    return DP_OK;
}

/* ---- replies out ---- */

/* libzmq is done with a reply. Thread: libzmq's. */
static void lease_return(void *data, void *hint)
{
    (void)data;
    struct reply_lease *lease = hint;
    struct port *port = lease->port;
    version_release(lease->version);
    atomic_fetch_sub_explicit(&lease->session->unsent_bytes, lease->bytes, memory_order_relaxed);
    lease->next = atomic_load_explicit(&port->returned, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&port->returned, &lease->next, lease, memory_order_release,
                                                  memory_order_relaxed))
        ;
}

static struct reply_lease *lease_take(struct port *port)
{
    if (!port->leases)
        port->leases = atomic_exchange_explicit(&port->returned, NULL, memory_order_acquire);
    struct reply_lease *lease = port->leases;
    if (lease)
        port->leases = lease->next;
    else
        lease = mem_array(1, sizeof *lease);
    return lease;
}

/* A frame that refers to the version's floats. */
static dp_err payload_frame(struct port *port, struct port_session *session, struct version *version, size_t bytes,
                            zmq_msg_t *msg)
{
    struct reply_lease *lease = lease_take(port);
    if (!lease)
        return DP_NOMEM;
    *lease = (struct reply_lease){NULL, port, version, session, bytes};
    version_retain(version);
    atomic_fetch_add_explicit(&session->unsent_bytes, bytes, memory_order_relaxed);
    if (zmq_msg_init_data(msg, version->theta, bytes, lease_return, lease)) {
        lease_return(NULL, lease);
        return DP_NOMEM;
    }
    return DP_OK;
}

static dp_err header_frame(const Dp__Header *header, zmq_msg_t *msg)
{
    if (zmq_msg_init_size(msg, frame_size(header)))
        return DP_NOMEM;
    frame_write(header, zmq_msg_data(msg));
    return DP_OK;
}

static dp_err id_frame(const void *id, size_t bytes, zmq_msg_t *msg)
{
    if (zmq_msg_init_size(msg, bytes))
        return DP_NOMEM;
    memcpy(zmq_msg_data(msg), id, bytes);
    return DP_OK;
}

/* Sends a header, and `payload` behind it unless NULL. A peer that is gone, or out of memory here, loses the reply: it
 * asks again. */
void port_send_frames(struct port *port, const void *id, size_t id_bytes, const Dp__Header *header, zmq_msg_t *payload)
{
    zmq_msg_t frames[3];
    if (id_frame(id, id_bytes, &frames[0]))
        goto no_id;
    if (header_frame(header, &frames[1]))
        goto no_header;
    if (payload) {
        zmq_msg_init(&frames[2]);
        zmq_msg_move(&frames[2], payload);
    }
    counter_add(&port->counters.header_bytes_out, zmq_msg_size(&frames[1]));
    dp_err e = zuv_send(&port->zuv, frames, payload ? 3 : 2);
    if (e == DP_BUSY)
        counter_add(&port->counters.unread, 1);
    if (e)
        log_debug("reply-lost shard=%u reason=%s", port->id, dp_err_name(e));
    return;
no_header:
    zmq_msg_close(&frames[0]);
no_id:
    if (payload)
        zmq_msg_close(payload);
}

static void send_error(struct port *port, const void *id, size_t id_bytes, const Dp__Header *about,
                       const struct refusal *refusal)
{
    Dp__Error error = DP__ERROR__INIT;
    error.code = (uint32_t)refusal->code;
    error.text = (char *)refusal->text;
    error.step = refusal->step;
    error.slice = refusal->slice;
    error.accepted = (ProtobufCBinaryData){refusal->accepted_bytes, (uint8_t *)refusal->accepted};
    Dp__Header header = DP__HEADER__INIT;
    header.session = about->session;
    header.incarnation = port->incarnation;
    header.request = about->request;
    header.body_case = DP__HEADER__BODY_ERROR;
    header.error = &error;
    port_send_frames(port, id, id_bytes, &header, NULL);
}

/* A peer that does not read its replies is not served beyond a budget, of bytes that replies hold of versions here and
 * of messages in its queue; it asks again when it is back. */
bool port_over_budget(struct port *port, struct port_session *session)
{
    if (atomic_load_explicit(&session->unsent_bytes, memory_order_relaxed) <= port->reply_budget_bytes)
        return false;
    counter_add(&port->counters.unread, 1);
    uint64_t left_out;
    if (log_limit_pass(&port->budget_limit, mono_ms(), &left_out))
        log_warn("peer-does-not-read shard=%u session=%u budget_bytes=%" PRIu64 " more=%" PRIu64, port->id,
                 session_number(session->token), port->reply_budget_bytes, left_out);
    return true;
}

static void reply_params(void *arg, const struct params *params)
{
    struct port *port = arg;
    struct port_session *session = &port->sessions[params->session];
    Dp__Params body = DP__PARAMS__INIT;
    body.slice = params->slice;
    body.step = params->step;
    body.version = params->number;
    body.last = params->last;
    body.unchanged = !params->version && !params->last;
    body.staleness = params->staleness;
    body.accepted = (ProtobufCBinaryData){params->accepted_bytes, (uint8_t *)params->accepted};
    Dp__Header header = DP__HEADER__INIT;
    header.session = session->token;
    header.incarnation = port->incarnation;
    header.request = params->request;
    header.body_case = DP__HEADER__BODY_PARAMS;
    header.params = &body;
    uint32_t slice = params->slice - port->shard.first_slice;
    size_t bytes = (size_t)port->slice_elems[slice] * sizeof(float);
    if (session->shm)
        body.done = port->shard.slices[slice].window.next;
    if (session->shm && params->version && shm_session_lend(session->shm, slice, params->version)) {
        body.plane = 1 + params->version->plane;
        counter_add(&port->counters.shm_bytes_out, bytes);
    }
    if (!params->version || body.plane) {
        port_send_frames(port, session->id, session->id_bytes, &header, NULL);
        return;
    }
    zmq_msg_t payload;
    if (port_over_budget(port, session) || payload_frame(port, session, params->version, bytes, &payload))
        return;
    counter_add(&port->counters.theta_bytes_out, bytes);
    port_send_frames(port, session->id, session->id_bytes, &header, &payload);
}

static void reply_refuse(void *arg, const struct refusal *refusal)
{
    struct port *port = arg;
    struct port_session *session = &port->sessions[refusal->session];
    Dp__Header about = DP__HEADER__INIT;
    about.session = session->token;
    about.request = refusal->request;
    send_error(port, session->id, session->id_bytes, &about, refusal);
}

/* ---- commands of the head ---- */

/* Messages that may wait for a peer to read them. */
static void send_queue(struct zuv *zuv, int messages)
{
    zmq_setsockopt(zuv->socket, ZMQ_SNDHWM, &messages, sizeof messages);
}

static dp_err start(struct port *port, const struct command *command, dp_error *err)
{
    uint64_t bytes = 0;
    port->slice_elems = mem_array(command->slice_count, sizeof *port->slice_elems);
    if (!port->slice_elems)
        return dp_fail(err, DP_NOMEM, "out of memory for %u slices", command->slice_count);
    for (uint32_t i = 0; i < command->slice_count; i++) {
        port->slice_elems[i] = command->slices[i].count;
        bytes += command->slices[i].count * sizeof(float);
    }
    port->reply_budget_bytes = 2 * bytes + 16 * (uint64_t)MIB;
    send_queue(&port->zuv, REPLY_QUEUE + 4 * (int)command->slice_count);
    port->incarnation = command->incarnation;
    dp_err e = port_shm_start(port, command, err);
    if (e == DP_OK)
        e = shard_start(&port->shard, command->job, command->first_slice, command->slices, command->slice_count, err);
    if (e)
        return e;
    port->limits = (struct frame_limits){command->first_slice, command->slice_count, command->job->plan.slots,
                                         port->slice_elems, plan_total(&command->job->plan)};
    return port_rows_start(port, command, err);
}

static void pin(struct port *port, uint64_t step)
{
    struct event event = {.kind = EVENT_PINNED, .step = step};
    uint32_t count = port->shard.slice_count;
    if (port->shard.job)
        event.pinned = mem_array_zero(count, sizeof *event.pinned);
    for (uint32_t i = 0; event.pinned && i < count; i++) {
        event.pinned[i] = slice_theta(&port->shard.slices[i], step);
        if (event.pinned[i])
            version_retain(event.pinned[i]);
    }
    event.copies = port_rows_copy(port, step);
    port_tell(port, &event);
}

static void report_owed(struct port *port)
{
    struct event event = {.kind = EVENT_OWED};
    event.owed = mem_array(STEPS_SLOTS_MAX, sizeof *event.owed);
    if (event.owed && port->shard.job)
        event.owed_count = shard_owed(&port->shard, &event.step, event.owed);
    roster_asked(&port->shard.roster);
    port_tell(port, &event);
}

static void stop(struct port *port)
{
    zuv_close(&port->zuv, NULL);
    shm_door_close(&port->door);
    uv_close((uv_handle_t *)&port->wake, NULL);
    uv_close((uv_handle_t *)&port->tell_later, NULL);
}

static void obey(struct port *port, const struct command *command)
{
    dp_error err;
    struct port_session *session = &port->sessions[session_number(command->session)];
    switch (command->kind) {
    case COMMAND_START:
        if (start(port, command, &err))
            port_tell_failed(port, &err);
        break;
    case COMMAND_OPEN:
        session->token = command->session;
        session->id_bytes = 0;
        break;
    case COMMAND_CLOSE:
        if (session->token == command->session) {
            port_shm_fence(port, session, command->fence);
            session->token = 0;
            shard_forget(&port->shard, session_number(command->session));
        }
        atomic_store_explicit(&port->fenced, command->fence, memory_order_release);
        uv_async_send(port->wake_head);
        break;
    case COMMAND_PIN:
        pin(port, command->step);
        break;
    case COMMAND_OWED:
        report_owed(port);
        break;
    case COMMAND_TOTALS:
        shard_totals(&port->shard, command->step, command->phase, command->totals);
        free(command->totals);
        break;
    case COMMAND_PREPARE:
        port_tell(port, &(struct event){.kind = EVENT_PREPARED,
                                        .step = shard_prepare(&port->shard, command->step, command->setting.kind)});
        break;
    case COMMAND_SET:
        shard_set(&port->shard, command->step, &command->setting);
        break;
    case COMMAND_ROSTER:
        roster_take(&port->shard, command->roster, command->live);
        free(command->live);
        break;
    case COMMAND_GO:
        shard_go(&port->shard, command->step);
        break;
    case COMMAND_DROP:
        roster_drop(&port->shard, command->step, command->live, command->dropped);
        free(command->live);
        break;
    case COMMAND_STOP:
        stop(port);
        break;
    }
}

/* global_low is read first: what the head asked before it announced this one must find the versions of then. */
void port_obey(struct port *port)
{
    struct command command;
    uint64_t low = atomic_load_explicit(&port->global_low, memory_order_acquire);
    uint64_t fence = atomic_load_explicit(&port->all_fenced, memory_order_acquire);
    while (queue_take(&port->commands, &command))
        obey(port, &command);
    if (low > port->shard.global_low)
        shard_global_low(&port->shard, low);
    if (port->over)
        port_shm_fenced(port, fence);
}

static void on_wake(uv_async_t *wake)
{
    port_obey(wake->data);
}

/* ---- messages in ---- */

/* The session that a message belongs to, with its way back noted; NULL if there is none (the peer was told). */
static struct port_session *find_session(struct port *port, const Dp__Header *header, const void *id, size_t id_bytes)
{
    struct port_session *session = &port->sessions[session_number(header->session)];
    if (session->token != header->session || header->session == 0)
        port_obey(port);
    if (session->token != header->session || header->session == 0) {
        send_error(
            port, id, id_bytes, header,
            &(struct refusal){.code = DP_HELLO_REQUIRED, .text = "unknown session, say hello to the head again"});
        return NULL;
    }
    if (header->incarnation != port->incarnation) {
        send_error(port, id, id_bytes, header,
                   &(struct refusal){.code = DP_INCARNATION, .text = "message of another incarnation of the job"});
        return NULL;
    }
    if (session->id_bytes != id_bytes || memcmp(session->id, id, id_bytes) != 0) {
        session->id_bytes = (uint8_t)id_bytes;
        memcpy(session->id, id, id_bytes);
    }
    return session;
}

static struct push_pull to_core(const struct port *port, const Dp__Header *header)
{
    const Dp__PushPull *m = header->push_pull;
    const struct shard *shard = &port->shard;
    struct push_pull msg = {
        .session = session_number(header->session),
        .request = header->request,
        .slice = m->slice - shard->first_slice,
        .push = m->push,
        .step = m->step,
        .pull = m->pull,
        .pull_step = m->pull_step,
        .have = m->have,
        .read = m->read,
    };
    if (m->push)
        msg.node = steps_node(&shard->slices[msg.slice].window, m->level, m->index);
    if (m->metrics)
        msg.metrics = (struct metrics){m->metrics->count, m->metrics->loss, m->metrics->correct};
    return msg;
}

void port_malformed(struct port *port, const dp_error *err)
{
    uint64_t left_out;
    counter_add(&port->counters.malformed, 1);
    if (log_limit_pass(&port->malformed_limit, mono_ms(), &left_out))
        log_warn("malformed-message shard=%u reason=\"%s\" more=%" PRIu64, port->id, err->text, left_out);
}

/* The part of a shared slab that a push names. */
static bool slab_payload(const struct port *port, const Dp__Header *header, struct blob *ret_payload)
{
    const Dp__PushPull *m = header->push_pull;
    const struct shm_session *shm = port->sessions[session_number(header->session)].shm;
    struct range slice = port->shard.slices[m->slice - port->shard.first_slice].range;
    return shm && shm_session_payload(shm, m->slab - 1, slice.first, slice.count, ret_payload);
}

/* A pull says what the worker has: it reads nothing older. */
static void take_back(const struct port *port, const Dp__Header *header)
{
    const Dp__PushPull *m = header->push_pull;
    struct shm_session *shm = port->sessions[session_number(header->session)].shm;
    if (shm && m->pull && m->have > 0)
        shm_session_returned(shm, m->slice - port->shard.first_slice, m->have - 1);
}

static void on_message(void *arg, zmq_msg_t *frames, size_t count)
{
    struct port *port = arg;
    dp_error err = {.text = "a message needs a header frame"};
    const Dp__Header *header;
    const void *id = zmq_msg_data(&frames[0]);
    size_t id_bytes = zmq_msg_size(&frames[0]);
    if (count < 2 || id_bytes > PORT_ROUTING_ID_MAX ||
        frame_parse(&port->arena, zmq_msg_data(&frames[1]), zmq_msg_size(&frames[1]), count - 2, &header, &err)) {
        port_malformed(port, &err);
        return;
    }
    counter_add(&port->counters.header_bytes_in, zmq_msg_size(&frames[1]));
    if (header->body_case != DP__HEADER__BODY_PUSH_PULL && header->body_case != DP__HEADER__BODY_ROWS_PUSH_PULL) {
        send_error(
            port, id, id_bytes, header,
            &(struct refusal){.code = DP_PROTO, .text = "this is the port of a shard: use that of dp-server --listen"});
        return;
    }
    struct port_session *session = find_session(port, header, id, id_bytes);
    if (!session)
        return;
    if (header->body_case == DP__HEADER__BODY_ROWS_PUSH_PULL) {
        port_on_rows(port, session, header, frames + 2);
        return;
    }
    size_t bytes = count > 2 ? zmq_msg_size(&frames[2]) : SIZE_MAX;
    dp_err e = frame_check_push_pull(header->push_pull, &port->limits, bytes, &err);
    if (e) {
        port_malformed(port, &err);
        send_error(port, id, id_bytes, header,
                   &(struct refusal){.code = e, .slice = header->push_pull->slice, .text = err.text});
        return;
    }
    struct blob gradient = {0};
    if (header->push_pull->slab && !slab_payload(port, header, &gradient)) {
        send_error(port, id, id_bytes, header,
                   &(struct refusal){
                       .code = DP_PROTO, .slice = header->push_pull->slice, .text = "push of a slab never passed"});
        return;
    }
    if (count > 2 && port_payload_take(port, &frames[2], &gradient)) {
        send_error(port, id, id_bytes, header,
                   &(struct refusal){
                       .code = DP_BUSY, .slice = header->push_pull->slice, .text = "out of memory for the push"});
        return;
    }
    counter_add(shm_is_slab(&gradient) ? &port->counters.shm_bytes_in : &port->counters.gradient_bytes_in,
                gradient.bytes);
    take_back(port, header);
    struct push_pull msg = to_core(port, header);
    shard_push_pull(&port->shard, &msg, &gradient);
}

/* ---- life ---- */

static void run(void *arg)
{
    struct port *port = arg;
    uv_run(&port->loop, UV_RUN_DEFAULT);
}

/* A ROUTER that refuses what is too large before reading it and never blocks. */
static dp_err open_socket(struct port *port, void *context, const char *listen, void **ret_socket, dp_error *err)
{
    void *socket = zmq_socket(context, ZMQ_ROUTER);
    if (!socket)
        return dp_fail(err, DP_SYSTEM, "cannot make a socket for shard %u: %s", port->id, zmq_strerror(zmq_errno()));
    int yes = 1, v6 = strchr(listen, '[') != NULL, none = 0, queue = RECEIVE_QUEUE, replies = REPLY_QUEUE;
    int64_t largest = FRAME_ROWS_BYTES_MAX + 4096;
    zmq_setsockopt(socket, ZMQ_ROUTER_MANDATORY, &yes, sizeof yes);
    zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(socket, ZMQ_SNDHWM, &replies, sizeof replies);
    zmq_setsockopt(socket, ZMQ_RCVHWM, &queue, sizeof queue);
    zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &largest, sizeof largest);
    zmq_setsockopt(socket, ZMQ_TCP_KEEPALIVE, &yes, sizeof yes);
    zmq_setsockopt(socket, ZMQ_IPV6, &v6, sizeof v6); /* else an IPv4 endpoint reads [::ffff:...] */
    dp_err e = zuv_bind(socket, listen, port->endpoint, sizeof port->endpoint, err);
    if (e) {
        zmq_close(socket);
        return e;
    }
    *ret_socket = socket;
    return DP_OK;
}

static dp_err allocate(struct port *port, dp_error *err)
{
    port->sessions = mem_array_zero(PORT_SESSIONS_MAX, sizeof *port->sessions);
    if (!port->sessions || queue_init(&port->commands, COMMANDS_ROOM, sizeof(struct command)) ||
        queue_init(&port->events, EVENTS_ROOM, sizeof(struct event)) ||
        queue_init(&port->arrivals, ARRIVALS_ROOM, sizeof(struct arrival)))
        return dp_fail(err, DP_NOMEM, "out of memory for shard %u", port->id);
    return DP_OK;
}

static void free_leases(struct reply_lease *lease)
{
    for (struct reply_lease *next; lease; lease = next) {
        next = lease->next;
        free(lease);
    }
}

void port_fini(struct port *port)
{
    port_drop_queues(port);
    port_shm_fini(port);
    shard_fini(&port->shard);
    arena_fini(&port->arena);
    queue_fini(&port->commands);
    queue_fini(&port->events);
    queue_fini(&port->arrivals);
    free(port->sessions);
    free(port->slice_elems);
    port_rows_fini(port);
    for (struct kept_frame *f = port->frames, *next; f; f = next) {
        next = f->next;
        free(f);
    }
    free_leases(port->leases);
    free_leases(atomic_load(&port->returned));
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

dp_err port_start(struct port *port, uint32_t id, void *zmq_context, const struct port_place *place,
                  uv_async_t *wake_head, dp_error *err)
{
    *port = (struct port){
        .id = id, .wake_head = wake_head, .malformed_limit = {.per_second = 5}, .budget_limit = {.per_second = 1}};
    struct shard_calls calls = {
        reply_params,   reply_refuse,    port_tell_completed, port_tell_arrived, port_tell_failed,
        port_tell_sums, port_reply_rows, port_tell_ready,     port_tell_few,     port};
    shard_init(&port->shard, id, &port->counters, &calls);
    void *socket = NULL;
    dp_err e = allocate(port, err);
    if (e)
        goto fail;
    e = open_socket(port, zmq_context, place->listen, &socket, err);
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
    e = zuv_init(&port->zuv, &port->loop, socket, on_message, port, err);
    if (e) {
        zmq_close(socket);
        goto fail_loop;
    }
    e = open_door(port, place, err);
    if (e) {
        zuv_close(&port->zuv, NULL);
        goto fail_loop;
    }
    if (uv_thread_create(&port->thread, run, port)) {
        e = dp_fail(err, DP_SYSTEM, "cannot start a thread for shard %u", id);
        zuv_close(&port->zuv, NULL);
        shm_door_close(&port->door);
        goto fail_loop;
    }
    port->running = true;
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
    uv_async_send(&port->wake);
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
