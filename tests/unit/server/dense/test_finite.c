/* Numbers that are not finite never pass without a word: whatever rule, constraint, penalty or clipping stands between
 * a gradient and theta, in slices and in tables. A commit after which theta or the optimizer's state has one says so
 * from its step on, and names the gradient that brought it; any other says nothing. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/number.h"
#include "common/terms/constraint_text.h"
#include "server/table/part.h"
#include "server/table/read.h"
#include "tests/unit/support/cluster.h"
#include "tests/unit/support/leaks.h"
#include "tests/unit/support/reference.h"

enum { ELEMS = 60, STEPS = 6, SAMPLES = 8, BAD_STEP = 2, BAD_SLOT = 1, BAD_ELEM = 41, SLOTS = 4 };

static struct cluster cluster;

static struct shard_job make_job(const struct update_rule *rule, const char *constraint)
{
    dp_error err;
    uint64_t elems = ELEMS;
    struct shard_job job = {
        .plan = {.seed = 7, .train_rows = 10 * SAMPLES, .batch = SAMPLES, .train_steps = STEPS, .slots = SLOTS},
        .rule = rule,
        .params = reference_params(rule, 0.05),
        .constraints = {.method = METHOD_PROJECT, .beta = 0.5, .rho_max = 4, .every = 2},
    };
    cr_assert_eq(tensors_add(&job.tensors, "weight", 1, &elems, INIT_NORMAL, 0.5F, true, &err), DP_OK);
    job.tensors.list[0].unit = ELEMS;
    if (constraint) {
        cr_assert_eq(constraints_add(&job.constraints, constraint, &err), DP_OK, "%s", err.text);
        cr_assert_eq(constraints_resolve(&job.constraints, &job.tensors, &err), DP_OK, "%s", err.text);
    }
    return job;
}

/* Whether theta or the state is not finite somewhere, and the first step from which on a shard says so. */
static bool is_infinite(uint64_t *ret_told, struct blame *ret_blame)
{
    bool infinite = false;
    *ret_told = 0;
    *ret_blame = (struct blame){0};
    for (uint32_t s = 0; s < cluster.shard_count; s++)
        for (uint32_t k = 0; k < cluster.ends[s].shard.slice_count; k++) {
            const struct slice *slice = &cluster.ends[s].shard.slices[k];
            const float *theta = slice_theta(slice, slice->window.next)->theta;
            infinite |= !floats_finite(slice->range.count, theta);
            for (uint32_t i = 0; i < slice->job->rule->state_count; i++)
                infinite |= !floats_finite(slice->range.count, slice->state[i]);
            if (slice->infinite_from) {
                *ret_told = slice->infinite_from - 1;
                *ret_blame = shard_blame(&cluster.ends[s].shard);
            }
        }
    return infinite;
}

static void step_with(float bad, uint64_t step)
{
    float slots[SLOTS][ELEMS];
    for (uint32_t k = 0; k < SLOTS; k++)
        for (uint32_t i = 0; i < ELEMS; i++)
            slots[k][i] = (float)((k * 7 + i * 3 + step) % 5) - 2;
    if (step == BAD_STEP)
        slots[BAD_SLOT][BAD_ELEM] = bad;
    cluster_step_slots(&cluster, step, slots[0], step);
}

/* Runs the job until the step with the bad value; `hides` where it may be gone again (an infinite value is clipped). */
static void check(struct shard_job *job, float bad, bool hides, const char *about)
{
    uint64_t told;
    struct blame blame;
    cluster_start(&cluster, job, 2, 16);
    for (uint64_t step = 0; step <= BAD_STEP; step++) {
        cr_assert_not(is_infinite(&told, &blame), "%s: before", about);
        cr_assert_eq(told, 0, "%s: told before", about);
        step_with(bad, step);
    }
    bool infinite = is_infinite(&told, &blame);
    cr_assert(hides || infinite || isfinite(bad), "%s: %g went unseen", about, (double)bad);
    cr_assert_eq(told, infinite ? BAD_STEP : 0, "%s: %g, told from step %d", about, (double)bad, (int)told);
    if (infinite && !isfinite(bad)) {
        cr_assert_eq(blame.node, SLOTS + BAD_SLOT, "%s: node %u", about, blame.node);
        cr_assert_eq(blame.from, 1, "%s", about);
    }
    if (infinite && isfinite(bad))
        cr_assert_eq(blame.node, 0, "%s: finite gradients are not to blame", about);
    cluster_stop(&cluster);
}

