/* The state of a client, shared by the files of this room and by their tests; users of the library see dp.h. Types
 * only.
 *
 * Each module has its own struct in its header. Here they are put together, with what several of them share: state of
 * worker/client/state, which has no network. Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_STATE_H
#define DP_WORKER_CLIENT_STATE_H

#include <sys/types.h>

#include "proto/frame.h"
#include "proto/link.h"
#include "worker/client/contact/beat.h"
#include "worker/client/contact/header.h"
#include "worker/client/contact/tell.h"
#include "worker/client/contact/timing.h"
#include "worker/client/head.h"
#include "worker/client/plane/plane.h"
#include "worker/client/question.h"
#include "worker/client/session.h"
#include "worker/client/state/duty.h"
#include "worker/client/state/fold.h"
#include "worker/client/state/layout.h"
#include "worker/client/state/open_steps.h"
#include "worker/client/step.h"
#include "worker/client/wait.h"
#include "worker/dp.h"

/* The user's wishes; never changed after dp_connect. */
struct client_config {
    pid_t process; /* that of dp_connect */
    char *server;
    char *name;
    char *secret_file; /* NULL: the usual one */
    uint64_t connect_timeout_ms;
    uint64_t server_timeout_ms;
    uint32_t threads;
    dp_shm shm;
};

struct dp_client {
    struct client_timing timing;
    struct client_config config;
    struct tell tell;
    Dp__Join *join;     /* copy of what was brought to dp_join */
    void *zmq;          /* context of all connections */
    struct arena arena; /* of the message at hand */

    /* The modules, the lowest first. */
    struct session session; /* contact/header.h */
    struct beat beat;
    struct plane plane; /* with theta, tables and slabs */
    struct step step;
    struct head head;
    struct busy busy;
    struct rejoin rejoin;
    struct wait wait;

    /* Shared: the job, and the step at hand. */
    struct client_job job; /* of the first Joined */
    struct duty duty;
    struct open_steps open;
    struct fold fold; /* of the step whose theta is valid */
};

#endif
