/* Update rules. The order of a commit is MATH.md's: mean, coupled decay, optimizer step. Thread: shard. */
#include "update.h"

static void step_sgd(size_t n, const struct kernel_update *p, const float *w, const float *g, float *const *state,
                     float *out)
{
    (void)state;
    kernels_get()->sgd(n, p, w, g, out);
}

static void step_momentum(size_t n, const struct kernel_update *p, const float *w, const float *g, float *const *state,
                          float *out)
{
    kernels_get()->momentum(n, p, w, g, state[0], out);
}

/* In the order of UPDATE_RULE_NAMES. */
static const struct update_rule RULES[] = {
    {.name = "sgd", .state_count = 0, .local = true, .step = step_sgd},
    {.name = "momentum", .state_count = 1, .local = true, .step = step_momentum},
};

const struct update_rule *update_rule_at(int index)
{
    return &RULES[index];
}

struct kernel_update update_at(const struct update_params *params, uint64_t samples, bool regularized)
{
    return (struct kernel_update){
        .inv_count = (float)(1.0 / (double)samples),
        .lr = (float)params->lr,
        .l2 = regularized ? (float)params->l2 : 0.0f,
        .momentum = (float)params->momentum,
    };
}
