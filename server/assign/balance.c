/* Speeds of workers, and what follows: deals in proportion to speed, and copies of late slots for idle workers.
 *
 * A worker says how many training slots it has computed and how long it was busy with them, so its speed does not
 * depend on how long it waits for others. The shard that has the first slice says which slots have come. None of it is
 * needed for a result to be right: a slot is counted once, whoever computes it. Thread: head. */
#include "server/assign/balance.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/util.h"
#include "server/assign/assign.h"
#include "server/assign/quorum.h"
#include "server/deal/speculation_decide.h"
#include "server/deal/speeds.h"
#include "server/talk/reach.h"
#include "server/talk/shared.h"

enum {
    LOOK_MS = 1000, /* deals are looked at this often */
};
/* Weight of a new measure of a worker's speed. */
#define SPEED_WEIGHT 0.5

static uint64_t now_us(void)
{
    return mono_ns() / 1000;
}

dp_err head_balance_init(struct head *head)
{
    struct balance *balance = head->balance;
    balance->speed = mem_array(SESSIONS_MAX, sizeof *balance->speed);
    for (uint32_t i = 0; balance->speed && i < SESSIONS_MAX; i++)
        balance->speed[i] = 1; /* of those that no deal has counted yet: times are divided by it */
    balance->slot_us = mem_array_zero(SESSIONS_MAX, sizeof *balance->slot_us);
    balance->dealt = mem_array(SESSIONS_MAX, sizeof *balance->dealt);
    return balance->speed && balance->slot_us && balance->dealt ? DP_OK : DP_NOMEM;
}

void head_balance_fini(struct head *head)
{
    speculation_fini(&head->balance->speculation);
    free(head->balance->speed);
    free(head->balance->slot_us);
    free(head->balance->dealt);
    free(head->balance->gifts);
}

void head_balance_open(struct head *head)
{
    uv_timer_init(&head->loop, &head->balance->timer);
    head->balance->timer.data = head;
}

void head_balance_close(struct head *head, const struct news *news)
{
    (void)news;
    uv_close((uv_handle_t *)&head->balance->timer, NULL);
}

dp_err head_balance_start(struct head *head)
{
    struct balance *balance = head->balance;
    uint32_t slots = head->job.core.plan.slots;
    balance->gifts = mem_array(slots, sizeof *balance->gifts);
    if (!balance->gifts)
        return DP_NOMEM;
    return speculation_init(&balance->speculation, slots, SESSIONS_MAX, balance->speed);
}

void head_balance_stop(struct head *head)
{
    struct balance *balance = head->balance;
    uv_timer_stop(&balance->timer);
    speculation_fini(&balance->speculation);
    free(balance->gifts);
    balance->gifts = NULL;
    balance->step_us = 0;
    balance->looked_us = balance->looked_low = balance->looked_ms = balance->moves = balance->changes = 0;
}

/* The first measure is of a worker that warms up: its memory is not there yet, its caches are cold. */
void head_measure(struct member *member, const Dp__Heartbeat *beat)
{
    if (beat->slots_computed <= member->slots_computed || beat->busy_us <= member->busy_us)
        return;
    uint64_t slots = beat->slots_computed - member->slots_computed, busy_us = beat->busy_us - member->busy_us;
    bool is_first = member->slots_computed == 0;
    member->slots_computed = beat->slots_computed;
    member->busy_us = beat->busy_us;
    if (is_first)
        return;
    double rate = (double)slots * 1e6 / (double)busy_us;
    member->slots_per_s =
        member->slots_per_s > 0 ? member->slots_per_s + SPEED_WEIGHT * (rate - member->slots_per_s) : rate;
    member->measured_ms = mono_ms();
}

/* A member is as fast as it says, but no faster than it delivered lately. */
static void find_speeds(struct head *head, const uint32_t *numbers, uint32_t count)
{
    struct balance *balance = head->balance;
    for (uint32_t i = 0; i < head->members.used; i++) {
        double rate = head->members.list[i].slots_per_s;
        balance->slot_us[i] = rate > 0 ? 1e6 / rate : 0;
    }
    speculation_believe(&balance->speculation, numbers, count, balance->slot_us);
    speeds_find(&head->dealer, balance->slot_us, balance->step_us, numbers, count, balance->speed);
}

