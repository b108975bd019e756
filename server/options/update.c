/* Options of the update: which go together, and what they come to; see update.h. Thread: head. */
#include "server/options/update.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/util.h"
#include "common/terms/constraint_text.h"
#include "common/terms/joint_check.h"
#include "common/terms/regularize_text.h"
#include "server/dense/commit.h"
#include "server/table/rule.h"

enum { UNIT_MAX = 1 << 18 }; /* elements of a row or group: half a slice */

static const double ADAMW_DECAY = 0.01, STEP_GAMMA = 0.1, EXPONENTIAL_GAMMA = 0.999;

static bool given(const struct options *options, const char *name)
{
    return options_source(options, name) != OPT_FROM_DEFAULT;
}

/* Options that only some rules have. */
static const struct {
    const char *name;
    uint32_t takes;
    const char *rules;
} OWNED[] = {
    {"momentum", TAKES_MOMENTUM, "momentum, nesterov and lars"},
    {"beta1", TAKES_BETAS, "adam, adamw and lamb"},
    {"beta2", TAKES_BETAS, "adam, adamw and lamb"},
    {"alpha", TAKES_ALPHA, "rmsprop"},
    {"eps", TAKES_EPS, "adagrad, rmsprop, adam, adamw and lamb"},
    {"ftrl-beta", TAKES_FTRL_BETA, "ftrl"},
    {"trust", TAKES_TRUST, "lars"},
};

static dp_err check_owned(const struct options *options, const struct update_rule *rule, dp_error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(OWNED); i++)
        if (given(options, OWNED[i].name) && !(rule->takes & OWNED[i].takes))
            return dp_fail(err, DP_USAGE, "option --%s belongs to --optimizer %s, not to %s", OWNED[i].name,
                           OWNED[i].rules, rule->name);
    return DP_OK;
}

/* Options that only some schedules have: a bit for each kind. */
#define KIND(kind) (1u << SCHEDULE_##kind)
static const struct {
    const char *name;
    uint32_t kinds;
    const char *text;
} SCHEDULED[] = {
    {"lr-step-size", KIND(STEP), "step"},
    {"lr-gamma", KIND(STEP) | KIND(EXPONENTIAL), "step and exponential"},
    {"lr-decay", KIND(INV_SQRT) | KIND(INV_TIME) | KIND(ADA_DELAY), "inv-sqrt, inv-time and ada-delay"},
    {"lr-min", KIND(COSINE), "cosine"},
    {"lr-period", KIND(COSINE) | KIND(ONE_CYCLE), "cosine and one-cycle"},
    {"lr-period-mult", KIND(COSINE), "cosine"},
    {"lr-pct-start", KIND(ONE_CYCLE), "one-cycle"},
    {"lr-div-factor", KIND(ONE_CYCLE), "one-cycle"},
    {"lr-final-div-factor", KIND(ONE_CYCLE), "one-cycle"},
};

static dp_err check_schedule(const struct options *options, const struct update_options *opts,
                             const struct update_rule *rule, dp_error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(SCHEDULED); i++)
        if (given(options, SCHEDULED[i].name) && !(SCHEDULED[i].kinds >> opts->schedule & 1))
            return dp_fail(err, DP_USAGE, "option --%s belongs to --lr-schedule %s", SCHEDULED[i].name,
                           SCHEDULED[i].text);
    if (given(options, "lr-period-mult") && opts->lr_period_mult > 1 && opts->lr_period == 0)
        return dp_fail(err, DP_USAGE, "option --lr-period-mult belongs to --lr-period: without, there is one period");
    if (rule == &rule_ftrl && (opts->schedule != SCHEDULE_CONSTANT || opts->warmup_steps))
        return dp_fail(err, DP_USAGE,
                       "options --lr-schedule and --warmup-steps: ftrl has a rate of its own for each "
                       "coordinate, and its state is only defined for a constant --lr");
    return DP_OK;
}

