/* Rules with a step size for each coordinate: AdaGrad, RMSProp, Adam and AdamW, in torch.optim's forms and with its
 * defaults. Thread: shard. */
#include <math.h>

#include "server/update/update.h"

static void prepare_adagrad(const struct update_params *params, const struct regular *regular, uint64_t t,
                            struct kernel_update *k)
{
    (void)regular;
    (void)t;
    k->eps = (float)params->eps;
    k->v_scale = 1;
}

/* G = G + c g^2: the kernel squares what it is given, so that it is given sqrt(c) g. */
static void part_adagrad(const struct update_params *params, const struct regular *regular,
                         const struct update_part *part, struct kernel_update *k)
{
    (void)params;
    (void)regular;
    double gain = sqrt(part->fraction);
    k->inv_count *= (float)gain;
    k->l2 *= (float)gain;
    k->lr = (float)(gain * part->eta);
}

static void step_adagrad(size_t n, const struct kernel_update *k, const float *w, const float *g, float *const *state,
                         float *out)
{
    kernels_get()->adagrad(n, k, w, g, state[0], out);
}

static void rates_of_first(size_t n, const struct kernel_update *k, const float *const *state, float *out)
{
    kernels_get()->rates(n, k, state[0], out);
}

static void prepare_rmsprop(const struct update_params *params, const struct regular *regular, uint64_t t,
                            struct kernel_update *k)
{
    prepare_adagrad(params, regular, t, k);
    k->beta2 = (float)params->alpha;
    k->gain2 = (float)(1 - params->alpha);
}

static void part_rmsprop(const struct update_params *params, const struct regular *regular,
                         const struct update_part *part, struct kernel_update *k)
{
    (void)regular;
    double alpha = pow(params->alpha, part->fraction);
    k->beta2 = (float)alpha;
    k->gain2 = (float)(1 - alpha);
}

static void step_rmsprop(size_t n, const struct kernel_update *k, const float *w, const float *g, float *const *state,
                         float *out)
{
    kernels_get()->rmsprop(n, k, w, g, state[0], out);
}

static void set_betas(struct kernel_update *k, double beta1, double beta2)
{
    k->momentum = (float)beta1;
    k->gain1 = (float)(1 - beta1);
    k->beta2 = (float)beta2;
    k->gain2 = (float)(1 - beta2);
}

static void prepare_adam(const struct update_params *params, const struct regular *regular, uint64_t t,
                         struct kernel_update *k)
{
    (void)regular;
    set_betas(k, params->beta1, params->beta2);
    k->m_scale = (float)(1 / (1 - power(params->beta1, t + 1)));
    k->v_scale = (float)(1 / sqrt(1 - power(params->beta2, t + 1)));
    k->eps = (float)params->eps;
}

static void part_adam(const struct update_params *params, const struct regular *regular, const struct update_part *part,
                      struct kernel_update *k)
{
    (void)regular;
    set_betas(k, pow(params->beta1, part->fraction), pow(params->beta2, part->fraction));
    k->m_scale = (float)(1 / (1 - pow(params->beta1, part->passed)));
    k->v_scale = (float)(1 / sqrt(1 - pow(params->beta2, part->passed)));
}

static void step_adam(size_t n, const struct kernel_update *k, const float *w, const float *g, float *const *state,
                      float *out)
{
    kernels_get()->adam(n, k, w, g, state[0], state[1], out);
}

static void rates_of_second(size_t n, const struct kernel_update *k, const float *const *state, float *out)
{
    kernels_get()->rates(n, k, state[1], out);
}

const struct update_rule rule_adagrad = {
    .name = "adagrad",
    .state_count = 1,
    .takes = TAKES_EPS,
    .adaptive = true,
    .lr = 0.01,
    .eps = 1e-10,
    .prepare = prepare_adagrad,
    .part = part_adagrad,
    .step = step_adagrad,
    .rates = rates_of_first,
};

const struct update_rule rule_rmsprop = {
    .name = "rmsprop",
    .state_count = 1,
    .takes = TAKES_ALPHA | TAKES_EPS,
    .adaptive = true,
    .lr = 0.01,
    .eps = 1e-8,
    .prepare = prepare_rmsprop,
    .part = part_rmsprop,
    .step = step_rmsprop,
    .rates = rates_of_first,
};

#define ADAM                                                                                        \
    .state_count = 2, .takes = TAKES_BETAS | TAKES_EPS, .adaptive = true, .lr = 0.001, .eps = 1e-8, \
    .prepare = prepare_adam, .part = part_adam, .step = step_adam, .rates = rates_of_second

const struct update_rule rule_adam = {.name = "adam", ADAM};
const struct update_rule rule_adamw = {.name = "adamw", .decoupled = true, ADAM};