static const float VALUES[] = {NAN, INFINITY, -INFINITY, 3e38F, 1e30F, -1e25F};

Test(finite, under_each_rule)
{
    for (int r = 0; r < UPDATE_RULES; r++)
        for (size_t v = 0; v < sizeof VALUES / sizeof VALUES[0]; v++) {
            struct shard_job job = make_job(update_rule_at(r), NULL);
            check(&job, VALUES[v], false, job.rule->name);
        }
    ASSERT_NO_LEAKS();
}

/* theta stands still for ever where a sum of squares has overflowed. */
Test(finite, a_state_that_overflows_is_told)
{
    static const struct update_rule *const RULES[] = {&rule_adagrad, &rule_rmsprop, &rule_adam, &rule_adamw,
                                                      &rule_lamb};
    uint64_t told;
    struct blame blame;
    for (size_t r = 0; r < sizeof RULES / sizeof RULES[0]; r++) {
        struct shard_job job = make_job(RULES[r], NULL);
        cluster_start(&cluster, &job, 1, 1 << 20);
        for (uint64_t step = 0; step <= BAD_STEP; step++)
            step_with(1e30F, step);
        cr_assert(is_infinite(&told, &blame), "%s", job.rule->name);
        cr_assert_eq(told, BAD_STEP, "%s", job.rule->name);
        cr_assert(blame.state, "%s", job.rule->name);
        cluster_stop(&cluster);
    }
    ASSERT_NO_LEAKS();
}

Test(finite, under_constraints)
{
    static const char *const TEXTS[] = {"box=-1:1",  "nonneg",     "simplex=1", "l2-ball=1",
                                        "l1-ball=1", "max-norm=1", "sum=1",     "unit-norm"};
    static const struct update_rule *const RULES[] = {&rule_sgd, &rule_momentum, &rule_lamb};
    for (size_t c = 0; c < sizeof TEXTS / sizeof TEXTS[0]; c++)
        for (size_t r = 0; r < sizeof RULES / sizeof RULES[0]; r++)
            for (size_t v = 0; v < 3; v++) {
                char about[80];
                uint64_t told;
                struct blame blame;
                struct shard_job job = make_job(RULES[r], TEXTS[c]);
                snprintf(about, sizeof about, "%s, %s, %g", job.rule->name, TEXTS[c], (double)VALUES[v]);
                cluster_start(&cluster, &job, 2, 16);
                for (uint64_t step = 0; step <= BAD_STEP; step++)
                    step_with(VALUES[v], step);
                (void)is_infinite(&told, &blame); /* a box may cut theta to its bounds: it is wrong all the same */
                cr_assert_eq(told, BAD_STEP, "%s: told from %d", about, (int)told);
                cr_assert_eq(blame.node, SLOTS + BAD_SLOT, "%s", about);
                cluster_stop(&cluster);
                constraints_fini(&job.constraints);
            }
    ASSERT_NO_LEAKS();
}

Test(finite, under_penalties_and_clipping)
{
    for (int r = 0; r < UPDATE_RULES; r++)
        for (size_t v = 0; v < sizeof VALUES / sizeof VALUES[0]; v++) {
            struct shard_job job = make_job(update_rule_at(r), NULL);
            job.regular[0] = (struct regular){.l1 = 0.1, .l2 = 0.1};
            check(&job, VALUES[v], false, "l1 and l2");
            job = make_job(update_rule_at(r), NULL);
            job.params.clip_value = 1;
            check(&job, VALUES[v], !isnan(VALUES[v]), "--clip-value");
            job = make_job(update_rule_at(r), NULL);
            job.params.clip_norm = 1;
            check(&job, VALUES[v], false, "--clip-norm");
        }
    ASSERT_NO_LEAKS();
}

/* If theta itself grows too large, nobody's gradient is to blame. */
Test(finite, a_rate_that_is_too_large_is_nobodys_fault)
{
    uint64_t told;
    struct blame blame;
    struct shard_job job = make_job(&rule_sgd, NULL);
    job.params.schedule.lr = 3e38;
    cluster_start(&cluster, &job, 2, 16);
    for (uint64_t step = 0; step <= BAD_STEP; step++)
        step_with(40, step);
    cr_assert(is_infinite(&told, &blame));
    cr_assert_eq(told, BAD_STEP);
    cr_assert_eq(blame.node, 0);
    cluster_stop(&cluster);
    ASSERT_NO_LEAKS();
}

/* ---- on arrival ---- */

