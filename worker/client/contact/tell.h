/* Between the client and its user: notices, the stop flag, and why the job is over. Thread: the one that uses the
 * client. */
#ifndef DP_WORKER_CLIENT_CONTACT_TELL_H
#define DP_WORKER_CLIENT_CONTACT_TELL_H

#include <stdbool.h>

#include "worker/dp.h"

/* A zeroed one tells nobody and is never stopped. */
struct tell {
    const volatile int *stop; /* may be NULL */
    void (*notice)(void *arg, const char *text);
    void *arg;
    dp_error end; /* code != DP_OK: the job is over for this client, and why. Once set, it stays. */
};

/* Tells the user's notice function, if there is one. */
void tell_notice(struct tell *tell, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Whether the user's stop flag is set. */
bool tell_stopped(const struct tell *tell);
/* DP_STOPPED if it is. */
DP_MUST_CHECK dp_err tell_check_stop(const struct tell *tell, dp_error *err);
/* A code with a text of the peer's, or the code's own if that is empty. */
void tell_error(dp_error *err, dp_err code, const char *text);
/* Remembers the first reason for which the job is over for this client. */
void tell_end(struct tell *tell, dp_err code, const char *text);
/* Fails with that reason, if the job is over. */
DP_MUST_CHECK dp_err tell_check_end(const struct tell *tell, dp_error *err);

#endif
