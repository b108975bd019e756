/* Step-stamped control on a shard: promises, and settings that take effect. Thread: shard. */
#include "server/shard/rows.h"
#include "server/shard/shard.h"

/* The first step of a slice that a setting can still change: of which nothing has been committed; and for its
 * consistency, which has not been opened, since workers are told with theta how to push. */
static uint64_t first_free(const struct slice *slice, enum setting_kind kind)
{
    bool unopened = kind == SETTING_CONSISTENCY || slice_staleness(slice, slice->window.next) > 0;
    return unopened ? slice->window.opened : slice->window.next;
}

static void set_barrier(struct shard *shard, uint64_t step, enum setting_kind kind)
{
    shard->barrier = step;
    for (uint32_t i = 0; i < shard->slice_count; i++) {
        struct slice *slice = &shard->slices[i];
        bool unopened = kind == SETTING_CONSISTENCY || slice_staleness(slice, step) > 0;
        slice->limit = unopened ? step : UINT64_MAX;
        slice_open(slice);
        shard_unpark(shard, i);
    }
}

uint64_t shard_prepare(struct shard *shard, uint64_t step, enum setting_kind kind)
{
    step = MAX(step, shard_rows_high(shard));
    for (uint32_t i = 0; i < shard->slice_count; i++)
        step = MAX(step, first_free(&shard->slices[i], kind));
    if (shard->global.busy)
        step = MAX(step, shard->global.step + 1);
    set_barrier(shard, step, kind);
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

/* Windows are widened at once, and stay so: how far they are open is said by each step's staleness. */
static dp_err set_consistency(struct shard *shard, uint64_t step, uint32_t staleness, dp_error *err)
{
    for (uint32_t i = 0; i < shard->slice_count; i++)
        if (steps_widen(&shard->slices[i].window, staleness))
            return dp_fail(err, DP_NOMEM, "out of memory for %u open steps", staleness + 1);
    consistency_forget(&shard->own.consistency, shard->global_low);
    if (!consistency_set(&shard->own.consistency, step, staleness))
        return dp_fail(err, DP_BUSY, "the consistency was set %d times within the steps that are open",
                       CONSISTENCY_CHANGES_MAX);
    return DP_OK;
}

static dp_err apply(struct shard *shard, uint64_t step, const struct setting *setting, dp_error *err)
{
    if (step >= shard->total_steps)
        return DP_OK; /* no step is left to change */
    return setting->kind == SETTING_LR ? set_lr(shard, step, setting->lr, err)
                                       : set_consistency(shard, step, setting->staleness, err);
}

void shard_set(struct shard *shard, uint64_t step, const struct setting *setting)
{
    dp_error err;
    if (apply(shard, step, setting, &err))
        shard_fail(shard, &err);
    set_barrier(shard, UINT64_MAX, setting->kind);
    for (uint32_t i = 0; i < shard->slice_count; i++)
        shard_advance(shard, i);
    shard_rows_advance_all(shard);
    if (shard->roster.on)
        roster_look(shard);
}
