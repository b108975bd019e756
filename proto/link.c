/* One connection of a client.
 *
 * Invariant: ZMQ_FD announces only what comes after a receive, or a look at ZMQ_EVENTS, that found nothing; so a link
 * is waited for by its descriptor only while it is `empty`, and is empty only from such a moment until it is used or
 * announced again. Asking ZeroMQ anew at each turn would cost some twenty system calls a step. Thread: the one that
 * uses it at the time. */
#include "proto/link.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/base/text.h"
#include "common/base/util.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "payloads are little-endian and are not converted");

enum {
    LINK_EVENTS =
        ZMQ_EVENT_CONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CONNECT_RETRIED
};

/* A frame may be larger than the values of a slice by what other kinds of messages need. */
enum { FRAME_SLACK_BYTES = 1024 };

static const struct {
    int option;
    int value;
} SOCKET_OPTIONS[] = {
    {ZMQ_IPV6, 1},
    {ZMQ_LINGER, 0},
    {ZMQ_CONNECT_TIMEOUT, 5000},
    {ZMQ_RECONNECT_IVL, 100},
    {ZMQ_RECONNECT_IVL_MAX, 1000},
    /* A peer that vanished without closing is found by ZeroMQ's pings, or by TCP while nothing is sent. */
    {ZMQ_HEARTBEAT_IVL, 10000},
    {ZMQ_HEARTBEAT_TIMEOUT, 30000},
    {ZMQ_TCP_KEEPALIVE, 1},
    {ZMQ_TCP_KEEPALIVE_IDLE, 30},
    {ZMQ_TCP_KEEPALIVE_INTVL, 10},
    {ZMQ_TCP_KEEPALIVE_CNT, 3},
};

static int link_configure(struct link *link, struct link_limits limits)
{
    int64_t bytes_max = (int64_t)MAX(limits.bytes_max, (size_t)FRAME_SLACK_BYTES) + FRAME_SLACK_BYTES;
    int rc = zmq_setsockopt(link->socket, ZMQ_MAXMSGSIZE, &bytes_max, sizeof bytes_max);
    rc |= zmq_setsockopt(link->socket, ZMQ_SNDHWM, &limits.queue, sizeof limits.queue);
    rc |= zmq_setsockopt(link->socket, ZMQ_RCVHWM, &limits.queue, sizeof limits.queue);
    for (size_t i = 0; i < ARRAY_LEN(SOCKET_OPTIONS); i++)
        rc |= zmq_setsockopt(link->socket, SOCKET_OPTIONS[i].option, &SOCKET_OPTIONS[i].value, sizeof(int));
    int ping_ms = limits.ping_ms > 0 ? limits.ping_ms : 0;
    if (limits.ping_ms != 0)
        rc |= zmq_setsockopt(link->socket, ZMQ_HEARTBEAT_IVL, &ping_ms, sizeof ping_ms);
    if (limits.connect_ms > 0)
        rc |= zmq_setsockopt(link->socket, ZMQ_CONNECT_TIMEOUT, &limits.connect_ms, sizeof limits.connect_ms);
    return rc;
}

/* A monitor is a pair of sockets by an inproc name that no other link has. */
static int link_watch(struct link *link, void *zmq)
{
    char name[64];
    int linger = 0;
    snprintf(name, sizeof name, "inproc://link-%p", (void *)link->socket);
    if (zmq_socket_monitor(link->socket, name, LINK_EVENTS))
        return -1;
    link->monitor = zmq_socket(zmq, ZMQ_PAIR);
    if (!link->monitor)
        return -1;
    zmq_setsockopt(link->monitor, ZMQ_LINGER, &linger, sizeof linger);
    return zmq_connect(link->monitor, name);
}

static int socket_fd(void *socket)
{
    int fd = -1;
    size_t size = sizeof fd;
    return zmq_getsockopt(socket, ZMQ_FD, &fd, &size) ? -1 : fd;
}

