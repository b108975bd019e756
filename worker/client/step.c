/* The step at hand. Thread: the one that uses the client. */
#include "worker/client/step.h"

#include <assert.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "worker/client/plane/plane.h"
#include "worker/client/state.h"
#include "worker/client/state/finite.h"

dp_err step_init(struct dp_client *client, dp_error *err)
{
    uint32_t slots = client->job.view.slots;
    client->step.held = mem_array_zero(slots, sizeof *client->step.held);
    client->step.task_slots = mem_array_zero(SLOT_SET_MAX, sizeof *client->step.task_slots);
    if (!client->step.held || !client->step.task_slots)
        return dp_fail(err, DP_NOMEM, "no memory for %u slots", slots);
    return plane_init(&client->plane, slots, err);
}

static void step_drop_values(struct dp_client *client)
{
    plane_drop_sent(&client->plane);
    for (uint32_t slot = 0; slot < client->job.view.slots; slot++)
        value_drop(&client->step.held[slot]);
}

void step_fini(struct dp_client *client)
{
    if (client->step.held)
        step_drop_values(client);
    mem_freep(&client->step.held);
    mem_freep(&client->step.task_slots);
    plane_fini(&client->plane);
}

static struct slot_set step_rows(const struct plan *plan, const struct plan_step *at)
{
    struct slot_set rows = {0};
    for (uint32_t slot = 0; slot < plan->slots; slot++)
        if (!plan_slot_empty(plan, at, slot))
            slot_set_add(&rows, slot);
    return rows;
}

void step_owe(struct dp_client *client)
{
    struct slot_set slots;
    if (!client->plane.theta.valid || client->step.closed)
        return;
    duty_at(&client->duty, client->plane.theta.step, &slots);
    open_steps_missing(&client->open, client->plane.theta.step, &slots);
    fold_owe(&client->fold, &slots);
}

void step_begin(struct dp_client *client)
{
    const struct plan_step at = plan_at(&client->job.plan, client->plane.theta.step);
    const struct slot_set rows = step_rows(&client->job.plan, &at);
    assert(client->plane.theta.valid && client->step.held);
    step_drop_values(client);
    tables_turn(&client->plane.tables);
    client->step.asks = at.asks;
    client->plane.pulled = false;
    client->step.closed = false;
    fold_begin(&client->fold, client->job.view.slots, &rows);
    open_steps_begin(&client->open, client->plane.theta.step, client->plane.theta.staleness);
    open_steps_done(&client->open, client->plane.theta.step, &client->plane.theta.accepted);
    if (client->open.staleness > 0 || client->job.singly)
        fold_singly(&client->fold);
    step_owe(client);
    atomic_store_explicit(&client->beat.step, client->plane.theta.step, memory_order_relaxed);
    atomic_store_explicit(&client->beat.slots_done, 0, memory_order_relaxed);
}

/* If slots are sent one by one, the others stand. The pull that came with the refused push was not taken. */
void step_anew(struct dp_client *client)
{
    if (!client->plane.theta.valid || client->step.closed)
        return;
    client->plane.pulled = false;
    if (client->fold.singly)
        return;
    const struct slot_set rows = client->fold.rows;
    step_drop_values(client);
    fold_begin(&client->fold, client->job.view.slots, &rows);
    step_owe(client);
}

/* Also where theta was lost with a session: the steps before the one that is wanted again may be open. */
uint64_t step_floor(const struct dp_client *client)
{
    uint64_t at = client->plane.theta.valid ? client->plane.theta.step : client->plane.theta.want;
    return client->open.staleness > 0 ? MIN(open_steps_floor(&client->open), at) : at;
}

static bool step_finished(const struct dp_client *client)
{
    struct slot_set missing;
    fold_missing(&client->fold, &missing);
    return client->step.closed || slot_set_empty(&missing);
}

/* On arrival the next step may be an earlier one; else it is the one that theta_turn has named. Whether it changed. */
static bool step_aim(struct dp_client *client)
{
    if (!client->plane.theta.valid || client->open.staleness == 0)
        return false;
    uint64_t next = open_steps_next(&client->open, &client->duty, &client->job.plan);
    if (next == client->plane.theta.want)
        return false;
    theta_want(&client->plane.theta, next);
    return true;
}

