/* The step at hand: what is owed, what has been handed in, what has been sent.
 *
 * Invariants: a slab of `held` and of `sent` has one reference of ours; what was sent is kept until the next step
 * begins, so that it can be sent again. Thread: the one that uses the client. */
#include <stdlib.h>

#include "client.h"
#include "kernels.h"
#include "util.h"

dp_err step_init(struct dp_client *client, dp_error *err)
{
    uint32_t slots = client->job.view.slots;
    client->slabs.elems = client->theta.elems;
    client->held = mem_array_zero(slots, sizeof *client->held);
    client->sent = mem_array_zero(slots, sizeof *client->sent);
    client->task_slots = mem_array_zero(SLOT_SET_MAX, sizeof *client->task_slots);
    if (!client->held || !client->sent || !client->task_slots)
        return dp_fail(err, DP_NOMEM, "no memory for %u slots", slots);
    return DP_OK;
}

void step_fini(struct dp_client *client)
{
    mem_freep(&client->held);
    mem_freep(&client->sent);
    mem_freep(&client->task_slots);
}

static void value_drop(struct node_value *value)
{
    if (value->slab)
        slab_drop(value->slab);
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
    client->eval = at.kind == PLAN_EVAL;
    client->pulled = false;
    client->closed = false;
    fold_begin(&client->fold, client->job.view.slots, &rows);
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
    fold_owe(&client->fold, &slots);
}

void step_skip_to(struct dp_client *client, uint64_t want)
{
    client->closed = true;
    step_drop_values(client);
    theta_want(&client->theta, want);
    plane_pull(client);
}

void step_forget(struct dp_client *client)
{
    if (!client->held)
        return;
    step_drop_values(client);
    theta_forget(&client->theta);
    client->pulled = false;
    client->closed = true;
}

uint32_t step_task(struct dp_client *client)
{
    struct slot_set missing;
    if (!client->theta.valid || client->closed)
        return 0;
    fold_missing(&client->fold, &missing);
    return slot_set_list(&missing, client->task_slots);
}

/* left = left + right, which is dropped. The order is that of the tree. */
static void value_fold(uint64_t elems, struct node_value *left, struct node_value *right)
{
    if (left->slab && right->slab)
        kernels_get()->add(elems, left->slab->values, right->slab->values, left->slab->values);
    left->metrics.count += right->metrics.count;
    left->metrics.loss += right->metrics.loss;
    left->metrics.correct += right->metrics.correct;
    value_drop(right);
}

static void step_send(struct dp_client *client, struct fold_node node)
{
    struct node_value *value = &client->held[fold_value(&client->fold, node)];
    client->sent[client->sent_count++] = (struct sent_node){node, *value};
    *value = (struct node_value){0};
    struct slot_set missing;
    fold_missing(&client->fold, &missing);
    plane_push(client, !client->pulled && slot_set_empty(&missing));
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
    if (!client->closed)
        answer = fold_hand_in(&client->fold, slot, merges, &merge_count, &node);
    if (answer == FOLD_IGNORED) {
        value_drop(&value);
        return DP_OK;
    }
    client->held[slot] = value;
    atomic_fetch_add_explicit(&client->beat.slots_done, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&client->beat.samples, value.metrics.count, memory_order_relaxed);
    for (size_t i = 0; i < merge_count; i++)
        value_fold(client->theta.elems, &client->held[merges[i].left], &client->held[merges[i].right]);
    if (answer == FOLD_SEND)
        step_send(client, node);
    return DP_OK;
}
