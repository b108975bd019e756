/* The step at hand: what is owed, what has been handed in, what has been sent.
 *
 * Invariants: a slab of `held` and of `sent` has one reference of ours; what was sent is kept until the next step
 * begins, so that it can be sent again. Thread: the one that uses the client. */
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "common/kernels/kernels.h"
#include "worker/client/client.h"

dp_err step_init(struct dp_client *client, dp_error *err)
{
    uint32_t slots = client->job.view.slots;
    client->held = mem_array_zero(slots, sizeof *client->held);
    client->sent = mem_array_zero(slots, sizeof *client->sent);
    client->task_slots = mem_array_zero(SLOT_SET_MAX, sizeof *client->task_slots);
    if (!client->held || !client->sent || !client->task_slots)
        return dp_fail(err, DP_NOMEM, "no memory for %u slots", slots);
    return DP_OK;
}

static void value_drop(struct node_value *value)
{
    if (value->slab)
        slab_drop(value->slab);
    row_list_drop(value->list);
    *value = (struct node_value){0};
}

static void step_drop_values(struct dp_client *client)
{
    for (uint32_t i = 0; i < client->sent_count; i++)
        value_drop(&client->sent[i].value);
    client->sent_count = 0;
    for (uint32_t slot = 0; slot < client->job.view.slots; slot++)
        value_drop(&client->held[slot]);
}

void step_fini(struct dp_client *client)
{
    if (client->held && client->sent)
        step_drop_values(client);
    mem_freep(&client->held);
    mem_freep(&client->sent);
    mem_freep(&client->task_slots);
}

static struct slot_set step_rows(const struct plan *plan, const struct plan_step *at)
{
    struct slot_set rows = {0};
    for (uint32_t slot = 0; slot < plan->slots; slot++)
        if (!plan_slot_empty(plan, at, slot))
            slot_set_add(&rows, slot);
    return rows;
}

void step_begin(struct dp_client *client)
{
    const struct plan_step at = plan_at(&client->job.plan, client->theta.step);
    const struct slot_set rows = step_rows(&client->job.plan, &at);
    step_drop_values(client);
    tables_turn(&client->tables);
    client->eval = at.kind == PLAN_EVAL;
    client->pulled = false;
    client->closed = false;
    fold_begin(&client->fold, client->job.view.slots, &rows);
    arrival_begin(&client->arrival, client->theta.step, client->theta.staleness);
    arrival_done(&client->arrival, client->theta.step, &client->theta.accepted);
    if (client->arrival.staleness > 0 || client->job.singly)
        fold_singly(&client->fold);
    step_owe(client);
    atomic_store_explicit(&client->beat.step, client->theta.step, memory_order_relaxed);
    atomic_store_explicit(&client->beat.slots_done, 0, memory_order_relaxed);
}

void step_owe(struct dp_client *client)
{
    struct slot_set slots;
    if (!client->theta.valid || client->closed)
        return;
    duty_at(&client->duty, client->theta.step, &slots);
    arrival_missing(&client->arrival, client->theta.step, &slots);
    fold_owe(&client->fold, &slots);
}

/* If slots are sent one by one, the others stand. The pull that came with the refused push was not taken. */
void step_anew(struct dp_client *client)
{
    if (!client->theta.valid || client->closed)
        return;
    client->pulled = false;
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
    uint64_t at = client->theta.valid ? client->theta.step : client->theta.want;
    return client->arrival.staleness > 0 ? MIN(arrival_floor(&client->arrival), at) : at;
}

static bool step_finished(const struct dp_client *client)
{
    struct slot_set missing;
    fold_missing(&client->fold, &missing);
    return client->closed || slot_set_empty(&missing);
}

/* On arrival the next step may be an earlier one; else it is the one that theta_turn has named. Whether it changed. */
static bool step_aim(struct dp_client *client)
{
    if (!client->theta.valid || client->arrival.staleness == 0)
        return false;
    uint64_t next = arrival_next(&client->arrival, &client->duty, &client->job.plan);
    if (next == client->theta.want)
        return false;
    theta_want(&client->theta, next);
    return true;
}

void step_complete(struct dp_client *client, uint64_t low)
{
    if (client->arrival.staleness == 0 || !client->theta.valid) {
        step_skip_to(client, low);
        return;
    }
    arrival_complete(&client->arrival, low);
    client->closed |= client->theta.step < low;
}

