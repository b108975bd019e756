/* The options of the update: what --help's topic `update` lists, checked, and turned into what the shards go by.
 * Thread: head. */
#ifndef DP_SERVER_OPTIONS_UPDATE_H
#define DP_SERVER_OPTIONS_UPDATE_H

#include "common/options/options.h"
#include "common/terms/regularize_text.h"
#include "server/step/job.h"

/* The fields that the table fills. */
struct update_options {
    int optimizer;
    double lr; /* 0: the rule's own */
    double momentum, beta1, beta2, alpha, eps, ftrl_beta, trust;
    int schedule; /* enum schedule_kind */
    uint64_t warmup_steps, lr_step_size, lr_period, lr_period_mult;
    double lr_gamma, lr_decay, lr_min, lr_pct_start, lr_div_factor, lr_final_div_factor;
    struct option_list l1, l2, group_lasso;
    uint64_t group_size;
    int decay; /* enum decay_kind */
    double clip_value, clip_norm;
    double delay_compensation;
    uint64_t delay_memory_mib;
    struct option_list constraint;
    int constraint_method;
    double beta, rho_max, constraint_tolerance;
    uint64_t multiplier_every;
};

/* Checked options; what depends on the model's tensors is still open. */
struct update_setup {
    const struct update_rule *rule;
    struct update_params params;
    struct regularizers regularizers;
    struct constraints constraints;
    uint64_t multiplier_every; /* 0: an epoch */
    uint64_t delay_memory_mib;
};

#define UPDATE_OPTION_ROWS(S, field) \
    UPDATE_RULE_ROWS(S, field), UPDATE_SCHEDULE_ROWS(S, field), UPDATE_TERM_ROWS(S, field)

#define UPDATE_ROW(S, field, name, type, arg, min, max, dflt, unit, choices, help)         \
    {                                                                                      \
        "update", name, type, offsetof(S, field), arg, min, max, dflt, unit, choices, help \
    }

#define UPDATE_RULE_ROWS(S, f)                                                                                        \
    UPDATE_ROW(S, f.optimizer, "optimizer", OPT_CHOICE, "RULE", 0, 0, "sgd", NULL, UPDATE_RULE_NAMES, "update rule"), \
        UPDATE_ROW(S, f.lr, "lr", OPT_F64, "A", DBL_MIN, 1e30, NULL, NULL, NULL,                                      \
                   "learning rate; else the rule's own: 0.1, adagrad and rmsprop 0.01, adam, adamw and lamb 0.001"),  \
        UPDATE_ROW(S, f.momentum, "momentum", OPT_F64, "M", 0, 0.999999, "0.9", NULL, NULL,                           \
                   "momentum, nesterov, lars: m = M*m + g, w = w - A*m"),                                             \
        UPDATE_ROW(S, f.beta1, "beta1", OPT_F64, "B", 0, 0.999999, "0.9", NULL, NULL,                                 \
                   "adam, adamw, lamb: of the mean gradient"),                                                        \
        UPDATE_ROW(S, f.beta2, "beta2", OPT_F64, "B", 0, 0.999999, "0.999", NULL, NULL,                               \
                   "adam, adamw, lamb: of the mean square"),                                                          \
        UPDATE_ROW(S, f.alpha, "alpha", OPT_F64, "B", 0, 0.999999, "0.99", NULL, NULL,                                \
                   "rmsprop: of the mean square gradient"),                                                           \
        UPDATE_ROW(S, f.eps, "eps", OPT_F64, "X", 0, 1, NULL, NULL, NULL,                                             \
                   "added to the root; else 1e-8, adagrad 1e-10, lamb 1e-6"),                                         \
        UPDATE_ROW(S, f.ftrl_beta, "ftrl-beta", OPT_F64, "X", 0, 1e30, "1", NULL, NULL,                               \
                   "ftrl: rate A/(X + root of the sum of squares)"),                                                  \
        UPDATE_ROW(S, f.trust, "trust", OPT_F64, "X", DBL_MIN, 1e30, "0.001", NULL, NULL,                             \
                   "lars: steps of X*|w|/(|g| + l2*|w|) for each tensor")

