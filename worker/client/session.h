/* The session with the head: hello, join, all of it again after a loss. These wait; all end with DP_STOPPED when the
 * user's stop flag is set. Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_SESSION_H
#define DP_WORKER_CLIENT_SESSION_H

#include <stdint.h>

#include "worker/dp.h"

/* A row of rejoins without progress. */
struct rejoin {
    uint64_t begin_ms;    /* of the row, */
    uint64_t wait_ms;     /* and the wait before the next; 0: no such row */
    uint64_t held_ms;     /* since when the session holds that was taken up last; 0: it has not been */
    uint64_t incarnation; /* of the job before the row */
};

/* Finds the head, says hello and starts the heartbeats. */
DP_MUST_CHECK dp_err session_open(struct dp_client *client, uint64_t deadline_ms, dp_error *err);
/* Sends client->join and waits for the job; sets up everything that depends on it. DP_HELLO_REQUIRED if the session is
 * lost. */
DP_MUST_CHECK dp_err session_join(struct dp_client *client, uint64_t deadline_ms, dp_error *err);
/* After the session was lost: hello and join again, on new sockets; what is unanswered is sent again. */
DP_MUST_CHECK dp_err session_rejoin(struct dp_client *client, dp_error *err);
/* After an outage: makes all connections anew, in the same session, or in another if that is over. */
DP_MUST_CHECK dp_err session_resume(struct dp_client *client, dp_error *err);
/* Parameters have come: a row of rejoins is over. */
void rejoin_ends(struct rejoin *rejoin);
enum { BYE_LINGER_MS = 1000 }; /* for session_close: a goodbye goes out */
void session_close(struct dp_client *client, int linger_ms);

#endif