void step_complete(struct dp_client *client, uint64_t low)
{
    if (client->open.staleness == 0 || !client->plane.theta.valid) {
        step_skip_to(client, low);
        return;
    }
    open_steps_complete(&client->open, low);
    client->step.closed |= client->plane.theta.step < low;
}

void step_assigned(struct dp_client *client, const struct duty_assign *assign)
{
    struct slot_set asked = {0};
    step_owe(client);
    if (!client->plane.theta.valid || client->open.staleness == 0)
        return;
    for (size_t i = 0; i < assign->extra_count; i++)
        if (assign->extra_slots[i] < SLOT_SET_MAX)
            slot_set_add(&asked, assign->extra_slots[i]);
    if (assign->extra_step != client->plane.theta.step) /* nodes of this one are sent again by themselves */
        open_steps_asked(&client->open, assign->extra_step, &asked);
}

void step_skip_to(struct dp_client *client, uint64_t want)
{
    client->step.closed = true;
    client->plane.pulled = false;
    step_drop_values(client);
    tables_unwant(&client->plane.tables);
    theta_want(&client->plane.theta, want);
}

void step_lose(struct dp_client *client)
{
    if (client->step.held)
        step_drop_values(client);
    client->plane.pulled = false;
    client->step.closed = true;
}

void step_forget(struct dp_client *client)
{
    if (!client->step.held)
        return;
    step_lose(client);
    tables_forget(&client->plane.tables);
    theta_forget(&client->plane.theta);
    client->open = (struct open_steps){0};
}

/* Leaves the slots of one group whose rows are there. */
static void step_task_group(struct dp_client *client, struct slot_set *slots)
{
    const struct row_group *group = NULL;
    for (uint32_t slot = slot_set_first(slots, 0, SLOT_SET_MAX); slot < SLOT_SET_MAX && !group;
         slot = slot_set_first(slots, slot + 1, SLOT_SET_MAX)) {
        group = tables_group(&client->plane.tables, slot);
        if (group && group->lacking > 0)
            group = NULL;
    }
    client->plane.tables.task = group;
    if (group)
        slot_set_intersect(slots, &group->slots);
    else
        *slots = (struct slot_set){0};
}

uint32_t step_task(struct dp_client *client)
{
    struct slot_set missing;
    if (!client->plane.theta.valid || client->step.closed)
        return 0;
    fold_missing(&client->fold, &missing);
    if (tables_any(&client->plane.tables))
        step_task_group(client, &missing);
    return slot_set_list(&missing, client->step.task_slots);
}

uint64_t step_task_elems(const struct dp_client *client)
{
    const struct row_group *group = client->plane.tables.task;
    return client->plane.theta.elems + (group ? group->list->floats : 0);
}

/* Rows are asked for with the slots that the worker is known to hold then. */
static dp_err step_want_rows(struct dp_client *client, dp_error *err)
{
    struct slot_set slots = {0};
    if (!tables_any(&client->plane.tables))
        return DP_OK;
    if (client->plane.theta.want < client->job.steps) {
        const struct plan_step at = plan_at(&client->job.plan, client->plane.theta.want);
        const struct slot_set rows = step_rows(&client->job.plan, &at);
        duty_at(&client->duty, client->plane.theta.want, &slots);
        slot_set_intersect(&slots, &rows);
    }
    return tables_want(&client->plane.tables, &client->plane.theta, &slots, err);
}

/* Asks for rows of what is missing and has none; one question at a time. */
static dp_err step_want_more(struct dp_client *client, struct slot_set *missing, dp_error *err)
{
    if (tables_lacking(&client->plane.tables))
        return DP_OK;
    dp_err e = tables_want_more(&client->plane.tables, &client->plane.theta, missing, err);
    if (e == DP_OK)
        plane_pull_more(&client->plane);
    return e;
}

