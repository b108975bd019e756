/* The head as a real worker meets it, for tests that want to know what it brings: enough of a Welcome that it joins.
 * Nothing fails a test. Thread: the test's. */
#ifndef DP_TESTS_INTEGRATION_SUPPORT_PLAY_HEAD_H
#define DP_TESTS_INTEGRATION_SUPPORT_PLAY_HEAD_H

#include "proto/frame.h"

/* The answer to a hello, of a softmax job of 8 slots and minibatches of 64 rows. Valid until the next call. */
const Dp__Header *play_welcome(const Dp__Header *hello);
/* A deep copy, by way of the bytes; NULL when out of memory. The caller frees it as it frees what it unpacked. */
void *message_copy(const ProtobufCMessage *message);

#endif