#define UPDATE_SCHEDULE_ROWS(S, f)                                                                            \
    UPDATE_ROW(S, f.schedule, "lr-schedule", OPT_CHOICE, "KIND", 0, 0, "constant", NULL, SCHEDULE_NAMES,      \
               "course of the learning rate over the training steps t"),                                      \
        UPDATE_ROW(S, f.warmup_steps, "warmup-steps", OPT_U64, "N", 0, 1e15, "0", "steps", NULL,              \
                   "the rate climbs evenly to where the schedule then starts"),                               \
        UPDATE_ROW(S, f.lr_step_size, "lr-step-size", OPT_U64, "N", 1, 1e15, "1000", "steps", NULL,           \
                   "step: lr*G^floor(t/N)"),                                                                  \
        UPDATE_ROW(S, f.lr_gamma, "lr-gamma", OPT_F64, "G", DBL_MIN, 1, NULL, NULL, NULL,                     \
                   "step: see --lr-step-size, else 0.1; exponential: lr*G^t, else 0.999"),                    \
        UPDATE_ROW(S, f.lr_decay, "lr-decay", OPT_F64, "D", DBL_MIN, 1e30, NULL, NULL, NULL,                  \
                   "inv-time: lr/(1 + D*t), else D = lr*l2; inv-sqrt: lr/sqrt(1 + D*t), else D = 1/warm-up; " \
                   "ada-delay: lr/(1 + D*sqrt(t + steps of delay)), else D = 1"),                             \
        UPDATE_ROW(S, f.lr_min, "lr-min", OPT_F64, "A", 0, 1e30, "0", NULL, NULL, "cosine: where it ends"),   \
        UPDATE_ROW(S, f.lr_period, "lr-period", OPT_U64, "N", 0, 1e15, "0", "steps", NULL,                    \
                   "cosine: restarts after N steps; one-cycle: its length, then the "                         \
                   "rate stays; 0: the job's"),                                                               \
        UPDATE_ROW(S, f.lr_period_mult, "lr-period-mult", OPT_U64, "N", 1, 1000, "1", NULL, NULL,             \
                   "cosine: each period is N times the one before"),                                          \
        UPDATE_ROW(S, f.lr_pct_start, "lr-pct-start", OPT_F64, "X", DBL_MIN, 0.999999, "0.3", NULL, NULL,     \
                   "one-cycle: the part in which it climbs"),                                                 \
        UPDATE_ROW(S, f.lr_div_factor, "lr-div-factor", OPT_F64, "X", 1, 1e30, "25", NULL, NULL,              \
                   "one-cycle: starts at lr/X"),                                                              \
        UPDATE_ROW(S, f.lr_final_div_factor, "lr-final-div-factor", OPT_F64, "X", 1, 1e30, "1e4", NULL, NULL, \
                   "one-cycle: ends at its start/X")

