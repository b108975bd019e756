/* A job in virtual time; see sim.h. */
#include "tests/unit/support/sim.h"

#include <stddef.h>

#include <criterion/criterion.h>

#include "common/base/util.h"
#include "server/deal/speculation_decide.h"
#include "server/deal/speeds.h"
#include "tests/unit/support/leaks.h"

static bool none_empty(const void *arg, uint32_t slot)
{
    (void)arg, (void)slot;
    return false;
}

static bool is_joined(const void *arg, uint32_t number)
{
    return ((const struct sim *)arg)->workers[number].joined;
}

static bool is_eval(const struct sim *sim, uint64_t step)
{
    return sim->eval_every > 0 && step % sim->eval_every == sim->eval_every - 1;
}

/* As head_ahead. */
static uint32_t ahead_of(const struct sim *sim)
{
    uint32_t ahead = sim->eval_every > 0 ? 0 : sim->staleness;
    while (!is_eval(sim, sim->step) && ahead < sim->staleness && !is_eval(sim, sim->step + ahead + 1))
        ahead++;
    return ahead;
}

/* ---- the head ---- */

static uint32_t list(const struct sim *sim, uint32_t *numbers)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < sim->count; i++)
        if (sim->workers[i].joined)
            numbers[count++] = i;
    return count;
}

/* As head_balance_members. */
static uint32_t dealt_members(struct sim *sim)
{
    uint32_t numbers[MEMBERS] = {0}, count = list(sim, numbers), dealt = 0, hung = 0;
    for (uint32_t i = 0; i < sim->count; i++) {
        double rate = sim->workers[i].rate;
        sim->slot_us[i] = rate > 0 ? 1e6 / rate : 0;
    }
    speculation_believe(&sim->spec, numbers, count, sim->slot_us);
    speeds_find(&sim->dealer, sim->slot_us, sim->step_us, numbers, count, sim->speed);
    for (uint32_t i = 0; i < count; i++)
        hung += speculation_hung(&sim->spec, numbers[i]);
    for (uint32_t i = 0; i < count; i++)
        if (hung == count || !speculation_hung(&sim->spec, numbers[i]))
            sim->dealt[dealt++] = (struct dealer_member){.number = numbers[i], .speed = sim->speed[numbers[i]]};
    return dealt;
}

static void open_step(struct sim *sim)
{
    dealer_open(&sim->dealer, sim->step);
    speculation_open(&sim->spec, sim->step, ahead_of(sim), is_eval(sim, sim->step), sim->dealer.owner, none_empty, NULL,
                     sim->now_us);
}

static void deal(struct sim *sim)
{
    uint32_t count = dealt_members(sim);
    (void)dealer_deal(&sim->dealer, sim->step, ahead_of(sim), sim->dealt, count);
    if (sim->spec.opened_us == 0)
        open_step(sim);
    else
        speculation_owners(&sim->spec, sim->dealer.owner, is_joined, sim, sim->now_us);
}

static void deal_by_hung(struct sim *sim)
{
    if (sim->changes == sim->spec.changes)
        return;
    sim->changes = sim->spec.changes;
    deal(sim);
}

static void speculate(struct sim *sim)
{
    uint32_t numbers[MEMBERS] = {0}, count = list(sim, numbers);
    struct speculation_gift gifts[SLOTS_MAX];
    uint32_t given = speculation_decide(&sim->spec, &sim->dealer, numbers, count, sim->now_us, gifts, &sim->again_us);
    for (uint32_t i = 0; i < given; i++)
        sim->workers[gifts[i].member].told[gifts[i].slot] = sim->step + 1;
    sim->given += given;
}

