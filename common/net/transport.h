/* Transports: the ways to a server, which the scheme of an endpoint names. All that depends on the way stands in one
 * table. A further transport is a file with its row, a number in endpoint.h, a line in transport.c and in
 * TRANSPORT_NONE, and its binding in zuv_bind.c. Thread: any. */
#ifndef DP_COMMON_NET_TRANSPORT_H
#define DP_COMMON_NET_TRANSPORT_H

#include <stddef.h>

#include "common/net/endpoint.h"

struct transport {
    enum transport_id id;
    const char *name;   /* in the status document */
    const char *scheme; /* an endpoint begins with it; `rest` is what follows */
    bool has_ports;     /* an endpoint is a host and a port; else it is a path or a name on this machine */
    /* Reads an endpoint to dial, of which `way` is set. NULL, or what is wrong with it. */
    const char *(*parse)(const char *rest, struct endpoint *ret_endpoint);
    void (*text)(const struct endpoint *endpoint, char text[ENDPOINT_TEXT_MAX]);
    /* See endpoint_probe; the reason is as strerror has it. */
    dp_err (*probe)(const struct endpoint *endpoint, uint64_t timeout_ms, const volatile int *stop,
                    struct endpoint *ret_address, dp_error *err);
    /* Whether only peers of this machine can reach one who listens there. */
    bool (*is_local)(const char *rest);
    /* A free place beside one that is listened at, for a thread of the same process; `name` is unique on this machine.
     */
    void (*beside)(const char *rest, const char *name, char *text, size_t size);
    /* The endpoint as peers reach it by `host`. */
    void (*at_host)(const char *rest, const char *host, char *text, size_t size);
    /* Removes what ZeroMQ leaves behind of an endpoint that was bound; NULL: nothing. */
    void (*clean)(const char *rest);
};

extern const struct transport TRANSPORT_ROW_TCP, TRANSPORT_ROW_IPC;

/* The transport of an endpoint that was parsed. */
const struct transport *transport_get(enum transport_id id);
/* The fault of an endpoint that has no transport. */
#define TRANSPORT_NONE "it does not begin with tcp:// or ipc://"
/* The transport whose scheme the text begins with, and what follows it; NULL: there is none. */
const struct transport *transport_of(const char *text, const char **ret_rest);

/* For probes: whether the flag says stop; another thread may have set it. */
static inline bool dial_stopped(const volatile int *stop)
{
    return stop && __atomic_load_n(stop, __ATOMIC_RELAXED);
}

#endif