dp_err step_ask(struct dp_client *client, dp_error *err)
{
    struct slot_set missing = {0};
    if (client->plane.theta.valid && !client->step.closed)
        fold_missing(&client->fold, &missing);
    if (!slot_set_empty(&missing))
        return step_want_more(client, &missing, err);
    if (step_aim(client))
        client->plane.pulled = false;
    if (client->plane.pulled)
        return DP_OK;
    dp_err e = step_want_rows(client, err);
    if (e == DP_OK)
        plane_pull(&client->plane);
    return e;
}

static dp_err step_send(struct dp_client *client, struct fold_node node, dp_error *err)
{
    struct node_value *value = &client->step.held[fold_value(&client->fold, node)];
    assert(!client->step.closed);
    plane_keep(&client->plane, &(struct sent_node){node, *value});
    *value = (struct node_value){0};
    bool pull = !client->plane.pulled && step_finished(client);
    if (pull)
        (void)step_aim(client);
    dp_err e = pull ? step_want_rows(client, err) : DP_OK;
    if (e == DP_OK)
        plane_push(&client->plane, pull);
    return e;
}

/* The rows that a slot's gradient has behind the dense tensors; NULL where there are no tables. */
static struct row_list *slot_rows(const struct dp_client *client, uint32_t slot)
{
    const struct row_group *group = tables_group(&client->plane.tables, slot);
    return group ? group->list : NULL;
}

/* On arrival a slot is done with when it has been handed in. */
static void step_done(struct dp_client *client, uint32_t slot)
{
    struct slot_set done = {0};
    slot_set_add(&done, slot);
    open_steps_done(&client->open, client->plane.theta.step, &done);
}

/* Whether a slot's gradient can be handed in, with the rows of `list` behind it. */
static dp_err hand_in_check(const struct dp_client *client, uint32_t slot, const struct node_value *value,
                            const struct row_list *list, dp_error *err)
{
    const struct gradient_place place = {&client->job.view, client->plane.theta.elems, client->plane.theta.step, slot};
    if (list && value->slab->room < client->plane.theta.elems + list->floats)
        return dp_fail(err, DP_USAGE,
                       "slot %u: the gradient has no room for the slot's rows: it was made for a task with other slots",
                       slot);
    return client->step.closed ? DP_OK : gradient_check(&place, value, list, err);
}

/* Folds what is held with what was handed in. */
static dp_err hand_in_fold(struct dp_client *client, uint32_t slot, const struct fold_merge *merges, size_t count,
                           dp_error *err)
{
    const struct values_room room = {&client->plane.slabs, &client->plane.tables.layout, client->plane.theta.elems};
    struct node_value *held = client->step.held;
    dp_err e = DP_OK;
    for (size_t i = 0; e == DP_OK && i < count; i++)
        e = value_fold(&room, &held[merges[i].left], &held[merges[i].right], err);
    if (client->open.staleness > 0)
        step_done(client, slot);
    return e;
}

dp_err step_hand_in(struct dp_client *client, uint32_t slot, struct node_value value, dp_error *err)
{
    struct fold_merge merges[FOLD_LEVEL_MAX];
    struct fold_node node;
    size_t merge_count;
    if (slot >= client->job.view.slots) {
        value_drop(&value);
        return dp_fail(err, DP_RANGE, "slot %u was handed in, the job has %u", slot, client->job.view.slots);
    }
    enum fold_answer answer = FOLD_IGNORED;
    struct row_list *list = client->step.closed || !value.slab ? NULL : slot_rows(client, slot);
    dp_err e = hand_in_check(client, slot, &value, list, err);
    if (e == DP_OK && !client->step.closed)
        answer = fold_hand_in(&client->fold, slot, merges, &merge_count, &node);
    if (answer == FOLD_IGNORED) {
        value_drop(&value);
        return e;
    }
    if (list)
        value_take_rows(&value, client->plane.theta.elems, list);
    client->step.held[slot] = value;
    atomic_fetch_add_explicit(&client->beat.slots_done, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&client->beat.samples, value.metrics.count, memory_order_relaxed);
    e = hand_in_fold(client, slot, merges, merge_count, err);
    return e == DP_OK && answer == FOLD_SEND ? step_send(client, node, err) : e;
}
