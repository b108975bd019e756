/* The table of update rules. Thread: shard. */
#include "server/update/update.h"

/* In the order of UPDATE_RULE_NAMES. */
static const struct update_rule *const RULES[UPDATE_RULES] = {
    &rule_sgd,  &rule_momentum, &rule_nesterov, &rule_adagrad, &rule_rmsprop,
    &rule_adam, &rule_adamw,    &rule_ftrl,     &rule_lars,    &rule_lamb,
};

const struct update_rule *update_rule_at(int index)
{
    return RULES[index];
}

double update_effective_rate(const struct update_rule *rule, const struct update_params *params, double eta)
{
    return rule->takes & TAKES_MOMENTUM ? eta / (1 - params->momentum) : eta;
}

struct kernel_update update_part_at(const struct update_rule *rule, const struct update_params *params,
                                    const struct regular *regular, uint64_t t, uint64_t samples,
                                    const struct update_part *part)
{
    struct kernel_update k = update_at(rule, params, regular, part->eta, t, samples);
    double eta = part->fraction * part->eta;
    k.lr = (float)eta;
    if (k.decay > 0)
        k.decay = (float)(update_effective_rate(rule, params, eta) * regular->l2);
    rule->part(params, regular, part, &k);
    return k;
}

struct kernel_update update_at(const struct update_rule *rule, const struct update_params *params,
                               const struct regular *regular, double eta, uint64_t t, uint64_t samples)
{
    bool decoupled = !rule->l2_inside && (rule->decoupled || params->decay == DECAY_DECOUPLED);
    struct kernel_update k = {
        .lr = (float)eta,
        .l2 = decoupled ? 0.0f : (float)regular->l2,
        .decay = decoupled ? (float)(update_effective_rate(rule, params, eta) * regular->l2) : 0.0f,
    };
    update_scale(&k, 1.0 / (double)samples);
    if (rule->prepare)
        rule->prepare(params, regular, t, &k);
    return k;
}
