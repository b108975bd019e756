/* Error codes and texts. Invariant: the X-macro is the only list. Thread: any. */
#include "common/base/dp_err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    dp_err code;
    const char *name;
    const char *text;
    int retryable;
} ERRS[] = {
#define X(name, number, text, retryable) {DP_##name, #name, text, retryable},
    DP_ERR_MAP(X)
#undef X
};

enum { ERR_COUNT = sizeof(ERRS) / sizeof(ERRS[0]) };

/* Index in ERRS, or -1. */
static int err_find(unsigned number)
{
    for (int i = 0; i < ERR_COUNT; i++)
        if ((unsigned)ERRS[i].code == number)
            return i;
    return -1;
}

const char *dp_err_text(dp_err code)
{
    int i = err_find((unsigned)code);
    return i < 0 ? "unknown error" : ERRS[i].text;
}

const char *dp_err_name(dp_err code)
{
    int i = err_find((unsigned)code);
    return i < 0 ? "UNKNOWN" : ERRS[i].name;
}

int dp_err_retryable(dp_err code)
{
    int i = err_find((unsigned)code);
    return i >= 0 && ERRS[i].retryable;
}

dp_err dp_err_from_wire(unsigned number)
{
    int i = err_find(number);
    return i < 0 ? DP_PROTO : ERRS[i].code;
}

int dp_err_exit_status(dp_err code)
{
    switch (code) {
    case DP_OK:
    case DP_JOB_DONE:
        return 0;
    case DP_USAGE:
        return 2;
    case DP_UNREACHABLE:
    case DP_TIMEOUT:
    case DP_SHUTDOWN:
    case DP_HELLO_REQUIRED:
    case DP_BUSY:
        return 69;
    case DP_STOPPED:
        return 143;
    default:
        return 1;
    }
}

dp_err dp_fail(dp_error *err, dp_err code, const char *fmt, ...)
{
    if (!err)
        return code;
    /* Through a buffer of our own, since an argument may be err->text itself. */
    char text[sizeof err->text];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    err->code = code;
    memcpy(err->text, text, sizeof text);
    return code;
}

dp_err dp_fail_in(dp_error *err, const char *fmt, ...)
{
    char prefix[160];
    va_list args;
    va_start(args, fmt);
    vsnprintf(prefix, sizeof prefix, fmt, args);
    va_end(args);
    char text[sizeof err->text];
    int n = snprintf(text, sizeof text, "%s: %.400s", prefix, err->text);
    if (n > 0)
        memcpy(err->text, text, sizeof text);
    return err->code;
}
