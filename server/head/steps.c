/* A job's run: it becomes whole, and steps become complete on all shards. Thread: head. */
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/tensor/schema.h"
#include "server/talk/shared.h"

/* ---- steps ---- */

/* A loss that is no number stays so. Who asked for the model gets it all the same, with the mark. */
static void end_diverged(struct head *head)
{
    dp_error err;
    if (head->state != HEAD_RUNNING)
        return;
    (void)dp_fail(&err, DP_DIVERGED,
                  "training diverged: the loss of training step %" PRIu64
                  " is no finite number, or its parameters are not%s; " DIVERGED_REMEDY,
                  head->diverged_step, head->blamed);
    head_fail(head, &err);
    if (head->opts->export_path && head->saving.tries == 0)
        head_export_at(head, head->global_low); /* unless that has begun it */
}

static void report_step(struct head *head, uint64_t step)
{
    struct plan_step at = plan_at(&head->job.core.plan, step);
    const struct metrics *m = &head->metrics[step % SLICE_VERSIONS];
    bool infinite = head->infinite_from && step + 1 >= head->infinite_from;
    if (!head->diverged && (infinite || !isfinite(m->loss))) {
        head->diverged = true;
        head->diverged_step = at.train_step;
    }
    if (at.kind == PLAN_EVAL)
        progress_eval(&head->progress, mono_ms(), at.epoch, m->loss, m->count, m->correct);
    else
        progress_step(&head->progress, mono_ms(), at.epoch, at.train_step, m->loss, m->count, m->correct);
    head_doubts_step(head, &at, m);
}

void head_steps_over(struct head *head)
{
    head->state = HEAD_EXPORTING;
    if (head->supervise)
        supervise_expect_end(head->supervise);
    if (head->opts->export_path)
        head_export_at(head, head->global_low);
    else
        head_finish(head, false);
}

/* Moves global_low to the least of the shards' and tells them. */
static void raise_global_low(struct head *head)
{
    uint64_t low = UINT64_MAX;
    for (uint32_t p = 0; p < head->port_count; p++)
        low = MIN(low, head->lows[p]);
    if (!head->job.settled || low == head->global_low)
        return;
    for (; head->global_low < low; head->global_low++)
        report_step(head, head->global_low);
    head->moved_ms = mono_ms();
    for (uint32_t p = 0; p < head->port_count; p++)
        port_announce_low(&head->ports[p], low);
    head_stall_over(head);
    head_drop_over(head);
    head_balance_open(head);
    if (head->diverged)
        end_diverged(head);
    else if (low == plan_total(&head->job.core.plan) && head->state == HEAD_RUNNING)
        head_steps_over(head);
    else
        head_ranks_see_end(head);
}

static void take_blame(struct head *head, const struct blame *blame)
{
    uint32_t first, end;
    if (head->blamed[0])
        return;
    if (blame->state)
        (void)str_copy(head->blamed, sizeof head->blamed,
                       " (but the state of the optimizer, by which they stand still)");
    if (!blame->node || blame->state)
        return;
    head_node_slots(head, blame->node, &first, &end);
    size_t at = 0;
    str_append(head->blamed, sizeof head->blamed, &at, " (the first gradient with such a value was of slot %u", first);
    if (end - first > 1)
        str_append(head->blamed, sizeof head->blamed, &at, "-%u", end - 1);
    if (blame->from > 0 && blame->from <= SESSIONS_MAX)
        str_append(head->blamed, sizeof head->blamed, &at, ", from worker '%s'",
                   head->members.list[blame->from - 1].name);
    str_append(head->blamed, sizeof head->blamed, &at, ")");
}

static void on_event(struct head *head, uint32_t shard, struct event *event)
{
    switch (event->kind) {
    case EVENT_COMPLETED:
        head->lows[shard] = event->step + 1;
        if (!isfinite(event->metrics.loss) && (!head->infinite_from || event->step < head->infinite_from))
            head->infinite_from = event->step + 1;
        take_blame(head, &event->blame);
        if (shard == head->first_port)
            head->metrics[event->step % SLICE_VERSIONS] = event->metrics;
        break;
    case EVENT_PINNED:
        head_on_pinned(head, shard, event);
        break;
    case EVENT_OWED:
        head_on_owed(head, event);
        free(event->owed);
        break;
    case EVENT_SUMS:
        head_on_sums(head, shard, event);
        break;
    case EVENT_PREPARED:
        head_on_prepared(head, event->step);
        break;
    case EVENT_READY:
        if (head->drop.ready)
            head_drop_on_ready(head, shard, event->step);
        else
            head_ranks_on_ready(head, shard, event);
        break;
    case EVENT_FEW:
        head_drop_on_few(head, shard, event->step);
        break;
    case EVENT_FAILED: {
        static const dp_error NOMEM = {DP_NOMEM, "a shard is out of memory"};
        head_fail(head, event->failed ? event->failed : &NOMEM);
        free(event->failed);
        break;
    }
    }
}

void head_on_wake(uv_async_t *wake)
{
    struct head *head = wake->data;
    for (uint32_t p = 0; p < head->port_count; p++) {
        struct event event;
        while (head->ports[p].running && queue_take(&head->ports[p].events, &event))
            if (event.incarnation == head->job.incarnation)
                on_event(head, p, &event);
            else
                port_drop_event(&event); /* of a job before this one: nothing is pinned of it */
    }
    head_on_arrivals(head); /* after the events: those of a step that is complete are here by now */
    raise_global_low(head);
    head_speculate(head);
    head_see_fences(head);
    head_post_read(head);
}

