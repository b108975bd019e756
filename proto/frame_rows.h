/* Messages of tables: which of their payload frames is what. Thread: any. */
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

/* What Keys.hash is of count ids in memory; 0 for none. */
uint64_t frame_keys_hash(const void *ids, size_t count);

#endif
