/* Commands and events as messages: golden bytes, what reading refuses, a job that starts from what was read. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "server/link/wire/command.h"
#include "server/link/wire/event.h"
#include "tests/unit/support/leaks.h"
#include "tests/unit/support/link_samples.h"

enum { BYTES_MAX = 4096, PARTS_MAX = 8 };

/* ---- files: the header and each payload, with their lengths as uint32 before them ---- */

static size_t append(uint8_t *file, size_t at, const void *data, size_t bytes)
{
    const uint32_t length = (uint32_t)bytes;
    cr_assert_leq(at + sizeof length + bytes, BYTES_MAX);
    memcpy(file + at, &length, sizeof length);
    if (bytes > 0)
        memcpy(file + at + sizeof length, data, bytes);
    return at + sizeof length + bytes;
}

static size_t flatten(const struct wire_message *message, uint8_t *file)
{
    size_t at = append(file, 0, message->header, message->header_bytes);
    for (uint32_t i = 0; i < message->part_count; i++)
        at = append(file, at, message->parts[i].data, message->parts[i].bytes);
    return at;
}

static void golden_check(const char *name, const uint8_t *bytes, size_t count)
{
    char path[512];
    uint8_t golden[BYTES_MAX];
    snprintf(path, sizeof path, "%s/%s.bin", GOLDEN_LINK_DIR, name);
    if (getenv("GOLDEN_UPDATE")) {
        FILE *out = fopen(path, "wb");
        cr_assert(out && fwrite(bytes, 1, count, out) == count && fclose(out) == 0);
    }
    FILE *file = fopen(path, "rb");
    cr_assert(file, "no %s; run with GOLDEN_UPDATE=1 to write it", path);
    size_t n = fread(golden, 1, sizeof golden, file);
    fclose(file);
    cr_assert_eq(n, count, "%s has another size", name);
    cr_assert_arr_eq(golden, bytes, n, "%s has other bytes", name);
}

/* ---- one sample ---- */

struct world {
    struct command_start *job;
    struct version *versions;
    struct link_sample samples[LINK_SAMPLES];
};

static void set_up(struct world *w)
{
    *w = (struct world){.job = link_sample_job()};
    link_samples_fill(w->samples);
}

static void tear_down(struct world *w)
{
    for (uint32_t i = 0; i < LINK_SAMPLES; i++)
        link_sample_fini(&w->samples[i]);
    command_start_free(&w->job);
    wire_versions_sweep(&w->versions);
    cr_assert_null(w->versions, "a version is still referred to");
    ASSERT_NO_LEAKS();
}

static struct wire_message write(const struct world *w, const struct link_sample *sample)
{
    struct wire_message message;
    dp_err e = sample->is_event ? wire_event_write(&sample->event, w->job, &message)
                                : wire_command_write(&sample->command, &message);
    cr_assert_eq(e, DP_OK);
    return message;
}

static dp_err read(struct world *w, const struct wire_message *message, bool is_event, struct link_sample *ret_sample,
                   dp_error *err)
{
    *ret_sample = (struct link_sample){.is_event = is_event};
    *err = (dp_error){0};
    return is_event ? wire_event_read(message, w->job, &w->versions, &ret_sample->event, err)
                    : wire_command_read(message, w->job, &ret_sample->command, err);
}

static void refused(struct world *w, const struct wire_message *message, const struct link_sample *sample,
                    const char *what)
{
    struct link_sample none;
    dp_error err;
    cr_assert_eq(read(w, message, sample->is_event, &none, &err), DP_PROTO, "%s: %s is taken", sample->name, what);
    cr_assert(err.text[0] && err.code == DP_PROTO, "%s: %s has no reason", sample->name, what);
}

Test(link_wire, golden_bytes)
{
    struct world w;
    set_up(&w);
    for (uint32_t i = 0; i < LINK_SAMPLES; i++) {
        const struct link_sample *sample = &w.samples[i];
        uint8_t first[BYTES_MAX], second[BYTES_MAX];
        struct wire_message message = write(&w, sample);
        size_t n = flatten(&message, first);
        golden_check(sample->name, first, n);
        struct link_sample got;
        dp_error err;
        cr_assert_eq(read(&w, &message, sample->is_event, &got, &err), DP_OK, "%s: %s", sample->name, err.text);
        cr_assert_eq(got.is_event ? (int)got.event.kind : (int)got.command.kind,
                     sample->is_event ? (int)sample->event.kind : (int)sample->command.kind);
        struct wire_message again = write(&w, &got);
        cr_assert_eq(flatten(&again, second), n, "%s reads as other values", sample->name);
        cr_assert_arr_eq(first, second, n, "%s reads as other values", sample->name);
        wire_message_fini(&message);
        wire_message_fini(&again);
        link_sample_fini(&got);
    }
    tear_down(&w);
}

