/* Checks that messages of all kinds share. DP_PROTO, with `what` as the text calls the field. Thread: any. */
#ifndef DP_PROTO_FRAME_FIELD_H
#define DP_PROTO_FRAME_FIELD_H

#include <stddef.h>

#include "proto/frame.h"

/* A text that can be printed, of at most `max` bytes. */
DP_MUST_CHECK dp_err frame_check_text(const char *what, const char *text, size_t max, dp_error *err);
/* A text that must not be empty. */
DP_MUST_CHECK dp_err frame_check_name(const char *what, const char *text, size_t max, dp_error *err);
DP_MUST_CHECK dp_err frame_check_count(const char *what, size_t count, size_t max, dp_error *err);
/* The number of payload frames of a message. */
DP_MUST_CHECK dp_err frame_check_payload(const char *what, size_t count, size_t min, size_t max, dp_error *err);
/* A set of slots that is this long. */
DP_MUST_CHECK dp_err frame_check_accepted(size_t bytes, dp_error *err);

#endif
