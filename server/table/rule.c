/* The update on rows; see rule.h.
 *
 * A commit gathers a chunk of rows into runs of floats, brings each to theta_t, and gives the runs to the same kernels
 * that dense tensors go through; then it writes them back. Only commits write catching up down, since in two pieces it
 * rounds differently from one: pulls and exports do it on a copy. Thread: shard. */
#include "server/table/rule.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "common/terms/constraint_text.h"
#include "server/step/first_values.h"

enum { LOOK_AHEAD = 24 };

static bool concerned(const struct shard_job *job, const struct constraint *c, uint32_t tensor)
{
    return job->constraints.count > 0 && (c->mask >> tensor & 1);
}

static dp_err check_constraint(const struct shard_job *job, const struct constraint *c, uint32_t t, dp_error *err)
{
    const char *kind = constraint_name(c->kind), *name = job->tensors.list[t].name;
    if (job->constraints.method != METHOD_PROJECT)
        return dp_fail(err, DP_USAGE,
                       "option --constraint %s: penalties pull at every row in each step, which tables do not do; name "
                       "a tensor that is not the table '%s', or use --constraint-method project",
                       kind, name);
    if (constraint_is_global(c))
        return dp_fail(err, DP_USAGE,
                       "option --constraint %s: it changes rows that no sample touched; table '%s' can have nonneg, "
                       "box, max-norm and unit-norm",
                       kind, name);
    bool by_row = c->kind == CONSTRAINT_MAX_NORM || c->kind == CONSTRAINT_UNIT_NORM;
    if (by_row && job->tensors.list[t].kind == TENSOR_TABLE && job->tensors.list[t].rank == 1)
        return dp_fail(
            err, DP_USAGE,
            "option --constraint %s: all of the vector '%s' is one row, whose norm is not known where it is a "
            "table; leave out --sparse, or bound each weight by box=-R:R",
            kind, name);
    if (job->rule != &rule_sgd && job->rule != &rule_adagrad && job->rule != &rule_rmsprop)
        return dp_fail(err, DP_USAGE,
                       "option --constraint %s: under %s the rows of table '%s' go on moving while no sample touches "
                       "them, and would have to be projected at each step; use sgd, adagrad or rmsprop",
                       kind, job->rule->name, name);
    if (job->rule->adaptive && job->regular[t].l2 > 0 && job->params.decay == DECAY_COUPLED)
        return dp_fail(err, DP_USAGE,
                       "option --constraint %s: coupled --l2 under %s swings the rows of table '%s' around 0 while no "
                       "sample touches them; use --decay decoupled",
                       kind, job->rule->name, name);
    if (job->regular[t].l2 * job->params.schedule.lr >= 1)
        return dp_fail(err, DP_USAGE,
                       "option --constraint %s: with --l2 %g and --lr %g, whose product is not below 1, L2 swings the "
                       "rows of table '%s' around 0 while no sample touches them; lower one of the two",
                       kind, job->regular[t].l2, job->params.schedule.lr, name);
    if (c->kind == CONSTRAINT_UNIT_NORM && job->regular[t].l1 > 0)
        return dp_fail(err, DP_USAGE,
                       "option --constraint unit-norm: with --l1 the rows of table '%s' turn while no sample touches "
                       "them; leave one of the two away",
                       name);
    return DP_OK;
}

static dp_err check_table(const struct shard_job *job, uint32_t t, dp_error *err)
{
    const char *name = job->tensors.list[t].name;
    if (job->rule->layerwise)
        return dp_fail(err, DP_USAGE,
                       "option --optimizer %s: it needs the norm of the whole of table '%s' in each step, which would "
                       "cost as much as all its rows; use another rule",
                       job->rule->name, name);
    if (!catchup_possible(job->rule, &job->regular[t]))
        return dp_fail(err, DP_USAGE,
                       "option --group-lasso: rows of table '%s' that no sample touches cannot be brought up to date "
                       "later; name another tensor with @TENSOR",
                       name);
    for (uint32_t i = 0; i < job->constraints.count; i++)
        if (concerned(job, &job->constraints.list[i], t)) {
            dp_err e = check_constraint(job, &job->constraints.list[i], t, err);
            if (e)
                return e;
        }
    return DP_OK;
}

dp_err rowrule_check(const struct shard_job *job, dp_error *err)
{
    for (uint32_t t = 0; t < job->tensors.count; t++) {
        if (job->tensors.list[t].kind == TENSOR_DENSE)
            continue;
        if (consistency_at(&job->consistency, job->first_step) > 0)
            return dp_fail(err, DP_USAGE,
                           "option --consistency: rows of tables commit once a step, not on arrival; use bsp");
        if (job->params.clip_norm > 0)
            return dp_fail(err, DP_USAGE,
                           "option --clip-norm: the norm of a gradient that is spread over tables is not known when "
                           "rows are committed; use --clip-value");
        if (job->plan.train_steps >= UINT32_MAX)
            return dp_fail(err, DP_USAGE, "tables count at most %u training steps", UINT32_MAX - 1);
        dp_err e = check_table(job, t, err);
        if (e)
            return e;
    }
    return DP_OK;
}

