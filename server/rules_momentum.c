/* Gradient descent, heavy ball and Nesterov's momentum, in torch.optim.SGD's form. Thread: shard. */
#include "update.h"

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

const struct update_rule rule_sgd = {.name = "sgd", .lr = 0.1, .step = step_sgd};

const struct update_rule rule_momentum = {
    .name = "momentum",
    .state_count = 1,
    .takes = TAKES_MOMENTUM,
    .lr = 0.1,
    .prepare = prepare,
    .step = step_momentum,
};

const struct update_rule rule_nesterov = {
    .name = "nesterov",
    .state_count = 1,
    .takes = TAKES_MOMENTUM,
    .lr = 0.1,
    .prepare = prepare,
    .step = step_nesterov,
};
