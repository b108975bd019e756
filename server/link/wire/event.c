/* Events <-> messages; see event.h. Thread: any. */
#include "server/link/wire/event.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "proto/link.pb-c.h"
#include "server/deal/session.h"
#include "server/step/steps.h"

enum { TEXT_BYTES = sizeof((dp_error *)0)->text };

/* Sets the one body of *message. */
#define BODY(message, which, field, value) \
    ((message)->body_case = DP__LINK__EVENT__BODY_##which, (message)->field = &(value))

static uint32_t part_dim(const struct command_start *job, uint32_t part)
{
    return job->job.tensors.list[job->parts[part].tensor].dim;
}

/* ---- writing ---- */

static dp_err pack(Dp__Link__Event *message, struct wire_message *to)
{
    return wire_pack(&message->base, to);
}

static dp_err add_pinned(const struct event_pinned *pinned, const struct command_start *job, struct wire_message *to)
{
    for (uint32_t i = 0; pinned->versions && i < pinned->version_count; i++)
        if (pinned->versions[i] && wire_add_part(to, pinned->versions[i]->theta, job->slices[i].count * sizeof(float)))
            return DP_NOMEM;
    for (uint32_t i = 0; pinned->copies && i < pinned->copy_count; i++) {
        const struct rows_copy *copy = &pinned->copies[i];
        if ((copy->ids && wire_add_part(to, copy->ids, copy->count * sizeof *copy->ids)) ||
            wire_add_part(to, copy->values, copy->count * part_dim(job, i) * sizeof *copy->values))
            return DP_NOMEM;
    }
    return DP_OK;
}

static dp_err write_pinned(const struct event_pinned *pinned, const struct command_start *job, Dp__Link__Event message,
                           struct wire_message *to)
{
    Dp__Link__Pinned body = DP__LINK__PINNED__INIT;
    AUTOFREE uint64_t *numbers = mem_array((size_t)pinned->version_count + pinned->copy_count + 1, sizeof *numbers);
    AUTOFREE protobuf_c_boolean *ids = mem_array((size_t)pinned->copy_count + 1, sizeof *ids);
    if (!numbers || !ids)
        return DP_NOMEM;
    body.step = pinned->step;
    body.pin = pinned->pin;
    body.has_versions = pinned->versions != NULL;
    body.has_copies = pinned->copies != NULL;
    body.n_version = pinned->versions ? pinned->version_count : 0;
    body.n_copy_rows = body.n_copy_ids = pinned->copies ? pinned->copy_count : 0;
    body.version = numbers;
    body.copy_rows = numbers + body.n_version;
    body.copy_ids = ids;
    for (size_t i = 0; i < body.n_version; i++)
        body.version[i] = pinned->versions[i] ? 1 + pinned->versions[i]->number : 0;
    for (size_t i = 0; i < body.n_copy_rows; i++) {
        body.copy_rows[i] = pinned->copies[i].count;
        ids[i] = pinned->copies[i].ids != NULL;
    }
    BODY(&message, PINNED, pinned, body);
    dp_err e = pack(&message, to);
    return e ? e : add_pinned(pinned, job, to);
}

static dp_err write_completed(const struct event_completed *completed, Dp__Link__Event message, struct wire_message *to)
{
    Dp__Link__Completed body = DP__LINK__COMPLETED__INIT;
    body.step = completed->step;
    body.count = completed->metrics.count;
    body.loss = completed->metrics.loss;
    body.correct = completed->metrics.correct;
    body.blame_node = completed->blame.node;
    body.blame_from = completed->blame.from;
    body.blame_state = completed->blame.state;
    BODY(&message, COMPLETED, completed, body);
    return pack(&message, to);
}

static dp_err write_sums(const struct event_sums *sums, Dp__Link__Event message, struct wire_message *to)
{
    Dp__Link__Sums body = DP__LINK__SUMS__INIT;
    body.step = sums->step;
    body.phase = sums->phase;
    body.values = sums->values;
    body.count = sums->count;
    BODY(&message, SUMS, sums, body);
    dp_err e = pack(&message, to);
    return e ? e : wire_add_part(to, sums->sums, sums->count * sizeof *sums->sums);
}

static dp_err write_owed(const struct event_owed *owed, Dp__Link__Event message, struct wire_message *to)
{
    Dp__Link__Owed body = DP__LINK__OWED__INIT;
    body.step = owed->step;
    body.n_slots = owed->count;
    body.slots = owed->slots;
    BODY(&message, OWED, owed, body);
    return pack(&message, to);
}

static dp_err write_failed(const dp_error *failed, Dp__Link__Event message, struct wire_message *to)
{
    Dp__Link__Failed body = DP__LINK__FAILED__INIT;
    char text[sizeof failed->text];
    if (failed) {
        text_clean(text, sizeof text, failed->text);
        body.known = true;
        body.code = (uint32_t)failed->code;
        body.text = text;
    }
    BODY(&message, FAILED, failed, body);
    return pack(&message, to);
}

static dp_err write_cut(const struct event_cut *cut, Dp__Link__Event message, struct wire_message *to)
{
    Dp__Link__CutEnd body = DP__LINK__CUT_END__INIT;
    char text[TEXT_BYTES];
    body.number = cut->number;
    body.step = cut->step;
    body.outcome = (uint32_t)cut->outcome;
    body.bytes = cut->bytes;
    body.digest = cut->digest;
    if (cut->text) {
        text_clean(text, sizeof text, cut->text);
        body.text = text;
    }
    BODY(&message, CUT_END, cut_end, body);
    return pack(&message, to);
}

static dp_err write_ready(const struct event *event, Dp__Link__Event message, struct wire_message *to)
{
    Dp__Link__Prepared prepared = DP__LINK__PREPARED__INIT;
    Dp__Link__Ready ready = DP__LINK__READY__INIT;
    Dp__Link__Few few = DP__LINK__FEW__INIT;
    if (event->kind == EVENT_PREPARED) {
        prepared.step = event->prepared.step;
        BODY(&message, PREPARED, prepared, prepared);
    } else if (event->kind == EVENT_READY) {
        ready.step = event->ready.step;
        ready.roster = event->ready.roster;
        BODY(&message, READY, ready, ready);
    } else {
        few.step = event->few.step;
        BODY(&message, FEW, few, few);
    }
    return pack(&message, to);
}

static dp_err write_others(const struct event *event, Dp__Link__Event message, struct wire_message *to)
{
    Dp__Link__Arrived arrived = DP__LINK__ARRIVED__INIT;
    Dp__Link__Fenced fenced = DP__LINK__FENCED__INIT;
    if (event->kind == EVENT_ARRIVED) {
        arrived.session = event->arrived.session;
        arrived.node = event->arrived.node;
        arrived.step = event->arrived.step;
        arrived.at_us = event->arrived.at_us;
        BODY(&message, ARRIVED, arrived, arrived);
    } else {
        fenced.fence = event->fenced.fence;
        BODY(&message, FENCED, fenced, fenced);
    }
    return pack(&message, to);
}

static dp_err write(const struct event *event, const struct command_start *job, Dp__Link__Event message,
                    struct wire_message *to)
{
    switch (event->kind) {
    case EVENT_COMPLETED:
        return write_completed(&event->completed, message, to);
    case EVENT_PINNED:
        return write_pinned(&event->pinned, job, message, to);
    case EVENT_OWED:
        return write_owed(&event->owed, message, to);
    case EVENT_FAILED:
        return write_failed(event->failed, message, to);
    case EVENT_SUMS:
        return write_sums(&event->sums, message, to);
    case EVENT_PREPARED:
    case EVENT_READY:
    case EVENT_FEW:
        return write_ready(event, message, to);
    case EVENT_CUT:
        return write_cut(&event->cut, message, to);
    default:
        return write_others(event, message, to);
    }
}

dp_err wire_event_write(const struct event *event, const struct command_start *job, struct wire_message *ret_message)
{
    Dp__Link__Event message = DP__LINK__EVENT__INIT;
    struct wire_message to = {0};
    message.incarnation = event->incarnation;
    dp_err e = write(event, job, message, &to);
    if (e)
        wire_message_fini(&to);
    else
        *ret_message = to;
    return e;
}

/* ---- reading ---- */

static dp_err read_completed(const Dp__Link__Completed *body, const struct shard_job *job,
                             struct event_completed *completed, dp_error *err)
{
    if (body->step >= plan_total(&job->plan) || body->blame_node >= 2 * (uint32_t)STEPS_SLOTS_MAX ||
        body->blame_from > SESSIONS_MAX)
        return dp_fail(err, DP_PROTO, "step %llu is none of the job, or nobody can be blamed for it",
                       (unsigned long long)body->step);
    *completed = (struct event_completed){
        body->step, {body->count, body->loss, body->correct}, {body->blame_node, body->blame_from, body->blame_state}};
    return DP_OK;
}

/* A version of its own memory, in *versions; a reference is the caller's. */
static struct version *version_new(struct version **versions, uint64_t number, void *theta, size_t bytes)
{
    struct version *version = mem_array_zero(1, sizeof *version);
    if (!version)
        return NULL;
    *version = (struct version){.refs = 1,
                                .plane = VERSION_UNSHARED,
                                .number = number,
                                .theta = theta,
                                .memory = {theta, bytes, theta, free},
                                .next = *versions};
    *versions = version;
    return version;
}

static dp_err read_version(struct wire_reader *reader, uint64_t number, uint64_t elems, struct version **versions,
                           struct version **ret_version, dp_error *err)
{
    void *theta;
    dp_err e = wire_take_part(reader, elems, sizeof(float), &theta, err);
    if (e)
        return e;
    *ret_version = version_new(versions, number, theta, (size_t)elems * sizeof(float));
    if (*ret_version)
        return DP_OK;
    free(theta);
    return dp_fail(err, DP_NOMEM, "out of memory for a version");
}

static dp_err read_versions(struct wire_reader *reader, const Dp__Link__Pinned *body, const struct command_start *job,
                            struct version **versions, struct event_pinned *pinned, dp_error *err)
{
    if (body->n_version != (body->has_versions ? job->slice_count : 0))
        return dp_fail(err, DP_PROTO, "%zu versions of %u slices", body->n_version, job->slice_count);
    if (!body->has_versions)
        return DP_OK;
    pinned->versions = mem_array_zero(MAX(job->slice_count, 1U), sizeof *pinned->versions);
    if (!pinned->versions)
        return dp_fail(err, DP_NOMEM, "out of memory for %u versions", job->slice_count);
    pinned->version_count = job->slice_count;
    for (uint32_t i = 0; i < job->slice_count; i++) {
        dp_err e = body->version[i] == 0 ? DP_OK
                                         : read_version(reader, body->version[i] - 1, job->slices[i].count, versions,
                                                        &pinned->versions[i], err);
        if (e)
            return e;
    }
    return DP_OK;
}

/* Ids ascend within the part; a table that is not hashed has each of its rows and no ids. */
static dp_err check_copy(const struct rows_copy *copy, const struct part_range *part, bool hashed, dp_error *err)
{
    bool good = copy->ids || hashed || copy->count == part->last - part->first + 1;
    for (uint64_t i = 0; copy->ids && i < copy->count; i++)
        good = good && copy->ids[i] >= part->first && copy->ids[i] <= part->last &&
               (i == 0 || copy->ids[i] > copy->ids[i - 1]);
    return good ? DP_OK : dp_fail(err, DP_PROTO, "rows that are not those of the part");
}

static dp_err read_copy(struct wire_reader *reader, uint64_t rows, bool has_ids, const struct command_start *job,
                        uint32_t part, struct rows_copy *copy, dp_error *err)
{
    const struct part_range *range = &job->parts[part];
    const bool hashed = job->job.tensors.list[range->tensor].kind == TENSOR_HASHED;
    void *items;
    dp_err e = DP_OK;
    if ((has_ids != hashed && (has_ids || rows > 0)) || rows > UINT64_MAX / TENSOR_DIM_MAX)
        return dp_fail(err, DP_PROTO, "%llu rows with or without ids, as the table is not", (unsigned long long)rows);
    if (has_ids && (e = wire_take_part(reader, rows, sizeof *copy->ids, &items, err)) == DP_OK)
        copy->ids = items;
    if (e == DP_OK && (e = wire_take_part(reader, rows * part_dim(job, part), sizeof(float), &items, err)) == DP_OK)
        copy->values = items;
    if (e)
        return e;
    copy->count = rows;
    return check_copy(copy, range, hashed, err);
}

static dp_err read_copies(struct wire_reader *reader, const Dp__Link__Pinned *body, const struct command_start *job,
                          struct event_pinned *pinned, dp_error *err)
{
    if (body->n_copy_rows != (body->has_copies ? job->part_count : 0) || body->n_copy_ids != body->n_copy_rows)
        return dp_fail(err, DP_PROTO, "copies of %zu parts, of %u", body->n_copy_rows, job->part_count);
    if (!body->has_copies)
        return DP_OK;
    pinned->copies = mem_array_zero(MAX(job->part_count, 1U), sizeof *pinned->copies);
    if (!pinned->copies)
        return dp_fail(err, DP_NOMEM, "out of memory for the rows of %u parts", job->part_count);
    pinned->copy_count = job->part_count;
    for (uint32_t i = 0; i < job->part_count; i++) {
        dp_err e = read_copy(reader, body->copy_rows[i], body->copy_ids[i], job, i, &pinned->copies[i], err);
        if (e)
            return e;
    }
    return DP_OK;
}

static dp_err read_pinned(struct wire_reader *reader, const Dp__Link__Pinned *body, const struct command_start *job,
                          struct version **versions, struct event_pinned *pinned, dp_error *err)
{
    *pinned = (struct event_pinned){.step = body->step, .pin = body->pin};
    dp_err e = read_versions(reader, body, job, versions, pinned, err);
    return e ? e : read_copies(reader, body, job, pinned, err);
}

static dp_err read_owed(const Dp__Link__Owed *body, uint32_t slots, struct event_owed *owed, dp_error *err)
{
    for (size_t i = 0; i < body->n_slots; i++)
        if (body->slots[i] >= slots || (i > 0 && body->slots[i] <= body->slots[i - 1]))
            return dp_fail(err, DP_PROTO, "slots that are owed do not ascend within %u", slots);
    uint32_t *copy = mem_array(body->n_slots + 1, sizeof *copy);
    if (!copy)
        return dp_fail(err, DP_NOMEM, "out of memory for %zu slots", body->n_slots);
    if (body->n_slots > 0)
        memcpy(copy, body->slots, body->n_slots * sizeof *copy);
    *owed = (struct event_owed){body->step, (uint32_t)body->n_slots, copy};
    return DP_OK;
}

static dp_err read_failed(const Dp__Link__Failed *body, dp_error **ret_failed, dp_error *err)
{
    if (!body->known)
        return DP_OK;
    if (dp_err_from_wire(body->code) == DP_OK || !text_printable(body->text, strlen(body->text)))
        return dp_fail(err, DP_PROTO, "a failure without a code, or with a text that cannot be shown");
    dp_error *failed = mem_array_zero(1, sizeof *failed);
    if (!failed)
        return dp_fail(err, DP_NOMEM, "out of memory for a failure");
    failed->code = dp_err_from_wire(body->code);
    text_clean(failed->text, sizeof failed->text, body->text);
    *ret_failed = failed;
    return DP_OK;
}

static dp_err read_sums(struct wire_reader *reader, const Dp__Link__Sums *body, struct event_sums *sums, dp_error *err)
{
    void *items;
    if (body->values == 0 || body->count == 0 || body->count % body->values != 0)
        return dp_fail(err, DP_PROTO, "%llu sums, %u of a block", (unsigned long long)body->count, body->values);
    dp_err e = wire_take_part(reader, body->count, sizeof *sums->sums, &items, err);
    if (e == DP_OK)
        *sums = (struct event_sums){body->step, body->phase, body->values, body->count, items};
    return e;
}

static dp_err read_cut(const Dp__Link__CutEnd *body, struct event_cut *cut, dp_error *err)
{
    const size_t bytes = strlen(body->text);
    if (body->outcome >= CUT_OUTCOMES || bytes >= TEXT_BYTES || !text_printable(body->text, bytes))
        return dp_fail(err, DP_PROTO, "a cut with outcome %u, or with a text that cannot be shown", body->outcome);
    *cut =
        (struct event_cut){body->number, body->step, (enum cut_outcome)body->outcome, body->bytes, body->digest, NULL};
    if (bytes > 0)
        cut->text = strdup(body->text);
    return bytes == 0 || cut->text ? DP_OK : dp_fail(err, DP_NOMEM, "out of memory for the end of a cut");
}

static dp_err read_arrived(const Dp__Link__Arrived *body, struct arrival *arrived, dp_error *err)
{
    if (body->session >= SESSIONS_MAX || body->node == 0 || body->node >= 2 * (uint32_t)STEPS_SLOTS_MAX)
        return dp_fail(err, DP_PROTO, "an arrival of node %u from session %u", body->node, body->session);
    *arrived = (struct arrival){body->session, body->node, body->step, body->at_us};
    return DP_OK;
}

/* Events of a number or two. */
static dp_err read_small(const Dp__Link__Event *message, struct event *event, dp_error *err)
{
    switch (message->body_case) {
    case DP__LINK__EVENT__BODY_PREPARED:
        event->kind = EVENT_PREPARED;
        event->prepared.step = message->prepared->step;
        return DP_OK;
    case DP__LINK__EVENT__BODY_READY:
        event->kind = EVENT_READY;
        event->ready = (struct event_ready){message->ready->step, message->ready->roster};
        return DP_OK;
    case DP__LINK__EVENT__BODY_FEW:
        event->kind = EVENT_FEW;
        event->few.step = message->few->step;
        return DP_OK;
    case DP__LINK__EVENT__BODY_FENCED:
        event->kind = EVENT_FENCED;
        event->fenced.fence = message->fenced->fence;
        return DP_OK;
    default:
        return dp_fail(err, DP_PROTO, "an event of no kind that is known");
    }
}

static dp_err read_any(struct wire_reader *reader, const Dp__Link__Event *message, const struct command_start *job,
                       struct version **versions, struct event *event, dp_error *err)
{
    event->incarnation = message->incarnation;
    switch (message->body_case) {
    case DP__LINK__EVENT__BODY_COMPLETED:
        event->kind = EVENT_COMPLETED;
        return read_completed(message->completed, &job->job, &event->completed, err);
    case DP__LINK__EVENT__BODY_PINNED:
        event->kind = EVENT_PINNED;
        return read_pinned(reader, message->pinned, job, versions, &event->pinned, err);
    case DP__LINK__EVENT__BODY_OWED:
        event->kind = EVENT_OWED;
        return read_owed(message->owed, job->job.plan.slots, &event->owed, err);
    case DP__LINK__EVENT__BODY_FAILED:
        event->kind = EVENT_FAILED;
        return read_failed(message->failed, &event->failed, err);
    case DP__LINK__EVENT__BODY_SUMS:
        event->kind = EVENT_SUMS;
        return read_sums(reader, message->sums, &event->sums, err);
    case DP__LINK__EVENT__BODY_CUT_END:
        event->kind = EVENT_CUT;
        return read_cut(message->cut_end, &event->cut, err);
    case DP__LINK__EVENT__BODY_ARRIVED:
        event->kind = EVENT_ARRIVED;
        return read_arrived(message->arrived, &event->arrived, err);
    default:
        return read_small(message, event, err);
    }
}

dp_err wire_event_read(const struct wire_message *message, const struct command_start *job, struct version **versions,
                       struct event *ret_event, dp_error *err)
{
    struct wire_reader reader;
    struct event event = {.kind = EVENT_FEW};
    dp_err e = wire_unpack(&reader, message, &dp__link__event__descriptor, err);
    if (e == DP_OK)
        e = read_any(&reader, (const Dp__Link__Event *)(const void *)reader.body, job, versions, &event, err);
    if (e == DP_OK)
        e = wire_check_end(&reader, err);
    wire_reader_fini(&reader);
    if (e)
        event_fini(&event);
    else
        *ret_event = event;
    return e;
}

void wire_versions_sweep(struct version **versions)
{
    while (*versions) {
        struct version *version = *versions;
        if (atomic_load_explicit(&version->refs, memory_order_acquire) > 0) {
            versions = &version->next;
            continue;
        }
        *versions = version->next;
        blob_release(&version->memory);
        free(version);
    }
}
