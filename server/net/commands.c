/* The head's commands, as a shard's thread obeys them; see commands.h. Thread: shard. */
#include "server/net/commands.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "server/dense/slice.h"
#include "server/net/cut.h"
#include "server/net/events.h"
#include "server/net/grants.h"
#include "server/net/letters.h"
#include "server/net/payload.h"
#include "server/net/shm.h"
#include "server/net/tables.h"
#include "server/shard/ask.h"
#include "server/shard/parts.h"
#include "server/shard/tell.h"
#include "server/store/source.h"
#include "server/store/warm.h"

enum { MIB = 1 << 20 };
static const dp_error NO_RESET = {DP_NOMEM, "out of memory for another job"};

/* Values of the checkpoint or the model that the job begins with. */
static dp_err open_source(const struct port_state *port, const struct command_start *start,
                          struct values_source **ret_source, dp_error *err)
{
    if (start->init_from)
        return warm_open(start->init_from, ret_source, err);
    if (start->checkpoint == 0)
        return DP_OK;
    if (!port->cut.folder)
        return dp_fail(err, DP_REFUSED, "the job goes on from a checkpoint, and this server has no --checkpoint-dir");
    return source_open(port->cut.folder, start->checkpoint - 1, ret_source, err);
}

static dp_err start(struct port_state *port, const struct command_start *start, dp_error *err)
{
    uint64_t bytes = 0;
    struct values_source *source = NULL;
    port->limits.slice_elems = mem_array(start->slice_count, sizeof *port->limits.slice_elems);
    if (!port->limits.slice_elems)
        return dp_fail(err, DP_NOMEM, "out of memory for %u slices", start->slice_count);
    for (uint32_t i = 0; i < start->slice_count; i++) {
        port->limits.slice_elems[i] = start->slices[i].count;
        bytes += start->slices[i].count * sizeof(float);
    }
    port->replies.budget_bytes = 2 * bytes + 16 * (uint64_t)MIB;
    dp_err e = open_source(port, start, &source, err);
    if (e == DP_OK)
        e = port_shm_start(port, start, err);
    struct shard_job job = start->job;
    job.from = source;
    if (e == DP_OK)
        e = shard_start(&port->shard, &job, start->first_slice, start->slices, start->slice_count, err);
    if (e == DP_OK)
        e = port_tables_start(port, start, err);
    port->shard.own.from = NULL;
    values_source_close(&source);
    if (e)
        return e;
    port->limits.slices = (struct frame_limits){start->first_slice, start->slice_count, start->job.plan.slots,
                                                port->limits.slice_elems, plan_total(&start->job.plan)};
    return DP_OK;
}

/* Takes the job. */
static void on_start(struct port_state *port, struct command *command)
{
    dp_error err;
    if (port->start) { /* there was no memory to bury the job before this one */
        struct event event = {.kind = EVENT_FAILED, .failed = mem_array(1, sizeof *event.failed)};
        if (event.failed)
            *event.failed = NO_RESET;
        port->incarnation = command->start->incarnation;
        port_emit(port, &event);
        return;
    }
    port->start = command->start;
    command->start = NULL;
    port->incarnation = port->start->incarnation; /* first: what fails is told with it */
    if (start(port, port->start, &err)) {
        shard_fail(&port->shard, &err);
        return;
    }
    port_cut_make_room(port);
    if (port->start->checkpoint) /* on arrival its first steps may have all their slots */
        shard_global_low(&port->shard, port->shard.low);
}

/* All sessions are over: what they were lent is of no use to anybody, but replies may still be under way. */
static void reset(struct port_state *port)
{
    const struct shard_calls calls = port->shard.calls;
    port_cut_drop(port);
    port_shm_fini(port);
    port_grants_fini(port);
    if (grave_dig(&port->shard, &port->graves)) {
        shard_fail(&port->shard, &NO_RESET);
        return;
    }
    shard_fini(&port->shard);
    shard_init(&port->shard, port->id, port->counters, &calls);
    port_tables_fini(port);
    free(port->limits.slice_elems);
    port->limits = (struct port_limits){0};
    command_start_free(&port->start);
    counters_reset(port->counters);
}

