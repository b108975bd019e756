/* Jobs with workers that hang, in virtual time: the dealer, speculation and what a head does with them, without clocks
 * and network. Steps are counted, against those of the good workers alone. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "dealer.h"
#include "leaks.h"
#include "speculation.h"
#include "speeds.h"
#include "util.h"

enum {
    SLOTS_MAX = 64,
    OPEN_MAX = 33,
    MEMBERS = 108,
    WAY_US = 200,       /* a message takes so long */
    BEAT_US = 1000000,  /* between heartbeats */
    TICK_US = 250000,   /* of the head */
    LONG_US = 60000000, /* a run */
};

#define FOREVER_US 1e15

/* What happens to a worker, in virtual time. */
struct sim_worker {
    double slot_us;                      /* what a slot takes */
    uint64_t hangs_from_us, hangs_to_us; /* a slot begun in between ends at the latter */
    bool eval_only;                      /* hangs at evaluation steps only */
    bool lies;                           /* says that it is fast and does much */
    double every_us;                     /* > 0: half-dead: a slot takes so long */
    bool joined;
    uint64_t told[SLOTS_MAX];           /* step + 1 of which it was last given a copy of the slot */
    uint64_t done[OPEN_MAX][SLOTS_MAX]; /* step + 1 of which it was last done with the slot, by step % OPEN_MAX */
    uint64_t step;                      /* what it is at */
    uint32_t at;                        /* slot under way; SLOTS_MAX: none */
    uint64_t ends_us;                   /* when it ends */
    uint64_t computed;                  /* so far */
    uint64_t busy_us;
    /* a copy of a step to come */
    uint64_t probe_step;
    uint32_t probe_slot;
    /* the head's */
    double rate;
    uint64_t said_slots, said_us;
    uint64_t probed_us;
    uint32_t probes;
};

struct sim {
    uint32_t slots, count;
    uint32_t eval_every; /* > 0: each such step is an evaluation */
    uint32_t staleness;
    struct sim_worker workers[MEMBERS];
    struct dealer dealer;
    struct speculation spec;
    double speed[MEMBERS], slot_us[MEMBERS];
    uint64_t step, changes, now_us, again_us, beat_us, tick_us;
    uint64_t low_seen, low_seen_us;
    double step_us;
    struct dealer_member dealt[MEMBERS];
    uint64_t given;
};

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
    uint32_t ahead = 0;
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
    bool in = sim->spec.slot[slot].arrived >> (step - sim->step) & 1;
    return !in && w->done[step % OPEN_MAX][slot] != step + 1 &&
           (dealer_owner(&sim->dealer, step, slot) == number || w->told[slot] == step + 1 ||
            (w->probe_step == step && w->probe_slot == slot && step > 0));
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

