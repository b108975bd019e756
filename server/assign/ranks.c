/* The slots of a local job, in which workers have data of their own: slot = rank.
 *
 * A worker that joins takes a rank that is free, its own from before if it can. The slot of a rank that nobody holds is
 * void. The head tells the shards which are, as a roster (server/shard/gate.h), one at a time: the next one is sent
 * when all shards have that of before. Only then are workers told their ranks, since what comes for a void slot is
 * dropped. A rank whose holder said goodbye has finished; when all have, the job is over. Ranks that are free, and keep
 * a job of which somebody has finished from its end, are given up after the stall time-out. While fewer workers than
 * --min-workers are there or have finished, the shards are told of no step that it may be committed. Thread: head. */
#include "server/assign/ranks.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/util.h"
#include "server/assign/assign.h"
#include "server/assign/balance.h"
#include "server/assign/grants.h"
#include "server/assign/quorum.h"
#include "server/talk/news.h"
#include "server/talk/shards.h"
#include "server/talk/shared.h"
#include "server/talk/talk.h"

/* A worker that stalls the job again waits for this many time-outs: it costs the job at most a tenth of the time. */
enum { PUT_OFF_TIMES = 9 };

dp_err head_ranks_start(struct head *head)
{
    struct ranks *ranks = head->ranks;
    uint32_t slots = head->job.core.plan.slots;
    if (!head->job.core.local)
        return DP_OK;
    ranks->go = head->job.core.first_step;
    ranks->list = mem_array_zero(slots, sizeof *ranks->list);
    ranks->ready = mem_array_zero(head->job.shard_count, sizeof *ranks->ready);
    ranks->known = mem_array_zero(head->job.shard_count, sizeof *ranks->known);
    if (!ranks->list || !ranks->ready || !ranks->known)
        return DP_NOMEM;
    for (uint32_t k = 0; k < slots; k++)
        ranks->list[k].holder = ranks->list[k].last = DEALER_NOBODY;
    return DP_OK;
}

void head_ranks_stop(struct head *head)
{
    free(head->ranks->list);
    free(head->ranks->ready);
    free(head->ranks->known);
    *head->ranks = (struct ranks){0};
}

/* Whether all shards go by the last roster. */
static bool roster_known(const struct head *head)
{
    for (uint32_t s = 0; s < head->job.shard_count; s++)
        if (head_has_parameters(head, s) && head->ranks->known[s] != head->ranks->number)
            return false;
    return true;
}

static void send_roster(struct head *head)
{
    struct ranks *ranks = head->ranks;
    uint32_t slots = head->job.core.plan.slots;
    if (!ranks->changed || !roster_known(head))
        return;
    ranks->changed = false;
    ranks->number++;
    for (uint32_t s = 0; s < head->job.shard_count; s++) {
        struct command command = {.kind = COMMAND_ROSTER, .roster = {ranks->number, slots, NULL}};
        if (!head_has_parameters(head, s))
            continue;
        command.roster.live = mem_array_zero(slots, 1);
        if (!command.roster.live) {
            head_fail(head, &(dp_error){DP_NOMEM, "out of memory for the slots of the job"});
            return;
        }
        for (uint32_t k = 0; k < slots; k++)
            command.roster.live[k] = ranks->list[k].holder != DEALER_NOBODY;
        head_command(head, s, &command);
    }
}

static uint32_t rank_of(const struct head *head, uint32_t number)
{
    for (uint32_t k = 0; k < head->job.core.plan.slots; k++)
        if (head->ranks->list[k].holder == number)
            return k;
    return DEALER_NOBODY;
}

void head_ranks_tell(struct head *head, uint32_t number)
{
    struct member *member = &head->members.list[number];
    uint32_t rank = rank_of(head, number);
    Dp__Assign body = DP__ASSIGN__INIT;
    Dp__Header header = DP__HEADER__INIT;
    if (rank == DEALER_NOBODY)
        return;
    body.from_step = head->ranks->go;
    body.slots = &rank;
    body.n_slots = 1;
    header.body_case = DP__HEADER__BODY_ASSIGN;
    header.assign = &body;
    dp_err e = head_grant(head);
    head_assigned(head, member, e ? e : head_send_about(head, ABOUT_ASSIGN, member, &header));
}

