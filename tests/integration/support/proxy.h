/* A TCP proxy that cuts connections: it listens on 127.0.0.2 at the ports of a server of 127.0.0.1, so that a worker
 * that comes by way of 127.0.0.2 goes through it to the head and, as the head names no host, to the shards. Thread:
 * proxy_* are the test's; a thread of its own forwards. */
#ifndef DP_TESTS_INTEGRATION_SUPPORT_PROXY_H
#define DP_TESTS_INTEGRATION_SUPPORT_PROXY_H

#include <stdint.h>

struct proxy;

/* Starts without ports. NULL where the machine has no 127.0.0.2. */
struct proxy *proxy_new(void);
void proxy_free(struct proxy **proxy);
/* Adds a port of the server; before the first connection to it. */
void proxy_add(struct proxy *proxy, uint16_t port);
/* Adds a port of the server at another one, which is returned, as tunnels do. */
uint16_t proxy_tunnel(struct proxy *proxy, uint16_t port);
/* Cuts the connections to a port, and refuses more. */
void proxy_remove(struct proxy *proxy, uint16_t port);
/* Cuts all connections, whatever was under way in them. */
void proxy_cut(struct proxy *proxy);
/* Cuts one connection: each time another, in turn. */
void proxy_cut_one(struct proxy *proxy);
/* All connections there are carry nothing any more, and stay open; new ones do. */
void proxy_silence(struct proxy *proxy);
/* Number of connections that were cut so far. */
unsigned proxy_cuts(const struct proxy *proxy);

#endif
