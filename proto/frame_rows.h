/* Messages of tables: the order of their payload frames. Thread: any. */
#ifndef DP_PROTO_FRAME_ROWS_H
#define DP_PROTO_FRAME_ROWS_H

#include "proto/frame.h"

/* Payload frames of a RowsPushPull, by index; FRAME_NONE: it has no such frame. */
enum { FRAME_NONE = 255 };
struct frame_rows {
    uint8_t push_ids, values, pull_ids;
    uint8_t count;
};
/* Whether the message has values of rows, in a frame or in a slab. */
bool frame_rows_pushed(const Dp__RowsPushPull *msg);
struct frame_rows frame_rows_of(const Dp__RowsPushPull *msg);

/* The value of Keys.hash for count ids in memory; 0 if count is 0. */
uint64_t frame_keys_hash(const void *ids, size_t count);

#endif
