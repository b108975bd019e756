/* The head: what is global to a job. Membership and slots, the steps complete on all shards, the end, local workers,
 * status. It is not on the data path. One thread, one uv loop. Its rooms share server/talk/shared.h.
 * Thread: head. */
#ifndef DP_SERVER_HEAD_HEAD_H
#define DP_SERVER_HEAD_HEAD_H

#include "server/options/options.h"

/* Runs a server from start to end; returns the process's exit status. Errors have been logged. */
int head_run(const struct server_options *opts);

#endif
