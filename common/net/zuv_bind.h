/* Binding a socket to an endpoint that a user named. Thread: any; the socket's. */
#ifndef DP_COMMON_NET_ZUV_BIND_H
#define DP_COMMON_NET_ZUV_BIND_H

#include <stddef.h>

#include "common/base/dp_err.h"

enum { ZUV_ENDPOINT_MAX = 128 }; /* of an endpoint at which this process listens */

/* Whether `listen` is what zuv_bind takes. DP_USAGE, saying what is wrong with it. */
DP_MUST_CHECK dp_err zuv_listen_check(const char *listen, dp_error *err);
/* Binds to tcp://ADDRESS:PORT (an IP address, an interface, a name of this machine, or *; port 0 or * takes a free one)
 * or ipc://PATH. Peers must speak ZMTP 3. Sets ZMQ_IPV6 as the address wants it: * is both, IPv4 and IPv6. The endpoint
 * with the port chosen goes to endpoint[size]. DP_USAGE where the syntax is wrong, DP_SYSTEM otherwise, naming the
 * endpoint, the reason, and what to do (port taken, address not of this machine). */
DP_MUST_CHECK dp_err zuv_bind(void *socket, const char *listen, char *endpoint, size_t size, dp_error *err);

/* Ports first to last, 1 to 65535; first 0: any. */
struct zuv_ports {
    unsigned first, last;
};
/* "A-B". DP_USAGE. */
DP_MUST_CHECK dp_err zuv_ports_parse(const char *text, struct zuv_ports *ret_ports, dp_error *err);
/* zuv_bind at the host of `listen`, a tcp endpoint whose port is not looked at, and the first port of these that is not
 * in use. DP_BUSY where all are, else as zuv_bind. */
DP_MUST_CHECK dp_err zuv_bind_ports(void *socket, const char *listen, const struct zuv_ports *ports, char *endpoint,
                                    size_t size, dp_error *err);

#endif
