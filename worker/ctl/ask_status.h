/* The question for the status document. Thread: any. */
#ifndef DP_WORKER_CTL_ASK_STATUS_H
#define DP_WORKER_CTL_ASK_STATUS_H

#include <jansson.h>

#include "worker/ctl/connection.h"

/* The document; the caller's reference. The errors of ctl_ask; DP_PROTO for one that is no JSON object. */
DP_MUST_CHECK dp_err ctl_ask_status(struct ctl_connection *connection, json_t **ret_status, dp_error *err);

#endif