static dp_err set_schedule(const struct options *options, const struct update_options *opts, struct update_setup *setup,
                           dp_error *err)
{
    struct schedule *s = &setup->params.schedule;
    *s = (struct schedule){
        .kind = (enum schedule_kind)opts->schedule,
        .lr = given(options, "lr") ? opts->lr : setup->rule->lr,
        .lr_min = opts->lr_min,
        .gamma = opts->lr_gamma,
        .decay = opts->lr_decay,
        .peak = opts->lr_pct_start,
        .div = opts->lr_div_factor,
        .final_div = opts->lr_final_div_factor,
        .every = opts->lr_step_size,
        .period = opts->lr_period,
        .period_mult = opts->lr_period_mult,
        .warmup = opts->warmup_steps,
    };
    double l2 = strengths_of(&setup->regularizers.l2, "");
    if (!given(options, "lr-gamma"))
        s->gamma = s->kind == SCHEDULE_EXPONENTIAL ? EXPONENTIAL_GAMMA : STEP_GAMMA;
    if (s->kind == SCHEDULE_INV_SQRT && !given(options, "lr-decay"))
        s->decay = s->warmup ? 1 / (double)s->warmup : 1;
    if (s->kind == SCHEDULE_INV_TIME && !given(options, "lr-decay"))
        s->decay = s->lr * l2;
    if (s->kind == SCHEDULE_ADA_DELAY && !given(options, "lr-decay"))
        s->decay = 1;
    if (s->kind == SCHEDULE_INV_TIME && s->decay <= 0)
        return dp_fail(err, DP_USAGE, "option --lr-schedule inv-time needs --lr-decay (or --l2, from which D = lr*l2)");
    if (s->lr_min > s->lr)
        return dp_fail(err, DP_USAGE, "option --lr-min: %g is more than --lr %g", s->lr_min, s->lr);
    return DP_OK;
}

static dp_err add_all(const struct option_list *list, const char *option, struct strengths *strengths, dp_error *err)
{
    dp_err e = DP_OK;
    for (size_t i = 0; !e && i < list->count; i++)
        e = strengths_add(strengths, option, list->values[i], err);
    return e;
}

static dp_err set_regularizers(const struct update_options *opts, struct update_setup *setup, dp_error *err)
{
    struct regularizers *r = &setup->regularizers;
    dp_err e = add_all(&opts->l1, "l1", &r->l1, err);
    if (!e)
        e = add_all(&opts->l2, "l2", &r->l2, err);
    if (!e)
        e = add_all(&opts->group_lasso, "group-lasso", &r->group, err);
    r->group_size = opts->group_size;
    if (!e && setup->rule->decoupled && r->l2.count == 0)
        r->l2 = (struct strengths){.count = 1, .list = {{.value = ADAMW_DECAY}}};
    return e;
}

/* Regularizers that a rule cannot have exactly. */
static dp_err check_regularizers(const struct options *options, const struct update_options *opts,
                                 const struct update_setup *setup, dp_error *err)
{
    const struct update_rule *rule = setup->rule;
    const struct regularizers *r = &setup->regularizers;
    if (opts->group_size && r->group.count == 0)
        return dp_fail(err, DP_USAGE, "option --group-size belongs to --group-lasso");
    if (rule->layerwise && (r->l1.count || r->group.count))
        return dp_fail(err, DP_USAGE,
                       "options --l1 and --group-lasso: the steps of %s are scaled by norms, so that the "
                       "strength of a proximal step would change with them",
                       rule->name);
    if (rule == &rule_ftrl && r->group.count)
        return dp_fail(err, DP_USAGE,
                       "option --group-lasso: ftrl makes its weights from sums of each coordinate alone");
    if (rule->l2_inside && opts->decay == DECAY_DECOUPLED)
        return dp_fail(err, DP_USAGE, "option --decay decoupled: %s has l2 inside its rule", rule->name);
    if (rule->decoupled && given(options, "decay") && opts->decay == DECAY_COUPLED)
        return dp_fail(err, DP_USAGE, "option --decay coupled: adamw is adam with decoupled decay; use adam");
    if (given(options, "delay-memory") && opts->delay_compensation <= 0)
        return dp_fail(err, DP_USAGE, "option --delay-memory belongs to --delay-compensation");
    if (opts->clip_value > 0 && opts->clip_norm > 0)
        return dp_fail(err, DP_USAGE, "options --clip-value and --clip-norm exclude each other: give one of them");
    return DP_OK;
}

