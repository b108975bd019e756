/* Each rule against its trajectory in double precision, over commits through shards, and the same bits for any number
 * of shards, slices and orders of arrival. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/terms/constraint_text.h"
#include "tests/unit/support/cluster.h"
#include "tests/unit/support/leaks.h"
#include "tests/unit/support/reference.h"

enum { ELEMS = 500, STEPS = 220, SAMPLES = 40 };

static struct reference truth; /* large */
static struct cluster cluster;

static struct shard_job make_job(const struct update_rule *rule, const struct regular *regular, double lr)
{
    dp_error err;
    uint64_t elems = ELEMS;
    struct shard_job job = {
        .plan = {.seed = 7, .train_rows = SAMPLES * 10, .batch = SAMPLES, .train_steps = STEPS, .slots = 4},
        .rule = rule,
        .params = reference_params(rule, lr),
        .regular = {*regular},
    };
    cr_assert_eq(tensors_add(&job.tensors, "weight", 1, &elems, INIT_NORMAL, 0.5F, true, &err), DP_OK);
    return job;
}

/* A gradient that depends on w, as real ones do: of a quadratic with curvatures 0.01 .. 1 and a noise of its own. */
static void gradient(const float *w, uint64_t t, float *sum)
{
    for (uint64_t i = 0; i < ELEMS; i++) {
        double curvature = pow(10, -2.0 * (double)i / ELEMS), target = rng_normal(3, RNG_STREAM_INIT, 0, i);
        double noise = 0.3 * rng_normal(3, RNG_STREAM_INIT, 1 + t, i);
        sum[i] = (float)(SAMPLES * (curvature * (w[i] - target) + noise));
    }
}

/* Both see the same gradients: those at the float theta. */
static double follow(struct shard_job *job, const struct regular *regular)
{
    float w[ELEMS], sum[ELEMS];
    double mean[ELEMS];
    cluster_start(&cluster, job, 2, 128);
    cluster_theta(&cluster, 0, w);
    reference_start(&truth, job->rule->name, &job->params, regular, ELEMS, w);
    for (uint64_t t = 0; t < STEPS; t++) {
        gradient(w, t, sum);
        for (int i = 0; i < ELEMS; i++)
            mean[i] = (double)sum[i] / SAMPLES;
        cluster_step(&cluster, t, sum, t);
        cluster_theta(&cluster, t + 1, w);
        reference_step(&truth, mean);
    }
    cluster_stop(&cluster);
    return reference_distance(&truth, w);
}

static const struct regular REGULARS[] = {{0}, {.l2 = 0.01}, {.l1 = 0.01}, {.l1 = 0.005, .l2 = 0.01}};

Test(rules, follow_double_precision, .timeout = 60)
{
    for (int i = 0; i < UPDATE_RULES; i++)
        for (size_t r = 0; r < sizeof REGULARS / sizeof REGULARS[0]; r++)
            for (int decay = DECAY_COUPLED; decay <= DECAY_DECOUPLED; decay++) {
                const struct update_rule *rule = update_rule_at(i);
                struct shard_job job = make_job(rule, &REGULARS[r], rule->lr);
                bool odd = (rule->layerwise && REGULARS[r].l1 > 0) || (rule->l2_inside && decay == DECAY_DECOUPLED);
                job.params.decay = (enum decay_kind)decay;
                if (odd)
                    continue;
                double distance = follow(&job, &REGULARS[r]);
                cr_assert_leq(distance, 1e-5, "%s, l1 %g, l2 %g, decay %d: %g", rule->name, REGULARS[r].l1,
                              REGULARS[r].l2, decay, distance);
            }
    ASSERT_NO_LEAKS();
}

Test(rules, follow_schedules, .timeout = 60)
{
    for (int i = 0; i < UPDATE_RULES; i++)
        for (int kind = SCHEDULE_STEP; kind <= SCHEDULE_ADA_DELAY; kind++) {
            const struct update_rule *rule = update_rule_at(i);
            struct shard_job job = make_job(rule, &REGULARS[1], rule->lr);
            struct schedule *s = &job.params.schedule;
            if (rule == &rule_ftrl)
                continue;
            *s = (struct schedule){.kind = (enum schedule_kind)kind,
                                   .lr = rule->lr,
                                   .gamma = kind == 1 ? 0.5 : 0.99,
                                   .decay = 0.01,
                                   .peak = 0.3,
                                   .div = 25,
                                   .final_div = 1e4,
                                   .every = 50,
                                   .period = 100,
                                   .period_mult = 1,
                                   .warmup = 10};
            double distance = follow(&job, &REGULARS[1]);
            cr_assert_leq(distance, 1e-5, "%s, schedule %d: %g", rule->name, kind, distance);
        }
}

/* ---- bits ---- */

