/* FTRL-Proximal (McMahan et al. 2013). Its state is z and the sum of squares; w is a function of them and of the number
 * of commits, so that a row that was not touched needs no catching up. lambda is against the mean loss, hence times the
 * commits so far. z starts at -w_0 beta/alpha, so that theta_0 is honoured. Thread: shard. */
#include <math.h>

#include "update.h"

static void start(size_t n, const struct update_params *params, const float *w, float *const *state)
{
    float scale = (float)(params->ftrl_beta / params->schedule.lr);
    for (size_t i = 0; i < n; i++)
        state[0][i] = -w[i] * scale;
}

static void prepare(const struct update_params *params, const struct regular *regular, uint64_t t,
                    struct kernel_update *k)
{
    double commits = (double)(t + 1);
    k->inv_alpha = (float)(1 / params->schedule.lr);
    k->beta = (float)params->ftrl_beta;
    k->gain1 = 1;
    k->l1 = (float)(commits * regular->l1);
    k->l2 = (float)(commits * regular->l2);
}

/* z = z + c g - sigma w with sigma of n + c g^2: the kernel squares what it is given, so that it is given sqrt(c) g. */
static void part(const struct update_params *params, const struct regular *regular, const struct update_part *part_of,
                 struct kernel_update *k)
{
    (void)params;
    double gain = sqrt(part_of->fraction);
    k->inv_count *= (float)gain;
    k->gain1 = (float)gain;
    k->l1 = (float)(part_of->passed * regular->l1);
    k->l2 = (float)(part_of->passed * regular->l2);
}

static void step(size_t n, const struct kernel_update *k, const float *w, const float *g, float *const *state,
                 float *out)
{
    kernels_get()->ftrl(n, k, w, g, state[0], state[1], out);
}

const struct update_rule rule_ftrl = {
    .name = "ftrl",
    .state_count = 2,
    .takes = TAKES_FTRL_BETA,
    .adaptive = true,
    .l2_inside = true,
    .l1_inside = true,
    .lr = 0.1,
    .start = start,
    .prepare = prepare,
    .part = part,
    .step = step,
};
