/* FTRL-Proximal (McMahan et al. 2013). Its state is z and the sum of squares; w is a function of them and of the number
 * of commits, so that a row that was not touched needs no catching up. lambda is against the mean loss, hence times the
 * commits so far. z starts at -w_0 beta/alpha, so that theta_0 is honoured.
 *
 * Under L1 z grows with the commits like t lambda, and w is made of what they differ by: z is therefore kept as the sum
 * of two floats, states 0 and 2, of which one commit loses at most |z| 2^-49. Thread: shard. */
#include <math.h>

#include "server/update/update.h"

static void start(size_t n, const struct update_params *params, const float *w, float *const *state)
{
    double scale = params->ftrl_beta * (1 / params->schedule.lr);
    for (size_t i = 0; i < n; i++) {
        double z = -(double)w[i] * scale;
        state[0][i] = (float)z;
        state[2][i] = (float)(z - (double)state[0][i]);
    }
}

static void prepare(const struct update_params *params, const struct regular *regular, uint64_t t,
                    struct kernel_update *k)
{
    double commits = (double)(t + 1);
    k->ftrl.inv_alpha = 1 / params->schedule.lr;
    k->ftrl.beta = params->ftrl_beta;
    k->ftrl.gain = 1;
    k->ftrl.l1 = commits * regular->l1;
    k->ftrl.l2 = commits * regular->l2;
}

/* z = z + c g - sigma w with sigma of n + c g^2: the kernel squares what it is given, so that it is given sqrt(c) g. */
static void part(const struct update_params *params, const struct regular *regular, const struct update_part *part_of,
                 struct kernel_update *k)
{
    (void)params;
    double gain = sqrt(part_of->fraction);
    k->inv_count *= (float)gain;
    k->ftrl.scale *= gain;
    k->ftrl.gain = gain;
    k->ftrl.l1 = part_of->passed * regular->l1;
    k->ftrl.l2 = part_of->passed * regular->l2;
}

static void step(size_t n, const struct kernel_update *k, const float *w, const float *g, float *const *state,
                 float *out)
{
    kernels_get()->ftrl(n, k, w, g, state[0], state[1], state[2], out);
}

const struct update_rule rule_ftrl = {
    .name = "ftrl",
    .state_count = 3,
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
