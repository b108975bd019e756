/* Attacks by messages: floods of each kind by a stranger, and answers that nobody reads. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/clock.h"
#include "common/base/entropy.h"
#include "common/base/util.h"
#include "tests/fault/hostile.h"

enum { STATE_PORT_ROOM = 1 << 16 };

/* ---- messages as they are on the wire ---- */

static size_t put_frame(uint8_t *out, int flags, const void *data, size_t bytes)
{
    size_t head = bytes > 255 ? 9 : 2;
    out[0] = (uint8_t)(flags | (bytes > 255 ? RAW_LONG : 0));
    for (size_t i = 1; i < head; i++)
        out[i] = (uint8_t)((uint64_t)bytes >> 8 * (head - 1 - i));
    if (bytes)
        memcpy(out + head, data, bytes);
    return head + bytes;
}

static const uint8_t ZEROS[FLOOD_BYTES_MAX];

static size_t put_message(uint8_t *out, size_t size, const Dp__Header *header, size_t payload)
{
    uint8_t packed[2048];
    size_t bytes = frame_size(header);
    if (bytes > sizeof packed || bytes + payload + 18 > size)
        return 0;
    frame_write(header, packed);
    size_t at = put_frame(out, payload ? RAW_MORE : 0, packed, bytes);
    return payload ? at + put_frame(out + at, 0, ZEROS, payload) : at;
}

/* A message of one body; the oneof of a header is a union of pointers. `session`: 0, or that of nobody. */
static size_t put_body(uint8_t *out, size_t size, uint64_t session, Dp__Header__BodyCase body_case, void *body,
                       size_t payload)
{
    Dp__Header header = DP__HEADER__INIT;
    header.session = session;
    header.incarnation = 1;
    header.request = 1;
    header.body_case = body_case;
    header.hello = body;
    return put_message(out, size, &header, payload);
}

static size_t put_hello(uint8_t *out, size_t size, Dp__Hello hello)
{
    hello.worker = entropy_u64();
    hello.pid = 0;
    return put_body(out, size, 0, DP__HEADER__BODY_HELLO, &hello, 0);
}

static size_t write_hello(const struct stage *stage, uint8_t *out, size_t size)
{
    Dp__Hello hello = *stage->facts->hello;
    hello.name = (char *)"flood";
    return put_hello(out, size, hello);
}

static size_t write_hello_namesake(const struct stage *stage, uint8_t *out, size_t size)
{
    Dp__Hello hello = *stage->facts->hello;
    char name[64], host[40] = "";
    (void)snprintf(host, sizeof host, "%.*s", (int)strcspn(hello.name, ":"), hello.name);
    snprintf(name, sizeof name, "%s:%d", host, (int)stage->job->workers[0]);
    hello.name = name;
    return put_hello(out, size, hello);
}

static size_t write_hello_ctl(const struct stage *stage, uint8_t *out, size_t size)
{
    Dp__Hello hello = *stage->facts->hello;
    hello.role = DP__HELLO__ROLE__CTL;
    return put_hello(out, size, hello);
}

static size_t write_hello_version(const struct stage *stage, uint8_t *out, size_t size)
{
    Dp__Hello hello = *stage->facts->hello;
    hello.protocol_major = 99;
    return put_hello(out, size, hello);
}

static size_t write_hello_numerics(const struct stage *stage, uint8_t *out, size_t size)
{
    Dp__Hello hello = *stage->facts->hello;
    hello.numerics = (char *)"another machine";
    return put_hello(out, size, hello);
}

static size_t write_status(const struct stage *stage, uint8_t *out, size_t size)
{
    Dp__StatusRequest body = DP__STATUS_REQUEST__INIT;
    (void)stage;
    return put_body(out, size, 0, DP__HEADER__BODY_STATUS_REQUEST, &body, 0);
}

static size_t write_heartbeat(const struct stage *stage, uint8_t *out, size_t size)
{
    Dp__Heartbeat body = DP__HEARTBEAT__INIT;
    (void)stage;
    return put_body(out, size, entropy_u64(), DP__HEADER__BODY_HEARTBEAT, &body, 0);
}

static size_t write_bye(const struct stage *stage, uint8_t *out, size_t size)
{
    Dp__Bye body = DP__BYE__INIT;
    (void)stage;
    return put_body(out, size, entropy_u64(), DP__HEADER__BODY_BYE, &body, 0);
}

static size_t write_join(const struct stage *stage, uint8_t *out, size_t size)
{
    Dp__Tensor tensor = DP__TENSOR__INIT, *tensors[] = {&tensor};
    Dp__Join body = DP__JOIN__INIT;
    uint64_t shape = 1ull << 34;
    (void)stage;
    tensor.name = (char *)"w";
    tensor.shape = &shape;
    tensor.n_shape = 1;
    body.tensors = tensors;
    body.n_tensors = 1;
    return put_body(out, size, entropy_u64(), DP__HEADER__BODY_JOIN, &body, 0);
}

