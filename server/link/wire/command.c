/* Commands <-> messages; see command.h. Thread: any. */
#include "server/link/wire/command.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "proto/link.pb-c.h"
#include "server/link/wire/start_read.h"
#include "server/link/wire/start_write.h"

enum { NAME_MAX_BYTES = 160 };

/* ---- writing ---- */

/* Sets the one body of *message. */
#define BODY(message, which, value) \
    ((message)->body_case = DP__LINK__COMMAND__BODY_##which, (message)->value = &(value))

static dp_err pack(Dp__Link__Command *message, struct wire_message *to)
{
    return wire_pack(&message->base, to);
}

static dp_err write_start(const struct command_start *start, Dp__Link__Command message, struct wire_message *to)
{
    struct wire_start *wire = wire_start_new(start);
    if (!wire)
        return DP_NOMEM;
    message.body_case = DP__LINK__COMMAND__BODY_START;
    message.start = wire_start_body(wire);
    dp_err e = pack(&message, to);
    wire_start_free(&wire);
    return e ? e : wire_start_parts(start, to);
}

static dp_err write_grant(const struct deal *deal, Dp__Link__Command message, struct wire_message *to)
{
    Dp__Link__Grant grant = DP__LINK__GRANT__INIT;
    AUTOFREE uint32_t *extra = mem_array(2 * (size_t)deal->extra_count + 1, sizeof *extra);
    if (!extra)
        return DP_NOMEM;
    for (uint32_t i = 0; i < deal->extra_count; i++) {
        extra[i] = deal->extra[i].slot;
        extra[deal->extra_count + i] = deal->extra[i].session;
    }
    grant.from = deal->from;
    grant.at = deal->at;
    grant.n_owner = deal->slots;
    grant.owner = deal->owner;
    grant.n_extra_slot = grant.n_extra_session = deal->extra_count;
    grant.extra_slot = extra;
    grant.extra_session = extra + deal->extra_count;
    grant.probe_step = deal->probe.step;
    grant.probe_slot = deal->probe.slot;
    grant.probe_session = deal->probe.session;
    BODY(&message, GRANT, grant);
    return pack(&message, to);
}

static dp_err write_totals(const struct command_totals *command, Dp__Link__Command message, struct wire_message *to)
{
    Dp__Link__Totals totals = DP__LINK__TOTALS__INIT;
    totals.step = command->step;
    totals.phase = command->phase;
    totals.count = command->count;
    BODY(&message, TOTALS, totals);
    dp_err e = pack(&message, to);
    return e ? e : wire_add_part(to, command->totals, command->count * sizeof *command->totals);
}

static dp_err write_sessions(const struct command *command, Dp__Link__Command message, struct wire_message *to)
{
    Dp__Link__Open open = DP__LINK__OPEN__INIT;
    Dp__Link__Close close = DP__LINK__CLOSE__INIT;
    if (command->kind == COMMAND_OPEN) {
        open.session = command->open.session;
        open.worker = command->open.worker;
        open.name = command->open.name;
        BODY(&message, OPEN, open);
    } else {
        close.session = command->close.session;
        close.fence = command->close.fence;
        BODY(&message, CLOSE, close);
    }
    return pack(&message, to);
}

static dp_err write_settings(const struct command *command, Dp__Link__Command message, struct wire_message *to)
{
    Dp__Link__Prepare prepare = DP__LINK__PREPARE__INIT;
    Dp__Link__Set set = DP__LINK__SET__INIT;
    if (command->kind == COMMAND_PREPARE) {
        prepare.step = command->prepare.step;
        prepare.setting = (uint32_t)command->prepare.setting;
        BODY(&message, PREPARE, prepare);
    } else {
        const struct setting *setting = &command->set.setting;
        set.step = command->set.step;
        set.setting = (uint32_t)setting->kind;
        if (setting->kind == SETTING_LR)
            set.lr = setting->lr;
        else
            set.staleness = setting->staleness;
        BODY(&message, SET, set);
    }
    return pack(&message, to);
}

static dp_err write_slots(const struct command *command, Dp__Link__Command message, struct wire_message *to)
{
    Dp__Link__Roster roster = DP__LINK__ROSTER__INIT;
    Dp__Link__Drop drop = DP__LINK__DROP__INIT;
    if (command->kind == COMMAND_ROSTER) {
        roster.number = command->roster.number;
        roster.live = (ProtobufCBinaryData){command->roster.slots, command->roster.live};
        BODY(&message, ROSTER, roster);
    } else {
        drop.step = command->drop.step;
        drop.count = command->drop.count;
        drop.live = (ProtobufCBinaryData){command->drop.slots, command->drop.live};
        BODY(&message, DROP, drop);
    }
    return pack(&message, to);
}

static dp_err write_steps(const struct command *command, Dp__Link__Command message, struct wire_message *to)
{
    Dp__Link__Pin pin = DP__LINK__PIN__INIT;
    Dp__Link__Go go = DP__LINK__GO__INIT;
    Dp__Link__Cut cut = DP__LINK__CUT__INIT;
    Dp__Link__Levels levels = DP__LINK__LEVELS__INIT;
    if (command->kind == COMMAND_PIN) {
        pin.step = command->pin.step;
        pin.pin = command->pin.pin;
        BODY(&message, PIN, pin);
    } else if (command->kind == COMMAND_GO) {
        go.step = command->go.step;
        BODY(&message, GO, go);
    } else if (command->kind == COMMAND_CUT) {
        cut.number = command->cut.number;
        cut.step = command->cut.step;
        cut.train_step = command->cut.train_step;
        BODY(&message, CUT, cut);
    } else {
        levels.low = command->levels.low;
        levels.fences = command->levels.fences;
        BODY(&message, LEVELS, levels);
    }
    return pack(&message, to);
}

static dp_err write_words(const struct command *command, Dp__Link__Command message, struct wire_message *to)
{
    Dp__Link__Reset reset = DP__LINK__RESET__INIT;
    Dp__Link__AskOwed ask_owed = DP__LINK__ASK_OWED__INIT;
    Dp__Link__Stop stop = DP__LINK__STOP__INIT;
    if (command->kind == COMMAND_RESET)
        BODY(&message, RESET, reset);
    else if (command->kind == COMMAND_OWED)
        BODY(&message, ASK_OWED, ask_owed);
    else
        BODY(&message, STOP, stop);
    return pack(&message, to);
}

static dp_err write(const struct command *command, Dp__Link__Command message, struct wire_message *to)
{
    switch (command->kind) {
    case COMMAND_START:
        return write_start(command->start, message, to);
    case COMMAND_GRANT:
        return write_grant(command->grant, message, to);
    case COMMAND_TOTALS:
        return write_totals(&command->totals, message, to);
    case COMMAND_OPEN:
    case COMMAND_CLOSE:
        return write_sessions(command, message, to);
    case COMMAND_PREPARE:
    case COMMAND_SET:
        return write_settings(command, message, to);
    case COMMAND_ROSTER:
    case COMMAND_DROP:
        return write_slots(command, message, to);
    case COMMAND_PIN:
    case COMMAND_GO:
    case COMMAND_CUT:
    case COMMAND_LEVELS:
        return write_steps(command, message, to);
    default:
        return write_words(command, message, to);
    }
}

dp_err wire_command_write(const struct command *command, struct wire_message *ret_message)
{
    Dp__Link__Command message = DP__LINK__COMMAND__INIT;
    struct wire_message to = {0};
    dp_err e = write(command, message, &to);
    if (e)
        wire_message_fini(&to);
    else
        *ret_message = to;
    return e;
}

/* ---- reading ---- */

static dp_err read_open(const Dp__Link__Open *body, struct command_open *open, dp_error *err)
{
    size_t bytes = strlen(body->name);
    if (body->session == 0 || bytes > NAME_MAX_BYTES || !text_printable(body->name, bytes))
        return dp_fail(err, DP_PROTO, "a session without a token, or with a name that cannot be shown");
    *open = (struct command_open){body->session, body->worker, strdup(body->name)};
    return open->name ? DP_OK : dp_fail(err, DP_NOMEM, "out of memory for a session");
}

static dp_err check_grant(const Dp__Link__Grant *body, uint32_t slots, dp_error *err)
{
    if (body->n_owner != slots || body->n_extra_slot != body->n_extra_session || body->n_extra_slot > 2 * (size_t)slots)
        return dp_fail(err, DP_PROTO, "a deal of %zu slots and %zu more, of a job with %u", body->n_owner,
                       body->n_extra_slot, slots);
    for (size_t i = 0; i < body->n_extra_slot; i++)
        if (body->extra_slot[i] >= slots)
            return dp_fail(err, DP_PROTO, "a deal of slot %u, of a job with %u", body->extra_slot[i], slots);
    if (body->probe_session != GRANTS_NO_PROBE && body->probe_slot >= slots)
        return dp_fail(err, DP_PROTO, "a probe at slot %u, of a job with %u", body->probe_slot, slots);
    return DP_OK;
}

static dp_err read_grant(const Dp__Link__Grant *body, uint32_t slots, struct deal **ret_deal, dp_error *err)
{
    dp_err e = check_grant(body, slots, err);
    if (e)
        return e;
    struct deal *deal = deal_new(slots, (uint32_t)body->n_extra_slot);
    if (!deal)
        return dp_fail(err, DP_NOMEM, "out of memory for a deal");
    deal->from = body->from;
    deal->at = body->at;
    deal->extra_count = (uint32_t)body->n_extra_slot;
    deal->probe = (struct grants_probe){body->probe_step, body->probe_slot, body->probe_session};
    memcpy(deal->owner, body->owner, slots * sizeof *deal->owner);
    for (uint32_t i = 0; i < deal->extra_count; i++)
        deal->extra[i] = (struct deal_extra){body->extra_slot[i], body->extra_session[i]};
    *ret_deal = deal;
    return DP_OK;
}

static dp_err read_totals(struct wire_reader *reader, const Dp__Link__Totals *body, const struct shard_job *job,
                          struct command_totals *totals, dp_error *err)
{
    void *items;
    if (body->count == 0 || body->count % job->tensors.count != 0)
        return dp_fail(err, DP_PROTO, "%u totals of %u tensors", body->count, job->tensors.count);
    dp_err e = wire_take_part(reader, body->count, sizeof *totals->totals, &items, err);
    if (e == DP_OK)
        *totals = (struct command_totals){body->step, body->phase, body->count, items};
    return e;
}

static dp_err read_live(const ProtobufCBinaryData *body, uint32_t slots, uint8_t **ret_live, dp_error *err)
{
    if (body->len != slots)
        return dp_fail(err, DP_PROTO, "a list of %zu slots, of a job with %u", body->len, slots);
    for (uint32_t k = 0; k < slots; k++)
        if (body->data[k] > 1)
            return dp_fail(err, DP_PROTO, "slot %u is neither live nor not", k);
    uint8_t *live = mem_array(slots, 1);
    if (!live)
        return dp_fail(err, DP_NOMEM, "out of memory for %u slots", slots);
    memcpy(live, body->data, slots);
    *ret_live = live;
    return DP_OK;
}

static dp_err read_set(const Dp__Link__Set *body, struct command_set *set, dp_error *err)
{
    if (!setting_known(body->setting) || !isfinite(body->lr) || body->staleness > CONSISTENCY_STALENESS_MAX)
        return dp_fail(err, DP_PROTO, "a setting of kind %u to rate %g or window %u", body->setting, body->lr,
                       body->staleness);
    *set = (struct command_set){body->step, {(enum setting_kind)body->setting, body->lr, body->staleness}};
    return DP_OK;
}

/* Commands that need a job. */
static dp_err read_of_job(struct wire_reader *reader, const Dp__Link__Command *message, const struct command_start *job,
                          struct command *command, dp_error *err)
{
    const uint32_t slots = job->job.plan.slots;
    switch (message->body_case) {
    case DP__LINK__COMMAND__BODY_GRANT:
        command->kind = COMMAND_GRANT;
        return read_grant(message->grant, slots, &command->grant, err);
    case DP__LINK__COMMAND__BODY_TOTALS:
        command->kind = COMMAND_TOTALS;
        return read_totals(reader, message->totals, &job->job, &command->totals, err);
    case DP__LINK__COMMAND__BODY_PREPARE:
        if (!setting_known(message->prepare->setting))
            return dp_fail(err, DP_PROTO, "a setting of kind %u", message->prepare->setting);
        command->kind = COMMAND_PREPARE;
        command->prepare =
            (struct command_prepare){message->prepare->step, (enum setting_kind)message->prepare->setting};
        return DP_OK;
    case DP__LINK__COMMAND__BODY_SET:
        command->kind = COMMAND_SET;
        return read_set(message->set, &command->set, err);
    case DP__LINK__COMMAND__BODY_ROSTER:
        command->kind = COMMAND_ROSTER;
        command->roster = (struct command_roster){message->roster->number, slots, NULL};
        return read_live(&message->roster->live, slots, &command->roster.live, err);
    case DP__LINK__COMMAND__BODY_GO:
        command->kind = COMMAND_GO;
        command->go.step = message->go->step;
        return DP_OK;
    case DP__LINK__COMMAND__BODY_DROP:
        command->kind = COMMAND_DROP;
        command->drop = (struct command_drop){message->drop->step, message->drop->count, slots, NULL};
        if (command->drop.count > slots)
            return dp_fail(err, DP_PROTO, "%u slots left out, of a job with %u", command->drop.count, slots);
        return read_live(&message->drop->live, slots, &command->drop.live, err);
    default:
        return dp_fail(err, DP_PROTO, "a command of no kind that is known");
    }
}

static dp_err read_any(struct wire_reader *reader, const Dp__Link__Command *message, const struct command_start *job,
                       struct command *command, dp_error *err)
{
    switch (message->body_case) {
    case DP__LINK__COMMAND__BODY_START:
        command->kind = COMMAND_START;
        return wire_start_read(reader, message->start, &command->start, err);
    case DP__LINK__COMMAND__BODY_RESET:
        command->kind = COMMAND_RESET;
        return DP_OK;
    case DP__LINK__COMMAND__BODY_OPEN:
        command->kind = COMMAND_OPEN;
        return read_open(message->open, &command->open, err);
    case DP__LINK__COMMAND__BODY_CLOSE:
        command->kind = COMMAND_CLOSE;
        command->close = (struct command_close){message->close->session, message->close->fence};
        return DP_OK;
    case DP__LINK__COMMAND__BODY_PIN:
        command->kind = COMMAND_PIN;
        command->pin = (struct command_pin){message->pin->step, message->pin->pin};
        return DP_OK;
    case DP__LINK__COMMAND__BODY_ASK_OWED:
        command->kind = COMMAND_OWED;
        return DP_OK;
    case DP__LINK__COMMAND__BODY_CUT:
        command->kind = COMMAND_CUT;
        command->cut = (struct command_cut){message->cut->number, message->cut->step, message->cut->train_step};
        return DP_OK;
    case DP__LINK__COMMAND__BODY_STOP:
        command->kind = COMMAND_STOP;
        return DP_OK;
    case DP__LINK__COMMAND__BODY_LEVELS:
        command->kind = COMMAND_LEVELS;
        command->levels = (struct command_levels){message->levels->low, message->levels->fences};
        return DP_OK;
    default:
        return job ? read_of_job(reader, message, job, command, err)
                   : dp_fail(err, DP_PROTO, "a command that needs a job, or of no kind that is known");
    }
}

dp_err wire_command_read(const struct wire_message *message, const struct command_start *job,
                         struct command *ret_command, dp_error *err)
{
    struct wire_reader reader;
    struct command command = {.kind = COMMAND_RESET};
    dp_err e = wire_unpack(&reader, message, &dp__link__command__descriptor, err);
    if (e == DP_OK)
        e = read_any(&reader, (const Dp__Link__Command *)(const void *)reader.body, job, &command, err);
    if (e == DP_OK)
        e = wire_check_end(&reader, err);
    wire_reader_fini(&reader);
    if (e)
        command_fini(&command);
    else
        *ret_command = command;
    return e;
}
