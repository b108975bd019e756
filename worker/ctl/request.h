/* One question to the head of a dp-server: connects, asks, proves that we are of its user where it wants that (by the
 * secret in DP_SECRET_FILE or the usual place), waits for the answer until a deadline. Thread: any. */
#ifndef DP_WORKER_CTL_REQUEST_H
#define DP_WORKER_CTL_REQUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/dp_err.h"

/* The status document of the server at "tcp://HOST:PORT"; the caller's reference. DP_USAGE for a bad endpoint,
 * DP_UNREACHABLE naming the endpoint and why, DP_PROTO for an answer that is none, or what the server says. */
DP_MUST_CHECK dp_err ctl_request_status(const char *server, uint64_t timeout_ms, json_t **ret_status, dp_error *err);
/* A setting's new value: a number, or where that is no number a text, else NULL. */
struct ctl_setting {
    const char *name;
    double value;
    const char *text;
};
/* Changes a setting of the running job; the steps from which on it holds. DP_USAGE and others: what the server says. */
DP_MUST_CHECK dp_err ctl_request_set(const char *server, uint64_t timeout_ms, const struct ctl_setting *setting,
                                     uint64_t *ret_step, uint64_t *ret_train_step, dp_error *err);

/* A model that is fetched. */
struct ctl_exported {
    uint64_t bytes, digest; /* of the file; XXH3_64bits, seed 0 */
    uint64_t train_step;
    bool complete, diverged;
};
/* Bytes of the file in their order; facts->bytes of them come in all. Any code but DP_OK ends the fetching.
 */
typedef dp_err (*ctl_take)(void *arg, const struct ctl_exported *facts, const void *bytes, size_t count, dp_error *err);
/* Fetches the model of a running job, by pieces; each answer is waited for timeout_ms. With `on_server` the server
 * writes it at that path of its host instead, and `take` is not called. Its facts go to *ret_exported. DP_DATA if
 * the bytes are not those that the server has sent. */
DP_MUST_CHECK dp_err ctl_request_export(const char *server, uint64_t timeout_ms, const char *on_server, ctl_take take,
                                        void *arg, struct ctl_exported *ret_exported, dp_error *err);

#endif