static size_t write_set(const struct stage *stage, uint8_t *out, size_t size)
{
    Dp__Set body = DP__SET__INIT;
    (void)stage;
    body.name = (char *)"momentum";
    body.value = 1;
    return put_body(out, size, 0, DP__HEADER__BODY_SET, &body, 0);
}

static size_t write_push(const struct stage *stage, uint8_t *out, size_t size)
{
    Dp__PushPull body = DP__PUSH_PULL__INIT;
    (void)stage;
    body.push = body.pull = true;
    return put_body(out, size, entropy_u64(), DP__HEADER__BODY_PUSH_PULL, &body, 1280);
}

static size_t write_push_large(const struct stage *stage, uint8_t *out, size_t size)
{
    Dp__PushPull body = DP__PUSH_PULL__INIT;
    (void)stage;
    body.push = true;
    return put_body(out, size, entropy_u64(), DP__HEADER__BODY_PUSH_PULL, &body, 2 << 20);
}

static size_t write_rows(const struct stage *stage, uint8_t *out, size_t size)
{
    Dp__Keys keys = DP__KEYS__INIT;
    Dp__RowsPushPull body = DP__ROWS_PUSH_PULL__INIT;
    (void)stage;
    keys.count = 500;
    keys.sent = true;
    body.pull = true;
    body.pull_keys = &keys;
    return put_body(out, size, entropy_u64(), DP__HEADER__BODY_ROWS_PUSH_PULL, &body, 4000);
}

static size_t write_garbage(const struct stage *stage, uint8_t *out, size_t size)
{
    uint64_t noise[8];
    (void)stage;
    (void)size;
    for (size_t i = 0; i < ARRAY_LEN(noise); i++)
        noise[i] = entropy_u64();
    return put_frame(out, 0, noise, sizeof noise);
}

static size_t write_empty(const struct stage *stage, uint8_t *out, size_t size)
{
    (void)stage;
    (void)size;
    return put_frame(out, 0, NULL, 0);
}

static size_t write_frames(const struct stage *stage, uint8_t *out, size_t size)
{
    size_t at = write_status(stage, out, size);
    out[0] |= RAW_MORE;
    at += put_frame(out + at, RAW_MORE, NULL, 0);
    return at + put_frame(out + at, 0, NULL, 0);
}

/* An unknown field of 4 KiB. */
static size_t write_unknown(const struct stage *stage, uint8_t *out, size_t size)
{
    uint8_t body[4100] = {0xfa, 0x7f, 0x80, 0x20};
    (void)stage;
    (void)size;
    return put_frame(out, 0, body, sizeof body);
}

/* A join of many empty tensors: two bytes each, which unpack to some 80. */
static size_t write_bomb(const struct stage *stage, uint8_t *out, size_t size)
{
    enum { TENSORS = 3000, BODY = 2 * TENSORS };
    uint8_t body[BODY + 8] = {0xb2, 0x01, (BODY & 127) | 128, BODY >> 7};
    (void)stage;
    (void)size;
    for (int i = 0; i < TENSORS; i++)
        body[4 + 2 * i] = 0x1a;
    return put_frame(out, 0, body, BODY + 4);
}

const struct flood FLOODS[] = {
    {"hello", "hellos of workers, all on one connection", write_hello, false, 4000},
    {"hello-namesake", "hellos by the name of a good worker", write_hello_namesake, false, 4000},
    {"hello-ctl", "hellos of another role", write_hello_ctl, false, 4000},
    {"hello-version", "hellos of another version", write_hello_version, false, 4000},
    {"hello-numerics", "hellos of another kind of machine", write_hello_numerics, false, 4000},
    {"status", "requests for the status", write_status, false, 4000},
    {"heartbeat", "heartbeats of sessions that are not there", write_heartbeat, false, 10000},
    {"bye", "goodbyes of sessions that are not there", write_bye, false, 10000},
    {"join", "joins of sessions that are not there", write_join, false, 10000},
    {"set", "changes of what cannot be changed", write_set, false, 10000},
    {"garbage", "random bytes", write_garbage, false, 10000},
    {"empty", "empty messages", write_empty, false, 10000},
    {"frames", "messages of too many frames", write_frames, false, 2000},
    {"unknown", "unknown fields", write_unknown, false, 5000},
    {"bomb", "joins of thousands of empty tensors", write_bomb, false, 500},
    {"push", "pushes of sessions that are not there", write_push, true, 5000},
    {"push-large", "large pushes of sessions that are not there", write_push_large, true, 100},
    {"rows", "pulls of rows of sessions that are not there", write_rows, true, 5000},
    {"shard-garbage", "random bytes for a shard", write_garbage, true, 10000},
    {"shard-hello", "hellos for a shard", write_hello, true, 4000},
    {0},
};

/* ---- sending ---- */