/* Time of a step since the last look, mixed with that of one before. Time in which the job waits for workers is
 * none of it. */
static void measure_steps(struct head *head)
{
    struct balance *balance = head->balance;
    const uint64_t now = now_us(), steps = head->global_low - balance->looked_low;
    if (!head_has_enough(head)) {
        balance->looked_us = 0;
        return;
    }
    if (steps == 0 && balance->looked_us > 0)
        return;
    if (balance->looked_us > 0) {
        double us = (double)(now - balance->looked_us) / (double)steps;
        balance->step_us = balance->step_us > 0 ? balance->step_us + SPEED_WEIGHT * (us - balance->step_us) : us;
    }
    balance->looked_us = now;
    balance->looked_low = head->global_low;
}

static uint32_t count_hung(const struct head *head, const uint32_t *numbers, uint32_t count)
{
    uint32_t hung = 0;
    for (uint32_t i = 0; i < count; i++)
        hung += speculation_hung(&head->balance->speculation, numbers[i]);
    return hung;
}

/* Those that deliver nothing get none, unless all are such. */
uint32_t head_balance_members(struct head *head)
{
    uint32_t count = members_list(&head->members, head->numbers), dealt = 0;
    find_speeds(head, head->numbers, count); /* speculation goes by them, whether or not slots are dealt */
    if (!head_has_enough(head))
        return 0;
    bool all = count_hung(head, head->numbers, count) == count;
    for (uint32_t i = 0; i < count; i++) {
        double speed = head->opts->balance == BALANCE_SPEED ? head->balance->speed[head->numbers[i]] : 1;
        if (all || !speculation_hung(&head->balance->speculation, head->numbers[i]))
            head->balance->dealt[dealt++] = (struct dealer_member){.number = head->numbers[i], .speed = speed};
    }
    return dealt;
}

/* ---- the open step ---- */

/* As in a slice: 0 where the step commits once, or is none. */
static uint32_t staleness_at(const struct head *head, uint64_t step)
{
    const struct shard_job *job = &head->job.core;
    return step < plan_total(&job->plan) ? shard_job_staleness(job, step) : 0;
}

uint32_t head_ahead(const struct head *head)
{
    uint32_t staleness = staleness_at(head, head->global_low), ahead = 0;
    while (ahead < staleness && staleness_at(head, head->global_low + ahead + 1) == staleness)
        ahead++;
    return ahead;
}

static bool has_no_samples(const void *arg, uint32_t slot)
{
    const struct head *head = arg;
    struct plan_step at = plan_at(&head->job.core.plan, head->global_low);
    return plan_slot_empty(&head->job.core.plan, &at, slot);
}

static bool is_joined(const void *arg, uint32_t number)
{
    const struct head *head = arg;
    return head->members.list[number].state == MEMBER_JOINED;
}

void head_node_slots(const struct head *head, uint32_t node, uint32_t *ret_first, uint32_t *ret_end)
{
    const uint32_t slots = head->dealer.slots;
    uint32_t leaves = 1, first = node, end = node + 1;
    while (leaves < slots)
        leaves *= 2;
    for (; first < leaves; first *= 2)
        end *= 2;
    *ret_first = first - leaves;
    *ret_end = MIN(end - leaves, slots);
}

void head_on_arrivals(struct head *head)
{
    struct arrival arrival;
    uint32_t first, end;
    if (!head->job.settled)
        return;
    while (seats_take_arrival(&head->seats, &arrival)) {
        head_node_slots(head, arrival.node, &first, &end);
        speculation_arrived(&head->balance->speculation, arrival.step, arrival.session, first, end, arrival.at_us);
    }
}

/* Workers that compute what others have delivered would hear of it with their next heartbeat only. One that cannot be
 * told may have died: the step did not stand still for that, so nobody has asked. */
