/* Gradient descent, heavy ball and Nesterov's momentum, in torch.optim.SGD's form. Thread: shard. */
#include <math.h>

#include "server/update/update.h"

static void step_sgd(size_t n, const struct kernel_update *k, const float *w, const float *g, float *const *state,
                     float *out)
{
    (void)state;
    kernels_get()->sgd(n, k, w, g, out);
}

static void prepare(const struct update_params *params, const struct regular *regular, uint64_t t,
                    struct kernel_update *k)
{
    (void)regular;
    (void)t;
    k->momentum = (float)params->momentum;
}

static void part_sgd(const struct update_params *params, const struct regular *regular, const struct update_part *part,
                     struct kernel_update *k)
{
    (void)params;
    (void)regular;
    (void)part;
    (void)k;
}

/* beta^c, and a gradient such that the commits of a whole step come to beta m + u for a constant u. */
static void part_momentum(const struct update_params *params, const struct regular *regular,
                          const struct update_part *part, struct kernel_update *k)
{
    (void)regular;
    double beta = pow(params->momentum, part->fraction), gain = (1 - beta) / (1 - params->momentum);
    k->momentum = (float)beta;
    k->inv_count *= (float)gain;
    k->l2 *= (float)gain;
}

static void step_momentum(size_t n, const struct kernel_update *k, const float *w, const float *g, float *const *state,
                          float *out)
{
    kernels_get()->momentum(n, k, w, g, state[0], out);
}

static void step_nesterov(size_t n, const struct kernel_update *k, const float *w, const float *g, float *const *state,
                          float *out)
{
    kernels_get()->nesterov(n, k, w, g, state[0], out);
}

const struct update_rule rule_sgd = {.name = "sgd", .lr = 0.1, .part = part_sgd, .step = step_sgd};

const struct update_rule rule_momentum = {
    .name = "momentum",
    .state_count = 1,
    .takes = TAKES_MOMENTUM,
    .lr = 0.1,
    .prepare = prepare,
    .part = part_momentum,
    .step = step_momentum,
};

const struct update_rule rule_nesterov = {
    .name = "nesterov",
    .state_count = 1,
    .takes = TAKES_MOMENTUM,
    .lr = 0.1,
    .prepare = prepare,
    .part = part_momentum,
    .step = step_nesterov,
};
