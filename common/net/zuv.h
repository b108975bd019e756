/* ZeroMQ sockets on a libuv loop. ZMQ_FD is edge-triggered and both sends and receives consume edges, so the poll
 * handle only wakes the loop; `prepare` looks at ZMQ_EVENTS and starts an idle handle when there is something to read;
 * `check` drains at most ZUV_DRAIN messages. Messages may be sent from any callback of the loop but those of uv_prepare
 * handles, which run when it is too late to look at ZMQ_EVENTS again. Thread: the loop's. */
#ifndef DP_COMMON_NET_ZUV_H
#define DP_COMMON_NET_ZUV_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>
#include <zmq.h>

#include "common/base/dp_err.h"

enum { ZUV_FRAMES_MAX = 8, ZUV_DRAIN = 64 };

/* A whole multipart message. The frames are zuv's and closed after the callback returns; to keep one, zmq_msg_move it
 * out. On a ROUTER socket frames[0] is the routing id. Of a message of more than ZUV_FRAMES_MAX frames nothing is kept:
 * count is 0. */
typedef void (*zuv_recv)(void *arg, zmq_msg_t *frames, size_t count);

struct zuv {
    void *socket; /* owned from zuv_init on; closed by zuv_close */
    uv_poll_t poll;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;
    zuv_recv recv;
    void *arg;
    void (*closed)(void *arg);
    int open_handles;
    bool closing;
    bool empty; /* nothing to read, and nothing was done with the socket since that was found out */
};

/* Starts receiving. On failure the socket is still the caller's, and *zuv may only be reused after the loop has run
 * once more or was closed. */
DP_MUST_CHECK dp_err zuv_init(struct zuv *zuv, uv_loop_t *loop, void *socket, zuv_recv recv, void *arg, dp_error *err);
/* Sends a multipart message whole or not at all, without blocking, and consumes the frames (they are closed or moved in
 * every case). DP_UNREACHABLE where a ROUTER (with ZMQ_ROUTER_MANDATORY) has no such peer, DP_BUSY where the queue is
 * full, DP_SHUTDOWN after zuv_close. */
DP_MUST_CHECK dp_err zuv_send(struct zuv *zuv, zmq_msg_t *frames, size_t count);
/* Stops, closes the handles and the socket, then calls closed(arg) from the loop; closed may be NULL. May be called
 * from recv. What was sent goes out as the socket's ZMQ_LINGER has it. */
void zuv_close(struct zuv *zuv, void (*closed)(void *arg));

/* uv_async_send for a thread that has just left something for the loop's: its callback runs after the call, and sees
 * what was stored before it. (libuv first looks whether a wake-up is pending; without a fence that look may come before
 * the store, while the woken thread clears the mark and looks for the value too early: a value that nobody sees.)
 * Thread: any. */
void zuv_wake(uv_async_t *async);

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
