/* Update rules: from theta, its optimizer state and the sum of a step's gradients to the next theta. One row of the
 * table in update.c a rule, one file (rules_*.c) a family. A rule knows elements only; what stands around its step
 * (clipping, regularizers, projections, norms that span slices) is the commit's. Knows no network. Thread: shard. */
#ifndef DP_SERVER_UPDATE_UPDATE_H
#define DP_SERVER_UPDATE_UPDATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/kernels/kernels.h"
#include "common/terms/regularize.h"
#include "server/update/schedule.h"

enum { UPDATE_STATE_MAX = 3 };

/* Hyper-parameters that not all rules have, for `takes`. */
enum update_takes {
    TAKES_MOMENTUM = 1 << 0,
    TAKES_BETAS = 1 << 1, /* beta1, beta2 */
    TAKES_ALPHA = 1 << 2,
    TAKES_EPS = 1 << 3,
    TAKES_FTRL_BETA = 1 << 4,
    TAKES_TRUST = 1 << 5,
};

enum decay_kind { DECAY_COUPLED, DECAY_DECOUPLED };
#define DECAY_NAMES "coupled|decoupled"

/* Hyper-parameters of a job. */
struct update_params {
    struct schedule schedule;
    double momentum; /* beta, 0 <= beta < 1 */
    double beta1, beta2;
    double alpha; /* RMSProp's smoothing (MATH.md's rho) */
    double eps;
    double ftrl_beta;
    double trust; /* LARS's kappa */
    enum decay_kind decay;
    double clip_value;   /* each element of the mean gradient is cut to [-c, c]; 0: not */
    double clip_norm;    /* the mean gradient is scaled to a norm of at most c; 0: not */
    double compensation; /* on arrival: DC-ASGD's lambda; 0: late gradients are taken as they are */
};

/* A commit on arrival: a fraction of a step (MATH.md). */
struct update_part {
    double fraction; /* c: the push's samples of the step's, 0 < c <= 1 */
    double passed;   /* sum of c over all commits so far, this one included: steps */
    double eta;      /* rate of a whole step */
};

struct update_rule {
    const char *name;
    uint32_t state_count; /* floats of state per element */
    uint32_t takes;       /* of enum update_takes */
    bool adaptive;        /* each coordinate has a step size of its own, see `rates` */
    bool l2_inside;       /* lambda_2 is part of the rule: neither coupled nor decoupled */
    bool l1_inside;       /* lambda_1 likewise: no proximal step */
    bool decoupled;       /* always decoupled (AdamW) */
    bool layerwise;       /* needs norms of whole tensors: LARS, LAMB */
    double lr, eps;       /* defaults of --lr and --eps */
    /* State at theta_0; NULL: zeros. */
    void (*start)(size_t n, const struct update_params *params, const float *w, float *const *state);
    /* Fills what of *k depends on the rule, for training step t (from 0); lr, l2, decay and inv_count are set. */
    void (*prepare)(const struct update_params *params, const struct regular *regular, uint64_t t,
                    struct kernel_update *k);
    /* Brings what `prepare` filled to a fraction of a step; lr and decay are already. The gradient's factor goes to
     * inv_count and l2. NULL: the rule has whole steps only. */
    void (*part)(const struct update_params *params, const struct regular *regular, const struct update_part *part,
                 struct kernel_update *k);
    /* One commit of n elements, a row of a table as well. state[i] has n floats each; nothing else of a rule changes
     * them. `out` is w or another array. A rule that works in two halves (LAMB) brings its state up to date here and
     * leaves its direction in `out`. */
    void (*step)(size_t n, const struct kernel_update *k, const float *w, const float *g, float *const *state,
                 float *out);
    /* Step size of each element after the step; NULL: it is the same for all (FTRL: none is needed). */
    void (*rates)(size_t n, const struct kernel_update *k, const float *const *state, float *out);
};

/* Row `index` of the table, in the order of UPDATE_RULE_NAMES. */
const struct update_rule *update_rule_at(int index);
/* The choices of --optimizer. */
#define UPDATE_RULE_NAMES "sgd|momentum|nesterov|adagrad|rmsprop|adam|adamw|ftrl|lars|lamb"
enum { UPDATE_RULES = 10 };

extern const struct update_rule rule_sgd, rule_momentum, rule_nesterov, rule_adagrad, rule_rmsprop, rule_adam,
    rule_adamw, rule_ftrl, rule_lars, rule_lamb;

/* The factor of what the kernel is given for g: the fields of both precisions. */
static inline void update_scale(struct kernel_update *k, double scale)
{
    k->inv_count = (float)scale;
    k->ftrl.scale = scale;
}

/* The numbers for one commit of a tensor at its rate `eta`: `samples` is the step's count, t the training step. */
struct kernel_update update_at(const struct update_rule *rule, const struct update_params *params,
                               const struct regular *regular, double eta, uint64_t t, uint64_t samples);
/* The same for a commit on arrival of `samples`; the rule must have `part`. */
struct kernel_update update_part_at(const struct update_rule *rule, const struct update_params *params,
                                    const struct regular *regular, uint64_t t, uint64_t samples,
                                    const struct update_part *part);
/* eta_e: how far a constant gradient moves a coordinate in the long run, per step: eta, or eta/(1 - beta) under
 * momentum and Nesterov. Proximal steps and decoupled decay use it. For adaptive rules: eta, to be replaced by
 * `rates` in proximal steps. */
double update_effective_rate(const struct update_rule *rule, const struct update_params *params, double eta);

#endif
