/* Messages of tables; see frame_rows.h. Thread: any. */
#include "proto/frame_rows.h"

#include <assert.h>
#include <xxhash.h>

static bool keys_in_message(const Dp__Keys *keys)
{
    return keys && keys->sent;
}

bool frame_rows_pushed(const Dp__RowsPushPull *msg)
{
    return msg->push && msg->push_keys && msg->push_keys->count > 0;
}

struct frame_rows frame_rows_of(const Dp__RowsPushPull *msg)
{
    struct frame_rows at = {FRAME_NONE, FRAME_NONE, FRAME_NONE, 0};
    if (keys_in_message(msg->push_keys))
        at.push_ids = at.count++;
    if (frame_rows_pushed(msg) && !msg->slab)
        at.values = at.count++;
    if (keys_in_message(msg->pull_keys))
        at.pull_ids = at.count++;
    assert(at.count <= 3);
    return at;
}

uint64_t frame_keys_hash(const void *ids, size_t count)
{
    return count ? XXH3_64bits(ids, count * sizeof(uint64_t)) : 0;
}
