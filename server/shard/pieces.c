/* The pieces of a shard; see pieces.h. Invariant: their ids ascend, as those of the job's kinds of pieces lie behind
 * one another. Thread: shard. */
#include "server/shard/pieces.h"

#include <assert.h>

#include "common/base/util.h"

struct piece *pieces_find(const struct shard *shard, uint32_t id)
{
    uint32_t low = 0, high = shard->piece_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        assert(middle == 0 || shard->pieces[middle - 1].id < shard->pieces[middle].id);
        if (shard->pieces[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < shard->piece_count && shard->pieces[low].id == id ? &shard->pieces[low] : NULL;
}

uint64_t pieces_opened(const struct shard *shard)
{
    uint64_t opened = 0;
    for (uint32_t i = 0; i < shard->piece_count; i++)
        opened = MAX(opened, shard->pieces[i].window->opened);
    return opened;
}
