/* Checks of pushes and pulls of a job that is known: its slices, parts, slots and steps. Thread: any. */
#ifndef DP_PROTO_FRAME_LIMITS_H
#define DP_PROTO_FRAME_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/frame.h"

/* Tree nodes. A node covers slots [index << level, min((index + 1) << level, slots)), not empty; its level is not above
 * the root's, the smallest L with (1 << L) >= slots. */
bool frame_node_valid(uint32_t level, uint32_t index, uint32_t slots);

/* A job's bounds for what arrives at a shard. */
struct frame_limits {
    uint32_t first_slice; /* slice ids [first_slice, first_slice + slice_count) are this shard's */
    uint32_t slice_count;
    uint32_t slots;
    const uint64_t *slice_elems; /* per slice of this shard */
    uint64_t total_steps;
};
/* Whether a push_pull's slice, node, step, pull_step and payload size fit the job. `payload_bytes` is that of the one
 * payload frame, or SIZE_MAX if there is none. Whether the step carries a payload (train) or not (eval) is the caller's
 * to check. DP_RANGE or DP_PROTO. */
DP_MUST_CHECK dp_err frame_check_push_pull(const Dp__PushPull *msg, const struct frame_limits *limits,
                                           size_t payload_bytes, dp_error *err);

/* A table's part as it bounds what arrives. */
struct frame_part {
    uint64_t first, last; /* ids */
    uint32_t dim;         /* floats of a row */
};
/* A job's bounds for what arrives at a shard. */
struct frame_rows_limits {
    uint32_t first_part; /* part ids [first_part, first_part + part_count) are this shard's */
    uint32_t part_count;
    uint32_t slots;
    const struct frame_part *parts;
    uint64_t total_steps;
};
/* Whether a parsed message's part, node, steps and payload sizes fit the job; `payload_bytes[]` are those of its
 * payload frames. Whether the step carries values (train) or not (eval) is the caller's to check. DP_RANGE or DP_PROTO.
 */
DP_MUST_CHECK dp_err frame_check_part(const Dp__RowsPushPull *msg, const struct frame_rows_limits *limits,
                                      const size_t *payload_bytes, dp_error *err);
/* Whether a received list, at any address, is strictly ascending and within the part, and has the hash that was said.
 * DP_PROTO. */
DP_MUST_CHECK dp_err frame_check_ids(const void *ids, const Dp__Keys *keys, const struct frame_part *part,
                                     dp_error *err);

#endif