static dp_err check_constraints(const struct options *options, const struct update_options *opts,
                                const struct update_setup *setup, dp_error *err)
{
    static const char *const AUGMENTED[] = {"rho-max", "constraint-tolerance", "multiplier-every"};
    bool any = setup->constraints.count > 0;
    if (!any && given(options, "constraint-method"))
        return dp_fail(err, DP_USAGE, "option --constraint-method belongs to --constraint");
    if (given(options, "beta") && (!any || opts->constraint_method == METHOD_PROJECT))
        return dp_fail(err, DP_USAGE, "option --beta belongs to --constraint-method penalty and augmented%s",
                       setup->rule->takes & TAKES_BETAS ? "; adam's are --beta1 and --beta2" : "");
    for (size_t i = 0; i < ARRAY_LEN(AUGMENTED); i++)
        if (given(options, AUGMENTED[i]) && (!any || opts->constraint_method != METHOD_AUGMENTED))
            return dp_fail(err, DP_USAGE, "option --%s belongs to --constraint-method augmented", AUGMENTED[i]);
    if (any && opts->constraint_method == METHOD_PROJECT && setup->rule == &rule_ftrl)
        return dp_fail(err, DP_USAGE,
                       "option --constraint: ftrl makes its weights anew from its sums, so a projection "
                       "would be forgotten; use --constraint-method penalty or another optimizer");
    if (opts->rho_max > 0 && opts->rho_max < opts->beta)
        return dp_fail(err, DP_USAGE, "option --rho-max: %g is less than --beta %g, where rho starts", opts->rho_max,
                       opts->beta);
    return constraints_check(&setup->constraints, err);
}

static dp_err set_constraints(const struct update_options *opts, struct update_setup *setup, dp_error *err)
{
    struct constraints *c = &setup->constraints;
    dp_err e = DP_OK;
    c->method = (enum constraint_method)opts->constraint_method;
    c->beta = opts->beta;
    c->rho_max = opts->rho_max > 0 ? opts->rho_max : 16 * opts->beta;
    c->tolerance = opts->constraint_tolerance;
    setup->multiplier_every = opts->multiplier_every;
    for (size_t i = 0; !e && i < opts->constraint.count; i++)
        e = constraints_add(c, opts->constraint.values[i], err);
    return e;
}

static void set_params(const struct options *options, const struct update_options *opts, struct update_setup *setup)
{
    struct update_params *p = &setup->params;
    p->momentum = opts->momentum;
    p->beta1 = opts->beta1;
    p->beta2 = opts->beta2;
    p->alpha = opts->alpha;
    p->eps = given(options, "eps") ? opts->eps : setup->rule->eps;
    p->ftrl_beta = opts->ftrl_beta;
    p->trust = opts->trust;
    p->decay = (enum decay_kind)opts->decay;
    p->clip_value = opts->clip_value;
    p->clip_norm = opts->clip_norm;
    p->compensation = opts->delay_compensation;
    setup->delay_memory_mib = opts->delay_memory_mib;
}

dp_err update_options_check(const struct options *options, const struct update_options *opts,
                            struct update_setup *setup, dp_error *err)
{
    *setup = (struct update_setup){.rule = update_rule_at(opts->optimizer)};
    dp_err e = check_owned(options, setup->rule, err);
    if (!e)
        e = check_schedule(options, opts, setup->rule, err);
    if (!e)
        e = set_regularizers(opts, setup, err);
    if (!e)
        e = set_schedule(options, opts, setup, err);
    if (!e)
        e = check_regularizers(options, opts, setup, err);
    if (!e)
        e = set_constraints(opts, setup, err);
    if (!e)
        e = check_constraints(options, opts, setup, err);
    set_params(options, opts, setup);
    if (e)
        update_setup_fini(setup);
    return e;
}

void update_setup_fini(struct update_setup *setup)
{
    constraints_fini(&setup->constraints);
}

