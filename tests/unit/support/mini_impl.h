/* Types and functions that the files of the mini server share. */
#ifndef DP_TESTS_UNIT_SUPPORT_MINI_IMPL_H
#define DP_TESTS_UNIT_SUPPORT_MINI_IMPL_H

#include "proto/frame.h"
#include "tests/unit/support/mini_server.h"

void mini_send(const struct mini *m, struct mini_peer to, uint64_t session, uint64_t request, Dp__Header *header,
               const void *payload, size_t bytes);
void send_error(const struct mini *m, struct mini_peer to, const Dp__Header *answered, dp_err code, uint64_t step);
void send_keys_unknown(const struct mini *m, struct mini_peer to, const Dp__Header *answered, uint64_t hash);
uint64_t slots_with_rows(const struct mini *m, uint64_t step);
/* The slots with rows that a node covers: one at least. */
uint64_t node_slots(const struct mini *m, uint64_t step, uint32_t level, uint32_t index);
/* One more of what is counted down in `left`. */
bool use_up(atomic_int *left);

#endif