#define UPDATE_TERM_ROWS(S, f)                                                                                       \
    UPDATE_ROW(S, f.l1, "l1", OPT_LIST, "X[@TENSOR]", 0, 0, NULL, NULL, NULL,                                        \
               "adds X*|theta|_1 to the mean loss, intercepts left out"),                                            \
        UPDATE_ROW(S, f.l2, "l2", OPT_LIST, "X[@TENSOR]", 0, 0, NULL, NULL, NULL,                                    \
                   "adds X/2*|theta|^2 to the mean loss, intercepts left out; adamw: 0.01 unless given"),            \
        UPDATE_ROW(S, f.group_lasso, "group-lasso", OPT_LIST, "X[@TENSOR]", 0, 0, NULL, NULL, NULL,                  \
                   "adds X*(sum of the norms of groups)"),                                                           \
        UPDATE_ROW(S, f.group_size, "group-size", OPT_U64, "N", 0, 262144, "0", NULL, NULL,                          \
                   "elements of a group; 0: a row (of a matrix features x classes: a feature)"),                     \
        UPDATE_ROW(S, f.decay, "decay", OPT_CHOICE, "HOW", 0, 0, "coupled", NULL, DECAY_NAMES,                       \
                   "l2 as part of the gradient, or by itself, as in AdamW"),                                         \
        UPDATE_ROW(S, f.clip_value, "clip-value", OPT_F64, "X", 0, 1e30, "0", NULL, NULL,                            \
                   "cuts each element of the mean gradient to -X..X; 0: not"),                                       \
        UPDATE_ROW(S, f.clip_norm, "clip-norm", OPT_F64, "X", 0, 1e30, "0", NULL, NULL,                              \
                   "scales the mean gradient to a norm of at most X; 0: not"),                                       \
        UPDATE_ROW(S, f.delay_compensation, "delay-compensation", OPT_F64, "X", 0, 1e30, "0", NULL, NULL,            \
                   "ssp, async: adds X*g*g*(theta - what g was computed on) to a late gradient g, elementwise; "     \
                   "0: not"),                                                                                        \
        UPDATE_ROW(S, f.delay_memory_mib, "delay-memory", OPT_U64, "MIB", 1, 1e9, "1024", "MiB", NULL,               \
                   "memory of all shards for the versions that gradients were computed on, the latest first; a "     \
                   "gradient without is taken as it is"),                                                            \
        UPDATE_ROW(S, f.constraint, "constraint", OPT_LIST, "KIND[=ARG][@TENSOR]", 0, 0, NULL, NULL, NULL,           \
                   "nonneg, box=LO:HI, max-norm=R, unit-norm, l2-ball=R, l1-ball=R, simplex=S, sum=S, linear=FILE"), \
        UPDATE_ROW(S, f.constraint_method, "constraint-method", OPT_CHOICE, "HOW", 0, 0, "project", NULL,            \
                   METHOD_NAMES, "exactly after each step, or as a term of the loss"),                               \
        UPDATE_ROW(S, f.beta, "beta", OPT_F64, "X", DBL_MIN, 1e30, "1", NULL, NULL,                                  \
                   "penalty: adds X/2*|C|^2; augmented: its first rho"),                                             \
        UPDATE_ROW(S, f.rho_max, "rho-max", OPT_F64, "X", 0, 1e30, "0", NULL, NULL,                                  \
                   "augmented: the most that rho doubles to; 0: 16 times --beta"),                                   \
        UPDATE_ROW(S, f.constraint_tolerance, "constraint-tolerance", OPT_F64, "X", 0, 1e30, "1e-6", NULL, NULL,     \
                   "augmented: rho stays once |C| is within X"),                                                     \
        UPDATE_ROW(S, f.multiplier_every, "multiplier-every", OPT_U64, "N", 0, 1e15, "0", "steps", NULL,             \
                   "augmented: steps between two updates of the multipliers; 0: an epoch")

/* Checks what needs no tensors, with files that options name. DP_USAGE, DP_IO, DP_DATA. */
DP_MUST_CHECK dp_err update_options_check(const struct options *given, const struct update_options *opts,
                                          struct update_setup *setup, dp_error *err);
void update_setup_fini(struct update_setup *setup);
/* Whether the update can be had by commits on arrival. DP_USAGE, saying what speaks against it. */
DP_MUST_CHECK dp_err update_options_check_arrival(const struct update_setup *setup, dp_error *err);
/* Whether the update can be had for linear, logistic and softmax models, whose tensors are called weight, of that rank,
 * and bias; sizes are not looked at, since data may decide them. DP_USAGE. */
DP_MUST_CHECK dp_err update_options_check_model(const struct update_setup *setup, uint32_t rank, bool sparse,
                                                bool intercept, dp_error *err);
/* Whether options that are stated in steps fit a job of `train_steps`; DP_USAGE, naming both numbers. */
DP_MUST_CHECK dp_err update_options_check_length(const struct update_setup *setup, uint64_t train_steps, dp_error *err);
/* With tensors and plan known: fills rule, params, regular, constraints, and the units of the tensors, of *core.
 * DP_USAGE. */
DP_MUST_CHECK dp_err update_settle(const struct update_setup *setup, struct shard_job *core, dp_error *err);

#endif
