/* Slots that are left out of a step: --drop-slowest B, once all but B are there, and --on-stall drop.
 *
 * In a job that may drop slots, a shard commits a step only at the head's word (server/shard/gate.h): when all shards
 * have all of it, or when the head has chosen what is left out. To that end it asks all shards what they are owed of
 * the step, which none of them has committed. Slots that any of them is owed are dropped, on all of them alike. If a
 * shard gets something of them in between or later, that is a duplicate there. Evaluations are never dropped from, and
 * a step keeps at least one slot. Thread: head. */
#include "server/assign/drop.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "server/assign/owed.h"
#include "server/assign/stall.h"
#include "server/talk/news.h"
#include "server/talk/reach.h"
#include "server/talk/shards.h"
#include "server/talk/shared.h"

dp_err head_drop_start(struct head *head)
{
    struct drop *drop = head->drop;
    if (!head->job.core.droppable)
        return DP_OK;
    drop->ready = mem_array_zero(head->job.shard_count, sizeof *drop->ready);
    drop->few = mem_array_zero(head->job.shard_count, sizeof *drop->few);
    drop->last = mem_array_zero(head->job.core.plan.slots, sizeof *drop->last);
    drop->go = head->job.core.first_step;
    return drop->ready && drop->few && drop->last ? DP_OK : DP_NOMEM;
}

void head_drop_stop(struct head *head)
{
    free(head->drop->ready);
    free(head->drop->few);
    free(head->drop->last);
    *head->drop = (struct drop){0};
}

void head_drop_on_ready(struct head *head, uint32_t shard, const struct event *event)
{
    struct drop *drop = head->drop;
    if (!drop->ready)
        return; /* a word about a job that is gone */
    drop->ready[shard] = event->ready.step;
    const uint64_t go = head_least(head, drop->ready);
    if (go <= drop->go)
        return;
    drop->go = go;
    head_command_all(head, &(struct command){.kind = COMMAND_GO, .go = {go}});
}

/* ---- slots that are left out ---- */

static void send_drop(struct head *head, const struct plan_step *at, uint32_t count)
{
    struct drop *drop = head->drop;
    const struct plan *plan = &head->job.core.plan;
    for (uint32_t s = 0; s < head->job.shard_count; s++) {
        if (!head_has_parameters(head, s))
            continue;
        struct command command = {.kind = COMMAND_DROP, .drop = {drop->go, count, plan->slots, NULL}};
        command.drop.live = mem_array(plan->slots, sizeof *command.drop.live);
        if (!command.drop.live) {
            head_fail(head, &(dp_error){DP_NOMEM, "out of memory for the slots of the job"});
            return;
        }
        for (uint32_t k = 0; k < plan->slots; k++)
            command.drop.live[k] = !head->owed->slots[k] && !plan_slot_empty(plan, at, k);
        head_command(head, s, &command);
    }
}

static void leave_out(struct head *head, const struct plan_step *at, uint32_t count)
{
    struct drop *drop = head->drop;
    send_drop(head, at, count);
    for (uint32_t k = 0; k < head->job.core.plan.slots; k++) {
        uint64_t first, rows;
        plan_slot(&head->job.core.plan, at, k, &first, &rows);
        drop->last[k] = head->owed->slots[k];
        drop->samples += drop->last[k] ? rows : 0;
    }
    log_info("slots-dropped step=%" PRIu64 " slots=%u", drop->go, count);
    drop->steps++;
    drop->slots += count;
    drop->go++;
    drop->late = drop->go;
}

/* All shards have answered. */
static void decide(struct head *head, bool stalled)
{
    struct drop *drop = head->drop;
    const struct plan *plan = &head->job.core.plan;
    AUTOFREE uint32_t *owed = mem_array(plan->slots, sizeof *owed);
    uint32_t all = 0;
    if (!owed || head->owed->passed || head->owed->step != drop->go || head->state != HEAD_RUNNING ||
        drop->go >= plan_total(plan))
        return;
    struct plan_step at = plan_at(plan, drop->go);
    uint32_t count = head_owed_list(head, owed);
    for (uint32_t k = 0; k < plan->slots; k++)
        all += !plan_slot_empty(plan, &at, k);
    bool can = at.asks->droppable && count < all && count > 0;
    bool drops = can && (count <= head->opts->drop_slowest || (stalled && head->opts->on_stall == ON_STALL_DROP));
    if (stalled && drop->go == head->global_low)
        head_stall_owed(head, owed, count, drops);
    if (drops)
        leave_out(head, &at, count);
}

/* ---- slots that are owed ---- */

static bool few_everywhere(const struct head *head)
{
    const struct drop *drop = head->drop;
    for (uint32_t s = 0; s < head->job.shard_count; s++)
        if (head_has_parameters(head, s) && drop->few[s] != drop->go + 1)
            return false;
    return true;
}

static void on_owed(struct head *head);

static void ask(struct head *head)
{
    head->drop->again = false;
    head_owed_ask(head, head->drop->go, on_owed);
}

static void on_owed(struct head *head)
{
    struct drop *drop = head->drop;
    bool stalled = drop->stalled;
    drop->stalled = false;
    if (stalled)
        head->moved_ms = mono_ms();
    decide(head, stalled);
    if (drop->again && few_everywhere(head))
        ask(head);
}

void head_drop_on_few(struct head *head, uint32_t shard, uint64_t step)
{
    struct drop *drop = head->drop;
    drop->few[shard] = step + 1;
    drop->again = head->owed->missing > 0;
    if (!drop->again && few_everywhere(head))
        ask(head);
}

void head_drop_on_stall(struct head *head)
{
    if (head->owed->missing > 0)
        return;
    head->drop->stalled = true;
    ask(head);
}

/* A worker that computes a dropped slot would hear of that with its next heartbeat only. */
void head_drop_step(struct head *head, const struct news *news)
{
    (void)news;
    struct drop *drop = head->drop;
    uint32_t told = DEALER_NOBODY;
    if (drop->late == 0 || head->global_low < drop->late)
        return;
    drop->late = 0;
    for (uint32_t k = 0; k < head->dealer.slots; k++) {
        uint32_t owner = head->dealer.owner[k];
        if (!drop->last[k] || owner == DEALER_NOBODY || owner == told)
            continue;
        told = owner;
        if (head->members.list[owner].state == MEMBER_JOINED)
            (void)head_reachable(head, &head->members.list[owner]);
    }
}

json_t *head_drop_json(const struct head *head)
{
    const struct drop *drop = head->drop;
    return json_pack("{sI sI sI}", "steps", (json_int_t)drop->steps, "slots", (json_int_t)drop->slots, "samples",
                     (json_int_t)drop->samples);
}
