/* The job becomes whole: its modules and shards start, and are told to forget it where it is settled anew. Thread:
 * head. */
#include "server/head/settle.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/util.h"
#include "common/tensor/schema.h"
#include "server/assign/balance.h"
#include "server/assign/deal.h"
#include "server/assign/gate.h"
#include "server/assign/lease.h"
#include "server/assign/owed.h"
#include "server/assign/stall.h"
#include "server/head/control.h"
#include "server/head/steps.h"
#include "server/head/sums.h"
#include "server/head/warm.h"
#include "server/job/labels.h"
#include "server/result/checkpoint.h"
#include "server/result/doubts.h"
#include "server/result/fetch.h"
#include "server/result/save.h"
#include "server/talk/news.h"
#include "server/talk/shared.h"

/* Tells which features and label the first worker took. Clients with tensors alone have no data to tell of. */
static void tell_data(struct head *head)
{
    const struct job *job = &head->job;
    const Dp__Schema *schema = job->schema;
    if (!schema || !schema->format)
        return;
    const struct progress_data data = {.name = job->train.name,
                                       .rows = job->core.local ? 0 : job->train.rows,
                                       .features = job->features,
                                       .label = schema->label[0] ? schema->label : NULL,
                                       .label_at = schema->label_number - 1,
                                       .note = schema->note};
    char label[SCHEMA_LABEL_TEXT_BYTES];
    log_info("data file=\"%s\" features=%" PRIu64 " label=\"%s\"", data.name, data.features,
             schema->label_number ? schema_label_text(data.label, data.label_at, label) : "of each row");
    if (schema->note[0])
        log_info("data-note text=\"%s\"", schema->note);
    progress_data(&head->progress, &data);
}

static void start_progress(struct head *head)
{
    const struct plan *plan = &head->job.core.plan;
    const uint64_t first = head->job.core.first_step, trained = plan_trained(plan, first);
    const uint64_t epoch = first < plan_total(plan) ? plan_at(plan, first).epoch : job_epochs(&head->job) - 1;
    struct progress_facts facts = {
        .epochs = job_epochs(&head->job),
        .steps_per_epoch = plan_steps_per_epoch(plan),
        .train_steps = plan->train_steps,
        .open_ended = job_open_ended(&head->job),
        .evaluates = plan->eval_rows > 0,
        .classifies = job_classifies(&head->job),
        .no_epochs = head->job.core.local,
        .first_train_step = trained,
        .first_epoch = epoch,
    };
    tell_data(head);
    head->moved_ms = head->stall->opened_ms = mono_ms();
    progress_begin(&head->progress, head->moved_ms, &facts);
}

/* Copies, since the job may be settled anew while the shard is still at it. */
static struct command_start *start_of(const struct head *head, const struct job_shard *shard)
{
    struct command_start *start = command_start_new(&head->job.core, shard->slice_count, shard->part_count);
    if (!start)
        return NULL;
    start->incarnation = head->job.incarnation;
    start->shm = (enum shm_mode)head->opts->shm;
    start->first_slice = shard->first_slice;
    start->first_part = shard->first_part;
    start->checkpoint = head->job.begin ? 1 + head->job.begin->train_step : 0;
    const char *init_from = head_warm_path(head);
    if (init_from && !(start->init_from = strdup(init_from))) {
        command_start_free(&start);
        return NULL;
    }
    if (shard->slice_count)
        memcpy(start->slices, shard->slices, shard->slice_count * sizeof *shard->slices);
    if (shard->part_count)
        memcpy(start->parts, shard->parts, shard->part_count * sizeof *shard->parts);
    return start;
}

static bool start_shards(struct head *head)
{
    for (uint32_t s = 0; s < head->job.shard_count; s++) {
        const struct job_shard *shard = &head->job.shards[s];
        struct command start = {.kind = COMMAND_START, .start = start_of(head, shard)};
        if (!start.start || !seats_send(&head->seats, s, &start)) {
            command_fini(&start);
            return false;
        }
        seats_begin(&head->seats, s, job_shard_holds(shard) ? head->job.core.first_step : UINT64_MAX);
    }
    for (head->steps->first_shard = 0; !job_shard_holds(&head->job.shards[head->steps->first_shard]);)
        head->steps->first_shard++;
    uint32_t first = 0;
    while (!job_shard_holds_first(&head->job.shards[first]))
        first++;
    seats_hear_arrivals(&head->seats, first);
    return true;
}

