/* The mini server's table: rows of two floats with ids 0 .. 99, half of them on each shard, kept as its theta is.
 * Thread: the mini server's; mini_rows_touched and mini_row_value: any. */
#ifndef DP_TESTS_UNIT_SUPPORT_MINI_ROWS_H
#define DP_TESTS_UNIT_SUPPORT_MINI_ROWS_H

#include "proto/frame.h"
#include "tests/unit/support/mini_server.h"

enum { MINI_ROWS_OF_SLOT = 4 };

/* The rows that a slot of a step touches, ascending. */
void mini_rows_touched(uint64_t step, uint32_t slot, uint64_t ids[MINI_ROWS_OF_SLOT]);
/* Value `c` of a row in the gradient of a slot that touches it. */
float mini_row_gradient(uint64_t train_step, uint32_t slot, uint64_t id, uint32_t c);

void mini_rows_start(struct mini *m);
void mini_rows_free(struct mini *m);
/* A message about rows; ids[0], values and ids[1] are its payload frames as frame_rows_of numbers them. */
void mini_rows_take(struct mini *m, struct mini_peer from, const Dp__Header *header, const void *const *payload);

#endif
