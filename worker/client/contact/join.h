/* The message by which a worker tells what it brings to a job. Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_CONTACT_JOIN_H
#define DP_WORKER_CLIENT_CONTACT_JOIN_H

#include "proto/frame.h"
#include "worker/dp.h"

/* Deep copy of what a worker brings, as the message that says it; without data sets if the worker keeps its data to
 * itself. DP_USAGE for what no server takes, DP_NOMEM. Freed by dp__join__free_unpacked. */
DP_MUST_CHECK dp_err join_new(const dp_dataset *train, const dp_dataset *eval, const dp_model *model,
                              Dp__Join **ret_join, dp_error *err);

#endif
