/* Answers to questions about a step; see ask.h. Thread: shard. */
#include "server/shard/ask.h"

#include "server/shard/pieces.h"

static bool waits_for(const struct parked_list *list, uint32_t session, uint64_t step)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->list[i].session == session)
            return list->list[i].step == step;
    return false;
}

bool shard_ask(struct shard *shard, const struct shard_question *question, struct shard_held *ret_held)
{
    const struct piece *piece = pieces_find(shard, question->piece);
    if (!piece)
        return false;
    *ret_held = (struct shard_held){.accepted = shard->accepted,
                                    .accepted_bytes = steps_accepted(piece->window, question->step, shard->accepted),
                                    .waits = waits_for(&piece->parked, question->session, question->pull_step)};
    return true;
}

uint32_t shard_owed(const struct shard *shard, uint64_t *ret_step, uint32_t *owed)
{
    bool owes[STEPS_SLOTS_MAX] = {false};
    uint32_t count = 0;
    *ret_step = shard->low;
    for (uint32_t i = 0; i < shard->piece_count; i++) {
        const struct steps *window = shard->pieces[i].window;
        uint32_t n = window->next == shard->low ? steps_owed(window, shard->low, owed) : 0;
        for (uint32_t k = 0; k < n; k++)
            owes[owed[k]] = true;
    }
    for (uint32_t k = 0; k < shard->own.plan.slots; k++)
        if (owes[k])
            owed[count++] = k;
    return count;
}
