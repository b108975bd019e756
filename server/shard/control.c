/* Step-stamped control; see control.h. Thread: shard. */
#include "server/shard/control.h"

#include "common/base/util.h"

static void hold_from(struct shard *shard, uint64_t step, enum setting_kind kind)
{
    shard->gate.barrier = step;
    for (uint32_t i = 0; i < shard->piece_count; i++)
        shard->pieces[i].ops->hold_from(&shard->pieces[i], step, kind);
}

uint64_t control_promise(struct shard *shard, uint64_t step, enum setting_kind kind)
{
    for (uint32_t i = 0; i < shard->piece_count; i++)
        step = MAX(step, shard->pieces[i].ops->first_free(&shard->pieces[i], kind));
    if (shard->phases.busy)
        step = MAX(step, shard->phases.step + 1);
    hold_from(shard, step, kind);
    return step;
}

/* Rates of steps that all shards have completed are forgotten, unless rows of tables are brought up to date from
 * there. */
static dp_err set_lr(struct shard *shard, uint64_t step, double lr, dp_error *err)
{
    struct schedule *schedule = &shard->own.params.schedule;
    if (shard->tables.count > 0)
        schedule->past = &shard->past_rates;
    if (!schedule_forget(schedule, plan_at(&shard->own.plan, shard->global_low).train_step))
        return dp_fail(err, DP_NOMEM, "out of memory for learning rates that were set before");
    if (!schedule_set(schedule, plan_at(&shard->own.plan, step).train_step, lr))
        return dp_fail(err, DP_BUSY, "the learning rate was set %d times within the steps that are open",
                       SCHEDULE_CHANGES_MAX);
    return DP_OK;
}

/* Windows are widened at once, and stay so: each step's staleness bounds how far they are open. */
static dp_err set_consistency(struct shard *shard, uint64_t step, uint32_t staleness, dp_error *err)
{
    for (uint32_t i = 0; i < shard->piece_count; i++) {
        struct piece *piece = &shard->pieces[i];
        if (piece->ops->widen && piece->ops->widen(piece, staleness))
            return dp_fail(err, DP_NOMEM, "out of memory for %u open steps", staleness + 1);
    }
    consistency_forget(&shard->own.consistency, shard->global_low);
    if (!consistency_set(&shard->own.consistency, step, staleness))
        return dp_fail(err, DP_BUSY, "the consistency was set %d times within the steps that are open",
                       CONSISTENCY_CHANGES_MAX);
    return DP_OK;
}

static dp_err set(struct shard *shard, uint64_t step, const struct setting *setting, dp_error *err)
{
    if (step >= shard->total_steps)
        return DP_OK; /* no step is left to change */
    return setting->kind == SETTING_LR ? set_lr(shard, step, setting->lr, err)
                                       : set_consistency(shard, step, setting->staleness, err);
}

dp_err control_apply(struct shard *shard, uint64_t step, const struct setting *setting, dp_error *err)
{
    dp_err e = set(shard, step, setting, err);
    hold_from(shard, UINT64_MAX, setting->kind);
    return e;
}