dp_err update_options_check_arrival(const struct update_setup *setup, dp_error *err)
{
    const struct shard_job job = {.rule = setup->rule, .params = setup->params, .constraints = setup->constraints};
    if (commit_may_arrive(&job))
        return DP_OK;
    return dp_fail(
        err, DP_USAGE,
        "option --consistency: ssp and async commit each slot on each shard when it arrives there, but lars, "
        "lamb, --clip-norm and constraints on whole vectors need sums over all shards of one and the same "
        "commit; use bsp, or --clip-value, max-norm, unit-norm, box or nonneg");
}

static dp_err sketch_tensors(struct tensors *tensors, uint32_t rank, bool sparse, bool intercept, dp_error *err)
{
    const uint64_t shape[2] = {1, 1};
    dp_err e = sparse ? tensors_add_table(tensors, "weight", TENSOR_TABLE, rank, shape, INIT_ZEROS, 0, true, err)
                      : tensors_add(tensors, "weight", rank, shape, INIT_ZEROS, 0, true, err);
    return e || !intercept ? e : tensors_add(tensors, "bias", 1, shape, INIT_ZEROS, 0, false, err);
}

/* Whether the terms of resolved tensors go together, under the job's rule. */
static dp_err check_joint(const struct shard_job *job, dp_error *err)
{
    const char *scales = job->rule->rates ? job->rule->name : NULL;
    dp_err e = constraints_check(&job->constraints, err);
    return e ? e : joint_check(&job->constraints, &job->tensors, job->regular, scales, err);
}

dp_err update_options_check_model(const struct update_setup *setup, uint32_t rank, bool sparse, bool intercept,
                                  dp_error *err)
{
    struct shard_job job = {.rule = setup->rule, .params = setup->params, .constraints = setup->constraints};
    struct regularizers regularizers = setup->regularizers;
    /* Checks that need the number of elements wait for the data. */
    regularizers.group_size = 0;
    for (uint32_t i = 0; i < job.constraints.count; i++)
        job.constraints.list[i].linear.count = 0;
    dp_err e = sketch_tensors(&job.tensors, rank, sparse, intercept, err);
    if (!e)
        e = regularizers_resolve(&regularizers, &job.tensors, job.regular, err);
    if (!e)
        e = constraints_resolve(&job.constraints, &job.tensors, err);
    if (!e)
        e = check_joint(&job, err);
    return e ? e : rowrule_check(&job, err);
}

/* ---- with the length of the job ---- */

dp_err update_options_check_length(const struct update_setup *setup, uint64_t steps, dp_error *err)
{
    const struct schedule *s = &setup->params.schedule;
    const bool periodic = schedule_is_periodic(s);
    const bool multiplies = setup->constraints.method == METHOD_AUGMENTED && setup->constraints.count > 0;
    if (s->warmup > steps)
        return dp_fail(err, DP_USAGE,
                       "option --warmup-steps: %" PRIu64 " steps are more than the %" PRIu64 " of the job", s->warmup,
                       steps);
    const uint64_t left = steps - s->warmup;
    if (s->kind != SCHEDULE_CONSTANT && left == 0)
        return dp_fail(err, DP_USAGE,
                       "option --warmup-steps: after %" PRIu64 " steps none of the job's %" PRIu64
                       " is left for --lr-schedule",
                       s->warmup, steps);
    if (periodic && s->period > left)
        return dp_fail(err, DP_USAGE,
                       "option --lr-period: %" PRIu64 " steps, after %" PRIu64
                       " of --warmup-steps, do not end within the %" PRIu64 " of the job",
                       s->period, s->warmup, steps);
    if (s->kind == SCHEDULE_STEP && s->every >= left)
        return dp_fail(err, DP_USAGE,
                       "option --lr-step-size: the rate first falls %" PRIu64 " steps after %" PRIu64
                       " of --warmup-steps, and the job has %" PRIu64,
                       s->every, s->warmup, steps);
    if (multiplies && setup->multiplier_every > steps)
        return dp_fail(err, DP_USAGE,
                       "option --multiplier-every: %" PRIu64 " steps are more than the %" PRIu64 " of the job",
                       setup->multiplier_every, steps);
    return DP_OK;
}

