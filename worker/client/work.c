/* The calls of dp.h: tasks, and handing in.
 *
 * Invariant: after client->tell.end was set, dp_next returns it and nothing else happens. Thread: the one that uses the
 * client. */
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/util.h"
#include "worker/client/answers.h"
#include "worker/client/client.h"
#include "worker/client/head.h"
#include "worker/client/state.h"

enum { PUSH_TEXT_MAX = 100 };

/* Takes what is known to have arrived, of the shards up to the last answer of the step wanted: see wait_look and
 * wait_once. */
static dp_err work_drain(struct dp_client *client, dp_error *err)
{
    dp_err e = head_drain(client, err);
    if (e == DP_OK)
        e = answers_drain(client, err);
    if (atomic_load_explicit(&client->beat.refused, memory_order_relaxed))
        client->session.lost = true;
    if (e == DP_OK && theta_ended(&client->plane.theta))
        tell_end(&client->tell, DP_JOB_DONE, "the job is done");
    return e;
}

/* Goes on to the next step where theta of it is whole, or where all shards have completed this one without us. */
static void work_advance(struct dp_client *client)
{
    struct theta *theta = &client->plane.theta;
    uint64_t low = atomic_load_explicit(&client->beat.global_low, memory_order_relaxed);
    if (theta_whole(theta)) {
        theta_turn(theta);
        step_begin(client);
        client->plane.progress_ms = mono_ms();
        wait_ends(&client->wait);
    }
    if (low <= (theta->valid ? theta->step : theta->want))
        return;
    if (theta->valid && client->open.staleness > 0)
        step_complete(client, low);
    else if (client->plane.pulled)
        client->step.closed = true; /* the next step's theta is on its way: nothing to compute until it is here */
    else
        step_skip_to(client, MAX(low, theta->want));
}

_Static_assert((int)QUESTION_GRADIENT == (int)DP_TRAIN && (int)QUESTION_LOSS == (int)DP_EVAL,
               "a task says the question by its number");

static void task_fill(struct dp_client *client, uint32_t count, dp_task *ret_task)
{
    const struct row_group *group = client->plane.tables.task;
    client->step.busy_since_us = mono_ns() / 1000;
    *ret_task = (dp_task){.kind = (dp_task_kind)client->step.asks->number,
                          .step = client->plane.theta.step,
                          .theta = group ? tables_theta(group, &client->plane.theta) : client->plane.theta.now,
                          .slots = client->step.task_slots,
                          .slot_count = count,
                          .theta_elems = step_task_elems(client),
                          .rows = group ? group->list->tables : NULL,
                          .tag = group ? group->tag : 0};
}

/* Takes what has arrived, and makes connections anew if that is needed. True in *ret_again: look again at once. */
static dp_err work_take(struct dp_client *client, bool *ret_again, dp_error *err)
{
    dp_err e = client->tell.end.code ? DP_OK : work_drain(client, err);
    *ret_again = false;
    if (e == DP_OK)
        e = tell_check_end(&client->tell, err);
    if (e || (!client->session.lost && !outage_is_over(&client->plane)))
        return e;
    e = client->session.lost ? session_rejoin(client, err) : session_resume(client, err);
    *ret_again = e == DP_OK;
    if (e && e != DP_STOPPED)
        tell_end(&client->tell, e, err->text);
    return e;
}

/* Goes on with what has arrived, without waiting for more. Slots to compute; if none, it asked for what is lacking. */
static dp_err work_turn(struct dp_client *client, uint32_t *ret_slots, dp_error *err)
{
    bool again = true;
    while (again) {
        dp_err e = tell_check_stop(&client->tell, err);
        if (e == DP_OK)
            e = work_take(client, &again, err);
        if (e)
            return e;
    }
    work_advance(client);
    *ret_slots = step_task(client);
    return *ret_slots > 0 ? DP_OK : step_ask(client, err);
}

dp_err dp_next(dp_client *client, dp_task *ret_task, dp_error *err)
{
    dp_error unused;
    err = err ? err : &unused;
    if (!client || !ret_task)
        return client_missing("dp_next", client ? "ret_task" : "client", err);
    if (client_check_process(client, err))
        return err->code;
    if (!client->session.joined)
        return dp_fail(err, DP_USAGE, "dp_next was called without a successful dp_join");
    /* If all is pushed, it will wait, which looks. */
    dp_err e = client->plane.pulled ? DP_OK : wait_look(client, err);
    while (e == DP_OK) {
        uint32_t count;
        e = work_turn(client, &count, err);
        if (e == DP_OK && count > 0) {
            task_fill(client, count, ret_task);
            return client_result(DP_OK, err);
        }
        if (e == DP_OK)
            e = wait_once(client, err);
    }
    return e;
}

int dp_task_wanted(dp_client *client)
{
    dp_error err;
    if (!client || !client->session.joined || client_inherited(client) || client->tell.end.code ||
        tell_stopped(&client->tell))
        return 0;
    dp_err e = wait_look(client, &err);
    if (e == DP_OK)
        e = work_drain(client, &err);
    if (e)
        tell_end(&client->tell, e, err.text);
    uint64_t low = atomic_load_explicit(&client->beat.global_low, memory_order_relaxed);
    bool passed = client->open.staleness == 0 && theta_whole(&client->plane.theta); /* on arrival that says nothing */
    return !client->tell.end.code && !client->step.closed && !passed && low <= client->plane.theta.step;
}

