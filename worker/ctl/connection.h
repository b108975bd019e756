/* A connection to the head of a dp-server: opened by the first question, kept for the next. A question proves that we
 * are of the server's user where it wants that (by the secret in DP_SECRET_FILE or the usual place), and waits for the
 * answer until a deadline. Thread: any. */
#ifndef DP_WORKER_CTL_CONNECTION_H
#define DP_WORKER_CTL_CONNECTION_H

#include <stdint.h>
#include <zmq.h>

#include "common/base/dp_err.h"
#include "common/net/endpoint.h"
#include "proto/frame.h"

/* Begins with the server and the timeout, all else zero. */
struct ctl_connection {
    const char *server;  /* "tcp://HOST:PORT"; borrowed */
    uint64_t timeout_ms; /* longest wait for an answer */

    struct endpoint address; /* of the server, numeric */
    uint64_t deadline_ms;
    uint64_t id;            /* of the question under way */
    void *context, *socket; /* NULL: not open */
    struct arena arena;     /* has the last answer */
};

/* Connects, where that is not done. DP_USAGE for a bad endpoint, DP_UNREACHABLE naming the endpoint and why. */
DP_MUST_CHECK dp_err ctl_connection_open(struct ctl_connection *connection, dp_error *err);
/* Closes what is open; the next question would open it again. */
void ctl_connection_close(struct ctl_connection *connection);
/* Asks, and waits for an answer whose body_case is `want`, timeout_ms in all with connecting where that is not done.
 * *ret_answer lives until the next question; its first payload goes to `payload`, which is initialised (NULL: dropped).
 * The question may get a proof, which it must not keep. The errors of open, DP_PROTO for an answer that is none, or
 * what the server says. */
DP_MUST_CHECK dp_err ctl_ask(struct ctl_connection *connection, Dp__Header *question, uint32_t want, zmq_msg_t *payload,
                             const Dp__Header **ret_answer, dp_error *err);

#endif
