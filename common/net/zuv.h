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
 * out. On a ROUTER socket frames[0] is the routing id. A message of more than ZUV_FRAMES_MAX frames is dropped: count
 * is 0. */
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
 * from recv. Messages that are still queued go out as the socket's ZMQ_LINGER has it. */
void zuv_close(struct zuv *zuv, void (*closed)(void *arg));

/* uv_async_send for a thread that has just left something for the loop's: its callback runs after the call, and sees
 * what was stored before it. (libuv first looks whether a wake-up is pending; without a fence that look may come before
 * the store, while the woken thread clears the mark and looks for the value too early: a value that nobody sees.)
 * Thread: any. */
void zuv_wake(uv_async_t *async);

#endif