/* A worker that has its rank already knows it, unless its connection lost that. */
static void tell_all(struct head *head)
{
    uint32_t count = members_list(&head->members, head->numbers);
    for (uint32_t i = 0; i < count; i++)
        head_ranks_tell(head, head->numbers[i]);
}

/* While there are too few workers no step is committed, so that none begins. It is looked at again when one comes: the
 * shards tell what they have by the roster that it is in. */
static void say_go(struct head *head)
{
    struct ranks *ranks = head->ranks;
    const uint64_t go = head_least(head, ranks->ready);
    if (go <= ranks->go || !head_has_enough(head))
        return;
    ranks->go = go;
    head_command_all(head, &(struct command){.kind = COMMAND_GO, .go = {go}});
}

void head_ranks_on_ready(struct head *head, uint32_t shard, const struct event *event)
{
    struct ranks *ranks = head->ranks;
    if (!ranks->ready)
        return; /* a word about a job that is gone */
    bool news = ranks->known[shard] != event->ready.roster;
    ranks->ready[shard] = event->ready.step;
    ranks->known[shard] = event->ready.roster;
    if (!roster_known(head))
        return;
    if (ranks->changed) {
        send_roster(head);
        return;
    }
    if (news)
        tell_all(head);
    say_go(head);
}

/* ---- holders of ranks ---- */

/* A rank for this worker: the one it had, else one that nobody had, else any that is free. */
static uint32_t rank_choose(const struct head *head, uint32_t number)
{
    uint32_t found = DEALER_NOBODY;
    for (uint32_t k = 0; k < head->job.core.plan.slots; k++) {
        const struct rank *rank = &head->ranks->list[k];
        if (rank->until_ms > 0 && rank->last == number)
            return DEALER_NOBODY;
        if (rank->holder != DEALER_NOBODY || rank->finished)
            continue;
        if (rank->last == number)
            return k;
        if (found == DEALER_NOBODY || (rank->last == DEALER_NOBODY && head->ranks->list[found].last != DEALER_NOBODY))
            found = k;
    }
    return found;
}

dp_err head_ranks_admit(const struct head *head, dp_error *err)
{
    if (!head->ranks->list || rank_choose(head, DEALER_NOBODY) != DEALER_NOBODY)
        return DP_OK;
    return dp_fail(err, DP_BUSY, "all %u ranks are taken or have finished: dp-server --slots K says how many there are",
                   head->job.core.plan.slots);
}

/* Ranks whose holders are gone are free. */
static void release(struct head *head)
{
    for (uint32_t k = 0; k < head->job.core.plan.slots; k++) {
        struct rank *rank = &head->ranks->list[k];
        if (rank->holder == DEALER_NOBODY || head->members.list[rank->holder].state == MEMBER_JOINED)
            continue;
        rank->holder = DEALER_NOBODY;
        head->ranks->changed = true;
        if (!rank->finished)
            log_warn(
                "rank-void rank=%u step=%" PRIu64
                " worker=\"%s\" action=\"nobody waits for it; its data are left out until a worker with them joins "
                "again\"",
                k, head->ranks->go, head->members.list[rank->last].name);
    }
}

static uint32_t held(const struct head *head)
{
    uint32_t count = 0;
    for (uint32_t k = 0; k < head->job.core.plan.slots; k++)
        count += head->ranks->list[k].holder != DEALER_NOBODY;
    return count;
}

/* Ranks for those who have none. */
static void give(struct head *head)
{
    uint32_t count = members_list(&head->members, head->numbers);
    for (uint32_t i = 0; i < count; i++) {
        const struct member *member = &head->members.list[head->numbers[i]];
        uint32_t rank = rank_choose(head, head->numbers[i]);
        if (rank == DEALER_NOBODY || rank_of(head, head->numbers[i]) != DEALER_NOBODY)
            continue;
        bool again = head->ranks->list[rank].last == head->numbers[i];
        head->ranks->list[rank] = (struct rank){.holder = head->numbers[i],
                                                .last = head->numbers[i],
                                                .given_us = mono_ns() / 1000,
                                                .stalls = again ? head->ranks->list[rank].stalls : 0};
        head->ranks->changed = true;
        log_info("rank worker=\"%s\" rank=%u step=%" PRIu64, member->name, rank, head->ranks->go);
    }
}

