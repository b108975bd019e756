/* Addresses of servers, "tcp://HOST:PORT" or "ipc://PATH": resolving them, and the reason why one cannot be reached.
 * ZeroMQ itself tries only the first address of a name and never says why a connection fails, so addresses are found
 * here by plain TCP connections. Thread: any. */
#ifndef DP_COMMON_NET_ENDPOINT_H
#define DP_COMMON_NET_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/dp_err.h"

enum { ENDPOINT_HOST_MAX = 256, ENDPOINT_TEXT_MAX = ENDPOINT_HOST_MAX + 24 };

/* Numbers of transports; see transport.h. */
enum transport_id { TRANSPORT_TCP, TRANSPORT_IPC };

struct endpoint {
    char host[ENDPOINT_HOST_MAX]; /* name or address; an IPv6 address without its brackets; of ipc: the path, with @ in
                                   * front where it is abstract */
    uint16_t port;
    enum transport_id way;
};

/* Reads "tcp://HOST:PORT" or "ipc://PATH". DP_USAGE, saying what a good one looks like. */
DP_MUST_CHECK dp_err endpoint_parse(const char *text, struct endpoint *ret_endpoint, dp_error *err);
/* The same, where a host of "*", 0.0.0.0 or [::] stands for `head_host`. */
DP_MUST_CHECK dp_err endpoint_parse_shard(const char *text, const char *head_host, struct endpoint *ret_endpoint,
                                          dp_error *err);
/* "tcp://HOST:PORT" or "ipc://PATH" */
void endpoint_text(const struct endpoint *endpoint, char text[ENDPOINT_TEXT_MAX]);
/* Whether it is a host and a port; else it is on this machine, and has no host that could be named otherwise. */
bool endpoint_has_ports(const struct endpoint *endpoint);

/* Connects to each address of the endpoint in turn (anew every second, beside what is under way), waiting at most
 * `timeout_ms` in all, and gives back the first that answers, as a numeric host. DP_UNREACHABLE with the reason alone
 * ("connection refused"). Connecting ends early once `stop`, which may be NULL, points to what is not 0. */
DP_MUST_CHECK dp_err endpoint_probe(const struct endpoint *endpoint, uint64_t timeout_ms, const volatile int *stop,
                                    struct endpoint *ret_address, dp_error *err);

#endif
