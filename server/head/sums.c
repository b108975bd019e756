/* Sums over all shards, at the head: what global rules wait for between their passes, and the reports. Thread: head. */
#include "server/head/sums.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/result/checkpoint.h"
#include "server/shard/phases.h"
#include "server/step/first_values.h"
#include "server/store/source.h"
#include "server/talk/news.h"
#include "server/talk/shared.h"

/* Parts are cut at blocks. */
static void add_table_blocks(struct head *head)
{
    for (uint32_t s = 0; s < head->job.shard_count; s++)
        for (uint32_t i = 0; i < head->job.shards[s].part_count; i++) {
            const struct part_range *part = &head->job.shards[s].parts[i];
            uint64_t span = layout_table_span(&head->job.core.tensors.list[part->tensor]);
            exchange_add_blocks(&head->sums->exchange, s, part->tensor, (part->last - part->first) / span + 1);
        }
}

dp_err head_sums_start(struct head *head)
{
    AUTOFREE struct range *ranges = mem_array(head->job.shard_count, sizeof *ranges);
    if (!ranges)
        return DP_NOMEM;
    for (uint32_t s = 0; s < head->job.shard_count; s++)
        ranges[s] = head->job.shards[s].range;
    const struct shard_job *core = &head->job.core;
    first_values_multipliers(core, &head->sums->report.multipliers);
    if (core->constraints.method == METHOD_AUGMENTED && core->constraints.count > 0) {
        head->sums->pull = mem_array_zero(shard_job_constraint_values(core), sizeof *head->sums->pull);
        if (!head->sums->pull)
            return DP_NOMEM;
    }
    if (exchange_init(&head->sums->exchange, &core->tensors, head->job.shard_count, ranges))
        return DP_NOMEM;
    add_table_blocks(head);
    return DP_OK;
}

/* They are those of the shards. */
dp_err head_sums_resume(struct head *head, dp_error *err)
{
    struct shard_job core = head->job.core;
    if (core.constraints.method != METHOD_AUGMENTED)
        return DP_OK;
    dp_err e = source_open(&head->checkpoints->folder, head->job.begin->train_step, &core.from, err);
    if (!e)
        first_values_multipliers(&core, &head->sums->report.multipliers);
    source_close(&core.from);
    return e;
}

void head_sums_stop(struct head *head)
{
    exchange_fini(&head->sums->exchange);
    free(head->sums->pull);
    head->sums->pull = NULL;
    head->sums->report = (struct report){0};
}

static void fail(struct head *head, dp_err code, const char *text)
{
    dp_error err;
    (void)dp_fail(&err, code, "%s", text);
    head_fail(head, &err);
}

/* Each shard with parameters gets a copy of its own. */
static void send_totals(struct head *head, uint64_t step, uint32_t phase, uint32_t values, const double *totals)
{
    size_t count = (size_t)head->job.core.tensors.count * values;
    for (uint32_t s = 0; s < head->job.shard_count; s++) {
        if (head->job.shards[s].slice_count == 0)
            continue;
        struct command command = {.kind = COMMAND_TOTALS, .totals = {step, phase, (uint32_t)count, NULL}};
        command.totals.totals = mem_array(count, sizeof *totals);
        if (!command.totals.totals) {
            fail(head, DP_NOMEM, "out of memory for the sums of a commit");
            return;
        }
        memcpy(command.totals.totals, totals, count * sizeof *totals);
        if (!seats_send(&head->seats, s, &command)) {
            command_fini(&command);
            fail(head, DP_BUSY, "a shard has too much to do for the sums of a commit");
            return;
        }
    }
}

/* The head follows the multipliers as the shards do: from the same totals. */
static void follow_multipliers(struct head *head, uint64_t step, const double *totals)
{
    const struct shard_job *core = &head->job.core;
    struct plan_step at = plan_at(&core->plan, step);
    struct commit commit = commit_at(core, at.train_step, at.rows);
    global_take_gathered(core, totals, &commit, head->sums->pull, &head->sums->report.multipliers);
}

static void take_report(struct head *head, uint64_t step, const double *totals)
{
    const struct shard_job *core = &head->job.core;
    struct report *r = &head->sums->report;
    report_take(r, core, plan_at(&core->plan, step).train_step, totals);
    progress_set_terms(&head->progress,
                       &(struct progress_terms){.known = true,
                                                .regularizer = r->regularizer,
                                                .violation = core->constraints.count ? r->violation : NAN,
                                                .sparsity = r->zeros / r->elems,
                                                .gradient_norm = r->gradient_norm,
                                                .lr = r->lr});
}

void head_on_sums(struct head *head, uint32_t shard, struct event *event)
{
    struct event_sums *sums = &event->sums;
    AUTOFREE double *totals = NULL;
    if (exchange_add(&head->sums->exchange, shard, sums->step, sums->phase, sums->values, sums->sums, &totals)) {
        fail(head, DP_NOMEM, "out of memory for the sums of a commit");
        return;
    }
    if (!totals)
        return;
    if (sums->phase == EXCHANGE_REPORT) {
        take_report(head, sums->step, totals);
        return;
    }
    if (sums->phase == 0 && head->sums->pull)
        follow_multipliers(head, sums->step, totals);
    send_totals(head, sums->step, sums->phase, sums->values, totals);
}