dp_err link_open(struct link *link, void *zmq, const char *name, const struct endpoint *address,
                 struct link_limits limits, dp_error *err)
{
    char text[ENDPOINT_TEXT_MAX];
    *link = (struct link){.zmq = zmq, .address = *address, .limits = limits, .tcp = -1};
    str_copy(link->name, sizeof link->name, name);
    endpoint_text(address, text);
    link->socket = zmq_socket(zmq, ZMQ_DEALER);
    if (!link->socket || link_configure(link, limits) || link_watch(link, zmq) || zmq_connect(link->socket, text)) {
        dp_err e = dp_fail(err, DP_SYSTEM, "cannot open a connection to %s: %s", text, zmq_strerror(errno));
        link_close(link, 0);
        return e;
    }
    link->fd = socket_fd(link->socket);
    link->monitor_fd = socket_fd(link->monitor);
    return DP_OK;
}

void link_close(struct link *link, int linger_ms)
{
    if (link->socket) {
        zmq_setsockopt(link->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
        zmq_socket_monitor(link->socket, NULL, 0);
        zmq_close(link->socket);
    }
    if (link->monitor)
        zmq_close(link->monitor);
    link->socket = NULL;
    link->monitor = NULL;
}

dp_err link_reopen(struct link *link, dp_error *err)
{
    const struct link was = *link;
    link_close(link, 0);
    return link_open(link, was.zmq, was.name, &was.address, was.limits, err);
}

static dp_err link_send_header(struct link *link, const Dp__Header *header, int more)
{
    zmq_msg_t msg;
    link->empty = false;
    if (zmq_msg_init_size(&msg, frame_size(header)))
        return DP_NOMEM;
    frame_write(header, zmq_msg_data(&msg));
    if (zmq_msg_send(&msg, link->socket, ZMQ_DONTWAIT | more) >= 0)
        return DP_OK;
    dp_err e = errno == EAGAIN ? DP_BUSY : DP_SYSTEM;
    zmq_msg_close(&msg);
    return e;
}

dp_err link_send(struct link *link, const Dp__Header *header, zmq_msg_t *payload, size_t count)
{
    dp_err e = link_send_header(link, header, count > 0 ? ZMQ_SNDMORE : 0);
    for (size_t i = 0; i < count; i++) {
        int more = i + 1 < count ? ZMQ_SNDMORE : 0;
        /* Once its first frame was accepted, the rest of a message is accepted too. */
        if (e == DP_OK && zmq_msg_send(&payload[i], link->socket, ZMQ_DONTWAIT | more) < 0)
            e = DP_SYSTEM;
        if (e != DP_OK)
            zmq_msg_close(&payload[i]);
    }
    return e;
}

/* Reads what is left of a message that has more frames than any of ours. */
static void link_drain_message(struct link *link)
{
    zmq_msg_t msg;
    int more = 1;
    while (more) {
        zmq_msg_init(&msg);
        more = zmq_msg_recv(&msg, link->socket, ZMQ_DONTWAIT) >= 0 && zmq_msg_more(&msg);
        zmq_msg_close(&msg);
    }
}

/* Number of frames received, 0 where there is no message; of more than two, the rest is dropped. */
static size_t link_receive_frames(struct link *link, zmq_msg_t frames[2])
{
    size_t count = 0;
    bool more = true;
    if (link->empty)
        return 0;
    zmq_msg_init(&frames[0]);
    zmq_msg_init(&frames[1]);
    while (more && count < 2) {
        if (zmq_msg_recv(&frames[count], link->socket, ZMQ_DONTWAIT) < 0) {
            link->empty = errno == EAGAIN;
            return 0;
        }
        more = zmq_msg_more(&frames[count++]);
    }
    if (more)
        link_drain_message(link);
    return more ? 3 : count;
}

dp_err link_receive(struct link *link, struct arena *arena, struct link_message *ret_message, bool *ret_any,
                    dp_error *err)
{
    struct link_message *message = ret_message;
    size_t count = link_receive_frames(link, message->frames);
    *ret_any = count > 0;
    if (count == 0)
        return DP_OK;
    dp_err e = frame_parse(arena, zmq_msg_data(&message->frames[0]), zmq_msg_size(&message->frames[0]), count - 1,
                           &message->header, err);
    if (e) {
        link_message_close(message);
        *ret_any = false;
        return dp_fail_in(err, "%s sent what is no message of dp", link->name);
    }
    message->values = count == 2 ? zmq_msg_data(&message->frames[1]) : NULL;
    message->bytes = zmq_msg_size(&message->frames[1]);
    return DP_OK;
}

void link_message_close(struct link_message *message)
{
    zmq_msg_close(&message->frames[0]);
    zmq_msg_close(&message->frames[1]);
}

/* One event, or -1, and its value; the second frame of an event names the address and is not needed. */
static int monitor_event(void *monitor, int32_t *ret_value)
{
    zmq_msg_t msg;
    uint16_t event = 0;
    zmq_msg_init(&msg);
    int rc = zmq_msg_recv(&msg, monitor, ZMQ_DONTWAIT);
    if (rc >= (int)(sizeof event + sizeof *ret_value)) {
        memcpy(&event, zmq_msg_data(&msg), sizeof event);
        memcpy(ret_value, (const char *)zmq_msg_data(&msg) + sizeof event, sizeof *ret_value);
    }
    while (rc >= 0 && zmq_msg_more(&msg))
        rc = zmq_msg_recv(&msg, monitor, ZMQ_DONTWAIT);
    zmq_msg_close(&msg);
    return rc < 0 ? -1 : event;
}

enum link_news link_news(struct link *link)
{
    enum link_news news = LINK_NOTHING;
    if (link->monitor_empty)
        return news;
    int32_t value = -1;
    for (int event = monitor_event(link->monitor, &value); event >= 0; event = monitor_event(link->monitor, &value)) {
        if (event == ZMQ_EVENT_CONNECTED) {
            link->tcp = value;
            link->watch = (struct path_watch){0};
            continue;
        }
        bool lost = event != ZMQ_EVENT_HANDSHAKE_SUCCEEDED;
        if (lost)
            link->tcp = -1;
        if (lost != link->lost)
            news = lost ? LINK_LOST : LINK_BACK;
        link->lost = lost;
    }
    link->monitor_empty = true;
    return news;
}

/* Whether there is something to read; if not, the socket's descriptor will tell. */
static bool socket_readable(void *socket, bool *empty)
{
    int events = 0;
    size_t size = sizeof events;
    if (*empty)
        return false;
    *empty = zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) == 0 && !(events & ZMQ_POLLIN);
    return !*empty;
}

dp_err links_wait(struct link *const *links, size_t count, struct pollfd *items, uint64_t timeout_ms, dp_error *err)
{
    bool there = false;
    for (size_t i = 0; i < count; i++) {
        there |= socket_readable(links[i]->socket, &links[i]->empty);
        there |= socket_readable(links[i]->monitor, &links[i]->monitor_empty);
        items[2 * i] = (struct pollfd){.fd = links[i]->fd, .events = POLLIN};
        items[2 * i + 1] = (struct pollfd){.fd = links[i]->monitor_fd, .events = POLLIN};
    }
    if (there)
        return DP_OK;
    if (poll(items, 2 * count, (int)MIN(timeout_ms, (uint64_t)INT32_MAX)) < 0 && errno != EINTR)
        return dp_fail(err, DP_SYSTEM, "cannot wait for the server: %s", strerror(errno));
    for (size_t i = 0; i < count; i++) {
        links[i]->empty = !items[2 * i].revents;
        links[i]->monitor_empty = !items[2 * i + 1].revents;
    }
    return DP_OK;
}

void link_look(struct link *link)
{
    link->empty = link->monitor_empty = false;
}
