/* Runs an update rule over given gradients, for compare_torch.
 *
 *   rule_trace RULE LR L2 MOMENTUM DECAY(coupled|decoupled) N STEPS < w[N] and g[STEPS][N] as float32 > w after each
 * step
 *
 * Thread: main. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "server/update/update.h"
#include "tests/unit/support/reference.h"

enum { ARGS = 8 };

static const struct update_rule *rule_find(const char *name)
{
    for (int i = 0; i < UPDATE_RULES; i++)
        if (strcmp(update_rule_at(i)->name, name) == 0)
            return update_rule_at(i);
    return NULL;
}

int main(int argc, char **argv)
{
    const struct update_rule *rule = argc == ARGS ? rule_find(argv[1]) : NULL;
    dp_error err;
    if (!rule || rule->layerwise || kernels_select("auto", &err)) {
        fprintf(stderr, "usage: rule_trace RULE LR L2 MOMENTUM DECAY N STEPS\n");
        return 2;
    }
    struct update_params params = reference_params(rule, strtod(argv[2], NULL));
    struct regular regular = {.l2 = strtod(argv[3], NULL)};
    params.momentum = strtod(argv[4], NULL);
    params.decay = strcmp(argv[5], "decoupled") == 0 ? DECAY_DECOUPLED : DECAY_COUPLED;
    size_t n = strtoul(argv[6], NULL, 10), steps = strtoul(argv[7], NULL, 10);
    AUTOFREE float *w = mem_array(n, sizeof *w);
    AUTOFREE float *g = mem_array(n, sizeof *g);
    AUTOFREE float *a = mem_array_zero(n, sizeof *a);
    AUTOFREE float *b = mem_array_zero(n, sizeof *b);
    AUTOFREE float *c = mem_array_zero(n, sizeof *c);
    float *const state[UPDATE_STATE_MAX] = {a, b, c};
    if (!w || !g || !a || !b || !c || fread(w, sizeof *w, n, stdin) != n)
        return 1;
    for (size_t t = 0; t < steps; t++) {
        struct kernel_update k = update_at(rule, &params, &regular, schedule_rate(&params.schedule, t), t, 1);
        if (fread(g, sizeof *g, n, stdin) != n)
            return 1;
        rule->step(n, &k, w, g, state, w);
        if (fwrite(w, sizeof *w, n, stdout) != n)
            return 1;
    }
    return 0;
}
