/* Checks of single fields; see frame_field.h. Thread: any. */
#include "proto/frame_field.h"

#include <string.h>

#include "common/base/text.h"

dp_err frame_check_text(const char *what, const char *text, size_t max, dp_error *err)
{
    size_t length = strnlen(text, max + 1);
    if (length > max)
        return dp_fail(err, DP_PROTO, "%s is longer than %zu bytes", what, max);
    if (!text_printable(text, length))
        return dp_fail(err, DP_PROTO, "%s has characters that cannot be printed", what);
    return DP_OK;
}

/* A text that must not be empty. */
dp_err frame_check_name(const char *what, const char *text, size_t max, dp_error *err)
{
    if (!text[0])
        return dp_fail(err, DP_PROTO, "%s is empty", what);
    return frame_check_text(what, text, max, err);
}

dp_err frame_check_count(const char *what, size_t count, size_t max, dp_error *err)
{
    if (count > max)
        return dp_fail(err, DP_PROTO, "%zu %s, at most %zu are allowed", count, what, max);
    return DP_OK;
}

dp_err frame_check_payload(const char *what, size_t count, size_t min, size_t max, dp_error *err)
{
    if (count < min || count > max)
        return dp_fail(err, DP_PROTO, "%s with %zu payload frames instead of %zu", what, count,
                       count < min ? min : max);
    return DP_OK;
}

dp_err frame_check_accepted(size_t bytes, dp_error *err)
{
    if (bytes > FRAME_SLOTS_MAX / 8)
        return dp_fail(err, DP_PROTO, "a set of accepted slots of %zu bytes", bytes);
    return DP_OK;
}