/* As head_hung_watch. */
static void probe(struct sim *sim, uint32_t i)
{
    struct sim_worker *w = &sim->workers[i];
    bool hung = speculation_hung(&sim->spec, i), holds = dealer_holds(&sim->dealer, i);
    uint64_t wait_us = hung ? MIN(1000000ull << MIN(w->probes, 5), 30000000ull) : 10000000ull;
    if (!hung && holds)
        w->probes = 0;
    if ((!hung && holds) || sim->now_us - w->probed_us < wait_us)
        return;
    uint64_t soon = sim->step_us > 0 ? (uint64_t)(20000 / sim->step_us) : 0;
    w->probes++;
    w->probed_us = sim->now_us;
    w->probe_step = sim->step + 2 + ahead_of(sim) + soon;
    w->probe_slot = w->probes * 7 % sim->slots;
    delivery_probed(&sim->spec.list[i].delivery, w->probe_step, w->probe_slot, sim->now_us);
}

static void hear(struct sim_worker *w)
{
    uint64_t slots = w->computed - w->said_slots, us = w->busy_us - w->said_us;
    if (w->lies) {
        w->rate = 1e6;
        w->probes = MIN(w->probes, 1U);
        return;
    }
    if (slots > 0)
        w->probes = MIN(w->probes, 1U);
    if (slots > 0 && us > 0 && w->said_slots > 0)
        w->rate = w->rate > 0 ? w->rate + 0.5 * (1e6 * (double)slots / (double)us - w->rate)
                              : 1e6 * (double)slots / (double)us;
    w->said_slots = w->computed;
    w->said_us = w->busy_us;
}

static void beat(struct sim *sim)
{
    double us =
        sim->step > sim->low_seen ? (double)(sim->now_us - sim->low_seen_us) / (double)(sim->step - sim->low_seen) : 0;
    for (uint32_t i = 0; i < sim->count; i++) {
        if (sim->workers[i].joined)
            hear(&sim->workers[i]);
    }
    for (uint32_t i = 0; i < sim->count; i++)
        delivery_forget(&sim->spec.list[i].delivery, sim->now_us);
    if (us > 0 && sim->low_seen_us > 0)
        sim->step_us = sim->step_us > 0 ? 0.5 * (sim->step_us + us) : us;
    sim->low_seen = sim->step;
    sim->low_seen_us = sim->now_us;
    uint32_t count = dealt_members(sim);
    (void)dealer_balance(&sim->dealer, sim->step, ahead_of(sim), sim->dealt, count);
}

/* ---- workers ---- */

static bool wants(const struct sim *sim, const struct sim_worker *w, uint64_t step, uint32_t slot)
{
    uint32_t number = (uint32_t)(w - sim->workers);
    bool told = w->told[slot] == step + 1 || (w->probe_step == step && w->probe_slot == slot && step > 0);
    bool in = sim->spec.slot[slot].arrived >> (step - sim->step) & 1;
    return !in && (told || dealer_owner(&sim->dealer, step, slot) == number) &&
           w->done[step % OPEN_MAX][slot] != step + 1;
}

static double takes_us(const struct sim *sim, const struct sim_worker *w)
{
    bool hangs = sim->now_us >= w->hangs_from_us && sim->now_us < w->hangs_to_us;
    if (hangs && (!w->eval_only || is_eval(sim, w->step)))
        return (double)(w->hangs_to_us - sim->now_us);
    return w->every_us > 0 ? w->every_us : w->slot_us;
}

static void begin(struct sim *sim, struct sim_worker *w, uint64_t step, uint32_t slot)
{
    w->step = step;
    w->at = slot;
    w->ends_us = sim->now_us + 2 * WAY_US + (uint64_t)takes_us(sim, w);
    w->busy_us += (uint64_t)takes_us(sim, w);
}

/* False where no open step wants anything of a worker: of a hundred that hang nearly all, which saves much time. */
static bool may_owe(const struct sim *sim, const struct sim_worker *w)
{
    const struct dealer *dealer = &sim->dealer;
    uint32_t number = (uint32_t)(w - sim->workers);
    for (uint32_t k = 0; k < sim->slots; k++)
        if (dealer->owner[k] == number || dealer->base_owner[k] == number || dealer->next_owner[k] == number ||
            w->told[k] > sim->step)
            return true;
    return w->probe_step >= sim->step;
}

