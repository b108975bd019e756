/* Answers to workers' questions about a step: a worker that knows what has come sends only the rest again.
 * Thread: shard. */
#include "server/shard/ask.h"

static bool waits_for(const struct parked_list *list, uint32_t session, uint64_t step)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->list[i].session == session)
            return list->list[i].step == step;
    return false;
}

bool shard_ask(struct shard *shard, const struct shard_question *question, struct shard_held *ret_held)
{
    const struct shard_tables *tables = &shard->tables;
    const uint32_t slice = question->piece - shard->first_slice, part = question->piece - tables->first_part;
    const struct steps *window;
    const struct parked_list *parked;
    if (question->piece >= shard->first_slice && slice < shard->slice_count) {
        window = &shard->slices[slice].window;
        parked = &shard->parked[slice];
    } else if (question->piece >= tables->first_part && part < tables->count) {
        window = &tables->parts[part].window;
        parked = &tables->parked[part];
    } else {
        return false;
    }
    *ret_held = (struct shard_held){.accepted = shard->accepted,
                                    .accepted_bytes = steps_accepted(window, question->step, shard->accepted),
                                    .waits = waits_for(parked, question->session, question->pull_step)};
    return true;
}