static void pin(struct port_state *port, const struct command_pin *pin)
{
    struct event event = {.kind = EVENT_PINNED, .pinned = {.step = pin->step, .pin = pin->pin}};
    struct event_pinned *pinned = &event.pinned;
    uint32_t count = port->shard.slice_count;
    if (port->shard.job)
        pinned->versions = mem_array_zero(count, sizeof *pinned->versions);
    for (uint32_t i = 0; pinned->versions && i < count; i++) {
        pinned->versions[i] = slice_theta(&port->shard.slices[i], pin->step);
        if (pinned->versions[i])
            version_retain(pinned->versions[i]);
    }
    pinned->version_count = pinned->versions ? count : 0;
    pinned->copies = port_tables_copy(port, pin->step);
    pinned->copy_count = pinned->copies ? port->shard.tables.count : 0;
    port_emit(port, &event);
}

static void report_owed(struct port_state *port)
{
    struct event event = {.kind = EVENT_OWED};
    event.owed.slots = mem_array(STEPS_SLOTS_MAX, sizeof *event.owed.slots);
    if (event.owed.slots && port->shard.job)
        event.owed.count = shard_owed(&port->shard, &event.owed.step, event.owed.slots);
    gate_asked(&port->shard.gate);
    port_emit(port, &event);
}

static void prepare(struct port_state *port, const struct command_prepare *prepare)
{
    uint64_t step = shard_prepare(&port->shard, prepare->step, prepare->setting);
    port_emit(port, &(struct event){.kind = EVENT_PREPARED, .prepared = {step}});
}

static void stop(struct port_state *port)
{
    port_cut_drop(port);
    port_send_letters(port); /* the head's last ones were there before the command */
    zuv_close(&port->zuv, NULL);
    shm_door_close(&port->memory.door);
    uv_close((uv_handle_t *)port->wake, NULL);
    uv_close((uv_handle_t *)&port->telling.later, NULL);
}

/* Takes the name. */
static void open_session(struct port_state *port, struct command_open *open)
{
    struct port_session *session = &port->sessions[session_number(open->session)];
    assert(!session->shm);
    session->token = open->session;
    session->carrier = &carrier_socket;
    port_grants_open(session, open->worker, open->name);
    open->name = NULL;
    for (int i = 0; i < FRAME_LANES; i++)
        session->ways[i].id_bytes = 0;
}

static void close_session(struct port_state *port, const struct command_close *close)
{
    struct port_session *session = &port->sessions[session_number(close->session)];
    if (session->token == close->session) {
        port_shm_fence(port, session, close->fence);
        session->token = 0;
        port_grants_close(port, session);
        shard_forget(&port->shard, session_number(close->session));
    }
    link_local_fenced(port->link, close->fence);
}

static void obey(struct port_state *port, struct command *command)
{
    struct shard *shard = &port->shard;
    switch (command->kind) {
    case COMMAND_START:
        on_start(port, command);
        break;
    case COMMAND_RESET:
        reset(port);
        break;
    case COMMAND_OPEN:
        open_session(port, &command->open);
        break;
    case COMMAND_CLOSE:
        close_session(port, &command->close);
        break;
    case COMMAND_GRANT:
        port_grants_deal(port, command->grant);
        break;
    case COMMAND_PIN:
        pin(port, &command->pin);
        break;
    case COMMAND_OWED:
        report_owed(port);
        break;
    case COMMAND_TOTALS:
        shard_totals(shard, command->totals.step, command->totals.phase, command->totals.totals);
        break;
    case COMMAND_PREPARE:
        prepare(port, &command->prepare);
        break;
    case COMMAND_SET:
        shard_set(shard, command->set.step, &command->set.setting);
        break;
    case COMMAND_ROSTER:
        gate_roster(shard, command->roster.number, command->roster.live);
        break;
    case COMMAND_GO:
        shard_go(shard, command->go.step);
        break;
    case COMMAND_DROP:
        shard_drop(shard, command->drop.step, command->drop.live, command->drop.count);
        break;
    case COMMAND_CUT:
        port_cut(port, &command->cut);
        break;
    case COMMAND_STOP:
        stop(port);
        break;
    case COMMAND_LEVELS: /* has a way of its own */
    case COMMAND_KINDS:
        break;
    }
    command_fini(command);
}

/* The levels are read first: what the head asked before it announced them must find the versions of then. */
void port_obey(struct port_state *port)
{
    struct command command;
    struct command_levels levels = link_local_levels(port->link);
    while (link_local_take(port->link, &command))
        obey(port, &command);
    if (levels.low > port->shard.global_low)
        shard_global_low(&port->shard, levels.low);
    if (port->memory.over)
        port_shm_fenced(port, levels.fences);
    graves_sweep(&port->graves);
}