/* A worker that is between slots goes to the first step that it owes any of. */
static void go_on(struct sim *sim, struct sim_worker *w)
{
    for (uint64_t step = sim->step; step <= sim->step + ahead_of(sim); step++)
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

static void run(struct sim *sim, uint64_t until_us)
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

static void join(struct sim *sim, struct sim_worker like)
{
    struct sim_worker *w = &sim->workers[sim->count++];
    *w = like;
    w->joined = true;
    w->at = SLOTS_MAX;
    w->step = UINT64_MAX;
    w->probed_us = sim->now_us;
    deal(sim);
}

static void sim_init(struct sim *sim, uint32_t slots)
{
    *sim = (struct sim){.slots = slots, .now_us = 1000, .beat_us = BEAT_US, .tick_us = TICK_US};
    for (uint32_t i = 0; i < MEMBERS; i++)
        sim->speed[i] = 1;
    cr_assert_eq(dealer_init(&sim->dealer, slots), DP_OK);
    cr_assert_eq(speculation_init(&sim->spec, slots, MEMBERS, sim->speed), DP_OK);
}

static void sim_fini(struct sim *sim)
{
    dealer_fini(&sim->dealer);
    speculation_fini(&sim->spec);
    ASSERT_NO_LEAKS();
}

/* ---- cases ---- */

static const struct sim_worker GOOD = {.slot_us = 5000}, HUNG = {.slot_us = 5000, .hangs_to_us = UINT64_MAX / 4},
                               LIAR = {.slot_us = 5000, .hangs_to_us = UINT64_MAX / 4, .lies = true},
                               HALF_DEAD = {.every_us = 30e6};

/* The job of a case. */
struct sim_job {
    uint32_t slots, eval_every, staleness;
};

/* Steps a second of 2 good workers and some others, from from_us on. */
static double rate_of(struct sim_job job, const struct sim_worker *other, uint32_t others, uint64_t join_us,
                      uint64_t from_us)
{
    static struct sim sim;
    sim_init(&sim, job.slots);
    sim.eval_every = job.eval_every;
    sim.staleness = job.staleness;
    join(&sim, GOOD);
    join(&sim, GOOD);
    run(&sim, join_us);
    for (uint32_t i = 0; i < others; i++)
        join(&sim, *other);
    run(&sim, from_us);
    uint64_t step = sim.step;
    run(&sim, from_us + LONG_US);
    double rate = (double)(sim.step - step) * 1e6 / LONG_US;
    sim_fini(&sim);
    return rate;
}

static void check_job(struct sim_job job, double least, const struct sim_worker *other, const char *what,
                      uint64_t join_us, uint64_t from_us)
{
    static const uint32_t OTHERS[] = {1, 2, 4, 6};
    double alone = rate_of(job, NULL, 0, join_us, from_us);
    cr_assert_float_eq(alone, 1e6 / (job.slots / 2 * (5000.0 + 2 * WAY_US)), 0.05 * alone, "%g", alone);
    for (size_t i = 0; i < ARRAY_LEN(OTHERS); i++) {
        double rate = rate_of(job, other, OTHERS[i], join_us, from_us);
        cr_expect_geq(rate, least * alone,
                      "%s: K = %u, %u beside 2 good ones, evaluation every %u, staleness %u: %g of %g", what, job.slots,
                      OTHERS[i], job.eval_every, job.staleness, rate, alone);
    }
}

static const struct sim_job JOBS[] = {{4, 0, 0},  {8, 0, 0},  {16, 0, 0}, {64, 0, 0}, {8, 5, 0},  {16, 5, 0},
                                      {64, 5, 0}, {16, 0, 3}, {16, 7, 3}, {8, 0, 32}, {8, 40, 32}};

static void check_cost(const struct sim_worker *other, const char *what, uint64_t join_us, uint64_t from_us)
{
    for (size_t k = 0; k < ARRAY_LEN(JOBS); k++)
        check_job(JOBS[k], 0.9, other, what, join_us, from_us);
}

/* "After some steps": here the first are counted, too. */
Test(hung, workers_that_never_deliver_cost_less_than_a_tenth)
{
    check_cost(&HUNG, "hung from the start", 1000, 1000);
    check_cost(&HUNG, "hung, joining later", 2000000, 2000000);
}

Test(hung, workers_that_say_they_are_fast_and_never_deliver)
{
    check_cost(&LIAR, "lying", 1000, 5000000);
}

/* What they say is not believed beyond what comes. */
Test(hung, workers_that_say_they_are_fast_and_are_slow)
{
    const struct sim_worker boasts = {.slot_us = 5000, .lies = true}, slow = {.slot_us = 50000, .lies = true};
    check_cost(&boasts, "as fast as others", 1000, 10000000);
    for (size_t k = 0; k < ARRAY_LEN(JOBS); k++)
        if (JOBS[k].staleness == 0) /* one slot of 50 ms may be all that it is dealt, in a step of 43 */
            check_job(JOBS[k], 0.85, &slow, "ten times slower", 1000, 10000000);
}

Test(hung, workers_that_deliver_every_30_s)
{
    check_cost(&HALF_DEAD, "half-dead", 1000, 10000000);
}

Test(hung, workers_that_hang_in_the_middle)
{
    const struct sim_worker later = {.slot_us = 5000, .hangs_from_us = 5000000, .hangs_to_us = UINT64_MAX / 4};
    check_cost(&later, "later", 1000, 6000000);
}

Test(hung, workers_that_hang_in_evaluations_only)
{
    const struct sim_worker eval = {.slot_us = 5000, .hangs_to_us = UINT64_MAX / 4, .eval_only = true};
    const struct sim_job job = {16, 5, 0};
    double alone = rate_of(job, NULL, 0, 1000, 5000000);
    for (uint32_t i = 1; i <= 6; i++)
        cr_expect_geq(rate_of(job, &eval, i, 1000, 5000000), 0.9 * alone, "%u", i);
}

/* Of 100 that are dealt slots by turns. */
Test(hung, a_hundred_of_them)
{
    const struct sim_job job = {16, 0, 0};
    double alone = rate_of(job, NULL, 0, 1000, 10000000);
    cr_expect_geq(rate_of(job, &HUNG, 100, 1000, 10000000), 0.9 * alone);
    cr_expect_geq(rate_of(job, &LIAR, 100, 1000, 10000000), 0.9 * alone);
}

/* A worker that goes on after a while has its share again within seconds. */
Test(hung, a_worker_that_wakes_up_works_again)
{
    static struct sim sim;
    sim_init(&sim, 16);
    join(&sim, GOOD);
    join(&sim, GOOD);
    join(&sim, (struct sim_worker){.slot_us = 5000, .hangs_from_us = 5000000, .hangs_to_us = 30000000});
    run(&sim, 20000000);
    cr_assert(speculation_hung(&sim.spec, 2));
    cr_assert_not(dealer_holds(&sim.dealer, 2));
    run(&sim, 35000000);
    cr_assert_not(speculation_hung(&sim.spec, 2));
    uint32_t held = 0;
    for (uint32_t k = 0; k < sim.slots; k++)
        held += sim.dealer.owner[k] == 2;
    cr_assert_geq(held, 4, "%u", held);
    uint64_t step = sim.step;
    run(&sim, 45000000);
    cr_assert_geq((double)(sim.step - step) / 10, 0.9 * 1e6 / (6 * 5400.0));
    sim_fini(&sim);
}

/* Slow is not hung: a worker gets what it can deliver in time, and no steps are lost by it. */
Test(hung, a_worker_that_is_ten_times_slower_has_its_share)
{
    static struct sim sim;
    sim_init(&sim, 64);
    join(&sim, GOOD);
    join(&sim, GOOD);
    join(&sim, (struct sim_worker){.slot_us = 50000});
    run(&sim, 20000000);
    uint64_t step = sim.step, computed = sim.workers[2].computed;
    run(&sim, 20000000 + LONG_US);
    double ideal = 64 / (2 * 200 + 20.0), took = LONG_US / 1e6 / (double)(sim.step - step);
    cr_assert_leq(took, 1.12 * ideal, "a step took %g s, ideally %g", took, ideal);
    double share = (double)(sim.workers[2].computed - computed) / (double)(sim.step - step);
    cr_assert_geq(share, 2, "it computes %g of 64 slots, 3 would be in proportion", share);
    sim_fini(&sim);
}

/* All hang: nothing is taken from anybody, and who comes then does it all. */
Test(hung, all_hang_until_one_comes)
{
    static struct sim sim;
    sim_init(&sim, 8);
    join(&sim, HUNG);
    join(&sim, HUNG);
    run(&sim, 10000000);
    cr_assert_eq(sim.step, 0);
    join(&sim, GOOD);
    run(&sim, 70000000);
    cr_assert_geq((double)sim.step, 0.9 * 50e6 / (8 * 5400.0), "%llu", (unsigned long long)sim.step);
    sim_fini(&sim);
}

/* Whoever works is never taken for hung, however speeds waver. */
Test(hung, nobody_that_works_is_taken_for_hung)
{
    static struct sim sim;
    static uint64_t state = 88172645463325252u;
    sim_init(&sim, 32);
    for (int i = 0; i < 6; i++)
        join(&sim, GOOD);
    for (uint64_t until = 1000000; until < 300000000; until += 50000) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        struct sim_worker *w = &sim.workers[(state >> 40) % 6];
        w->slot_us = 3000 + (double)((state >> 20) % 5000);
        if (state >> 60 == 0) { /* it stops for as long as a large step */
            w->hangs_from_us = sim.now_us;
            w->hangs_to_us = sim.now_us + 100000;
        }
        run(&sim, until);
        for (uint32_t i = 0; i < 6; i++)
            cr_assert_not(speculation_hung(&sim.spec, i), "worker %u at %llu us", i, (unsigned long long)sim.now_us);
    }
    sim_fini(&sim);
}