/* ---- with tensors ---- */

/* Elements of a tensor that must not be cut: of its groups and of rows under a constraint. */
static dp_err settle_unit(struct shard_job *core, uint32_t t, dp_error *err)
{
    struct tensor *tensor = &core->tensors.list[t];
    if (tensor->kind != TENSOR_DENSE) /* no part of theta; its rows are never cut */
        return DP_OK;
    uint64_t unit = core->regular[t].group > 0 ? core->regular[t].group_size : 1;
    for (uint32_t i = 0; i < core->constraints.count; i++) {
        const struct constraint *c = &core->constraints.list[i];
        uint64_t row = c->mask >> t & 1 ? constraint_unit(c, tensor) : 1;
        uint64_t more = MAX(unit, row), less = MIN(unit, row);
        if (more % less != 0)
            return dp_fail(err, DP_USAGE,
                           "option --group-size: %" PRIu64 " does not divide a row of tensor '%s', which "
                           "%s keeps whole",
                           unit, tensor->name, constraint_name(c->kind));
        unit = more;
    }
    if (unit > UNIT_MAX)
        return dp_fail(err, DP_USAGE,
                       "a row or group of tensor '%s' has %" PRIu64 " elements, which must lie in one "
                       "slice; the most is %d: use l2-ball, or a smaller --group-size",
                       tensor->name, unit, UNIT_MAX);
    tensor->unit = unit;
    return DP_OK;
}

/* --delay-memory holds as many versions of each slice as it holds of all parameters. */
static dp_err settle_past(const struct update_setup *setup, struct shard_job *core, dp_error *err)
{
    uint64_t bytes = tensors_total(&core->tensors) * sizeof(float), room = setup->delay_memory_mib << 20;
    if (core->params.compensation <= 0 || bytes == 0)
        return DP_OK;
    if (room < bytes)
        return dp_fail(err, DP_USAGE,
                       "option --delay-memory: %" PRIu64
                       " MiB hold none of the parameters' versions, which have %" PRIu64
                       " MiB each; give it room for one for each worker",
                       setup->delay_memory_mib, (bytes >> 20) + 1);
    core->past = (uint32_t)MIN(room / bytes, (uint64_t)UINT32_MAX);
    return DP_OK;
}

/* Multipliers that never change would make a penalty of it. */
static dp_err settle_multipliers(const struct shard_job *core, dp_error *err)
{
    const struct constraints *c = &core->constraints;
    if (c->count == 0 || c->method != METHOD_AUGMENTED || c->every <= core->plan.train_steps)
        return DP_OK;
    return dp_fail(err, DP_USAGE,
                   "option --constraint-method augmented: the multipliers change at the end of an epoch, which has "
                   "%" PRIu64 " steps, and the job has %" PRIu64 "; give --multiplier-every",
                   c->every, core->plan.train_steps);
}

dp_err update_settle(const struct update_setup *setup, struct shard_job *core, dp_error *err)
{
    core->rule = setup->rule;
    core->params = setup->params;
    core->constraints = setup->constraints;
    core->constraints.every = setup->multiplier_every ? setup->multiplier_every : plan_steps_per_epoch(&core->plan);
    struct schedule *s = &core->params.schedule;
    if (s->period == 0)
        s->period = core->plan.train_steps > s->warmup ? core->plan.train_steps - s->warmup : 1;
    dp_err e = update_options_check_length(setup, core->plan.train_steps, err);
    if (!e)
        e = settle_multipliers(core, err);
    if (!e)
        e = settle_past(setup, core, err);
    if (!e)
        e = regularizers_resolve(&setup->regularizers, &core->tensors, core->regular, err);
    if (!e)
        e = constraints_resolve(&core->constraints, &core->tensors, err);
    if (!e)
        e = check_joint(core, err);
    for (uint32_t t = 0; !e && t < core->tensors.count; t++)
        e = settle_unit(core, t, err);
    return e;
}
