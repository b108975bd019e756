/* Checks of messages that carry values, whatever the job is. Thread: any. */
#ifndef DP_PROTO_FRAME_DATA_H
#define DP_PROTO_FRAME_DATA_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/frame.h"

/* Checks a message of such a kind, for which each has its own number of payload frames: DP_OK or DP_PROTO to *ret_code.
 * False for all other kinds. */
bool frame_check_data(const Dp__Header *header, size_t payload_count, dp_err *ret_code, dp_error *err);

#endif
