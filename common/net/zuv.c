/* ZeroMQ sockets on a libuv loop.
 *
 * Invariants:
 * 1. ZMQ_EVENTS is read in `prepare`, after everything that this iteration did with the socket and right before the
 *    loop may block. Reading it handles what ZMQ_FD announced, so no edge is ever lost, whoever sent or received last.
 *    A receive that found nothing is as good as reading it: where that came last (`empty`), neither is repeated until
 *    ZMQ_FD announces something, which saves two system calls a message.
 * 2. The loop does not block while there is something to read: an idle handle keeps it going.
 * 3. A message leaves whole or not at all; the socket never waits for the rest of one.
 * Thread: the loop's. */
#include "common/net/zuv.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>

#include "common/base/util.h"

static void frames_close(zmq_msg_t *frames, size_t count)
{
    for (size_t i = 0; i < count; i++)
        zmq_msg_close(&frames[i]);
}

/* Receives one message; false, with the reason in errno, when there is none. More than ZUV_FRAMES_MAX frames:
 * *ret_count is 0 and all are gone. */
static bool message_recv(void *socket, zmq_msg_t *frames, size_t *ret_count)
{
    size_t count = 0;
    bool more = true, overlong = false;
    while (more) {
        zmq_msg_t *frame = &frames[count];
        zmq_msg_init(frame);
        if (zmq_msg_recv(frame, socket, ZMQ_DONTWAIT) < 0) {
            int why = errno;
            zmq_msg_close(frame);
            errno = why;
            break;
        }
        more = zmq_msg_more(frame);
        overlong = overlong || (more && count + 1 == ZUV_FRAMES_MAX);
        if (overlong)
            zmq_msg_close(frame); /* its place is used for what follows */
        else
            count++;
    }
    bool got = count > 0 || overlong;
    if (more || overlong) {
        frames_close(frames, count);
        count = 0;
    }
    *ret_count = count;
    return got;
}

static void zuv_drain(struct zuv *zuv)
{
    zmq_msg_t frames[ZUV_FRAMES_MAX];
    zuv->empty = false;
    for (int i = 0; i < ZUV_DRAIN && !zuv->closing; i++) {
        size_t count;
        if (!message_recv(zuv->socket, frames, &count)) {
            zuv->empty = errno == EAGAIN;
            break;
        }
        zuv->recv(zuv->arg, frames, count);
        frames_close(frames, count);
    }
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct zuv *zuv = handle->data;
    (void)status;
    (void)events;
    zuv->empty = false;
}

static void on_idle(uv_idle_t *handle)
{
    (void)handle; /* only keeps the loop from blocking */
}

static void on_prepare(uv_prepare_t *handle)
{
    struct zuv *zuv = handle->data;
    int events = 0;
    size_t size = sizeof events;
    if (zuv->empty)
        return;
    while (zmq_getsockopt(zuv->socket, ZMQ_EVENTS, &events, &size) != 0 && errno == EINTR)
        ;
    if (events & ZMQ_POLLIN)
        uv_idle_start(&zuv->idle, on_idle);
}

static void on_check(uv_check_t *handle)
{
    struct zuv *zuv = handle->data;
    uv_idle_stop(&zuv->idle);
    if (!zuv->empty)
        zuv_drain(zuv);
}

/* The last of the four handles is gone. */
static void on_handle_closed(uv_handle_t *handle)
{
    struct zuv *zuv = handle->data;
    if (--zuv->open_handles > 0)
        return;
    if (zuv->socket)
        zmq_close(zuv->socket);
    zuv->socket = NULL;
    if (zuv->closed)
        zuv->closed(zuv->arg);
}

static void zuv_close_handles(struct zuv *zuv)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&zuv->prepare, (uv_handle_t *)&zuv->check, (uv_handle_t *)&zuv->idle,
                              (uv_handle_t *)&zuv->poll};
    zuv->closing = true;
    zuv->open_handles = ARRAY_LEN(handles);
    for (size_t i = 0; i < ARRAY_LEN(handles); i++) {
        handles[i]->data = zuv;
        uv_close(handles[i], on_handle_closed);
    }
}

void zuv_close(struct zuv *zuv, void (*closed)(void *arg))
{
    if (zuv->closing)
        return;
    zuv->closed = closed;
    zuv_close_handles(zuv);
}

dp_err zuv_init(struct zuv *zuv, uv_loop_t *loop, void *socket, zuv_recv recv, void *arg, dp_error *err)
{
    int fd;
    size_t size = sizeof fd;
    if (zmq_getsockopt(socket, ZMQ_FD, &fd, &size) != 0)
        return dp_fail(err, DP_SYSTEM, "socket gives no file descriptor: %s", zmq_strerror(errno));
    *zuv = (struct zuv){.socket = socket, .recv = recv, .arg = arg};
    int rc = uv_poll_init(loop, &zuv->poll, fd);
    if (rc != 0)
        return dp_fail(err, DP_SYSTEM, "cannot watch a socket: %s", uv_strerror(rc));
    uv_prepare_init(loop, &zuv->prepare);
    uv_check_init(loop, &zuv->check);
    uv_idle_init(loop, &zuv->idle);
    zuv->poll.data = zuv->prepare.data = zuv->check.data = zuv->idle.data = zuv;
    uv_prepare_start(&zuv->prepare, on_prepare);
    uv_check_start(&zuv->check, on_check);
    rc = uv_poll_start(&zuv->poll, UV_READABLE, on_poll);
    if (rc == 0)
        return DP_OK;
    zuv->socket = NULL;
    zuv_close_handles(zuv);
    return dp_fail(err, DP_SYSTEM, "cannot watch a socket: %s", uv_strerror(rc));
}

/* Sends or, failing that, closes one frame; 0 or an errno. */
static int frame_send(void *socket, zmq_msg_t *frame, int flags)
{
    int rc;
    do
        rc = zmq_msg_send(frame, socket, flags | ZMQ_DONTWAIT);
    while (rc < 0 && errno == EINTR);
    if (rc >= 0)
        return 0;
    int why = errno;
    zmq_msg_close(frame);
    return why;
}

/* 0 or an errno. If the first frame fails, nothing was begun, and the rest must not be sent: it would be a message of
 * its own. If a later one fails, zmq has taken the message back and waits for its last frame, to swallow it. */
static int message_send(void *socket, zmq_msg_t *frames, size_t count)
{
    int why = frame_send(socket, &frames[0], count > 1 ? ZMQ_SNDMORE : 0);
    if (why) {
        frames_close(frames + 1, count - 1);
        return why;
    }
    for (size_t i = 1; i < count; i++) {
        int rc = frame_send(socket, &frames[i], i + 1 < count ? ZMQ_SNDMORE : 0);
        why = why ? why : rc;
    }
    return why;
}

dp_err zuv_send(struct zuv *zuv, zmq_msg_t *frames, size_t count)
{
    assert(count > 0);
    if (zuv->closing) {
        frames_close(frames, count);
        return DP_SHUTDOWN;
    }
    zuv->empty = false;
    switch (message_send(zuv->socket, frames, count)) {
    case 0:
        return DP_OK;
    case EHOSTUNREACH:
        return DP_UNREACHABLE;
    case EAGAIN:
        return DP_BUSY;
    default:
        return DP_SYSTEM;
    }
}

void zuv_wake(uv_async_t *async)
{
    atomic_thread_fence(memory_order_seq_cst);
    uv_async_send(async);
}