/* A worker that is between slots goes to the first step that it owes any of. */
static void go_on(struct sim *sim, struct sim_worker *w)
{
    if (!may_owe(sim, w))
        return;
    uint64_t last = sim->step + ahead_of(sim);
    for (uint64_t step = sim->step; step <= last; step++)
        for (uint32_t k = 0; k < sim->slots; k++)
            if (wants(sim, w, step, k)) {
                begin(sim, w, step, k);
                return;
            }
}

/* A slot has come; the last one of a step opens the next. */
static void arrive(struct sim *sim, uint32_t number)
{
    struct sim_worker *w = &sim->workers[number];
    uint32_t slot = w->at;
    w->at = SLOTS_MAX;
    w->computed++;
    w->done[w->step % OPEN_MAX][slot] = w->step + 1;
    speculation_arrived(&sim->spec, w->step, number, slot, slot + 1, sim->now_us);
    while (sim->spec.missing == 0) {
        sim->step++;
        open_step(sim);
        deal_by_hung(sim);
    }
    speculate(sim);
}

/* ---- time ---- */

static uint64_t next_event(const struct sim *sim)
{
    uint64_t next = MIN(sim->beat_us, sim->tick_us);
    if (sim->again_us > 0)
        next = MIN(next, MAX(sim->again_us, sim->now_us + 1));
    for (uint32_t i = 0; i < sim->count; i++)
        if (sim->workers[i].joined && sim->workers[i].at != SLOTS_MAX)
            next = MIN(next, sim->workers[i].ends_us);
    return next;
}

static void tick(struct sim *sim)
{
    deal_by_hung(sim);
    speculate(sim);
    for (uint32_t i = 0; i < sim->count; i++)
        if (sim->workers[i].joined)
            probe(sim, i);
}

void sim_run(struct sim *sim, uint64_t until_us)
{
    while (sim->now_us < until_us) {
        for (uint32_t i = 0; i < sim->count; i++)
            if (sim->workers[i].joined && sim->workers[i].at == SLOTS_MAX)
                go_on(sim, &sim->workers[i]);
        sim->now_us = next_event(sim);
        for (uint32_t i = 0; i < sim->count; i++)
            if (sim->workers[i].joined && sim->workers[i].at != SLOTS_MAX && sim->workers[i].ends_us <= sim->now_us)
                arrive(sim, i);
        if (sim->now_us >= sim->beat_us) {
            sim->beat_us += BEAT_US;
            beat(sim);
        }
        if (sim->now_us >= sim->tick_us) {
            sim->tick_us += TICK_US;
            tick(sim);
        }
        if (sim->again_us > 0 && sim->now_us >= sim->again_us)
            speculate(sim);
    }
}

void sim_join(struct sim *sim, struct sim_worker like)
{
    struct sim_worker *w = &sim->workers[sim->count++];
    *w = like;
    w->joined = true;
    w->at = SLOTS_MAX;
    w->step = UINT64_MAX;
    w->probed_us = sim->now_us;
    deal(sim);
}

void sim_init(struct sim *sim, uint32_t slots)
{
    *sim = (struct sim){.slots = slots, .now_us = 1000, .beat_us = BEAT_US, .tick_us = TICK_US};
    for (uint32_t i = 0; i < MEMBERS; i++)
        sim->speed[i] = 1;
    cr_assert_eq(dealer_init(&sim->dealer, slots, 0), DP_OK);
    cr_assert_eq(speculation_init(&sim->spec, slots, MEMBERS, sim->speed), DP_OK);
}

void sim_fini(struct sim *sim)
{
    dealer_fini(&sim->dealer);
    speculation_fini(&sim->spec);
    ASSERT_NO_LEAKS();
}