/* Says so if some of --shards have no dense parameters. */
static void tell_unspread(const struct head *head)
{
    uint32_t used = 0;
    for (uint32_t s = 0; s < head->job.shard_count; s++)
        used += head->job.shards[s].slice_count > 0;
    if (used > 0 && used < head->job.shard_count)
        log_info("dense-shards used=%u of=%u reason=\"the others would have less than --min-shard-kib %" PRIu64 "\"",
                 used, head->job.shard_count, head->opts->min_shard_kib);
}

/* A word among numbers is a class, and may be a typing error. */
static void tell_mixed(const struct head *head)
{
    const struct label_list *labels = &head->job.labels;
    size_t word;
    if (head->opts->labels_asked.count == 0 && label_list_mixed(labels, &word))
        log_warn("labels-mixed classes=%zu word=\"%s\" reason=\"labels are numbers and words; each is a class\"",
                 labels->count, labels->list[word].text);
}

/* A model that is too large for the disk, or not that of --init-from, is its worker's: another may have another one,
 * but for the server's own. */
static dp_err refuse_settled(struct head *head, dp_error *err)
{
    dp_error more;
    if (head->supervise)
        head_fail(head, err);
    else if (job_unsettle(&head->job, &more))
        head_fail(head, &more);
    return err->code = DP_REFUSED;
}

/* The modules that follow a job: they start when it is settled, in this order, and forget it when it is settled anew.
 */
static const struct {
    dp_err (*start)(struct head *head); /* NULL: nothing is to be done */
    void (*stop)(struct head *head);
} MODULES[] = {
    {NULL, head_control_stop},         {NULL, head_fetch_fini}, /* theta of it, kept for who asks no more */
    {head_deal_start, head_deal_stop}, {head_balance_start, head_balance_stop},
    {head_gate_start, head_gate_stop}, {head_owed_start, head_owed_stop},
    {NULL, head_stall_stop},           {NULL, head_lease_stop},
    {head_sums_start, head_sums_stop}, {NULL, head_steps_stop},
    {NULL, head_doubts_stop},          {NULL, head_checkpoint_forget},
};

static dp_err start_modules(struct head *head)
{
    for (size_t i = 0; i < ARRAY_LEN(MODULES); i++) {
        dp_err e = MODULES[i].start ? MODULES[i].start(head) : DP_OK;
        if (e)
            return e;
    }
    return DP_OK;
}

void head_settle_stop(struct head *head)
{
    for (size_t i = 0; i < ARRAY_LEN(MODULES); i++)
        MODULES[i].stop(head);
}

dp_err head_settle(struct head *head, const Dp__Join *join, dp_error *err)
{
    const struct seats *seats = &head->seats;
    AUTOFREE const char **endpoints = mem_array(seats->count, sizeof *endpoints);
    if (!endpoints)
        return dp_fail(err, DP_NOMEM, "out of memory for the job");
    for (uint32_t s = 0; s < seats->count; s++)
        endpoints[s] = seats_at(seats, s)->told;
    dp_err e = job_settle(&head->job, join, seats->count, endpoints, err);
    if (e)
        return e;
    for (uint32_t s = 0; s < seats->count; s++) {
        head->job.wire->shards[s]->shm = (char *)seats_at(seats, s)->shm_name;
        head->job.wire->shards[s]->at_head = seats_at(seats, s)->at_head;
    }
    if (head_export_check_room(head, err) || head_warm_check(head, err))
        return refuse_settled(head, err);
    if (start_modules(head) || head_checkpoint_begin(head, join) || !start_shards(head)) {
        (void)dp_fail(err, DP_NOMEM, "out of memory for the job");
        head_fail(head, err);
        return err->code;
    }
    if (head->job.batch_cut && head->opts->batch_given)
        log_warn("batch-cut asked=%" PRIu64 " rows=%" PRIu64 " action=\"every step takes all rows\"", head->opts->batch,
                 head->job.train.rows);
    tell_unspread(head);
    tell_mixed(head);
    head->state = HEAD_RUNNING;
    head->global_low = head->job.core.first_step;
    start_progress(head);
    head_doubts_begin(head);
    return DP_OK;
}
