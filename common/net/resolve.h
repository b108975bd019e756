/* Names to addresses within a bounded time: the resolver of the C library asks one server after the other and cannot be
 * hurried, so it runs in a thread of its own that may be left behind. Thread: any. */
#ifndef DP_COMMON_NET_RESOLVE_H
#define DP_COMMON_NET_RESOLVE_H

#include <netdb.h>
#include <stdint.h>

#include "common/base/dp_err.h"

/* Stream addresses of a host, which is a name or an address, with this port; freed with freeaddrinfo. DP_UNREACHABLE
 * with the resolver's reason, or when it has said nothing for timeout_ms, or when a signal came. */
DP_MUST_CHECK dp_err resolve(const char *host, uint16_t port, uint64_t timeout_ms, struct addrinfo **ret_list,
                             dp_error *err);

#endif
