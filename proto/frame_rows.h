/* Messages of tables: where their payload frames are, and what must hold for them. Thread: any. */
#ifndef DP_PROTO_FRAME_ROWS_H
#define DP_PROTO_FRAME_ROWS_H

#include "proto/frame.h"

/* Which payload frame of a RowsPushPull is what: indices, FRAME_NONE where there is none. */
enum { FRAME_NONE = 255 };
struct frame_rows {
    uint8_t push_ids, values, pull_ids;
    uint8_t count;
};
/* Whether the message has values of rows, in a frame or in a slab. */
bool frame_rows_pushed(const Dp__RowsPushPull *msg);
struct frame_rows frame_rows_of(const Dp__RowsPushPull *msg);

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
/* What Keys.hash is of count ids in memory; 0 for none. */
uint64_t frame_keys_hash(const void *ids, size_t count);

/* ---- for frame_check.c: what must hold whatever the job is ---- */

DP_MUST_CHECK dp_err frame_check_rows_push_pull(const Dp__RowsPushPull *msg, size_t payload_count, dp_error *err);
DP_MUST_CHECK dp_err frame_check_rows(const Dp__Rows *msg, size_t payload_count, dp_error *err);
/* A tensor that is a table; its shape has no zeros and a product within 64 bits. */
DP_MUST_CHECK dp_err frame_check_table(const Dp__Tensor *tensor, dp_error *err);
/* Over all shards, each table's parts cover its ids in order. */
DP_MUST_CHECK dp_err frame_check_parts(const Dp__Job *job, dp_error *err);

#endif
