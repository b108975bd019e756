/* Asks the head, and waits for its answer. Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_QUESTION_H
#define DP_WORKER_CLIENT_QUESTION_H

#include "proto/frame.h"
#include "worker/dp.h"

/* A server that has no room for us now. */
struct busy {
    dp_error why;      /* code != DP_OK: its last answer, */
    uint64_t begin_ms; /* and since when we ask it */
};

/* From now on we ask a server that has not refused us. */
void busy_begin(struct busy *busy);
/* Sends a question, again after a while, until it is answered; the answer has been taken then. The refusal's code, or
 * DP_UNREACHABLE and DP_BUSY after the deadline, DP_HELLO_REQUIRED if the session is lost, DP_STOPPED. */
DP_MUST_CHECK dp_err question_ask(struct dp_client *client, Dp__Header *header, Dp__Header__BodyCase awaited,
                                  uint64_t deadline_ms, dp_error *err);
/* The time since `begin_ms` is up: nobody has answered, or only that we should come again later. */
DP_MUST_CHECK dp_err question_unanswered(const struct dp_client *client, uint64_t begin_ms, dp_error *err);

#endif
