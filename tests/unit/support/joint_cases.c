#include "tests/unit/support/joint_cases.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/terms/constraint_text.h"

const struct pair SETS[SET_COUNT] = {
    {"nonneg", NULL},           {"box=-0.3:0.5", NULL},   {"box=0.1:0.6", NULL},   {"box=-0.5:-0.02", NULL},
    {"box=0:0.4", NULL},        {"box=:0", NULL},         {"max-norm=0.7", NULL},  {"l2-ball=1.2", NULL},
    {"l1-ball=2", NULL},        {"simplex=1.5", NULL},    {"sum=1", NULL},         {"sum=-3", NULL},
    {"linear=", NULL},          {"linear<", NULL},        {"nonneg", "l2-ball=1"}, {"nonneg", "l1-ball=1.2"},
    {"nonneg", "max-norm=0.5"}, {"box=-0.2:1", "nonneg"}, {"linear<far", NULL},    {"l1-ball=1000", NULL},
};

const struct regular REGULARS[REGULAR_COUNT] = {
    {.group_size = 4},
    {.l1 = 0.2, .group_size = 4},
    {.group = 0.3, .group_size = 4},
    {.group = 0.2, .group_size = 2},
    {.l1 = 0.1, .group = 0.2, .group_size = 4},
};

static void add_row(struct shard_job *job, const char *kind)
{
    char path[] = "/tmp/dp-joint-XXXXXX", text[64];
    dp_error err;
    FILE *file = fdopen(mkstemp(path), "w");
    cr_assert_not_null(file);
    fprintf(file, "%s %s 1:1 3:-2 4:0.5 9:1 20:3\n", strchr(kind, '<') ? "<=" : "=",
            strstr(kind, "far") ? "1000" : "-0.8");
    fclose(file);
    snprintf(text, sizeof text, "linear=%s", path);
    cr_assert_eq(constraints_add(&job->constraints, text, &err), DP_OK, "%s", err.text);
    remove(path);
}

void add_constraint(struct shard_job *job, const char *text)
{
    dp_error err;
    if (!text)
        return;
    if (strncmp(text, "linear", 6) == 0)
        add_row(job, text);
    else
        cr_assert_eq(constraints_add(&job->constraints, text, &err), DP_OK, "%s", err.text);
}

void constrain(struct shard_job *job, const struct pair *pair)
{
    dp_error err;
    add_constraint(job, pair->one);
    add_constraint(job, pair->other);
    cr_assert_eq(constraints_resolve(&job->constraints, &job->tensors, &err), DP_OK, "%s", err.text);
    cr_assert_eq(constraints_check(&job->constraints, &err), DP_OK, "%s", err.text);
}

void tell_sets(const struct constraints *constraints, size_t count, size_t row, struct optimum *problem)
{
    problem->set_count = constraints->count;
    for (uint32_t i = 0; i < constraints->count; i++) {
        const struct constraint *c = &constraints->list[i];
        struct optimum_set *s = &problem->sets[i];
        *s = (struct optimum_set){
            .kind = constraint_name(c->kind), .lo = c->lo, .hi = c->hi, .arg = c->arg, .count = count};
        if (c->kind == CONSTRAINT_NONNEG)
            s->hi = INFINITY;
        s->row = c->kind == CONSTRAINT_MAX_NORM ? row : 0;
        if (c->kind == CONSTRAINT_SUM) {
            s->kind = "linear";
            s->equality = 1;
            for (size_t k = 0; k < count; k++)
                s->linear[k] = 1;
        }
        for (size_t e = 0; c->kind == CONSTRAINT_LINEAR && e < c->linear.rows[0].count; e++)
            s->linear[c->linear.rows[0].index[e]] = c->linear.rows[0].value[e];
        if (c->kind == CONSTRAINT_LINEAR) {
            s->count = 0;
            s->arg = c->linear.rows[0].bound;
            s->equality = c->linear.rows[0].equality;
        }
    }
}
