/* dp-ctl export: the model of a running job as a file, here or on the server's host. Thread: main. */
#ifndef DP_WORKER_CTL_EXPORT_H
#define DP_WORKER_CTL_EXPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/dp_err.h"

struct ctl_export {
    const char *server;
    uint64_t timeout_ms; /* for each answer */
    const char *path;
    bool on_server;
    bool json;
};

/* The file is replaced as a whole, by bytes that were checked; a model that is not finished does not replace one that
 * is, and what is no model is not replaced. Prints what was written. DP_IO, DP_UNREACHABLE, DP_DATA, or what the server
 * says. */
DP_MUST_CHECK dp_err ctl_export_run(const struct ctl_export *export, dp_error *err);

#endif
