/* Steps become complete on all shards. Invariant: each step's metrics are reported once, in order. Thread: head. */
#include "server/head/steps.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/text.h"
#include "server/assign/balance.h"
#include "server/assign/ranks.h"
#include "server/result/checkpoint_cut.h"
#include "server/result/closing.h"
#include "server/result/doubts.h"
#include "server/result/save.h"
#include "server/talk/news.h"
#include "server/talk/shared.h"

/* A loss that is no number stays so. If a model was asked for, it is written all the same, with the mark. */
static void end_diverged(struct head *head)
{
    dp_error err;
    if (head->state != HEAD_RUNNING)
        return;
    (void)dp_fail(&err, DP_DIVERGED,
                  "training diverged: the loss of training step %" PRIu64
                  " is no finite number, or its parameters are not%s; " DOUBTS_REMEDY,
                  head->steps->diverged_step, head->steps->blamed);
    head_fail(head, &err);
    if (head->opts->export_path && head->saving->tries == 0)
        head_export_at(head, head->global_low); /* unless that has begun it */
}

static void report_step(struct head *head, uint64_t step)
{
    struct plan_step at = plan_at(&head->job.core.plan, step);
    const struct metrics *m = &head->steps->metrics[step % SLICE_VERSIONS];
    bool infinite = head->steps->infinite_from && step + 1 >= head->steps->infinite_from;
    if (!head->diverged && (infinite || !isfinite(m->loss))) {
        head->diverged = true;
        head->steps->diverged_step = at.train_step;
    }
    if (at.asks->counts)
        progress_step(&head->progress, mono_ms(), at.epoch, at.train_step, m->loss, m->count, m->correct);
    else if (at.asks->rows == ROWS_EVAL)
        progress_eval(&head->progress, mono_ms(), at.epoch, m->loss, m->count, m->correct);
    head_doubts_step(head, &at, m);
}

/* Workers leave at the job's end, and must not come there without the server: one that is stopped goes on later, and
 * one that is killed before its last checkpoint is whole needs them for what follows the one before. */
static bool may_announce(const struct head *head, uint64_t low)
{
    const bool ends = low == plan_total(&head->job.core.plan);
    return !head->ending->returns && (!ends || !head->opts->checkpoints.dir);
}

/* Moves global_low to the least of the shards' and tells them. */
void head_raise_low(struct head *head)
{
    const uint64_t low = seats_low(&head->seats);
    if (!head->job.settled || low == head->global_low)
        return;
    assert(low > head->global_low);
    for (; head->global_low < low; head->global_low++) {
        head_checkpoint_passes(head, head->global_low);
        report_step(head, head->global_low);
    }
    head_checkpoint_passes(head, low);
    head->moved_ms = mono_ms();
    if (may_announce(head, low))
        seats_announce_low(&head->seats, low);
    head_news(head, &(struct news){.kind = NEWS_STEP});
    if (head->diverged)
        end_diverged(head);
    else if (low == plan_total(&head->job.core.plan) && head->state == HEAD_RUNNING)
        head_news(head, &(struct news){.kind = NEWS_OVER});
    else
        head_ranks_see_end(head);
}

static void take_blame(struct head *head, const struct blame *blame)
{
    uint32_t first, end;
    if (head->steps->blamed[0])
        return;
    if (blame->state)
        (void)str_copy(head->steps->blamed, sizeof head->steps->blamed,
                       " (but the state of the optimizer, by which they stand still)");
    if (!blame->node || blame->state)
        return;
    head_node_slots(head, blame->node, &first, &end);
    size_t at = 0;
    str_append(head->steps->blamed, sizeof head->steps->blamed, &at,
               " (the first gradient with such a value was of slot %u", first);
    if (end - first > 1)
        str_append(head->steps->blamed, sizeof head->steps->blamed, &at, "-%u", end - 1);
    if (blame->from > 0 && blame->from <= SESSIONS_MAX)
        str_append(head->steps->blamed, sizeof head->steps->blamed, &at, ", from worker '%s'",
                   head->members.list[blame->from - 1].name);
    str_append(head->steps->blamed, sizeof head->steps->blamed, &at, ")");
}

void head_on_completed(struct head *head, uint32_t shard, const struct event_completed *completed)
{
    struct steps_state *steps = head->steps;
    seats_completed(&head->seats, shard, completed->step);
    if (!isfinite(completed->metrics.loss) && (!steps->infinite_from || completed->step < steps->infinite_from))
        steps->infinite_from = completed->step + 1;
    take_blame(head, &completed->blame);
    if (shard == steps->first_shard)
        steps->metrics[completed->step % SLICE_VERSIONS] = completed->metrics;
}

void head_steps_stop(struct head *head)
{
    seats_forget(&head->seats);
    head->steps->first_shard = 0;
    head->steps->infinite_from = 0;
    head->steps->blamed[0] = '\0';
    head->global_low = 0;
}
