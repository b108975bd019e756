/* Pushes and pulls against the bounds of a job; see frame_limits.h.
 *
 * Invariant: a list that passes is at most FRAME_ROWS_MAX ids, ascending, within its part, and its hash is that of its
 * bytes, so what a shard keeps under a hash is what every client means by it. Thread: any. */
#include "proto/frame_limits.h"

#include <string.h>

#include "common/base/util.h"
#include "proto/frame_rows.h"

bool frame_node_valid(uint32_t level, uint32_t index, uint32_t slots)
{
    if (level > FRAME_LEVEL_MAX || (level > 0 && (UINT32_C(1) << (level - 1)) >= slots))
        return false;
    return (uint64_t)index << level < slots;
}

static dp_err check_node(uint32_t level, uint32_t index, uint32_t slots, uint64_t step, uint64_t total_steps,
                         dp_error *err)
{
    if (!frame_node_valid(level, index, slots))
        return dp_fail(err, DP_RANGE, "push of node (%u, %u) in a tree of %u slots", level, index, slots);
    if (step >= total_steps)
        return dp_fail(err, DP_RANGE, "push of step %llu, the job has %llu", (unsigned long long)step,
                       (unsigned long long)total_steps);
    return DP_OK;
}

static dp_err check_push(const Dp__PushPull *msg, const struct frame_limits *limits, size_t payload_bytes,
                         dp_error *err)
{
    dp_err e = check_node(msg->level, msg->index, limits->slots, msg->step, limits->total_steps, err);
    if (e)
        return e;
    uint64_t want = limits->slice_elems[msg->slice - limits->first_slice] * sizeof(float);
    if (payload_bytes != SIZE_MAX && payload_bytes != want)
        return dp_fail(err, DP_PROTO, "push of slice %u has %zu bytes of payload, the slice has %llu", msg->slice,
                       payload_bytes, (unsigned long long)want);
    return DP_OK;
}

/* 1 + the number of a version: a step makes one, or one for each of its slots. */
static bool version_possible(uint64_t number, const struct frame_limits *limits)
{
    uint64_t most;
    bool any = __builtin_mul_overflow(limits->total_steps, (uint64_t)limits->slots, &most);
    return any || number <= most + 1;
}

dp_err frame_check_push_pull(const Dp__PushPull *msg, const struct frame_limits *limits, size_t payload_bytes,
                             dp_error *err)
{
    if (msg->slice < limits->first_slice || msg->slice - limits->first_slice >= limits->slice_count)
        return dp_fail(err, DP_RANGE, "slice %u is not of this shard, which has slices %u to %llu", msg->slice,
                       limits->first_slice, (unsigned long long)limits->first_slice + limits->slice_count);
    if (!msg->push && payload_bytes != SIZE_MAX)
        return dp_fail(err, DP_PROTO, "pull of slice %u has a payload", msg->slice);
    if (msg->pull && (msg->pull_step > limits->total_steps || !version_possible(msg->have, limits)))
        return dp_fail(err, DP_RANGE, "pull of step %llu (holding version %llu), the job has %llu steps",
                       (unsigned long long)msg->pull_step, (unsigned long long)msg->have,
                       (unsigned long long)limits->total_steps);
    return msg->push ? check_push(msg, limits, payload_bytes, err) : DP_OK;
}

static uint64_t values_of(const Dp__Keys *keys, const struct frame_part *part)
{
    return keys ? (uint64_t)keys->count * part->dim : 0;
}

/* The sizes of the frames that hold the message's lists and values. */
static dp_err check_sizes(const Dp__RowsPushPull *msg, const struct frame_part *part, const size_t *payload_bytes,
                          dp_error *err)
{
    struct frame_rows at = frame_rows_of(msg);
    uint64_t floats = MAX(values_of(msg->push_keys, part), values_of(msg->pull_keys, part));
    if (floats > FRAME_ROWS_FLOATS_MAX)
        return dp_fail(err, DP_RANGE, "%llu values of rows of part %u in one message, at most %d are allowed",
                       (unsigned long long)floats, msg->part, FRAME_ROWS_FLOATS_MAX);
    if (at.push_ids != FRAME_NONE && payload_bytes[at.push_ids] != msg->push_keys->count * sizeof(uint64_t))
        return dp_fail(err, DP_PROTO, "the list of rows pushed to part %u has another size than is said", msg->part);
    if (at.pull_ids != FRAME_NONE && payload_bytes[at.pull_ids] != msg->pull_keys->count * sizeof(uint64_t))
        return dp_fail(err, DP_PROTO, "the list of rows pulled of part %u has another size than is said", msg->part);
    if (at.values != FRAME_NONE && payload_bytes[at.values] != values_of(msg->push_keys, part) * sizeof(float))
        return dp_fail(err, DP_PROTO, "push of %u rows to part %u has %zu bytes of values", msg->push_keys->count,
                       msg->part, payload_bytes[at.values]);
    return DP_OK;
}

dp_err frame_check_part(const Dp__RowsPushPull *msg, const struct frame_rows_limits *limits,
                        const size_t *payload_bytes, dp_error *err)
{
    if (msg->part < limits->first_part || msg->part - limits->first_part >= limits->part_count)
        return dp_fail(err, DP_RANGE, "part %u is not of this shard, which has parts %u to %llu", msg->part,
                       limits->first_part, (unsigned long long)limits->first_part + limits->part_count);
    if (msg->pull && (msg->pull_step > limits->total_steps || msg->have > limits->total_steps + 1))
        return dp_fail(err, DP_RANGE, "pull of step %llu (holding version %llu), the job has %llu steps",
                       (unsigned long long)msg->pull_step, (unsigned long long)msg->have,
                       (unsigned long long)limits->total_steps);
    dp_err rc =
        msg->push ? check_node(msg->level, msg->index, limits->slots, msg->step, limits->total_steps, err) : DP_OK;
    const struct frame_part *part = &limits->parts[msg->part - limits->first_part];
    return rc == DP_OK ? check_sizes(msg, part, payload_bytes, err) : rc;
}

static uint64_t id_at(const uint8_t *ids, size_t i)
{
    uint64_t id;
    memcpy(&id, ids + i * sizeof id, sizeof id);
    return id;
}

dp_err frame_check_ids(const void *ids, const Dp__Keys *keys, const struct frame_part *part, dp_error *err)
{
    size_t count = keys->count;
    bool ascending = true;
    for (size_t i = 1; i < count; i++)
        ascending &= id_at(ids, i - 1) < id_at(ids, i);
    if (!ascending)
        return dp_fail(err, DP_PROTO, "a list of rows is not strictly ascending");
    if (count > 0 && (id_at(ids, 0) < part->first || id_at(ids, count - 1) > part->last))
        return dp_fail(err, DP_PROTO, "a list of rows goes beyond its part, which has %llu to %llu",
                       (unsigned long long)part->first, (unsigned long long)part->last);
    if (frame_keys_hash(ids, count) != keys->hash)
        return dp_fail(err, DP_PROTO, "a list of rows has another hash than is said");
    return DP_OK;
}
