/* For the calls of dp.h: the checks that all of them make. Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_CLIENT_H
#define DP_WORKER_CLIENT_CLIENT_H

#include <stdbool.h>

#include "worker/dp.h"

/* Success leaves no error of an attempt before it behind. Returns `e`. */
DP_MUST_CHECK dp_err client_result(dp_err e, dp_error *err);
/* DP_USAGE: an argument of the call is NULL. */
DP_MUST_CHECK dp_err client_missing(const char *call, const char *what, dp_error *err);
/* Whether this process has only inherited the client, by fork: neither its connections nor the threads that serve them
 * are this process's. */
bool client_inherited(const struct dp_client *client);
/* DP_USAGE if it has. */
DP_MUST_CHECK dp_err client_check_process(const struct dp_client *client, dp_error *err);

#endif
