/* Slots that the shards are owed of a step. All shards that have not passed it are asked, since a worker may reach one
 * of them and not another. Thread: head. */
#include "server/assign/owed.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/talk/shared.h"

dp_err head_owed_start(struct head *head)
{
    head->owed->slots = mem_array_zero(head->job.core.plan.slots, sizeof *head->owed->slots);
    return head->owed->slots ? DP_OK : DP_NOMEM;
}

void head_owed_stop(struct head *head)
{
    free(head->owed->slots);
    *head->owed = (struct owed){0};
}

void head_owed_ask(struct head *head, uint64_t step, void (*then)(struct head *head))
{
    struct owed *owed = head->owed;
    assert(owed->missing == 0);
    memset(owed->slots, 0, head->job.core.plan.slots * sizeof *owed->slots);
    *owed = (struct owed){.step = step, .slots = owed->slots, .then = then};
    for (uint32_t s = 0; s < head->job.shard_count; s++) {
        if (!job_shard_holds(&head->job.shards[s]))
            continue;
        owed->holding++;
        if (seats_at(&head->seats, s)->low <= step &&
            seats_send(&head->seats, s, &(struct command){.kind = COMMAND_OWED}))
            owed->missing++;
        else
            owed->passed = true;
    }
}

uint32_t head_owed_list(const struct head *head, uint32_t *slots)
{
    uint32_t count = 0;
    for (uint32_t k = 0; k < head->job.core.plan.slots; k++)
        if (head->owed->slots[k])
            slots[count++] = k;
    return count;
}

void head_on_owed(struct head *head, const struct event *event)
{
    struct owed *owed = head->owed;
    const struct event_owed *said = &event->owed;
    bool at = said->step == owed->step;
    if (owed->missing == 0 || !owed->slots)
        return; /* nobody asked: a job that is gone */
    owed->missing--;
    owed->passed |= !at;
    owed->shards += at && said->count > 0;
    for (uint32_t i = 0; at && i < said->count; i++)
        owed->slots[said->slots[i]] = true;
    if (owed->missing == 0)
        owed->then(head);
}