/* Whether commits with a gradient of zero change a row or its state, at whatever step. */
static bool rows_move(const struct shard_job *job, uint32_t tensor)
{
    const struct regular *regular = &job->regular[tensor];
    bool plain = job->rule == &rule_sgd || job->rule == &rule_adagrad || job->rule == &rule_ftrl;
    return !plain || regular->l1 > 0 || regular->l2 > 0;
}

dp_err rowrule_init(struct rowrule *rule, const struct shard_job *job, uint32_t tensor)
{
    *rule = (struct rowrule){.job = job, .tensor = tensor, .dim = job->tensors.list[tensor].dim};
    rule->moves = rows_move(job, tensor);
    rule->joint = joint_of(&job->constraints, &job->tensors, job->regular, tensor);
    if (job->rule->l1_inside)
        rule->joint.here.l1 = 0;
    for (uint32_t i = 0; i < job->constraints.count; i++)
        rule->projects |= concerned(job, &job->constraints.list[i], tensor);
    rule->chunk = MAX(ROWRULE_FLOATS / rule->dim, 1U);
    size_t floats = (size_t)rule->chunk * rule->dim;
    rule->w = mem_array(floats, sizeof(float));
    rule->g = mem_array(floats, sizeof(float));
    rule->rates = mem_array(floats, sizeof(float));
    bool good = rule->w && rule->g && rule->rates;
    for (uint32_t i = 0; i < UPDATE_STATE_MAX; i++) {
        rule->state[i] = mem_array(floats, sizeof(float));
        good &= rule->state[i] != NULL;
    }
    if (!good)
        rowrule_fini(rule);
    return good ? DP_OK : DP_NOMEM;
}

void rowrule_fini(struct rowrule *rule)
{
    free(rule->w);
    free(rule->g);
    free(rule->rates);
    for (uint32_t i = 0; i < UPDATE_STATE_MAX; i++)
        free(rule->state[i]);
    *rule = (struct rowrule){0};
}

/* ---- one row ---- */

static void copy(float *to, const float *from, uint32_t n)
{
    if (n == 1)
        *to = *from;
    else
        memcpy(to, from, n * sizeof *to);
}

/* Proximal step and projections of n floats that went through the rule's step with the numbers k at the rate eta. */
static void finish(struct rowrule *rule, const struct joint *joint, const struct kernel_update *k, double eta, size_t n,
                   float *w, float *const *state)
{
    const struct shard_job *job = rule->job;
    struct joint_steps steps = {.none = !(eta > 0)};
    struct kernel_update whole = *k;
    eta = steps.none ? 1 : eta;
    whole.lr = (float)eta;
    steps.all = update_effective_rate(job->rule, &job->params, eta);
    if (job->rule->rates && (joint->here.l1 > 0 || joint->has_rows)) {
        const float *read[UPDATE_STATE_MAX];
        for (uint32_t i = 0; i < UPDATE_STATE_MAX; i++)
            read[i] = state[i];
        job->rule->rates(n, &whole, read, rule->rates);
        steps.each = rule->rates;
    }
    joint_here(joint, &steps, n, w);
}

/* The rate of the tensor at training step t. */
static double rate_at(const struct rowrule *rule, uint64_t t)
{
    return schedule_rate(&rule->job->params.schedule, t);
}

/* The projections of step t alone. */
static void project(struct rowrule *rule, uint64_t t, float *w, float *const *state)
{
    const struct shard_job *job = rule->job;
    double eta = rate_at(rule, t);
    struct kernel_update k = update_at(job->rule, &job->params, &job->regular[rule->tensor], eta, t, 1);
    struct joint only = rule->joint;
    only.here = (struct regular){0};
    finish(rule, &only, &k, eta, rule->dim, w, state);
}

static const struct catchup *catchup_from(struct rowrule *rule, uint64_t from, uint64_t to)
{
    struct catchup *c = &rule->gaps[(from + 31 * to) % ROWRULE_GAPS];
    const struct shard_job *job = rule->job;
    if (!c->rule || c->from != from || c->to != to)
        catchup_prepare(c, job->rule, &job->params, &job->regular[rule->tensor], from, to);
    return c;
}

static void replay(struct rowrule *rule, uint64_t from, uint64_t to, float *w, float *const *state)
{
    if (rule->moves)
        catchup_row(catchup_from(rule, from, to), rule->dim, w, state);
    if (rule->projects)
        project(rule, to - 1, w, state);
}

/* From theta_from to theta_to with nothing that touched it in between. Initial values need not be within constraints:
 * the first step projects them. From then on rows only shrink, which leads out of no constraint but a box's lower
 * bounds; there, to be cut off at the end is to be cut off at each step. */
static void bring(struct rowrule *rule, uint64_t from, uint64_t to, float *w, float *const *state)
{
    if (rule->projects && from == 0 && to > 1) {
        replay(rule, 0, 1, w, state);
        from = 1;
    }
    if (from < to)
        replay(rule, from, to, w, state);
}

