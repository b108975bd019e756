/* The head: the connection to it, the question under way, and what it said of the job. Thread: the one that uses the
 * client. */
#ifndef DP_WORKER_CLIENT_HEAD_H
#define DP_WORKER_CLIENT_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/net/endpoint.h"
#include "proto/frame.h"
#include "proto/link.h"
#include "worker/client/contact/proof.h"
#include "worker/client/state/layout.h"
#include "worker/dp.h"

/* A hello or join under way. */
struct head_question {
    uint64_t request; /* 0: none */
    Dp__Header__BodyCase awaited;
    bool answered;
    dp_error refusal;                  /* code != DP_OK: the answer was an error */
    struct client_challenge challenge; /* of the refusal */
    bool waited;                       /* the server asked us to come again, and we did */
    bool hang_up;                      /* BUSY: not on this connection again */
};

struct head {
    struct endpoint named;   /* as the user named it */
    struct endpoint address; /* numeric */
    struct link link;
    struct head_question question;
    dp_job view;                   /* for the user: of welcome_job, after dp_join of client->job */
    struct client_job welcome_job; /* of the first Welcome */
    bool anew;                /* welcome_job no longer holds, and we have not joined: the user must connect again */
    struct job_layout layout; /* of the last Joined; its slices move to theta */
    uint64_t train_step;      /* likewise: training steps that were complete */
};

/* Takes all messages of the head that are there, and looks at the connection. DP_PROTO for one that is none. */
DP_MUST_CHECK dp_err head_drain(struct dp_client *client, dp_error *err);
/* Says goodbye, for the server's log. A server that cannot be told finds out by itself. */
DP_MUST_CHECK dp_err head_bye(struct dp_client *client, dp_err code, const char *text);

#endif
