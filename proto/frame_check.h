/* The checks of each kind of message; a part of frame.c. Thread: any. */
#ifndef DP_PROTO_FRAME_CHECK_H
#define DP_PROTO_FRAME_CHECK_H

#include <stddef.h>

#include "proto/frame.h"

/* Checks the one body that the header has and the number of payload frames that it promises. DP_PROTO. */
DP_MUST_CHECK dp_err frame_check_body(const Dp__Header *header, size_t payload_count, dp_error *err);

#endif
