/* Between the client and its user. Thread: the one that uses the client. */
#include "worker/client/contact/tell.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/base/text.h"

void tell_notice(struct tell *tell, const char *fmt, ...)
{
    char text[sizeof((dp_error *)NULL)->text];
    va_list args;
    if (!tell->notice)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    tell->notice(tell->arg, text);
}

bool tell_stopped(const struct tell *tell)
{
    return tell->stop && __atomic_load_n(tell->stop, __ATOMIC_RELAXED);
}

dp_err tell_check_stop(const struct tell *tell, dp_error *err)
{
    return tell_stopped(tell) ? dp_fail(err, DP_STOPPED, "stopped by a signal") : DP_OK;
}

void tell_error(dp_error *err, dp_err code, const char *text)
{
    err->code = code;
    str_copy(err->text, sizeof err->text, text[0] ? text : dp_err_text(code));
}

void tell_end(struct tell *tell, dp_err code, const char *text)
{
    if (tell->end.code == DP_OK)
        tell_error(&tell->end, code, text);
}

dp_err tell_check_end(const struct tell *tell, dp_error *err)
{
    return tell->end.code ? dp_fail(err, tell->end.code, "%s", tell->end.text) : DP_OK;
}