/* Drops what has come; false where the server has hung up. */
static bool drain(struct raw_peer *peer)
{
    static uint8_t room[STATE_PORT_ROOM];
    ssize_t n;
    while ((n = recv(peer->fd, room, sizeof room, MSG_DONTWAIT)) > 0)
        ;
    return n != 0;
}

/* Writes all, and reads what comes meanwhile. */
static bool write_and_drain(struct raw_peer *peer, const uint8_t *data, size_t bytes, uint64_t deadline_ms)
{
    while (bytes > 0 && mono_ms() < deadline_ms && drain(peer)) {
        ssize_t n = send(peer->fd, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        struct pollfd fd = {.fd = peer->fd, .events = POLLIN | POLLOUT};
        if (n > 0) {
            data += n;
            bytes -= (size_t)n;
        } else if (poll(&fd, 1, 100) < 0) {
            return false;
        }
    }
    return bytes == 0;
}

uint64_t flood_send(const struct stage *stage, const struct flood *flood, uint64_t count, uint64_t timeout_ms)
{
    uint8_t *out = malloc(FLOOD_BYTES_MAX);
    struct raw_peer peer = {.fd = -1};
    uint64_t sent = 0, deadline_ms = mono_ms() + timeout_ms;
    while (out && sent < count && mono_ms() < deadline_ms) {
        if (peer.fd < 0 && !raw_connect(&peer, flood->to_shard ? stage->job->shards[0] : stage->job->endpoint, NULL, 0))
            break;
        size_t bytes = flood->write(stage, out, FLOOD_BYTES_MAX);
        for (size_t one = bytes, more; sent + 1 < count && bytes + 2 * one < STATE_PORT_ROOM; sent++) {
            more = flood->write(stage, out + bytes, FLOOD_BYTES_MAX - bytes);
            bytes += more;
        }
        sent++;
        if (!write_and_drain(&peer, out, bytes, deadline_ms))
            raw_close(&peer); /* it was hung up on: it comes again */
    }
    if (peer.fd >= 0)
        (void)raw_closed(&peer, 20); /* the last answers */
    raw_close(&peer);
    free(out);
    return sent;
}

/* ---- attacks ---- */

static bool floods(const struct stage *stage, struct why *why)
{
    for (const struct flood *flood = FLOODS; flood->name; flood++) {
        struct job_state state;
        (void)flood_send(stage, flood, flood->count, 5000);
        if (!job_status(stage->job, &state, why))
            return false;
    }
    return true;
}

/* Asks, and never reads. */
static bool unread(const struct stage *stage, size_t (*write)(const struct stage *, uint8_t *, size_t), struct why *why)
{
    enum { CROWD = 40, EACH = 2000, RSS_MORE = RSS_SCALE * (192 << 20) };
    static struct raw_peer peers[CROWD];
    uint8_t message[2048];
    struct job_state state;
    uint64_t before = process_rss(stage->job->server);
    for (int i = 0; i < CROWD; i++) {
        int small = 2048;
        if (!raw_connect(&peers[i], stage->job->endpoint, NULL, 0))
            continue;
        setsockopt(peers[i].fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        for (int k = 0; k < EACH; k++) {
            size_t bytes = write(stage, message, sizeof message);
            if (send(peers[i].fd, message, bytes, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                break;
        }
    }
    bool ok = job_status(stage->job, &state, why);
    uint64_t after = process_rss(stage->job->server);
    for (int i = 0; i < CROWD; i++)
        raw_close(&peers[i]);
    if (after > before + RSS_MORE)
        return why_not(why, "answers that nobody reads hold %llu MiB", (unsigned long long)(after - before) >> 20);
    return ok;
}

static bool unread_status(const struct stage *stage, struct why *why)
{
    return unread(stage, write_status, why);
}

static bool unread_refusals(const struct stage *stage, struct why *why)
{
    return unread(stage, write_hello_version, why);
}

/* Hundreds of hellos with long names make the status long; then many ask for it. */
static bool long_status(const struct stage *stage, struct why *why)
{
    enum { CROWD = 400 };
    static struct raw_peer peers[CROWD];
    uint8_t message[2048];
    char name[FRAME_NAME_MAX];
    for (int i = 0; i < CROWD; i++) {
        Dp__Hello hello = *stage->facts->hello;
        memset(name, 'x', sizeof name);
        name[sizeof name - 1] = '\0';
        hello.name = name;
        size_t bytes = put_hello(message, sizeof message, hello);
        if (raw_connect(&peers[i], stage->job->endpoint, NULL, 0))
            (void)raw_write(&peers[i], message, bytes);
    }
    bool ok = unread_status(stage, why);
    for (int i = 0; i < CROWD; i++)
        raw_close(&peers[i]);
    return ok;
}

const struct attack MESSAGE_ATTACKS[] = {
    {"floods", "each kind of message, thousands of it", floods},
    {"unread-status", "asks for the status and does not read it", unread_status},
    {"long-status", "hellos with long names, and requests for the status that lists them", long_status},
    {"unread-refusals", "asks for refusals and does not read them", unread_refusals},
    {0},
};
