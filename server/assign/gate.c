#include "server/assign/gate.h"

#include "server/assign/drop.h"
#include "server/assign/ranks.h"
#include "server/assign/stall.h"
#include "server/talk/shared.h"

struct policy {
    void (*on_ready)(struct head *head, uint32_t shard, const struct event *event);
    void (*on_few)(struct head *head, uint32_t shard, uint64_t step);
    void (*on_stall)(struct head *head);
};

static const struct policy FREE = {.on_stall = head_stall_ask},
                           BY_ROSTER = {.on_ready = head_ranks_on_ready, .on_stall = head_stall_ask},
                           BY_DROP = {head_drop_on_ready, head_drop_on_few, head_drop_on_stall};

static const struct policy *policy_of(const struct head *head)
{
    if (head->job.core.droppable)
        return &BY_DROP;
    return head->job.core.local ? &BY_ROSTER : &FREE;
}

dp_err head_gate_start(struct head *head)
{
    dp_err e = head_ranks_start(head);
    return e ? e : head_drop_start(head);
}

void head_gate_stop(struct head *head)
{
    head_ranks_stop(head);
    head_drop_stop(head);
}

void head_gate_on_ready(struct head *head, uint32_t shard, const struct event *event)
{
    const struct policy *policy = policy_of(head);
    if (policy->on_ready)
        policy->on_ready(head, shard, event);
}

void head_gate_on_few(struct head *head, uint32_t shard, const struct event *event)
{
    const struct policy *policy = policy_of(head);
    if (policy->on_few)
        policy->on_few(head, shard, event->few.step);
}

void head_gate_on_stall(struct head *head)
{
    policy_of(head)->on_stall(head);
}