Test(link_wire, truncations_are_refused)
{
    struct world w;
    set_up(&w);
    for (uint32_t i = 0; i < LINK_SAMPLES; i++) {
        const struct link_sample *sample = &w.samples[i];
        struct wire_message whole = write(&w, sample), cut = whole;
        for (cut.header_bytes = 0; cut.header_bytes < whole.header_bytes; cut.header_bytes++)
            refused(&w, &cut, sample, "a header that is cut");
        cut.header_bytes = whole.header_bytes;
        struct wire_part parts[PARTS_MAX] = {0};
        cr_assert_lt(whole.part_count, PARTS_MAX);
        if (whole.part_count > 0)
            memcpy(parts, whole.parts, whole.part_count * sizeof *parts);
        cut.parts = parts;
        for (uint32_t p = 0; p < whole.part_count; p++) {
            parts[p].bytes--;
            refused(&w, &cut, sample, "a payload that is cut");
            parts[p].bytes++;
            cut.part_count = p;
            refused(&w, &cut, sample, "a payload that is missing");
            cut.part_count = whole.part_count;
        }
        cut.part_count = whole.part_count + 1;
        refused(&w, &cut, sample, "a payload too many");
        wire_message_fini(&whole);
    }
    tear_down(&w);
}

Test(link_wire, what_needs_a_job_is_refused_before_it)
{
    struct world w;
    set_up(&w);
    for (uint32_t i = 0; i < COMMAND_KINDS; i++) {
        const struct link_sample *sample = &w.samples[i];
        struct wire_message message = write(&w, sample);
        struct command command;
        dp_error err = {0};
        dp_err e = wire_command_read(&message, NULL, &command, &err);
        cr_assert_eq(e, sample->needs_job ? DP_PROTO : DP_OK, "%s: %s", sample->name, err.text);
        if (e == DP_OK)
            command_fini(&command);
        wire_message_fini(&message);
    }
    tear_down(&w);
}

/* ---- values out of bounds ---- */

static struct link_sample *find(struct world *w, const char *name)
{
    uint32_t i = 0;
    while (i < LINK_SAMPLES && strcmp(w->samples[i].name, name) != 0)
        i++;
    cr_assert_lt(i, LINK_SAMPLES, "no sample %s", name);
    return &w->samples[i];
}

static void is_refused(struct world *w, const char *name, const char *what)
{
    const struct link_sample *sample = find(w, name);
    struct wire_message message = write(w, sample);
    refused(w, &message, sample, what);
    wire_message_fini(&message);
}