uint64_t dp_step_rows(const dp_client *client, uint64_t step, uint32_t slot, uint64_t *rows, uint64_t max)
{
    if (!client || !client->session.joined || step >= client->job.steps || slot >= client->job.plan.slots)
        return 0;
    const struct plan_step at = plan_at(&client->job.plan, step);
    uint64_t first, count;
    plan_slot(&client->job.plan, &at, slot, &first, &count);
    if (rows && max > 0)
        plan_rows(&client->job.plan, &at, first, MIN(count, max), rows);
    return count;
}

uint64_t dp_slot_rows(const dp_client *client, uint32_t slot, uint64_t *rows, uint64_t max)
{
    return client && client->plane.theta.valid ? dp_step_rows(client, client->plane.theta.step, slot, rows, max) : 0;
}

static float *no_gradient(dp_err code)
{
    (void)code;
    return NULL;
}

float *dp_gradient(dp_client *client, dp_error *err)
{
    if (!client)
        return no_gradient(client_missing("dp_gradient", "client", err));
    if (client_inherited(client))
        return no_gradient(client_check_process(client, err));
    if (!client->session.joined)
        return no_gradient(dp_fail(err, DP_USAGE, "dp_gradient was called without a successful dp_join"));
    carrier_free_slabs(&client->plane);
    uint64_t elems = step_task_elems(client);
    struct slab *slab = slab_take(&client->plane.slabs, elems);
    if (!slab)
        return no_gradient(
            dp_fail(err, DP_NOMEM, "no memory for a gradient of %llu values", (unsigned long long)elems));
    (void)!client_result(DP_OK, err);
    return slab->values;
}

void dp_gradient_free(dp_client *client, float *grad)
{
    struct slab *slab = client && grad && !client_inherited(client) ? slab_find(&client->plane.slabs, grad) : NULL;
    if (slab)
        slab_drop(slab);
}

/* The reason why this cannot be handed in to the task at hand, in `text` or elsewhere; NULL if it can. */
static const char *push_wrong(const struct dp_client *client, const float *grad, const dp_metrics *metrics,
                              char text[PUSH_TEXT_MAX])
{
    const struct question *asks = client->step.asks;
    if (!client->session.joined || !client->plane.theta.valid)
        return "there is no task";
    if (!metrics)
        return "metrics are missing";
    if (metrics->count > FRAME_SAMPLES_MAX)
        return "more samples than a slot may have, 2^40";
    if (metrics->correct > metrics->count)
        return "more samples are predicted right than there are";
    if (metrics->count == 0 && !(metrics->loss == 0))
        return "a loss of no samples";
    if (client->step.closed)
        return NULL;
    if (!asks->pushes == !grad)
        return NULL;
    if (asks->pushes)
        snprintf(text, PUSH_TEXT_MAX, "the %s is missing", asks->pushes);
    else
        snprintf(text, PUSH_TEXT_MAX, "%s task takes no gradient", asks->a_step);
    return text;
}

/* Counts the slot for the head, which measures our speed by it. */
static void count_busy(struct dp_client *client)
{
    uint64_t now_us = mono_ns() / 1000;
    if (client->step.asks->timed) {
        atomic_fetch_add_explicit(&client->beat.slots_computed, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&client->beat.busy_us, now_us - client->step.busy_since_us, memory_order_relaxed);
    }
    client->step.busy_since_us = now_us;
}

dp_err dp_push(dp_client *client, uint32_t slot, float *grad, const dp_metrics *metrics, dp_error *err)
{
    if (!client)
        return client_missing("dp_push", "client", err);
    dp_err e = client_check_process(client, err);
    if (e)
        return e;
    char text[PUSH_TEXT_MAX];
    struct slab *slab = grad ? slab_find(&client->plane.slabs, grad) : NULL;
    if (grad && !slab)
        return dp_fail(err, DP_USAGE, "slot %u: the gradient is not one of dp_gradient", slot);
    const char *wrong = push_wrong(client, grad, metrics, text);
    if (!wrong) {
        count_busy(client);
        e = step_hand_in(client, slot, (struct node_value){.slab = slab, .metrics = *metrics}, err);
        return client_result(e, err);
    }
    dp_gradient_free(client, grad);
    return dp_fail(err, DP_USAGE, "slot %u: %s", slot, wrong);
}

dp_err dp_step(dp_client *client, float *grad, const dp_metrics *metrics, dp_task *ret_task, dp_error *err)
{
    dp_error unused;
    err = err ? err : &unused;
    if (!client)
        return client_missing("dp_step", "client", err);
    if (client_check_process(client, err))
        return err->code;
    if (!client->head.view.local || !ret_task) {
        dp_gradient_free(client, grad);
        return ret_task ? dp_fail(err, DP_USAGE, "dp_step is for those who joined by dp_join_free")
                        : client_missing("dp_step", "ret_task", err);
    }
    dp_err e = dp_push(client, client->session.joined ? client->step.task_slots[0] : 0, grad, metrics, err);
    return e ? e : dp_next(client, ret_task, err);
}
