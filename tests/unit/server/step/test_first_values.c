/* First values of a job: the same however theta is cut, and a table's rows are those of a dense tensor. */
#include <criterion/criterion.h>
#include <string.h>

#include "server/step/first_values.h"

enum { ROWS = 40, DIM = 3, BIAS = 5, ELEMS = ROWS * DIM + BIAS };

static struct shard_job job_of(const struct update_rule *rule, bool table)
{
    const uint64_t shape[] = {ROWS, DIM}, bias = BIAS;
    struct shard_job job = {.plan = {.seed = 7},
                            .rule = rule,
                            .params = {.schedule = {.lr = 0.5, .period = 1, .period_mult = 1}, .ftrl_beta = 1}};
    dp_err e = table ? tensors_add_table(&job.tensors, "t", TENSOR_TABLE, 2, shape, INIT_NORMAL, 0.1f, true, NULL)
                     : tensors_add(&job.tensors, "t", 2, shape, INIT_NORMAL, 0.1f, true, NULL);
    cr_assert_eq(e, DP_OK);
    cr_assert_eq(tensors_add(&job.tensors, "bias", 1, &bias, INIT_CONSTANT, 2.5f, false, NULL), DP_OK);
    return job;
}

struct values {
    float theta[ELEMS];
    float states[UPDATE_STATE_MAX][ELEMS];
};

/* Elements [first, end) of theta, at their places. */
static void fill(const struct shard_job *job, struct values *values, uint64_t first, uint64_t end)
{
    float *state[UPDATE_STATE_MAX];
    for (uint32_t i = 0; i < UPDATE_STATE_MAX; i++)
        state[i] = values->states[i] + first;
    cr_assert_eq(first_values_range(job, (struct range){first, end - first}, values->theta + first, state, NULL),
                 DP_OK);
}

Test(first_values, do_not_depend_on_cuts)
{
    for (int r = 0; r < UPDATE_RULES; r++) {
        struct shard_job job = job_of(update_rule_at(r), false);
        struct values whole = {0}, cut = {0};
        fill(&job, &whole, 0, ELEMS);
        fill(&job, &cut, 0, 17);
        fill(&job, &cut, 17, ROWS * DIM + 2);
        fill(&job, &cut, ROWS * DIM + 2, ELEMS);
        cr_assert_arr_eq(&whole, &cut, sizeof whole, "rule %s", job.rule->name);
        for (uint32_t i = 0; i < BIAS; i++)
            cr_assert_eq(whole.theta[ROWS * DIM + i], 2.5f);
    }
}

/* ftrl's z is -w_0 (beta/lr), which is its theta_0; its squares and all states of other rules are 0. */
Test(first_values, states_are_zeros_unless_theta_comes_of_them)
{
    for (int r = 0; r < UPDATE_RULES; r++) {
        struct shard_job job = job_of(update_rule_at(r), false);
        struct values values = {0};
        uint32_t filled = 0;
        fill(&job, &values, 0, ELEMS);
        for (uint32_t s = 0; s < UPDATE_STATE_MAX; s++) {
            bool any = false;
            for (uint32_t i = 0; i < ELEMS; i++)
                any |= values.states[s][i] != 0;
            filled += any;
        }
        cr_assert_eq(filled, job.rule == &rule_ftrl ? 1 : 0, "rule %s", job.rule->name);
        bool found = job.rule != &rule_ftrl;
        for (uint32_t s = 0; s < UPDATE_STATE_MAX; s++)
            found |= values.states[s][ELEMS - 1] == -2.5f * 2;
        cr_assert(found, "rule %s", job.rule->name);
    }
}

Test(first_values, of_rows_are_those_of_a_dense_tensor)
{
    for (int r = 0; r < UPDATE_RULES; r++) {
        struct shard_job dense = job_of(update_rule_at(r), false), table = job_of(update_rule_at(r), true);
        struct values want = {0}, got;
        memset(&got, 0xff, sizeof got);
        fill(&dense, &want, 0, ELEMS);
        for (uint64_t id = 0; id < ROWS; id++) {
            float *state[UPDATE_STATE_MAX];
            for (uint32_t i = 0; i < UPDATE_STATE_MAX; i++)
                state[i] = got.states[i] + id * DIM;
            first_values_row(&table, 0, id, got.theta + id * DIM, state);
        }
        const size_t bytes = sizeof(float[ROWS * DIM]);
        cr_assert_arr_eq(want.theta, got.theta, bytes);
        for (uint32_t i = 0; i < dense.rule->state_count; i++)
            cr_assert_arr_eq(want.states[i], got.states[i], bytes, "rule %s, state %u", dense.rule->name, i);
    }
}

Test(first_values, multipliers_begin_at_0)
{
    struct shard_job job = job_of(update_rule_at(0), false);
    job.constraints = (struct constraints){.count = 2, .method = METHOD_AUGMENTED, .beta = 0.5};
    struct multipliers m;
    memset(&m, 0xff, sizeof m);
    first_values_multipliers(&job, &m);
    for (uint32_t i = 0; i < CONSTRAINT_TERMS_MAX; i++)
        cr_assert_eq(m.mu[i], 0.0);
    cr_assert(m.rho[0] == 0.5 && m.rho[1] == 0.5);
}
