/* ZeroMQ sockets on a libuv loop. ZMQ_FD is edge-triggered and both sends and receives consume edges, so the poll
 * handle only wakes the loop; `prepare` looks at ZMQ_EVENTS and starts an idle handle when there is something to read;
 * `check` drains at most ZUV_DRAIN messages. Thread: the loop's. */
#ifndef DP_ZUV_H
#define DP_ZUV_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>
#include <zmq.h>

#include "dp_err.h"

enum { ZUV_FRAMES_MAX = 8, ZUV_DRAIN = 64 };

/* A whole multipart message. The frames are zuv's and closed after the callback returns; to keep one, zmq_msg_move it
 * out. On a ROUTER socket frames[0] is the routing id. */
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
    uint64_t overlong; /* messages dropped for having more than ZUV_FRAMES_MAX frames */
};

/* Starts receiving. On failure the socket is still the caller's. */
DP_MUST_CHECK dp_err zuv_init(struct zuv *zuv, uv_loop_t *loop, void *socket, zuv_recv recv, void *arg, dp_error *err);
/* Sends a multipart message without blocking and consumes the frames (they are closed or moved in every case).
 * DP_UNREACHABLE where a ROUTER has no such peer, DP_BUSY where its queue is full. */
DP_MUST_CHECK dp_err zuv_send(struct zuv *zuv, zmq_msg_t *frames, size_t count);
/* Stops, closes the handles and the socket, then calls closed(arg) from the loop. */
void zuv_close(struct zuv *zuv, void (*closed)(void *arg));

/* Binds to an endpoint; port 0 or * takes a free one. The endpoint with the port chosen goes to endpoint[size].
 * DP_SYSTEM naming the endpoint, the reason, and what to do (port taken, address not of this machine, bad syntax). */
DP_MUST_CHECK dp_err zuv_bind(void *socket, const char *listen, char *endpoint, size_t size, dp_error *err);

#endif
