/* Pieces of the parameters. Thread: the one that uses the client. */
#include "worker/client/plane/piece.h"

#include <assert.h>

#include "worker/client/plane/plane.h"
#include "worker/client/plane/rows.h"
#include "worker/client/plane/slice.h"

static const struct piece_ops *ops_of(const struct plane *plane, uint32_t piece, uint32_t *ret_index)
{
    const uint32_t slices = plane->theta.slice_count;
    assert(piece < plane->theta.piece_count);
    *ret_index = piece < slices ? piece : piece - slices;
    return piece < slices ? &PIECE_SLICE : &PIECE_PART;
}

uint32_t piece_count(const struct shard *shard)
{
    return shard->slice_count + shard->part_count;
}

uint32_t piece_id(const struct plane *plane, const struct shard *shard, uint32_t i)
{
    assert(i < piece_count(shard));
    return i < shard->slice_count ? shard->first_slice + i
                                  : plane->theta.slice_count + shard->first_part + (i - shard->slice_count);
}

bool piece_is_of(const struct plane *plane, const struct shard *shard, uint32_t piece)
{
    const uint32_t slices = plane->theta.slice_count;
    return piece < slices ? piece - shard->first_slice < shard->slice_count
                          : piece - slices - shard->first_part < shard->part_count;
}

bool piece_missing(const struct plane *plane, uint32_t piece)
{
    assert(piece < plane->theta.piece_count);
    return plane->theta.got[piece] == THETA_MISSING;
}

bool piece_any_missing(const struct plane *plane, const struct shard *shard)
{
    for (uint32_t i = 0; i < piece_count(shard); i++)
        if (piece_missing(plane, piece_id(plane, shard, i)))
            return true;
    return false;
}

void piece_send(struct plane *plane, struct shard *shard, uint32_t piece, const struct sent_node *node, bool pull)
{
    uint32_t index;
    const struct piece_ops *ops = ops_of(plane, piece, &index);
    assert(node || pull);
    ops->send(plane, shard, index, node, pull);
}

bool piece_any_lacks(const struct plane *plane, const struct shard *shard)
{
    for (uint32_t i = 0; i < piece_count(shard); i++) {
        uint32_t index;
        const struct piece_ops *ops = ops_of(plane, piece_id(plane, shard, i), &index);
        if (ops->lacks && ops->lacks(plane, index))
            return true;
    }
    return false;
}

void piece_pull_more(struct plane *plane, struct shard *shard)
{
    for (uint32_t i = 0; i < piece_count(shard); i++) {
        uint32_t index;
        const struct piece_ops *ops = ops_of(plane, piece_id(plane, shard, i), &index);
        if (ops->lacks && ops->lacks(plane, index))
            ops->pull_more(plane, shard, index);
    }
}

void piece_forget(struct plane *plane, uint32_t piece, uint64_t keys)
{
    uint32_t index;
    if (piece >= plane->theta.piece_count) /* a peer said so */
        return;
    const struct piece_ops *ops = ops_of(plane, piece, &index);
    if (ops->forget)
        ops->forget(plane, index, keys);
}

dp_err piece_take(struct plane *plane, struct shard *shard, const struct link_message *message, bool *ret_new,
                  dp_error *err)
{
    const bool slice = message->header->body_case == DP__HEADER__BODY_PARAMS;
    return (slice ? &PIECE_SLICE : &PIECE_PART)->take(plane, shard, message, ret_new, err);
}
