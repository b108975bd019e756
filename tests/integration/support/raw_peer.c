/* A peer of raw bytes; see raw_peer.h. */
#include "tests/integration/support/raw_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/util.h"

enum { ANSWER_MS = 10000, READ_BYTES = 1 << 16, SHORT_MAX = 255 };

/* ---- bytes ---- */

static void number_write(uint8_t *at, uint64_t number, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (uint8_t)(number >> 8 * (bytes - 1 - i));
}

void raw_greeting(uint8_t greeting[RAW_GREETING_BYTES])
{
    static const uint8_t START[] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'N', 'U', 'L', 'L'};
    memset(greeting, 0, RAW_GREETING_BYTES);
    memcpy(greeting, START, sizeof START);
}

static size_t property(uint8_t *out, const char *name, const void *value, size_t bytes)
{
    size_t at = 0;
    out[at++] = (uint8_t)strlen(name);
    memcpy(out + at, name, strlen(name));
    at += strlen(name);
    number_write(out + at, bytes, 4);
    at += 4;
    if (bytes)
        memcpy(out + at, value, bytes);
    return at + bytes;
}

static size_t frame_head(uint8_t out[9], int flags, uint64_t bytes)
{
    bool is_long = bytes > SHORT_MAX;
    out[0] = (uint8_t)(flags | (is_long ? RAW_LONG : 0));
    number_write(out + 1, bytes, is_long ? 8 : 1);
    return is_long ? 9 : 2;
}

size_t raw_ready(uint8_t out[RAW_COMMAND_MAX + 16], const char *type, const void *identity, size_t bytes)
{
    uint8_t body[RAW_COMMAND_MAX];
    size_t at = 6;
    memcpy(body, "\5READY", 6);
    at += property(body + at, "Socket-Type", type, strlen(type));
    at += property(body + at, "Identity", identity, MIN(bytes, sizeof body - at - 16));
    size_t head = frame_head(out, RAW_COMMAND, at);
    memcpy(out + head, body, at);
    return head + at;
}

/* ---- the connection ---- */

bool raw_open(struct raw_peer *peer, const char *endpoint)
{
    const char *colon = strrchr(endpoint, ':');
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1;
    *peer = (struct raw_peer){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (peer->fd < 0)
        return false;
    to.sin_port = htons((uint16_t)strtoul(colon ? colon + 1 : "0", NULL, 10));
    setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (connect(peer->fd, (struct sockaddr *)&to, sizeof to) == 0)
        return true;
    raw_close(peer);
    return false;
}

void raw_close(struct raw_peer *peer)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    if (peer->fd >= 0) {
        setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(peer->fd);
    }
    peer->fd = -1;
    free(peer->in);
    free(peer->payload);
    arena_fini(&peer->arena);
    *peer = (struct raw_peer){.fd = -1};
}

/* False at the deadline. */
static bool wait_for(const struct raw_peer *peer, short events, uint64_t deadline_ms)
{
    uint64_t now_ms = mono_ms();
    struct pollfd fd = {.fd = peer->fd, .events = events};
    return now_ms < deadline_ms && poll(&fd, 1, (int)(deadline_ms - now_ms)) > 0;
}

bool raw_write(struct raw_peer *peer, const void *data, size_t bytes)
{
    uint64_t deadline_ms = mono_ms() + ANSWER_MS;
    for (const uint8_t *at = data; bytes > 0;) {
        ssize_t n = send(peer->fd, at, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            at += n;
            bytes -= (size_t)n;
        } else if ((errno != EAGAIN && errno != EINTR) || !wait_for(peer, POLLOUT, deadline_ms)) {
            return false;
        }
    }
    return true;
}

bool raw_frame_head(struct raw_peer *peer, int flags, uint64_t bytes)
{
    uint8_t head[9];
    return raw_write(peer, head, frame_head(head, flags, bytes));
}

bool raw_frame(struct raw_peer *peer, int flags, const void *data, size_t bytes)
{
    uint8_t head[9 + SHORT_MAX];
    size_t at = frame_head(head, flags, bytes);
    if (bytes > SHORT_MAX)
        return raw_write(peer, head, at) && raw_write(peer, data, bytes);
    if (bytes)
        memcpy(head + at, data, bytes);
    return raw_write(peer, head, at + bytes);
}

bool raw_send(struct raw_peer *peer, const Dp__Header *header, const void *payload, size_t bytes)
{
    size_t size = frame_size(header);
    AUTOFREE uint8_t *packed = mem_array(size + 1, 1);
    if (!packed)
        return false;
    frame_write(header, packed);
    return raw_frame(peer, payload ? RAW_MORE : 0, packed, size) && (!payload || raw_frame(peer, 0, payload, bytes));
}

