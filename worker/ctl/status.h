/* The status document of dp-server as an aligned table for people. Fields are taken as they come: what is absent, null
 * or of another type is "-", so an older or newer server can be shown too. Thread: any. */
#ifndef DP_WORKER_CTL_STATUS_H
#define DP_WORKER_CTL_STATUS_H

#include <jansson.h>
#include <stdio.h>

/* Prints the whole document in lines of at most `columns` characters, but for a single longer word; texts in it are
 * shown without control characters. `server` is how it was reached. */
void ctl_status_print(const json_t *status, const char *server, int columns, FILE *out);

#endif