void step_assigned(struct dp_client *client, const struct duty_assign *assign)
{
    struct slot_set asked = {0};
    step_owe(client);
    if (!client->theta.valid || client->arrival.staleness == 0)
        return;
    for (size_t i = 0; i < assign->extra_count; i++)
        if (assign->extra_slots[i] < SLOT_SET_MAX)
            slot_set_add(&asked, assign->extra_slots[i]);
    if (assign->extra_step != client->theta.step) /* what was sent of this one is sent again by itself */
        arrival_asked(&client->arrival, assign->extra_step, &asked);
}

void step_skip_to(struct dp_client *client, uint64_t want)
{
    client->closed = true;
    client->pulled = false;
    step_drop_values(client);
    tables_unwant(&client->tables);
    theta_want(&client->theta, want);
}

void step_lose(struct dp_client *client)
{
    if (client->held)
        step_drop_values(client);
    client->pulled = false;
    client->closed = true;
}

void step_forget(struct dp_client *client)
{
    if (!client->held)
        return;
    step_lose(client);
    tables_forget(&client->tables);
    theta_forget(&client->theta);
    client->arrival = (struct arrival){0};
}

/* Of the slots, those of one group whose rows are there. */
static void step_task_group(struct dp_client *client, struct slot_set *slots)
{
    const struct row_group *group = NULL;
    for (uint32_t slot = slot_set_first(slots, 0, SLOT_SET_MAX); slot < SLOT_SET_MAX && !group;
         slot = slot_set_first(slots, slot + 1, SLOT_SET_MAX)) {
        group = tables_group(&client->tables, slot);
        if (group && group->lacking > 0)
            group = NULL;
    }
    client->tables.task = group;
    if (group)
        slot_set_intersect(slots, &group->slots);
    else
        *slots = (struct slot_set){0};
}

uint32_t step_task(struct dp_client *client)
{
    struct slot_set missing;
    if (!client->theta.valid || client->closed)
        return 0;
    fold_missing(&client->fold, &missing);
    if (tables_any(&client->tables))
        step_task_group(client, &missing);
    return slot_set_list(&missing, client->task_slots);
}

uint64_t step_task_elems(const struct dp_client *client)
{
    const struct row_group *group = client->tables.task;
    return client->theta.elems + (group ? group->list->floats : 0);
}

/* Rows are asked for with the slots that the worker is known to hold then. */
static dp_err step_want_rows(struct dp_client *client, dp_error *err)
{
    struct slot_set slots = {0};
    if (!tables_any(&client->tables))
        return DP_OK;
    if (client->theta.want < client->job.steps) {
        const struct plan_step at = plan_at(&client->job.plan, client->theta.want);
        const struct slot_set rows = step_rows(&client->job.plan, &at);
        duty_at(&client->duty, client->theta.want, &slots);
        slot_set_intersect(&slots, &rows);
    }
    return tables_want(&client->tables, &client->theta, &slots, err);
}

/* Asks for rows of what is missing and has none; one question at a time. */
static dp_err step_want_more(struct dp_client *client, struct slot_set *missing, dp_error *err)
{
    if (tables_lacking(&client->tables))
        return DP_OK;
    dp_err e = tables_want_more(&client->tables, &client->theta, missing, err);
    if (e == DP_OK)
        plane_pull_more(client);
    return e;
}

dp_err step_ask(struct dp_client *client, dp_error *err)
{
    struct slot_set missing = {0};
    if (client->theta.valid && !client->closed)
        fold_missing(&client->fold, &missing);
    if (!slot_set_empty(&missing))
        return step_want_more(client, &missing, err);
    if (step_aim(client))
        client->pulled = false;
    if (client->pulled)
        return DP_OK;
    dp_err e = step_want_rows(client, err);
    if (e == DP_OK)
        plane_pull(client);
    return e;
}

/* Gives the value all rows of the list, which has its own among them. */
static dp_err value_widen(struct dp_client *client, struct node_value *value, struct row_list *list, dp_error *err)
{
    const uint64_t dense = client->theta.elems;
    struct slab *slab = slab_take(&client->slabs, dense + list->floats);
    if (!slab)
        return dp_fail(err, DP_NOMEM, "no memory for %llu values of rows", (unsigned long long)list->floats);
    memcpy(slab->values, value->slab->values, dense * sizeof *slab->values);
    row_values_spread(&client->tables.layout, value->list, value->slab->values + dense, list, slab->values + dense);
    slab_drop(value->slab);
    row_list_drop(value->list);
    row_list_keep(list);
    value->slab = slab;
    value->list = list;
    return DP_OK;
}

