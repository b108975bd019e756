/* The update and its last report in the status document. Thread: head. */
#include "server/head/update.h"

#include <math.h>
#include <stddef.h>

#include "common/terms/constraint_text.h"
#include "server/head/sums.h"
#include "server/talk/shared.h"

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

/* {"weight": 0.1, ...} of the tensors that have it. */
static json_t *strengths_json(const struct shard_job *core, size_t offset)
{
    json_t *object = json_object();
    for (uint32_t t = 0; t < core->tensors.count; t++) {
        double value = *(const double *)(const void *)((const char *)&core->regular[t] + offset);
        if (value > 0)
            json_object_set_new(object, core->tensors.list[t].name, json_real(value));
    }
    return object;
}

static json_t *terms_json(const struct head *head, const struct constraint *c, uint32_t first)
{
    json_t *terms = json_array();
    for (uint32_t i = 0; i < constraint_term_count(c); i++)
        json_array_append_new(terms, number(head->sums->report.multipliers.mu[first + i]));
    return terms;
}

static json_t *constraints_json(const struct head *head)
{
    const struct constraints *all = &head->job.core.constraints;
    const struct report *report = &head->sums->report;
    json_t *list = json_array();
    uint32_t term = 0;
    for (uint32_t i = 0; i < all->count; i++) {
        const struct constraint *c = &all->list[i];
        json_t *one =
            json_pack("{ss ss? so}", "kind", constraint_name(c->kind), "tensor", c->tensor[0] ? c->tensor : NULL,
                      "violation", number(report->known ? report->violations[i] : NAN));
        if (all->method == METHOD_AUGMENTED) {
            json_object_set_new(one, "rho", number(report->multipliers.rho[i]));
            json_object_set_new(one, "multipliers", terms_json(head, c, term));
        }
        term += constraint_term_count(c);
        json_array_append_new(list, one);
    }
    return list;
}

json_t *head_update_json(const struct head *head)
{
    static const char *const SCHEDULES[] = {"constant", "step",     "exponential", "cosine",
                                            "inv-sqrt", "inv-time", "one-cycle",   "ada-delay"};
    static const char *const DECAYS[] = {"coupled", "decoupled"};
    static const char *const METHODS[] = {"project", "penalty", "augmented"};
    const struct shard_job *core = &head->job.core;
    const struct update_params *p = &core->params;
    uint64_t step = head->global_low < plan_total(&core->plan) ? plan_at(&core->plan, head->global_low).train_step
                                                               : core->plan.train_steps - 1;
    return json_pack("{ss ss so so so so so ss sf sf sf sI ss so}", "optimizer", core->rule->name, "schedule",
                     SCHEDULES[p->schedule.kind], "base_lr", number(schedule_lr(&p->schedule, step)), "lr",
                     number(schedule_rate(&p->schedule, step)), "l1",
                     strengths_json(core, offsetof(struct regular, l1)), "l2",
                     strengths_json(core, offsetof(struct regular, l2)), "group_lasso",
                     strengths_json(core, offsetof(struct regular, group)), "decay",
                     core->rule->decoupled ? "decoupled" : DECAYS[p->decay], "clip_value", p->clip_value, "clip_norm",
                     p->clip_norm, "delay_compensation", p->compensation, "delay_memory_mib",
                     (json_int_t)(p->compensation > 0 ? head->opts->setup.delay_memory_mib : 0), "constraint_method",
                     METHODS[core->constraints.method], "constraints", constraints_json(head));
}

json_t *head_report_json(const struct head *head)
{
    const struct report *r = &head->sums->report;
    if (!r->known)
        return json_null();
    return json_pack("{sI so so so so so}", "train_step", (json_int_t)r->train_step, "regularizer",
                     number(r->regularizer), "violation", number(r->violation), "sparsity", number(r->zeros / r->elems),
                     "gradient_norm", number(r->gradient_norm), "lr", number(r->lr));
}