static const struct regular GROUPS = {.l1 = 0.002, .l2 = 0.01, .group = 0.01, .group_size = 8};

/* Two tensors, rows of 24, gradients of each slot of its own. */
static void run_bits(struct shard_job *job, uint32_t shards, uint64_t slice_elems, uint64_t seed, uint32_t steps,
                     float *theta, double *report)
{
    uint64_t elems = tensors_total(&job->tensors);
    float *slots = malloc(elems * job->plan.slots * sizeof *slots);
    cluster_start(&cluster, job, shards, slice_elems);
    for (uint64_t t = 0; t < steps; t++) {
        for (uint64_t i = 0; i < elems * job->plan.slots; i++)
            slots[i] = rng_normal(11, RNG_STREAM_INIT, t, i);
        cluster_step_slots(&cluster, t, slots, seed + t);
    }
    cluster_theta(&cluster, steps, theta);
    memcpy(report, cluster.report, job->tensors.count * shard_job_report_values(job) * sizeof *report);
    cluster_stop(&cluster);
    free(slots);
}

static void check_bits(struct shard_job *job, const char *about)
{
    uint64_t elems = tensors_total(&job->tensors);
    float *want = malloc(elems * sizeof *want), *got = malloc(elems * sizeof *got);
    double want_report[256], got_report[256];
    static const struct {
        uint32_t shards;
        uint64_t slice_elems;
    } LAYOUTS[] = {{1, 300}, {2, 1 << 20}, {3, 400}, {5, 200}};
    run_bits(job, 1, 1 << 20, 0, 12, want, want_report);
    for (uint64_t i = 0; i < elems; i++)
        cr_assert(isfinite(want[i]), "%s", about);
    for (size_t l = 0; l < sizeof LAYOUTS / sizeof LAYOUTS[0]; l++) {
        run_bits(job, LAYOUTS[l].shards, LAYOUTS[l].slice_elems, l, 12, got, got_report);
        cr_assert_eq(memcmp(want, got, elems * sizeof *want), 0, "%s: theta, %u shards", about, LAYOUTS[l].shards);
        cr_assert_eq(
            memcmp(want_report, got_report, job->tensors.count * shard_job_report_values(job) * sizeof(double)), 0,
            "%s: report, %u shards", about, LAYOUTS[l].shards);
    }
    free(want);
    free(got);
}

static struct shard_job bits_job(const struct update_rule *rule, const char *constraint)
{
    dp_error err;
    uint64_t weight[2] = {50, 24}, bias = 24;
    struct shard_job job = {
        .plan = {.seed = 7, .train_rows = 120, .batch = 40, .train_steps = 12, .slots = 5},
        .rule = rule,
        .params = reference_params(rule, 0.05),
        .regular = {GROUPS},
        .constraints = {.beta = 0.5, .rho_max = 4, .every = 2},
    };
    if (rule->adaptive)
        job.regular[0].group = 0;
    if (rule->layerwise)
        job.regular[0] = (struct regular){.l2 = 0.01};
    cr_assert_eq(tensors_add(&job.tensors, "weight", 2, weight, INIT_NORMAL, 0.5F, true, &err), DP_OK);
    cr_assert_eq(tensors_add(&job.tensors, "bias", 1, &bias, INIT_ZEROS, 0, false, &err), DP_OK);
    job.tensors.list[0].unit = 24;
    if (constraint) {
        cr_assert_eq(constraints_add(&job.constraints, constraint, &err), DP_OK, "%s", err.text);
        cr_assert_eq(constraints_resolve(&job.constraints, &job.tensors, &err), DP_OK, "%s", err.text);
    }
    return job;
}

Test(rules, same_bits_for_any_layout, .timeout = 60)
{
    for (int i = 0; i < UPDATE_RULES; i++)
        for (int clip = 0; clip < 3; clip++) {
            char about[80];
            struct shard_job job = bits_job(update_rule_at(i), NULL);
            job.params.clip_value = clip == 1 ? 0.05 : 0;
            job.params.clip_norm = clip == 2 ? 0.5 : 0;
            snprintf(about, sizeof about, "%s, clip %d", job.rule->name, clip);
            check_bits(&job, about);
        }
    ASSERT_NO_LEAKS();
}

