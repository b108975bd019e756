/* LARS (You et al. 2017) and LAMB (You et al. 2020): steps scaled by norms of whole tensors, which the commit gathers
 * over slices and shards. LARS has its trust ratio in k->lr before the step. LAMB's step leaves a direction, whose norm
 * decides how far the commit goes along it. Thread: shard. */

#include "server/update/update.h"

static void prepare_lars(const struct update_params *params, const struct regular *regular, uint64_t t,
                         struct kernel_update *k)
{
    (void)regular;
    (void)t;
    k->momentum = (float)params->momentum;
}

static void step_lars(size_t n, const struct kernel_update *k, const float *w, const float *g, float *const *state,
                      float *out)
{
    kernels_get()->lars(n, k, w, g, state[0], out);
}

static void step_lamb(size_t n, const struct kernel_update *k, const float *w, const float *g, float *const *state,
                      float *out)
{
    kernels_get()->moments(n, k, g, state[0], state[1]);
    kernels_get()->lamb(n, k, w, state[0], state[1], out);
}

static void prepare_lamb(const struct update_params *params, const struct regular *regular, uint64_t t,
                         struct kernel_update *k)
{
    rule_adam.prepare(params, regular, t, k);
}

static void rates_lamb(size_t n, const struct kernel_update *k, const float *const *state, float *out)
{
    kernels_get()->rates(n, k, state[1], out);
}

const struct update_rule rule_lars = {
    .name = "lars",
    .state_count = 1,
    .takes = TAKES_MOMENTUM | TAKES_TRUST,
    .l2_inside = true,
    .layerwise = true,
    .lr = 0.1,
    .prepare = prepare_lars,
    .step = step_lars,
};

const struct update_rule rule_lamb = {
    .name = "lamb",
    .state_count = 2,
    .takes = TAKES_BETAS | TAKES_EPS,
    .l2_inside = true,
    .layerwise = true,
    .lr = 0.001,
    .eps = 1e-6,
    .prepare = prepare_lamb,
    .step = step_lamb,
    .rates = rates_lamb,
};