/* Values of slots of different groups have different rows; a row that one lacks is 0 there, and as no value is -0, the
 * sum is the other's. */
static dp_err values_align(struct dp_client *client, struct node_value *left, struct node_value *right, dp_error *err)
{
    struct row_list *both;
    if (left->list == right->list || !left->slab || !right->slab)
        return DP_OK;
    dp_err e = row_list_merge(&client->tables.layout, left->list, right->list, &both, err);
    if (e)
        return e;
    e = value_widen(client, left, both, err);
    if (e == DP_OK)
        e = value_widen(client, right, both, err);
    row_list_drop(both);
    return e;
}

/* left = left + right, which is dropped. The order is that of the tree. */
static dp_err value_fold(struct dp_client *client, struct node_value *left, struct node_value *right, dp_error *err)
{
    dp_err e = values_align(client, left, right, err);
    if (e)
        return e;
    if (left->slab && right->slab)
        kernels_get()->add(client->theta.elems + (left->list ? left->list->floats : 0), left->slab->values,
                           right->slab->values, left->slab->values);
    left->metrics.count += right->metrics.count;
    left->metrics.loss += right->metrics.loss;
    left->metrics.correct += right->metrics.correct;
    value_drop(right);
    return DP_OK;
}

static dp_err step_send(struct dp_client *client, struct fold_node node, dp_error *err)
{
    struct node_value *value = &client->held[fold_value(&client->fold, node)];
    client->sent[client->sent_count++] = (struct sent_node){node, *value};
    *value = (struct node_value){0};
    bool pull = !client->pulled && step_finished(client);
    if (pull)
        (void)step_aim(client);
    dp_err e = pull ? step_want_rows(client, err) : DP_OK;
    if (e == DP_OK)
        plane_push(client, pull);
    return e;
}

/* The rows that a slot's gradient has behind the dense tensors; NULL where there are no tables. */
static struct row_list *slot_rows(const struct dp_client *client, uint32_t slot)
{
    const struct row_group *group = tables_group(&client->tables, slot);
    return group ? group->list : NULL;
}

/* Who folds two values decides whether a row of one of them is added to 0 or stays as it is: -0 would tell. */
static void value_rows(const struct dp_client *client, struct node_value *value, struct row_list *list)
{
    float *rows = value->slab->values + client->theta.elems;
    kernels_get()->canonicalize(list->floats, rows, rows);
    row_list_keep(list);
    value->list = list;
}

/* On arrival a slot is done with when it has been handed in. */
static void step_done(struct dp_client *client, uint32_t slot)
{
    struct slot_set done = {0};
    slot_set_add(&done, slot);
    arrival_done(&client->arrival, client->theta.step, &done);
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
    struct row_list *list = client->closed || !value.slab ? NULL : slot_rows(client, slot);
    if (list && value.slab->room < client->theta.elems + list->floats) {
        value_drop(&value);
        return dp_fail(err, DP_USAGE,
                       "slot %u: the gradient has no room for the slot's rows: it was made for a task with other slots",
                       slot);
    }
    dp_err e = client->closed ? DP_OK : gradient_check(client, slot, &value, list, err);
    if (e) {
        value_drop(&value);
        return e;
    }
    if (!client->closed)
        answer = fold_hand_in(&client->fold, slot, merges, &merge_count, &node);
    if (answer == FOLD_IGNORED) {
        value_drop(&value);
        return DP_OK;
    }
    if (list)
        value_rows(client, &value, list);
    client->held[slot] = value;
    atomic_fetch_add_explicit(&client->beat.slots_done, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&client->beat.samples, value.metrics.count, memory_order_relaxed);
    for (size_t i = 0; e == DP_OK && i < merge_count; i++)
        e = value_fold(client, &client->held[merges[i].left], &client->held[merges[i].right], err);
    if (client->arrival.staleness > 0)
        step_done(client, slot);
    return e == DP_OK && answer == FOLD_SEND ? step_send(client, node, err) : e;
}