/* Sets a field of a sample for one look. */
#define WRONG(w, name, field, value)              \
    do {                                          \
        __typeof__(field) before = field;         \
        field = (value);                          \
        is_refused(w, name, #field " = " #value); \
        field = before;                           \
    } while (0)

Test(link_wire, values_out_of_bounds_are_refused)
{
    struct world w;
    set_up(&w);
    struct deal *deal = find(&w, "grant")->command.grant;
    WRONG(&w, "grant", deal->extra[0].slot, 5);
    WRONG(&w, "grant", deal->probe.slot, 5);
    WRONG(&w, "grant", deal->slots, 4);
    struct command *totals = &find(&w, "totals")->command, *set = &find(&w, "set")->command;
    WRONG(&w, "totals", totals->totals.count, 3);
    WRONG(&w, "set", set->set.setting.lr, INFINITY);
    struct command *open = &find(&w, "open")->command;
    WRONG(&w, "open", open->open.session, 0);
    WRONG(&w, "open", open->open.name[2], '\n');
    struct command *roster = &find(&w, "roster")->command, *drop = &find(&w, "drop")->command;
    WRONG(&w, "roster", roster->roster.live[3], 2);
    WRONG(&w, "roster", roster->roster.slots, 4);
    WRONG(&w, "drop", drop->drop.count, 6);
    struct event *owed = &find(&w, "owed")->event, *sums = &find(&w, "sums")->event;
    WRONG(&w, "owed", owed->owed.slots[2], 5);
    WRONG(&w, "owed", owed->owed.slots[1], 0);
    WRONG(&w, "sums", sums->sums.values, 3);
    WRONG(&w, "sums", sums->sums.values, 0);
    struct event *completed = &find(&w, "completed")->event, *arrived = &find(&w, "arrived")->event;
    WRONG(&w, "completed", completed->completed.step, 100000);
    WRONG(&w, "arrived", arrived->arrived.session, 4096);
    WRONG(&w, "arrived", arrived->arrived.node, 0);
    struct event *cut = &find(&w, "cut_end")->event;
    WRONG(&w, "cut_end", cut->cut.outcome, CUT_OUTCOMES);
    struct event_pinned *pinned = &find(&w, "pinned")->event.pinned;
    WRONG(&w, "pinned", pinned->version_count, 1);
    WRONG(&w, "pinned", pinned->copies[1].ids[1], 5);
    WRONG(&w, "pinned", pinned->copies[1].ids[1], UINT64_MAX);
    WRONG(&w, "pinned", pinned->copies[0].count, 3);
    tear_down(&w);
}

Test(link_wire, a_reason_that_cannot_be_shown_is_refused)
{
    struct world w;
    set_up(&w);
    const struct link_sample *sample = find(&w, "cut_end");
    const char *text = sample->event.cut.text;
    struct wire_message message = write(&w, sample);
    uint8_t *at = memmem(message.header, message.header_bytes, text, strlen(text));
    cr_assert(at);
    at[3] = '\n';
    refused(&w, &message, sample, "a reason of two lines");
    wire_message_fini(&message);
    tear_down(&w);
}

Test(link_wire, jobs_that_are_none_are_refused)
{
    struct world w;
    struct update_rule unknown = {.name = "adamant"};
    set_up(&w);
    struct command_start *start = find(&w, "start")->command.start;
    struct shard_job *job = &start->job;
    struct linear_row *row = &job->constraints.list[1].linear.rows[0];
    WRONG(&w, "start", job->rule, &unknown);
    WRONG(&w, "start", job->plan.slots, 0);
    WRONG(&w, "start", job->plan.slots, 4097);
    WRONG(&w, "start", job->first_step, plan_total(&job->plan) + 1);
    WRONG(&w, "start", job->tensors.list[0].rank, 0);
    WRONG(&w, "start", job->tensors.list[0].name[0], ' ');
    WRONG(&w, "start", job->tensors.list[0].unit, 0);
    WRONG(&w, "start", job->tensors.list[0].unit, 5);
    WRONG(&w, "start", job->tensors.list[2].kind, (enum tensor_kind)3);
    WRONG(&w, "start", job->tensors.list[1].init, (enum tensor_init)5);
    WRONG(&w, "start", job->regular[0].l1, NAN);
    WRONG(&w, "start", job->regular[0].group_size, 65);
    WRONG(&w, "start", job->params.schedule.kind, (enum schedule_kind)8);
    WRONG(&w, "start", job->params.schedule.period, 0);
    WRONG(&w, "start", job->params.schedule.changes[0].lr, INFINITY);
    WRONG(&w, "start", job->params.eps, NAN);
    WRONG(&w, "start", job->params.decay, (enum decay_kind)2);
    WRONG(&w, "start", job->constraints.method, (enum constraint_method)3);
    WRONG(&w, "start", job->constraints.every, 0);
    WRONG(&w, "start", job->constraints.list[0].kind, (enum constraint_kind)9);
    WRONG(&w, "start", job->constraints.list[0].mask, 16);
    WRONG(&w, "start", row->index[2], 68);
    WRONG(&w, "start", row->index[1], 0);
    WRONG(&w, "start", row->value[0], NAN);
    WRONG(&w, "start", job->consistency.changes[0].staleness, 33);
    WRONG(&w, "start", start->slices[1].first, 33);
    WRONG(&w, "start", start->slices[1].count, 37);
    WRONG(&w, "start", start->slices[0].count, 0);
    WRONG(&w, "start", start->parts[0].tensor, 1);
    WRONG(&w, "start", start->parts[0].last, 10);
    WRONG(&w, "start", start->parts[0].first, 8);
    WRONG(&w, "start", start->shm, (enum shm_mode)3);
    WRONG(&w, "start", start->first_slice, UINT32_MAX);
    WRONG(&w, "start", start->first_part, start->first_slice + start->slice_count - 1);
    tear_down(&w);
}

Test(link_wire, jobs_that_go_on_from_nowhere_are_refused)
{
    struct world w;
    set_up(&w);
    struct command_start *start = find(&w, "start_resumed")->command.start;
    WRONG(&w, "start_resumed", start->checkpoint, start->checkpoint + 1);
    WRONG(&w, "start_resumed", start->checkpoint, UINT64_MAX);
    WRONG(&w, "start_resumed", start->job.first_step, 71);
    WRONG(&w, "start_resumed", start->rates.list[0].from, 9);
    struct schedule_periods *periods = &start->job.params.schedule.periods;
    *periods = (struct schedule_periods){2, {{0, 9}, {5, start->job.params.schedule.period}}};
    WRONG(&w, "start_resumed", periods->list[0].from, 1);
    WRONG(&w, "start_resumed", periods->list[0].period, 0);
    WRONG(&w, "start_resumed", periods->list[1].from, 0);
    WRONG(&w, "start_resumed", periods->list[1].period, start->job.params.schedule.period + 1);
    WRONG(&w, "start_resumed", start->rates.list[1].from, start->job.params.schedule.changes[0].from);
    WRONG(&w, "start_resumed", start->rates.list[1].lr, NAN);
    tear_down(&w);
}

/* Any list of a header is within what a header may take. */
Test(link_wire, a_header_takes_no_more_than_it_may)
{
    enum { TENSORS = 1 << 20 };
    struct world w;
    set_up(&w);
    uint8_t *header = mem_array(2 * TENSORS + 8, 1);
    cr_assert(header);
    size_t bytes = 2 * TENSORS, at = 0;
    header[at++] = 1 << 3 | 2; /* Command.start */
    for (size_t left = bytes; left > 0; left >>= 7)
        header[at++] = (uint8_t)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
    for (uint32_t i = 0; i < TENSORS; i++) {
        header[at++] = 7 << 3 | 2; /* Start.tensors, empty */
        header[at++] = 0;
    }
    const struct wire_message message = {.header = header, .header_bytes = at};
    refused(&w, &message, find(&w, "start"), "2^20 tensors");
    free(header);
    tear_down(&w);
}

/* ---- a job that was read ---- */

Test(link_wire, a_job_may_begin_at_a_later_step)
{
    struct world w;
    set_up(&w);
    const struct link_sample *sample = find(&w, "start_resumed");
    struct schedule *sent = &sample->command.start->job.params.schedule;
    sent->periods = (struct schedule_periods){2, {{0, 9}, {5, sent->period}}};
    struct link_sample got;
    struct wire_message message = write(&w, sample);
    dp_error err;
    cr_assert_eq(read(&w, &message, false, &got, &err), DP_OK, "%s", err.text);
    const struct command_start *start = got.command.start;
    const struct schedule *schedule = &start->job.params.schedule;
    cr_assert_eq(start->job.first_step, 70);
    cr_assert_eq(start->checkpoint, 1 + plan_trained(&start->job.plan, 70));
    cr_assert(schedule_lr(schedule, 2) == 0.1 && schedule_lr(schedule, 3) == 0.4 && schedule_lr(schedule, 16) == 0.2 &&
              schedule_lr(schedule, 17) == 0.05);
    cr_assert_eq(schedule->periods.count, 2);
    cr_assert(schedule->periods.list[0].period == 9 && schedule->periods.list[1].from == 5 &&
              schedule->periods.list[1].period == sent->period);
    link_sample_fini(&got);
    wire_message_fini(&message);
    tear_down(&w);
}

Test(link_wire, a_job_may_begin_with_another_ones_parameters)
{
    struct world w;
    set_up(&w);
    const struct link_sample *sample = find(&w, "start_warm");
    struct command_start *start = sample->command.start;
    struct link_sample got;
    struct wire_message message = write(&w, sample);
    dp_error err;
    cr_assert_eq(read(&w, &message, false, &got, &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(got.command.start->init_from, start->init_from);
    link_sample_fini(&got);
    wire_message_fini(&message);
    WRONG(&w, "start_warm", start->job.first_step, 1);
    WRONG(&w, "start_warm", start->checkpoint, 1);
    WRONG(&w, "start_warm", start->init_from[1], '\n');
    tear_down(&w);
}

Test(link_wire, a_slice_starts_from_what_was_read)
{
    struct world w;
    set_up(&w);
    struct wire_message message = write(&w, find(&w, "start"));
    struct link_sample got;
    dp_error err;
    cr_assert_eq(read(&w, &message, false, &got, &err), DP_OK, "%s", err.text);
    static const uint8_t LIVE[STEPS_SLOTS_MAX] = {1}; /* the shard's own */
    struct command_start *start = got.command.start;
    start->job.live = w.job->job.live = LIVE;
    cr_assert(start->owns_constraints);
    cr_assert_eq(start->job.rule, &rule_adam);
    cr_assert_eq(start->incarnation, w.job->incarnation);
    cr_assert_eq(start->parts[1].last, UINT64_MAX / 2);
    cr_assert_eq(memcmp(&start->job.tensors, &w.job->job.tensors, sizeof start->job.tensors), 0);
    struct slice a, b;
    cr_assert_eq(slice_init(&a, &w.job->job, w.job->slices[1], &err), DP_OK);
    cr_assert_eq(slice_init(&b, &start->job, start->slices[1], &err), DP_OK);
    cr_assert_eq(memcmp(slice_theta(&a, 0)->theta, slice_theta(&b, 0)->theta, a.range.count * sizeof(float)), 0);
    slice_fini(&a);
    slice_fini(&b);
    link_sample_fini(&got);
    wire_message_fini(&message);
    tear_down(&w);
}
