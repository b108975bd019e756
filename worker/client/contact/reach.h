/* Finding a server: attempts with backoff until a deadline. Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_CONTACT_REACH_H
#define DP_WORKER_CLIENT_CONTACT_REACH_H

#include "common/net/endpoint.h"
#include "worker/client/contact/tell.h"
#include "worker/client/contact/timing.h"

/* All borrowed. */
struct reach_way {
    const struct client_timing *timing;
    struct tell *tell;
    uint64_t worker; /* number, by which workers differ in when they try */
};

/* A pause of `ms` in pieces that see the stop flag. DP_STOPPED. */
DP_MUST_CHECK dp_err reach_pause(const struct reach_way *way, uint64_t ms, dp_error *err);
/* `wait_ms`, less up to a quarter of it, so that workers try at different times. */
uint64_t reach_jitter(const struct reach_way *way, uint64_t wait_ms);
/* Finds an address at which a server can be reached, trying again with backoff and telling the user why it fails.
 * DP_UNREACHABLE after the deadline, ending with the hint; DP_STOPPED. */
DP_MUST_CHECK dp_err reach_server(const struct reach_way *way, const struct endpoint *endpoint, const char *hint,
                                  uint64_t deadline_ms, struct endpoint *ret_address, dp_error *err);

#endif
