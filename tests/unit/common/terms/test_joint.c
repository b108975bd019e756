/* Regularizers and projected constraints together: the proximal operator of each accepted pair, and where training
 * under each rule ends, against optima that are certified in double precision (optimum.h). */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/terms/constraint_text.h"
#include "common/terms/joint.h"
#include "common/terms/joint_check.h"
#include "common/terms/joint_whole.h"
#include "tests/unit/support/joint_cases.h"
#include "tests/unit/support/leaks.h"

enum { HALF = 12, FREE = 4, ALL = 2 * HALF + FREE };

/* ---- the operators ---- */

/* Two tensors of rows of 4 with strengths of their own, and one that is left alone. */
static struct shard_job operator_job(const struct regular *regular)
{
    dp_error err;
    const uint64_t shape[2] = {HALF / 4, 4}, free_elems = FREE;
    struct shard_job job = {.rule = &rule_sgd};
    cr_assert_eq(tensors_add(&job.tensors, "a", 2, shape, INIT_ZEROS, 0, true, &err), DP_OK);
    cr_assert_eq(tensors_add(&job.tensors, "b", 2, shape, INIT_ZEROS, 0, true, &err), DP_OK);
    cr_assert_eq(tensors_add(&job.tensors, "free", 1, &free_elems, INIT_ZEROS, 0, false, &err), DP_OK);
    job.regular[0] = job.regular[1] = *regular;
    job.regular[1].l1 /= 2;
    return job;
}

/* argmin sum (x - v)^2/(2 r) + R(x) in the sets. */
static double nearest(const struct shard_job *job, const float *v, const float *rates, double step, double *x)
{
    static struct optimum problem;
    problem = (struct optimum){.n = ALL, .group = job->regular[0].group, .group_size = 4};
    if (problem.group > 0)
        problem.group_size = job->regular[0].group_size;
    for (size_t i = 0; i < ALL; i++) {
        double r = rates ? (double)rates[i] : step;
        problem.h[i][i] = 1 / r;
        problem.b[i] = (double)v[i] / r;
        problem.l1[i] = i < 2 * HALF ? job->regular[i / HALF].l1 : 0;
    }
    tell_sets(&job->constraints, 2 * HALF, 4, &problem);
    /* groups are of the first two tensors: the third's elements are not penalized, and are on their own */
    if (problem.group > 0)
        problem.n = 2 * HALF;
    double worst = optimum_find(&problem, x);
    for (size_t i = problem.n; i < ALL; i++)
        x[i] = (double)v[i];
    return worst;
}

/* As the shards do it, but in one place. */
static void prox_by_steps(const struct shard_job *job, const float *rates, float *x)
{
    struct joint joints[3];
    struct joint_steps steps[3];
    for (uint32_t t = 0; t < 3; t++) {
        uint64_t first = tensors_offset(&job->tensors, t);
        joints[t] = joint_of(&job->constraints, &job->tensors, job->regular, t);
        steps[t] = (struct joint_steps){.each = rates + first};
        joint_here(&joints[t], &steps[t], (size_t)job->tensors.list[t].elems, x + first);
    }
    for (uint32_t i = 0; i < job->constraints.count; i++) {
        const struct constraint *c = &job->constraints.list[i];
        struct joint_search search = {.done = !constraint_is_global(c)};
        if (search.done)
            continue;
        for (int rounds = 0; !search.done; rounds++) {
            double sums[JOINT_SUMS] = {0};
            for (uint32_t t = 0; t < 3; t++)
                if (c->mask >> t & 1)
                    joint_sums(&joints[t], c, &search, &steps[t], tensors_offset(&job->tensors, t),
                               (size_t)job->tensors.list[t].elems, x + tensors_offset(&job->tensors, t), sums);
            joint_round(c, &search, sums);
            cr_assert_lt(rounds, 60);
        }
        for (uint32_t t = 0; t < 3; t++)
            if (c->mask >> t & 1)
                joint_apply(&joints[t], c, &search, &steps[t], tensors_offset(&job->tensors, t),
                            (size_t)job->tensors.list[t].elems, x + tensors_offset(&job->tensors, t));
    }
}

static void draw(uint64_t round, float *v, float *rates)
{
    double size = pow(10, rng_uniform(21, RNG_STREAM_INIT, round, 1000) * 2 - 1);
    for (uint64_t i = 0; i < ALL; i++) {
        v[i] = (float)(size * rng_normal(21, RNG_STREAM_INIT, round, i));
        rates[i] = (float)pow(10, 3 * (double)rng_uniform(22, RNG_STREAM_INIT, round, i) - 2);
        if (round % 3 == 0 && i % 4 == 1)
            v[i] = 0;
    }
}