/* ---- receiving ---- */

/* More bytes; false at the deadline, or where the connection has ended. */
static bool read_more(struct raw_peer *peer, uint64_t deadline_ms)
{
    if (peer->fd < 0 || !wait_for(peer, POLLIN, deadline_ms))
        return false;
    if (peer->in_size - peer->in_bytes < READ_BYTES) {
        uint8_t *grown = realloc(peer->in, 2 * peer->in_size + READ_BYTES);
        if (!grown)
            return false;
        peer->in = grown;
        peer->in_size = 2 * peer->in_size + READ_BYTES;
    }
    ssize_t n = recv(peer->fd, peer->in + peer->in_bytes, READ_BYTES, 0);
    if (n <= 0)
        return false;
    peer->in_bytes += (size_t)n;
    return true;
}

static bool need(struct raw_peer *peer, size_t bytes, uint64_t deadline_ms)
{
    while (peer->in_bytes < bytes)
        if (!read_more(peer, deadline_ms))
            return false;
    return true;
}

static void drop(struct raw_peer *peer, size_t bytes)
{
    peer->in_bytes -= bytes;
    memmove(peer->in, peer->in + bytes, peer->in_bytes);
}

/* The next frame is whole in peer->in: its flags, or -1; where its body is. */
static int next_frame(struct raw_peer *peer, uint64_t deadline_ms, size_t *ret_head, size_t *ret_bytes)
{
    if (!need(peer, 2, deadline_ms))
        return -1;
    int flags = peer->in[0];
    size_t head = flags & RAW_LONG ? 9 : 2;
    uint64_t bytes = 0;
    if (!need(peer, head, deadline_ms))
        return -1;
    for (size_t i = 1; i < head; i++)
        bytes = bytes << 8 | peer->in[i];
    if (!need(peer, head + bytes, deadline_ms))
        return -1;
    *ret_head = head;
    *ret_bytes = bytes;
    return flags;
}

bool raw_connect(struct raw_peer *peer, const char *endpoint, const void *identity, size_t bytes)
{
    uint8_t greeting[RAW_GREETING_BYTES], ready[RAW_COMMAND_MAX + 16];
    uint64_t deadline_ms = mono_ms() + ANSWER_MS;
    size_t head, body;
    raw_greeting(greeting);
    if (!raw_open(peer, endpoint))
        return false;
    /* libzmq hangs up where more comes before its own greeting has left. */
    if (raw_write(peer, greeting, sizeof greeting) && need(peer, RAW_GREETING_BYTES, deadline_ms)) {
        drop(peer, RAW_GREETING_BYTES);
        size_t size = raw_ready(ready, "DEALER", identity, bytes);
        if (raw_write(peer, ready, size) && next_frame(peer, deadline_ms, &head, &body) == RAW_COMMAND) {
            drop(peer, head + body);
            return true;
        }
    }
    raw_close(peer);
    return false;
}

static bool keep_payload(struct raw_peer *peer, size_t head, size_t bytes)
{
    free(peer->payload);
    peer->payload = mem_array(bytes + 1, 1);
    peer->payload_bytes = peer->payload ? bytes : 0;
    if (peer->payload && bytes)
        memcpy(peer->payload, peer->in + head, bytes);
    return peer->payload;
}

const Dp__Header *raw_receive(struct raw_peer *peer, int64_t timeout_ms)
{
    uint64_t deadline_ms = mono_ms() + (uint64_t)timeout_ms;
    const Dp__Header *header = NULL;
    bool is_first = true;
    size_t head, bytes;
    dp_error err;
    peer->payload_bytes = 0;
    for (int flags; (flags = next_frame(peer, deadline_ms, &head, &bytes)) >= 0; drop(peer, head + bytes)) {
        if (flags & RAW_COMMAND)
            continue;
        if (!is_first && !keep_payload(peer, head, bytes))
            return NULL;
        if (is_first && frame_parse(&peer->arena, peer->in + head, bytes, flags & RAW_MORE, &header, &err))
            header = NULL;
        is_first = !(flags & RAW_MORE);
        if (is_first && header) {
            drop(peer, head + bytes);
            return header;
        }
    }
    return NULL;
}

bool raw_closed(struct raw_peer *peer, int64_t timeout_ms)
{
    uint64_t deadline_ms = mono_ms() + (uint64_t)timeout_ms;
    uint8_t bytes[READ_BYTES];
    while (peer->fd >= 0 && wait_for(peer, POLLIN, deadline_ms))
        if (recv(peer->fd, bytes, sizeof bytes, 0) <= 0)
            return true;
    return peer->fd < 0;
}