Test(rules, constraints_have_the_same_bits_for_any_layout, .timeout = 60)
{
    static const char *const TEXTS[] = {"nonneg",    "box=-0.1:0.2", "max-norm=0.5", "unit-norm",       "l2-ball=2",
                                        "l1-ball=3", "simplex=1.5",  "sum=2@weight", "l2-ball=0.1@bias"};
    static const struct update_rule *const SOME[] = {&rule_sgd,  &rule_momentum, &rule_adagrad,
                                                     &rule_adam, &rule_lars,     &rule_lamb};
    for (size_t c = 0; c < sizeof TEXTS / sizeof TEXTS[0]; c++)
        for (size_t r = 0; r < sizeof SOME / sizeof SOME[0]; r++) {
            char about[80];
            struct shard_job job = bits_job(SOME[r], TEXTS[c]);
            snprintf(about, sizeof about, "%s, %s", job.rule->name, TEXTS[c]);
            check_bits(&job, about);
            constraints_fini(&job.constraints);
        }
    for (int method = METHOD_PENALTY; method <= METHOD_AUGMENTED; method++) {
        struct shard_job job = bits_job(&rule_momentum, "l2-ball=1");
        job.constraints.method = (enum constraint_method)method;
        check_bits(&job, "penalty or augmented");
        constraints_fini(&job.constraints);
    }
    ASSERT_NO_LEAKS();
}

enum { HELD_STEPS = 12, HELD_SLICE = 200 };

static struct version *held[HELD_STEPS][CLUSTER_SHARDS_MAX][CLUSTER_SLICES_MAX];

static void hold_versions(uint64_t step)
{
    for (uint32_t s = 0; s < cluster.shard_count; s++)
        for (uint32_t k = 0; k < cluster.ends[s].shard.slice_count; k++)
            version_retain(held[step][s][k] = slice_theta(&cluster.ends[s].shard.slices[k], step));
}

/* A version that was held at a step still is theta of that step. */
static void release_versions(uint64_t step, const float *theta)
{
    for (uint32_t s = 0; s < cluster.shard_count; s++)
        for (uint32_t k = 0; k < cluster.ends[s].shard.slice_count; k++) {
            struct range range = cluster.ends[s].shard.slices[k].range;
            cr_assert_eq(memcmp(held[step][s][k]->theta, theta + range.first, range.count * sizeof *theta), 0,
                         "theta_%d of slice %u", (int)step, k);
            version_release(held[step][s][k]);
        }
}

/* Replies under way and exports hold versions: a global rule writes theta_{t+1} in several passes, none of them into
 * what somebody may be reading. */
Test(rules, global_rules_write_no_version_that_is_held, .timeout = 60)
{
    struct shard_job job = bits_job(&rule_momentum, "l2-ball=2");
    uint64_t elems = tensors_total(&job.tensors);
    float *slots = malloc(elems * job.plan.slots * sizeof *slots), *theta = malloc(elems * sizeof *theta);
    float *seen = malloc((HELD_STEPS + 1) * elems * sizeof *seen);
    double report[256];
    job.params.clip_norm = 0.5;
    cluster_start(&cluster, &job, 2, HELD_SLICE);
    for (uint64_t t = 0; t < HELD_STEPS; t++) {
        cluster_theta(&cluster, t, seen + t * elems);
        hold_versions(t);
        for (uint64_t i = 0; i < elems * job.plan.slots; i++)
            slots[i] = rng_normal(11, RNG_STREAM_INIT, t, i);
        cluster_step_slots(&cluster, t, slots, t);
    }
    cluster_theta(&cluster, HELD_STEPS, seen + HELD_STEPS * elems);
    for (uint64_t t = 0; t < HELD_STEPS; t++)
        release_versions(t, seen + t * elems);
    cluster_stop(&cluster);
    run_bits(&job, 1, 1 << 20, 0, HELD_STEPS, theta, report);
    cr_assert_eq(memcmp(theta, seen + HELD_STEPS * elems, elems * sizeof *theta), 0, "one slice that nobody held");
    constraints_fini(&job.constraints);
    free(slots);
    free(theta);
    free(seen);
    ASSERT_NO_LEAKS();
}

/* The strength of a regularizer is per commit: that of K slots is that of one. */
Test(rules, regularizers_do_not_depend_on_slots, .timeout = 60)
{
    float few[ELEMS], many[ELEMS], sum[ELEMS];
    struct regular both = {.l1 = 0.01, .l2 = 0.1};
    for (int i = 0; i < UPDATE_RULES; i++)
        for (int round = 0; round < 2; round++) {
            const struct update_rule *rule = update_rule_at(i);
            if (rule->layerwise)
                both.l1 = 0;
            struct shard_job job = make_job(rule, &both, rule->lr);
            job.plan.slots = round ? 16 : 1;
            cluster_start(&cluster, &job, round ? 3 : 1, 128);
            cluster_theta(&cluster, 0, round ? many : few);
            for (uint64_t t = 0; t < 50; t++) {
                gradient(round ? many : few, t, sum);
                cluster_step(&cluster, t, sum, t);
                cluster_theta(&cluster, t + 1, round ? many : few);
            }
            cluster_stop(&cluster);
            if (round)
                cr_assert_eq(memcmp(few, many, sizeof few), 0, "%s", rule->name);
        }
}