void head_ranks_deal(struct head *head)
{
    struct ranks *ranks = head->ranks;
    uint32_t slots = head->job.core.plan.slots;
    release(head);
    ranks->begun |= members_list(&head->members, head->numbers) >= slots;
    give(head);
    for (uint32_t k = 0; k < slots; k++) /* for the status */
        head->dealer.owner[k] = head->dealer.next_owner[k] = ranks->list[k].holder;
    if (ranks->begun && ranks->changed)
        send_roster(head);
    else if (ranks->begun && roster_known(head))
        tell_all(head);
    ranks->dealt_ms = mono_ms();
    head_ranks_see_end(head);
}

/* ---- ends ---- */

void head_ranks_finish(struct head *head, const struct member *member)
{
    uint32_t rank = head->ranks->list ? rank_of(head, members_number(&head->members, member)) : DEALER_NOBODY;
    if (rank != DEALER_NOBODY && head->state == HEAD_RUNNING)
        head->ranks->list[rank].finished = true;
}

void head_ranks_stalled(struct head *head, const struct member *member)
{
    uint32_t number = members_number(&head->members, member), at = rank_of(head, number);
    if (at == DEALER_NOBODY)
        return;
    struct rank *rank = &head->ranks->list[at];
    const uint64_t wait_ms = (uint64_t)PUT_OFF_TIMES * 1000 * head->opts->stall_timeout_s;
    bool delivered = head->balance->speculation.list[number].delivery.came_us > rank->given_us;
    rank->until_ms = delivered || rank->stalls == 0 ? 0 : mono_ms() + (wait_ms << MIN(rank->stalls - 1, 6U));
    rank->stalls = delivered ? 1 : rank->stalls + 1;
    if (rank->until_ms > 0)
        log_warn("rank-put-off rank=%u worker=\"%s\" for_s=%" PRIu64
                 " reason=\"it came again and delivered nothing again\"",
                 at, member->name, (rank->until_ms - mono_ms()) / 1000);
}

/* Those that were put off may have their ranks again. */
static void put_off_over(struct head *head, uint64_t now_ms)
{
    bool any = false;
    for (uint32_t k = 0; k < head->job.core.plan.slots; k++) {
        struct rank *rank = &head->ranks->list[k];
        if (rank->until_ms == 0 || now_ms < rank->until_ms)
            continue;
        rank->until_ms = 0;
        any = true;
    }
    if (any)
        head_ranks_deal(head);
}

/* Nobody is there, and not all have finished: those that are missing had their time. */
static void give_up_missing(struct head *head)
{
    uint32_t slots = head->job.core.plan.slots;
    log_warn("ranks-missing finished=%u of=%u for_s=%" PRIu64 " action=\"the job ends without the others\"",
             head_ranks_finished(head), slots, head->opts->stall_timeout_s);
    for (uint32_t k = 0; k < slots; k++)
        head->ranks->list[k].finished = true;
}

/* The last push of each was answered, so that it is committed everywhere; the shards' word may be under way. */
void head_ranks_see_end(struct head *head)
{
    struct ranks *ranks = head->ranks;
    if (!ranks->list || head->state != HEAD_RUNNING || held(head) > 0 ||
        head_ranks_finished(head) < head->job.core.plan.slots || head->global_low != ranks->go)
        return;
    head->job.over = true;
    head_news(head, &(struct news){.kind = NEWS_OVER});
}

void head_ranks_watch(struct head *head, const struct news *news)
{
    const uint64_t now_ms = news->now_ms;
    struct ranks *ranks = head->ranks;
    if (!ranks->list || head->state != HEAD_RUNNING)
        return;
    put_off_over(head, now_ms);
    bool patient = now_ms < ranks->dealt_ms + head->opts->stall_timeout_s * 1000;
    if (!ranks->begun && !patient && head_has_enough(head)) {
        log_warn("ranks-missing joined=%u of=%u for_s=%" PRIu64 " action=\"the job begins without the others\"",
                 held(head), head->job.core.plan.slots, head->opts->stall_timeout_s);
        ranks->begun = true;
        head_ranks_deal(head);
    }
    if (held(head) == 0 && !patient && head_ranks_finished(head) > 0 &&
        head_ranks_finished(head) < head->job.core.plan.slots)
        give_up_missing(head);
    head_ranks_see_end(head);
}