/* ---- the job becomes whole ---- */

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
    struct progress_facts facts = {
        .epochs = job_epochs(&head->job),
        .steps_per_epoch = plan_steps_per_epoch(plan),
        .train_steps = plan->train_steps,
        .open_ended = job_open_ended(&head->job),
        .evaluates = plan->eval_rows > 0,
        .classifies = job_classifies(&head->job),
        .no_epochs = head->job.core.local,
    };
    tell_data(head);
    head->running_ms = head->moved_ms = head->stall.opened_ms = mono_ms();
    progress_begin(&head->progress, head->running_ms, &facts);
}

/* Copies, since the job may be settled anew while the shard is still at it. */
struct start_block {
    struct shard_job job;
    struct range *slices;
    struct part_range *parts;
    max_align_t room[];
};

static struct start_block *start_block(const struct shard_job *job, const struct job_shard *shard)
{
    size_t slices = shard->slice_count * sizeof *shard->slices, parts = shard->part_count * sizeof *shard->parts;
    struct start_block *block = mem_array(1, sizeof *block + slices + parts);
    if (!block)
        return NULL;
    block->job = *job;
    block->slices = (struct range *)block->room;
    block->parts = (struct part_range *)(block->slices + shard->slice_count);
    if (slices)
        memcpy(block->slices, shard->slices, slices);
    if (parts)
        memcpy(block->parts, shard->parts, parts);
    return block;
}

static bool start_shards(struct head *head)
{
    for (uint32_t p = 0; p < head->port_count; p++) {
        const struct job_shard *shard = &head->job.shards[p];
        struct start_block *block = start_block(&head->job.core, shard);
        if (!block)
            return false;
        struct command start = {.kind = COMMAND_START,
                                .block = block,
                                .job = &block->job,
                                .incarnation = head->job.incarnation,
                                .first_slice = shard->first_slice,
                                .slice_count = shard->slice_count,
                                .slices = block->slices,
                                .first_part = shard->first_part,
                                .part_count = shard->part_count,
                                .parts = block->parts,
                                .shm = (enum shm_mode)head->opts->shm};
        if (!port_send(&head->ports[p], &start)) {
            free(block);
            return false;
        }
        head->lows[p] = job_shard_holds(shard) ? 0 : UINT64_MAX;
    }
    for (head->first_port = 0; !job_shard_holds(&head->job.shards[head->first_port]);)
        head->first_port++;
    for (head->arrival_port = 0; !job_shard_holds_first(&head->job.shards[head->arrival_port]);)
        head->arrival_port++;
    return true;
}

/* Where some of --shards have no dense parameters. */
static void tell_unspread(const struct head *head)
{
    uint32_t used = 0;
    for (uint32_t p = 0; p < head->port_count; p++)
        used += head->job.shards[p].slice_count > 0;
    if (used > 0 && used < head->port_count)
        log_info("dense-shards used=%u of=%u reason=\"the others would have less than --min-shard-kib %" PRIu64 "\"",
                 used, head->port_count, head->opts->min_shard_kib);
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

/* A model that is too large for the disk is its worker's: another may have a smaller one, but for the server's own. */
static dp_err refuse_for_room(struct head *head, dp_error *err)
{
    dp_error more;
    if (head->supervise)
        head_fail(head, err);
    else if (job_unsettle(&head->job, &more))
        head_fail(head, &more);
    return err->code = DP_REFUSED;
}

dp_err head_settle(struct head *head, const Dp__Join *join, dp_error *err)
{
    AUTOFREE const char **endpoints = mem_array(head->port_count, sizeof *endpoints);
    if (!endpoints)
        return dp_fail(err, DP_NOMEM, "out of memory for the job");
    for (uint32_t p = 0; p < head->port_count; p++)
        endpoints[p] = head->endpoints[p];
    dp_err e = job_settle(&head->job, join, head->port_count, endpoints, err);
    if (e)
        return e;
    for (uint32_t p = 0; p < head->port_count; p++) {
        head->job.wire->shards[p]->shm = head->ports[p].door.name;
        head->job.wire->shards[p]->at_head = head->post != NULL;
    }
    if (head_export_check_room(head, err))
        return refuse_for_room(head, err);
    if (dealer_init(&head->dealer, head->job.core.plan.slots) || head_balance_start(head) || head_ranks_start(head) ||
        head_drop_start(head) || head_owed_start(head) || head_start_exchange(head) || !start_shards(head)) {
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
    start_progress(head);
    head_doubts_begin(head);
    return DP_OK;
}

bool head_has_parameters(const struct head *head, uint32_t port)
{
    return head->job.shards[port].slice_count > 0;
}

void head_command(struct head *head, uint32_t port, struct command *command)
{
    dp_error err;
    if (port_send(&head->ports[port], command))
        return;
    free(command->live);
    (void)dp_fail(&err, DP_BUSY, "shard %u has too much to do for the slots of the job", port);
    head_fail(head, &err);
}

void head_close_session(struct head *head, uint64_t token, uint32_t ports)
{
    for (uint32_t p = 0; p < ports; p++)
        head_command(head, p, &(struct command){.kind = COMMAND_CLOSE, .session = token, .fence = head->fences});
}

/* Nobody knows the token yet: what is taken back needs no fence of its own. */
bool head_open_session(struct head *head, const struct member *member)
{
    head_grant_forget(head); /* what its number was dealt before was another session's */
    for (uint32_t p = 0; p < head->port_count; p++) {
        struct command open = {.kind = COMMAND_OPEN, .session = member->token, .worker = member->worker};
        open.name = strdup(member->name);
        if (open.name && port_send(&head->ports[p], &open))
            continue;
        free(open.name);
        head_close_session(head, member->token, p);
        return false;
    }
    return true;
}