static void tell_beaten(struct head *head)
{
    const struct speculation *s = &head->balance->speculation;
    for (uint32_t m = 0; m < s->used; m++)
        if (s->list[m].beaten && is_joined(head, m))
            head->members.list[m].unreached = !head_reachable(head, &head->members.list[m]);
}

static void open_step(struct head *head)
{
    const struct plan *plan = &head->job.core.plan;
    dealer_open(&head->dealer, head->global_low);
    speculation_open(&head->balance->speculation, head->global_low, head_ahead(head),
                     plan_question(plan, head->global_low)->number, head->dealer.owner, has_no_samples, head, now_us());
}

void head_balance_step(struct head *head, const struct news *news)
{
    (void)news;
    tell_beaten(head);
    if (head->global_low < plan_total(&head->job.core.plan))
        open_step(head);
}

void head_balance_dealt(struct head *head)
{
    struct speculation *s = &head->balance->speculation;
    bool is_first = s->opened_us == 0;
    if (is_first)
        open_step(head);
    else
        speculation_owners(s, head->dealer.owner, is_joined, head, now_us());
}

/* ---- late slots ---- */

static void on_timer(uv_timer_t *timer)
{
    head_on_arrivals(timer->data);
    head_speculate(timer->data);
}

static void look_again(struct head *head, uint64_t again_us, uint64_t now)
{
    if (again_us == 0)
        uv_timer_stop(&head->balance->timer);
    else
        uv_timer_start(&head->balance->timer, on_timer, (again_us - MIN(again_us, now)) / 1000 + 1, 0);
}

void head_speculate(struct head *head)
{
    struct balance *balance = head->balance;
    uint64_t now = now_us(), again_us;
    if (head->opts->speculate == SPECULATE_OFF || !head->job.settled || head->state != HEAD_RUNNING)
        return;
    uint32_t members = members_list(&head->members, head->numbers);
    uint32_t count = speculation_decide(&balance->speculation, &head->dealer, head->numbers, members, now,
                                        balance->gifts, &again_us);
    for (uint32_t i = 0; i < count; i++) {
        const struct speculation_gift *gift = &balance->gifts[i];
        log_debug("speculate step=%" PRIu64 " slot=%u to=\"%s\"", head->global_low, gift->slot,
                  head->members.list[gift->member].name);
        head_assign(head, gift->member);
    }
    look_again(head, again_us, now);
}

/* ---- deals ---- */

static void forget_speeds(struct head *head)
{
    struct speculation *s = &head->balance->speculation;
    for (uint32_t i = 0; i < s->used; i++)
        delivery_forget(&s->list[i].delivery, now_us());
}

void head_balance_watch(struct head *head, const struct news *news)
{
    const uint64_t now_ms = news->now_ms;
    struct balance *balance = head->balance;
    if (head->job.core.local || head->state != HEAD_RUNNING || now_ms - MIN(now_ms, balance->looked_ms) < LOOK_MS)
        return;
    balance->looked_ms = now_ms;
    forget_speeds(head);
    measure_steps(head);
    uint32_t count = head_balance_members(head);
    if (count == 0 || !dealer_balance(&head->dealer, head->global_low, head_ahead(head), balance->dealt, count))
        return;
    balance->moves++;
    log_info("slots-moved step=%" PRIu64 " reason=\"measured speeds\"", head->dealer.from);
    head_assign_all(head);
}

json_t *head_balance_json(const struct head *head)
{
    const struct speculation *s = &head->balance->speculation;
    static const char *const BALANCE[] = {"off", "speed"}, *const SPECULATE[] = {"off", "auto"};
    return json_pack("{ss sI ss sI sI sI}", "mode", BALANCE[head->opts->balance], "moves",
                     (json_int_t)head->balance->moves, "speculate", SPECULATE[head->opts->speculate], "given",
                     (json_int_t)s->given, "won", (json_int_t)s->won, "lost", (json_int_t)s->lost);
}