/* A row as its record has it, or its initial value; returns the step that it is of. */
static uint64_t load(const struct rowrule *rule, uint64_t id, const float *record, float *w, float *const *state)
{
    uint32_t stamp = record ? record_stamp(record) : 0, dim = rule->dim;
    if (stamp == 0) {
        first_values_row(rule->job, rule->tensor, id, w, state);
        return 0;
    }
    copy(w, record + 1, dim);
    for (uint32_t i = 0; i < UPDATE_STATE_MAX && i < rule->job->rule->state_count; i++)
        copy(state[i], record + 1 + (size_t)dim * (i + 1), dim);
    return stamp - 1;
}

uint64_t rowrule_cost(struct rowrule *rule, const float *record, uint64_t t)
{
    const uint64_t from = record_stamp(record) == 0 ? 0 : record_stamp(record) - 1;
    const bool replays = rule->moves && from < t && catchup_from(rule, from, t)->kind == CATCHUP_REPLAY;
    return rule->dim * (replays ? t - from : 1);
}

void rowrule_read(struct rowrule *rule, uint64_t id, const float *record, uint64_t t, float *out)
{
    if (!rule->moves && record && record_stamp(record) != 0) {
        copy(out, record + 1, rule->dim);
        return;
    }
    uint64_t from = load(rule, id, record, out, rule->state);
    bring(rule, from, t, out, rule->state);
}

/* ---- a commit ---- */

/* Rows [first, first + n) of the list at theta_t, to the runs. */
static void gather(struct rowrule *rule, const struct table *table, const struct rowlist *list, uint32_t first,
                   uint32_t n, uint64_t t, float *before)
{
    uint32_t dim = rule->dim;
    const uint32_t *rows = list->rows + first;
    for (uint32_t i = 0; i < n; i++) {
        if (first + i + LOOK_AHEAD < list->count)
            __builtin_prefetch(table_record(table, rows[i + LOOK_AHEAD]), 1);
        const float *record = table_record(table, rows[i]);
        float *state[UPDATE_STATE_MAX];
        for (uint32_t s = 0; s < UPDATE_STATE_MAX; s++)
            state[s] = rule->state[s] + (size_t)i * dim;
        memcpy(before + (size_t)i * table->stride, record, table->stride * sizeof *record);
        uint64_t from = load(rule, list->ids[first + i], record, rule->w + (size_t)i * dim, state);
        assert(from <= t);
        if (from != t && (rule->moves || rule->projects))
            bring(rule, from, t, rule->w + (size_t)i * dim, state);
    }
}

/* Writes the runs, as the kernels left them, to the rows as theta_{t+1}. */
static void scatter(const struct rowrule *rule, struct table *table, const uint32_t *rows, uint32_t n, uint64_t t)
{
    uint32_t dim = rule->dim, states = rule->job->rule->state_count;
    for (uint32_t i = 0; i < n; i++) {
        float *record = table_record(table, rows[i]);
        table_stamp(table, rows[i], (uint32_t)t + 2);
        copy(record + 1, rule->w + (size_t)i * dim, dim);
        for (uint32_t s = 0; s < states; s++)
            copy(record + 1 + (size_t)dim * (s + 1), rule->state[s] + (size_t)i * dim, dim);
    }
}

/* Looks at the n floats that the rule has made, before a constraint may hide that they are not finite. */
static void look(struct rowrule *rule, size_t n)
{
    rule->infinite |= !kernels_get()->finite(n, rule->w);
    for (uint32_t i = 0; !rule->infinite && i < rule->job->rule->state_count; i++)
        rule->infinite |= !kernels_get()->finite(n, rule->state[i]);
}

/* The runs go through one step, in MATH.md's order. */
static void step(struct rowrule *rule, const struct kernel_update *update, double eta, size_t n, const float *g)
{
    const struct shard_job *job = rule->job;
    struct kernel_update k = *update;
    if (job->params.clip_value > 0) {
        kernels_get()->clip(n, k.inv_count, (float)job->params.clip_value, g, rule->g);
        g = rule->g;
        update_scale(&k, 1);
    }
    job->rule->step(n, &k, rule->w, g, rule->state, rule->w);
    look(rule, n);
    finish(rule, &rule->joint, &k, eta, n, rule->w, rule->state);
    if (rule->projects)
        look(rule, n);
}

void rowrule_commit(struct rowrule *rule, struct table *table, const struct rowlist *list, const float *values,
                    uint64_t t, uint64_t samples, float *before)
{
    const struct shard_job *job = rule->job;
    double eta = rate_at(rule, t);
    struct kernel_update k = update_at(job->rule, &job->params, &job->regular[rule->tensor], eta, t, samples);
    for (uint32_t first = 0, n; first < list->count; first += n) {
        n = MIN(list->count - first, rule->chunk);
        gather(rule, table, list, first, n, t, before + (size_t)first * table->stride);
        step(rule, &k, eta, (size_t)n * rule->dim, values + (size_t)first * rule->dim);
        scatter(rule, table, list->rows + first, n, t);
    }
}
