/* Jobs with workers that hang, in virtual time. Steps are counted, against those of the good workers alone. */
#include <criterion/criterion.h>

#include <stddef.h>

#include "common/base/util.h"
#include "tests/unit/support/sim.h"

enum { LONG_US = 60000000 /* a run */ };

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
    sim_join(&sim, GOOD);
    sim_join(&sim, GOOD);
    sim_run(&sim, join_us);
    for (uint32_t i = 0; i < others; i++)
        sim_join(&sim, *other);
    sim_run(&sim, from_us);
    uint64_t step = sim.step;
    sim_run(&sim, from_us + LONG_US);
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

/* Members are not believed beyond what comes from them. */
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

/* One of 100 that are dealt slots by turns. */
Test(hung, a_hundred_of_them)
{
    const struct sim_job job = {16, 0, 0};
    double alone = rate_of(job, NULL, 0, 1000, 10000000);
    cr_expect_geq(rate_of(job, &HUNG, 100, 1000, 10000000), 0.9 * alone);
    cr_expect_geq(rate_of(job, &LIAR, 100, 1000, 10000000), 0.9 * alone);
}

/* Copies go to the one that has delivered, and not to each that has not, one after the other. */
Test(hung, one_good_worker_among_a_hundred)
{
    static const uint32_t STALENESS[] = {0, 3, 32};
    static struct sim sim;
    for (size_t i = 0; i < ARRAY_LEN(STALENESS); i++) {
        sim_init(&sim, 8);
        sim.staleness = STALENESS[i];
        sim_join(&sim, GOOD);
        sim_run(&sim, 2000000);
        for (uint32_t k = 0; k < 100; k++)
            sim_join(&sim, HUNG);
        sim_run(&sim, 4000000);
        uint64_t step = sim.step;
        sim_run(&sim, 14000000);
        cr_expect_geq(sim.step - step, 100, "staleness %u: %g steps in 10 s", STALENESS[i], (double)(sim.step - step));
        sim_fini(&sim);
    }
}

/* A worker that goes on after a while has its share again within seconds. */
Test(hung, a_worker_that_wakes_up_works_again)
{
    static struct sim sim;
    sim_init(&sim, 16);
    sim_join(&sim, GOOD);
    sim_join(&sim, GOOD);
    sim_join(&sim, (struct sim_worker){.slot_us = 5000, .hangs_from_us = 5000000, .hangs_to_us = 30000000});
    sim_run(&sim, 20000000);
    cr_assert(speculation_hung(&sim.spec, 2));
    cr_assert_not(dealer_holds(&sim.dealer, 2));
    sim_run(&sim, 35000000);
    cr_assert_not(speculation_hung(&sim.spec, 2));
    uint32_t held = 0;
    for (uint32_t k = 0; k < sim.slots; k++)
        held += sim.dealer.owner[k] == 2;
    cr_assert_geq(held, 4, "%u", held);
    uint64_t step = sim.step;
    sim_run(&sim, 45000000);
    cr_assert_geq((double)(sim.step - step) / 10, 0.9 * 1e6 / (6 * 5400.0));
    sim_fini(&sim);
}

/* Slow is not hung: a worker gets what it can deliver in time, and no steps are lost by it. */
Test(hung, a_worker_that_is_ten_times_slower_has_its_share)
{
    static struct sim sim;
    sim_init(&sim, 64);
    sim_join(&sim, GOOD);
    sim_join(&sim, GOOD);
    sim_join(&sim, (struct sim_worker){.slot_us = 50000});
    sim_run(&sim, 20000000);
    uint64_t step = sim.step, computed = sim.workers[2].computed;
    sim_run(&sim, 20000000 + LONG_US);
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
    sim_join(&sim, HUNG);
    sim_join(&sim, HUNG);
    sim_run(&sim, 10000000);
    cr_assert_eq(sim.step, 0);
    sim_join(&sim, GOOD);
    sim_run(&sim, 70000000);
    cr_assert_geq((double)sim.step, 0.9 * 50e6 / (8 * 5400.0), "%llu", (unsigned long long)sim.step);
    sim_fini(&sim);
}

/* A member that works is never taken for hung, however speeds waver. */
Test(hung, nobody_that_works_is_taken_for_hung)
{
    static struct sim sim;
    static uint64_t state = 88172645463325252u;
    sim_init(&sim, 32);
    for (int i = 0; i < 6; i++)
        sim_join(&sim, GOOD);
    for (uint64_t until = 1000000; until < 300000000; until += 50000) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        struct sim_worker *w = &sim.workers[(state >> 40) % 6];
        w->slot_us = 3000 + (double)((state >> 20) % 5000);
        if (state >> 60 == 0) { /* it stops for as long as a large step */
            w->hangs_from_us = sim.now_us;
            w->hangs_to_us = sim.now_us + 100000;
        }
        sim_run(&sim, until);
        for (uint32_t i = 0; i < 6; i++)
            cr_assert_not(speculation_hung(&sim.spec, i), "worker %u at %llu us", i, (unsigned long long)sim.now_us);
    }
    sim_fini(&sim);
}