Test(joint, operators_are_the_nearest_points, .timeout = 300)
{
    int taken[2] = {0};
    for (size_t s = 0; s < SET_COUNT; s++)
        for (size_t r = 0; r < REGULAR_COUNT; r++)
            for (uint64_t round = 1; round <= 6; round++) {
                struct shard_job job = operator_job(&REGULARS[r]);
                float v[ALL], rates[ALL], x[ALL];
                double want[ALL];
                bool scales = round % 2 == 0;
                constrain(&job, &SETS[s]);
                if (joint_check(&job.constraints, &job.tensors, job.regular, scales ? "adam" : NULL, NULL) == DP_OK) {
                    taken[scales]++;
                    draw(round + 10 * s, v, rates);
                    memcpy(x, v, sizeof v);
                    double worst = nearest(&job, v, scales ? rates : NULL, 0.7, want);
                    cr_assert_leq(worst, 1e-9, "no certificate for %s, %zu: %g", SETS[s].one, r, worst);
                    if (scales)
                        prox_by_steps(&job, rates, x);
                    else
                        joint_prox(&job.constraints, &job.tensors, job.regular, 0.7, x);
                    for (int i = 0; i < ALL; i++)
                        cr_assert_float_eq((double)x[i], want[i], 2e-6 * (1 + fabs(want[i])),
                                           "%s %s, regularizer %zu, round %d, element %d: %.9g, not %.9g", SETS[s].one,
                                           SETS[s].other ? SETS[s].other : "", r, (int)round, i, (double)x[i], want[i]);
                }
                constraints_fini(&job.constraints);
            }
    cr_assert_eq(taken[0], SET_COUNT * REGULAR_COUNT * 3, "%d", taken[0]);
    cr_assert_eq(taken[1], SET_COUNT * 2 * 3 + 7 * 3 * 3, "with groups: elements only; %d", taken[1]);
    ASSERT_NO_LEAKS();
}

/* ---- rounds ---- */

enum { MANY = 100000 };

static int rounds_of(struct shard_job *job, const float *rates, float *w)
{
    struct joint joint = joint_of(&job->constraints, &job->tensors, job->regular, 0);
    struct joint_steps steps = {.each = rates, .all = 1};
    struct joint_search search = {0};
    int rounds = 0;
    for (; !search.done; rounds++) {
        double sums[JOINT_SUMS] = {0};
        joint_sums(&joint, &job->constraints.list[0], &search, &steps, 0, MANY, w, sums);
        joint_round(&job->constraints.list[0], &search, sums);
    }
    return rounds;
}

/* Each round is a message to the head and back: few do, also where step sizes differ by 1e8, and bad numbers end. */
Test(joint, rounds_are_few, .timeout = 120)
{
    static const char *const TEXTS[] = {"l2-ball=3", "l1-ball=20", "simplex=5", "sum=0.1"};
    float *w = malloc(MANY * sizeof *w), *rates = malloc(MANY * sizeof *rates);
    for (size_t c = 0; c < sizeof TEXTS / sizeof TEXTS[0]; c++)
        for (int kind = 0; kind < 4; kind++) {
            dp_error err;
            const uint64_t elems = MANY;
            bool groups = kind == 1;
            struct shard_job job = {.regular = {{.l1 = 0.5, .group = groups ? 0.5 : 0, .group_size = 4}}};
            cr_assert_eq(tensors_add(&job.tensors, "w", 1, &elems, INIT_ZEROS, 0, true, &err), DP_OK);
            constrain(&job, &(struct pair){TEXTS[c], NULL});
            for (uint64_t i = 0; i < MANY; i++) {
                w[i] = rng_normal(31, RNG_STREAM_INIT, c, i);
                rates[i] = (float)pow(10, -8 * (double)rng_uniform(32, RNG_STREAM_INIT, c, i));
            }
            w[7] = kind == 3 ? NAN : w[7];
            int rounds = rounds_of(&job, groups ? NULL : rates, w);
            cr_assert_leq(rounds, 30, "%s, %d: %d rounds", TEXTS[c], kind, rounds);
            constraints_fini(&job.constraints);
        }
    free(w);
    free(rates);
    ASSERT_NO_LEAKS();
}