Test(finite, on_arrival)
{
    for (int r = 0; r < UPDATE_RULES; r++) {
        const struct update_rule *rule = update_rule_at(r);
        uint64_t told;
        struct blame blame;
        if (!rule->part)
            continue;
        struct shard_job job = make_job(rule, NULL);
        cr_assert(consistency_set(&job.consistency, 0, 2));
        cluster_start(&cluster, &job, 2, 16);
        for (uint64_t step = 0; step <= BAD_STEP; step++)
            step_with(NAN, step);
        cr_assert(is_infinite(&told, &blame), "%s", rule->name);
        cr_assert_eq(told, BAD_STEP, "%s", rule->name);
        cr_assert_eq(blame.node, SLOTS + BAD_SLOT, "%s: node %u", rule->name, blame.node);
        cr_assert_eq(blame.from, 1);
        cluster_stop(&cluster);
    }
    ASSERT_NO_LEAKS();
}

/* ---- tables ---- */

enum { ROWS = 20, DIM = 3 };

static void push_row(struct part *part, uint32_t slot, uint64_t id, float value)
{
    struct rowlist *list = rowlist_new(1);
    float *values = mem_array(DIM, sizeof *values);
    list->ids[0] = id;
    for (int d = 0; d < DIM; d++)
        values[d] = d == 1 ? value : 1;
    struct rowsum rows = {list, {values, DIM * sizeof *values, values, free}};
    table_find(&part->table, list);
    (void)part_push(part, part->window.next, part->window.leaves + slot, &rows, &(struct metrics){2, 1, 0});
}

static uint64_t infinite_from(const struct update_rule *rule, enum tensor_kind kind, float bad, const char *constraint)
{
    const uint64_t table[] = {ROWS, DIM}, row[] = {DIM};
    struct part part;
    struct metrics metrics;
    dp_error err = {0};
    struct shard_job job = make_job(rule, NULL);
    job.tensors = (struct tensors){0};
    cr_assert_eq(tensors_add_table(&job.tensors, "t", kind, kind == TENSOR_TABLE ? 2 : 1,
                                   kind == TENSOR_TABLE ? table : row, INIT_NORMAL, 0.1F, true, &err),
                 DP_OK);
    if (constraint) {
        cr_assert_eq(constraints_add(&job.constraints, constraint, &err), DP_OK, "%s", err.text);
        cr_assert_eq(constraints_resolve(&job.constraints, &job.tensors, &err), DP_OK, "%s", err.text);
    }
    cr_assert_eq(part_init(&part, &job, (struct part_range){0, 0, job.tensors.list[0].last_row}, &err), DP_OK);
    for (uint64_t step = 0; step <= BAD_STEP; step++) {
        cr_assert_eq(part.infinite_from, 0, "%s", rule->name);
        for (uint32_t k = 0; k < SLOTS; k++)
            push_row(&part, k, 3 + k, step == BAD_STEP && k == BAD_SLOT ? bad : 1);
        cr_assert_eq(part_commit(&part, &metrics, &err), DP_OK, "%s", err.text);
        part_release_before(&part, part.window.next);
    }
    uint64_t from = part.infinite_from;
    part_fini(&part);
    constraints_fini(&job.constraints);
    return from;
}

Test(finite, in_tables)
{
    static const enum tensor_kind KINDS[] = {TENSOR_TABLE, TENSOR_HASHED};
    for (size_t k = 0; k < 2; k++) {
        for (int r = 0; r < UPDATE_RULES; r++) {
            const struct update_rule *rule = update_rule_at(r);
            if (rule->layerwise)
                continue;
            for (size_t v = 0; v < 3; v++)
                cr_assert_eq(infinite_from(rule, KINDS[k], VALUES[v], NULL), BAD_STEP + 1, "%s, %g", rule->name,
                             (double)VALUES[v]);
            bool adaptive = rule->adaptive; /* their sums of squares overflow */
            cr_assert_eq(infinite_from(rule, KINDS[k], 1e30F, NULL), adaptive ? BAD_STEP + 1 : 0, "%s", rule->name);
            cr_assert_eq(infinite_from(rule, KINDS[k], 1, NULL), 0, "%s", rule->name);
        }
        cr_assert_eq(infinite_from(&rule_sgd, KINDS[k], INFINITY, "box=-1:1"), BAD_STEP + 1);
        cr_assert_eq(infinite_from(&rule_sgd, KINDS[k], NAN, "max-norm=1"), BAD_STEP + 1);
        cr_assert_eq(infinite_from(&rule_sgd, KINDS[k], -INFINITY, "nonneg"), BAD_STEP + 1);
    }
    ASSERT_NO_LEAKS();
}
