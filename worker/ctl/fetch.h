/* The model of a running job, fetched by pieces. Thread: main. */
#ifndef DP_WORKER_CTL_FETCH_H
#define DP_WORKER_CTL_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/ctl/connection.h"

/* A model that is fetched. */
struct ctl_exported {
    uint64_t bytes, digest; /* of the file; XXH3_64bits, seed 0 */
    uint64_t train_step;
    bool complete, diverged;
};
/* Bytes of the file in their order; facts->bytes of them come in all. Any code but DP_OK ends the fetching. */
typedef dp_err (*ctl_take)(void *arg, const struct ctl_exported *facts, const void *bytes, size_t count, dp_error *err);
/* Each answer is waited for as long as the connection says. With `on_server` the server writes the model at that path
 * of its host instead, and `take` is not called. Its facts go to *ret_exported. DP_DATA if the bytes are not those that
 * the server has sent, else the errors of ctl_ask and of `take`. */
DP_MUST_CHECK dp_err ctl_fetch(struct ctl_connection *connection, const char *on_server, ctl_take take, void *arg,
                               struct ctl_exported *ret_exported, dp_error *err);

#endif
