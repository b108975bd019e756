/* What the head asks of a shard's thread. Thread: shard. */
#include <stdlib.h>

#include "proto/frame_limits.h"
#include "server/net/rows.h"
#include "server/net/thread.h"
#include "server/dense/slice.h"
#include "server/shard/ask.h"
#include "server/shard/tell.h"

enum { MIB = 1 << 20 };

static dp_err start(struct port *port, const struct command *command, dp_error *err)
{
    uint64_t bytes = 0;
    port->incarnation = command->incarnation; /* first: what fails is told with it */
    port->slice_elems = mem_array(command->slice_count, sizeof *port->slice_elems);
    if (!port->slice_elems)
        return dp_fail(err, DP_NOMEM, "out of memory for %u slices", command->slice_count);
    for (uint32_t i = 0; i < command->slice_count; i++) {
        port->slice_elems[i] = command->slices[i].count;
        bytes += command->slices[i].count * sizeof(float);
    }
    port->reply_budget_bytes = 2 * bytes + 16 * (uint64_t)MIB;
    dp_err e = port_shm_start(port, command, err);
    if (e == DP_OK)
        e = shard_start(&port->shard, command->job, command->first_slice, command->slices, command->slice_count, err);
    if (e == DP_OK)
        e = port_rows_start(port, command, err);
    if (e)
        return e;
    port->limits = (struct frame_limits){command->first_slice, command->slice_count, command->job->plan.slots,
                                         port->slice_elems, plan_total(&command->job->plan)};
    return DP_OK;
}

/* All sessions are over: what they were lent is of no use to anybody, but replies may still be under way. */
static void reset(struct port *port)
{
    static const dp_error NOMEM = {DP_NOMEM, "out of memory for another job"};
    const struct shard_calls calls = port->shard.calls;
    _Atomic uint64_t *const gauges[] = {&port->counters.low, &port->counters.rows, &port->counters.row_bytes,
                                        &port->counters.list_bytes, &port->counters.past_bytes};
    port_shm_fini(port);
    if (grave_dig(&port->shard, &port->graves)) {
        shard_fail(&port->shard, &NOMEM);
        return;
    }
    port_grants_fini(port);
    shard_fini(&port->shard);
    shard_init(&port->shard, port->id, &port->counters, &calls);
    free(port->slice_elems);
    port->slice_elems = NULL;
    port->limits = (struct frame_limits){0};
    port_rows_fini(port);
    for (size_t i = 0; i < ARRAY_LEN(gauges); i++)
        atomic_store_explicit(gauges[i], 0, memory_order_relaxed);
}

static void pin(struct port *port, uint64_t step, uint64_t number)
{
    struct event event = {.kind = EVENT_PINNED, .step = step, .pin = number};
    uint32_t count = port->shard.slice_count;
    if (port->shard.job)
        event.pinned = mem_array_zero(count, sizeof *event.pinned);
    for (uint32_t i = 0; event.pinned && i < count; i++) {
        event.pinned[i] = slice_theta(&port->shard.slices[i], step);
        if (event.pinned[i])
            version_retain(event.pinned[i]);
    }
    event.pinned_count = event.pinned ? count : 0;
    event.copies = port_rows_copy(port, step);
    event.copies_count = event.copies ? port->shard.tables.count : 0;
    port_tell(port, &event);
}

static void report_owed(struct port *port)
{
    struct event event = {.kind = EVENT_OWED};
    event.owed = mem_array(STEPS_SLOTS_MAX, sizeof *event.owed);
    if (event.owed && port->shard.job)
        event.owed_count = shard_owed(&port->shard, &event.step, event.owed);
    gate_asked(&port->shard.gate);
    port_tell(port, &event);
}

static void stop(struct port *port)
{
    port_send_letters(port); /* the head's last ones were there before the command */
    zuv_close(&port->zuv, NULL);
    shm_door_close(&port->door);
    uv_close((uv_handle_t *)&port->wake, NULL);
    uv_close((uv_handle_t *)&port->tell_later, NULL);
}

static void open_session(struct port *port, const struct command *command)
{
    struct port_session *session = &port->sessions[session_number(command->session)];
    session->token = command->session;
    port_grants_open(session, command);
    for (int i = 0; i < FRAME_LANES; i++)
        session->ways[i].id_bytes = 0;
}

static void close_session(struct port *port, const struct command *command)
{
    struct port_session *session = &port->sessions[session_number(command->session)];
    if (session->token == command->session) {
        port_shm_fence(port, session, command->fence);
        session->token = 0;
        port_grants_close(port, session);
        shard_forget(&port->shard, session_number(command->session));
    }
    atomic_store_explicit(&port->fenced, command->fence, memory_order_release);
    zuv_wake(port->wake_head);
}

static void obey(struct port *port, const struct command *command)
{
    dp_error err;
    switch (command->kind) {
    case COMMAND_START:
        if (start(port, command, &err))
            shard_fail(&port->shard, &err);
        free(command->block);
        break;
    case COMMAND_RESET:
        reset(port);
        break;
    case COMMAND_OPEN:
        open_session(port, command);
        break;
    case COMMAND_CLOSE:
        close_session(port, command);
        break;
    case COMMAND_GRANT:
        port_grants_deal(port, command->deal);
        free(command->deal);
        break;
    case COMMAND_PIN:
        pin(port, command->step, command->pin);
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
        gate_roster(&port->shard, command->roster, command->live);
        free(command->live);
        break;
    case COMMAND_GO:
        shard_go(&port->shard, command->step);
        break;
    case COMMAND_DROP:
        shard_drop(&port->shard, command->step, command->live, command->dropped);
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
    graves_sweep(&port->graves);
}
