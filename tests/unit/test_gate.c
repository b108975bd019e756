/* The gate: the parser by every rule and at every byte's boundary, the table of sessions, and connections over time. */
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gate.h"
#include "gate_sessions.h"
#include "util.h"

/* ---- bytes ---- */

enum { BYTES_MAX = 8192, STRANGER = 7 << 12, GREETED = 8 << 12, JOINED = 9 << 12 };

struct text {
    uint8_t data[BYTES_MAX];
    size_t bytes;
};

static enum gate_level level_of(uint64_t token)
{
    return token == JOINED ? GATE_JOINED : token == GREETED ? GATE_GREETED : GATE_STRANGER;
}

static void put(struct text *text, const void *data, size_t bytes)
{
    cr_assert_leq(text->bytes + bytes, sizeof text->data);
    if (bytes > 0)
        memcpy(text->data + text->bytes, data, bytes);
    text->bytes += bytes;
}

static void put_greeting(struct text *text)
{
    static const uint8_t GREETING[64] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1, 'N', 'U', 'L', 'L'};
    put(text, GREETING, sizeof GREETING);
}

/* Flags and size of a frame. */
static void put_head(struct text *text, uint8_t flags, uint64_t bytes)
{
    uint8_t head[9] = {flags};
    for (int i = 0; i < 8; i++)
        head[1 + i] = (uint8_t)(bytes >> (56 - 8 * i));
    if (flags & 2) {
        put(text, head, 9);
    } else {
        head[1] = (uint8_t)bytes;
        put(text, head, 2);
    }
}

static void put_frame(struct text *text, uint8_t flags, const void *data, size_t bytes)
{
    put_head(text, (uint8_t)(flags | (bytes > 255 ? 2 : 0)), bytes);
    put(text, data, bytes);
}

static void put_property(struct text *body, const char *name, const char *value, size_t bytes)
{
    const uint8_t name_bytes = (uint8_t)strlen(name), size[4] = {0, 0, (uint8_t)(bytes >> 8), (uint8_t)bytes};
    put(body, &name_bytes, 1);
    put(body, name, name_bytes);
    put(body, size, sizeof size);
    put(body, value, bytes);
}

/* With a property more, unless NULL. */
static void put_ready(struct text *text, const char *type, const char *name, const char *value, size_t bytes)
{
    static struct text body;
    body.bytes = 0;
    put(&body, "\5READY", 6);
    if (type)
        put_property(&body, "Socket-Type", type, strlen(type));
    if (name)
        put_property(&body, name, value, bytes);
    put_frame(text, 4, body.data, body.bytes);
}

static void put_handshake(struct text *text)
{
    put_greeting(text);
    put_ready(text, "DEALER", "Identity", "", 0);
}

/* The first bytes of a header of a session, in a frame of `bytes` of which `sent` come. */
static void put_header(struct text *text, uint8_t more, uint64_t token, size_t bytes, size_t sent)
{
    static uint8_t body[BYTES_MAX] = {1 << 3 | 1};
    for (int i = 0; i < 8; i++)
        body[1 + i] = (uint8_t)(token >> 8 * i);
    put_head(text, (uint8_t)(more | (bytes > 255 ? 2 : 0)), bytes);
    put(text, body, sent);
}

/* The parser's verdict on it in one piece, which must be the same in two pieces cut anywhere, and byte by byte. */
static enum gate_fault judge_into(const struct text *text, struct gate_zmtp *ret_zmtp)
{
    struct gate_zmtp whole = {0}, single = {0};
    (void)gate_zmtp_take(&whole, text->data, text->bytes, level_of);
    for (size_t i = 0; i < text->bytes && gate_zmtp_take(&single, text->data + i, 1, level_of); i++) {
    }
    cr_assert_eq(single.fault, whole.fault, "byte by byte %d, whole %d", single.fault, whole.fault);
    for (size_t cut = 0; cut <= text->bytes; cut++) {
        struct gate_zmtp two = {0};
        if (gate_zmtp_take(&two, text->data, cut, level_of))
            (void)gate_zmtp_take(&two, text->data + cut, text->bytes - cut, level_of);
        cr_assert_eq(two.fault, whole.fault, "cut at %zu: %d, whole %d", cut, two.fault, whole.fault);
        cr_assert_eq(two.session, whole.session);
        cr_assert_eq(gate_zmtp_unfinished(&two), gate_zmtp_unfinished(&whole));
        cr_assert_eq(two.done, whole.done);
    }
    *ret_zmtp = whole;
    return whole.fault;
}

static enum gate_fault judge(const struct text *text)
{
    struct gate_zmtp zmtp;
    return judge_into(text, &zmtp);
}

Test(gate, a_handshake_and_messages_pass)
{
    static const uint8_t zeros[1000];
    struct text text = {.bytes = 0};
    struct gate_zmtp zmtp;
    put_handshake(&text);
    cr_assert_eq(judge_into(&text, &zmtp), GATE_FINE);
    cr_assert(zmtp.ready);
    cr_assert_not(gate_zmtp_unfinished(&zmtp));
    cr_assert_eq(zmtp.done, 1);
    put_header(&text, 0, STRANGER, 40, 40);
    put_frame(&text, 4, "\4PING\0\12context", 14);
    put_header(&text, 1, JOINED, 40, 40);
    put_frame(&text, 4, "\4PONGcontext", 12); /* libzmq has them between the frames of a message */
    put_frame(&text, 1, zeros, 1000);
    put_frame(&text, 1, text.data, 0);
    put_frame(&text, 0, zeros, 300);
    put_header(&text, 0, 0, 0, 0);
    cr_assert_eq(judge_into(&text, &zmtp), GATE_FINE);
    cr_assert_eq(zmtp.session, JOINED);
    cr_assert_eq(zmtp.done, 7, "handshake and six frames, commands do not count");
    put_head(&text, 0, 5);
    cr_assert_eq(judge_into(&text, &zmtp), GATE_FINE);
    cr_assert(gate_zmtp_unfinished(&zmtp), "a frame has begun");
    put(&text, "12345", 5);
    put_header(&text, 1, JOINED, 40, 40);
    cr_assert_eq(judge_into(&text, &zmtp), GATE_FINE);
    cr_assert(gate_zmtp_unfinished(&zmtp), "a message has more");
}

Test(gate, what_is_no_greeting_of_zmtp_3_is_refused)
{
    static const struct {
        size_t at;
        uint8_t byte;
        enum gate_fault fault;
    } CASES[] = {{0, 1, GATE_GREETING},   {9, 0x7e, GATE_GREETING},  {10, 1, GATE_GREETING},  {10, 0, GATE_GREETING},
                 {10, 2, GATE_GREETING},  {12, 'P', GATE_MECHANISM}, {15, 0, GATE_MECHANISM}, {16, 'X', GATE_MECHANISM},
                 {31, 1, GATE_MECHANISM}, {10, 4, GATE_FINE},        {11, 9, GATE_FINE},      {32, 1, GATE_FINE},
                 {63, 1, GATE_FINE}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct text text = {.bytes = 0};
        put_greeting(&text);
        text.data[CASES[i].at] = CASES[i].byte;
        cr_expect_eq(judge(&text), CASES[i].fault, "byte %zu is %u", CASES[i].at, CASES[i].byte);
        if (CASES[i].fault)
            cr_expect_eq(judge(&(struct text){.data = {1}, .bytes = 1}), GATE_GREETING, "at once");
    }
}

static enum gate_fault judge_ready(const char *type, const char *name, const char *value, size_t bytes)
{
    struct text text = {.bytes = 0};
    put_greeting(&text);
    put_ready(&text, type, name, value, bytes);
    return judge(&text);
}

Test(gate, identities_and_other_sockets_are_refused)
{
    static const char LONG[600];
    cr_expect_eq(judge_ready("DEALER", NULL, NULL, 0), GATE_FINE);
    cr_expect_eq(judge_ready("DEALER", "Identity", "", 0), GATE_FINE);
    cr_expect_eq(judge_ready("DEALER", "Identity", "\0\1\2\3\4", 5), GATE_IDENTITY);
    cr_expect_eq(judge_ready("DEALER", "Identity", "x", 1), GATE_IDENTITY);
    cr_expect_eq(judge_ready("DEALER", "identity", "x", 1), GATE_IDENTITY);
    cr_expect_eq(judge_ready("DEALER", "X-Note", "whatever", 8), GATE_FINE);
    cr_expect_eq(judge_ready("DEALER", "X-Note", LONG, 420), GATE_FINE);
    cr_expect_eq(judge_ready("DEALER", "X-Note", LONG, sizeof LONG), GATE_READY);
    cr_expect_eq(judge_ready("DEALER", "", "x", 1), GATE_READY);
    cr_expect_eq(judge_ready("DEALER", "Socket-Type", "PUB", 3), GATE_SOCKET_TYPE);
    cr_expect_eq(judge_ready("ROUTER", NULL, NULL, 0), GATE_SOCKET_TYPE);
    cr_expect_eq(judge_ready("DEALERS", NULL, NULL, 0), GATE_SOCKET_TYPE);
    cr_expect_eq(judge_ready("REQ", NULL, NULL, 0), GATE_SOCKET_TYPE);
    cr_expect_eq(judge_ready(NULL, NULL, NULL, 0), GATE_SOCKET_TYPE);
}

/* A frame behind a greeting in the place of READY. */
static enum gate_fault judge_first(uint8_t flags, const char *data, size_t bytes)
{
    struct text text = {.bytes = 0};
    put_greeting(&text);
    put_frame(&text, flags, data, bytes);
    return judge(&text);
}

Test(gate, nothing_comes_before_ready)
{
    cr_expect_eq(judge_first(0, "hello", 5), GATE_READY, "a message");
    cr_expect_eq(judge_first(5, "\5READY", 6), GATE_READY, "a command that has more");
    cr_expect_eq(judge_first(4, "\4PING\0\0", 7), GATE_READY);
    cr_expect_eq(judge_first(4, "\5ERROR\0", 7), GATE_READY);
    cr_expect_eq(judge_first(4, "", 0), GATE_READY);
    cr_expect_eq(judge_first(4,
                             "\5READY\x0bSocket-Type\0\0\0\x07"
                             "DEALER",
                             28),
                 GATE_READY, "a value that is cut");
    cr_expect_eq(judge_first(4, "\5READY\x0bSocket", 13), GATE_READY, "a name that is cut");
    cr_expect_eq(judge_first(4, "\5READY\1X\xff\xff\xff\xff", 12), GATE_READY, "a size that is none");
}

/* After the handshake. */
static enum gate_fault judge_command(const char *data, size_t bytes)
{
    struct text text = {.bytes = 0};
    put_handshake(&text);
    put_frame(&text, 4, data, bytes);
    return judge(&text);
}

Test(gate, commands_are_ping_and_pong)
{
    static const char LONG[65] = "\4PING";
    cr_expect_eq(judge_command("\4PING\0\12", 7), GATE_FINE);
    cr_expect_eq(judge_command("\4PING\0", 6), GATE_COMMAND, "libzmq reads a time behind its end");
    cr_expect_eq(judge_command("\4PING", 5), GATE_COMMAND);
    cr_expect_eq(judge_command("\4PING\0\12"
                               "0123456789abcdef",
                               23),
                 GATE_FINE);
    cr_expect_eq(judge_command("\4PONG", 5), GATE_FINE);
    cr_expect_eq(judge_command(LONG, 64), GATE_FINE);
    cr_expect_eq(judge_command(LONG, 65), GATE_COMMAND);
    cr_expect_eq(judge_command("\4PIN", 4), GATE_COMMAND);
    cr_expect_eq(judge_command("", 0), GATE_COMMAND);
    cr_expect_eq(judge_command("\5READY\x0bSocket-Type\0\0\0\6DEALER", 28), GATE_COMMAND, "a second one");
    cr_expect_eq(judge_command("\x09SUBSCRIBEall", 13), GATE_COMMAND);
}

static enum gate_fault judge_head(uint8_t flags, uint64_t bytes)
{
    struct text text = {.bytes = 0};
    put_handshake(&text);
    put_head(&text, flags, bytes);
    return judge(&text);
}

Test(gate, flags_and_sizes_that_there_are_none_of)
{
    cr_expect_eq(judge_head(8, 1), GATE_FRAMES);
    cr_expect_eq(judge_head(0x80, 1), GATE_FRAMES);
    cr_expect_eq(judge_head(5, 1), GATE_FRAMES, "a command with more");
    cr_expect_eq(judge_head(2, UINT64_MAX), GATE_FRAME_BYTES);
    cr_expect_eq(judge_head(2, 1ull << 63), GATE_FRAME_BYTES);
    cr_expect_eq(judge_head(2, GATE_HEADER_BYTES_MAX), GATE_FINE, "its session may come yet");
    cr_expect_eq(judge_head(2, GATE_HEADER_BYTES_MAX + 1), GATE_FRAME_BYTES);
}

/* A header of a session, of which the first 20 bytes come. */
static enum gate_fault judge_header(uint64_t token, size_t bytes)
{
    struct text text = {.bytes = 0};
    put_handshake(&text);
    put_header(&text, 0, token, bytes, 20);
    return judge(&text);
}

Test(gate, headers_are_as_large_as_their_sender_may_make_them)
{
    cr_expect_eq(judge_header(STRANGER, GATE_STRANGER_BYTES_MAX), GATE_FINE);
    cr_expect_eq(judge_header(STRANGER, GATE_STRANGER_BYTES_MAX + 1), GATE_FRAME_BYTES);
    cr_expect_eq(judge_header(0, GATE_STRANGER_BYTES_MAX + 1), GATE_FRAME_BYTES);
    cr_expect_eq(judge_header(GREETED, GATE_STRANGER_BYTES_MAX + 1), GATE_FINE);
    cr_expect_eq(judge_header(GREETED, GATE_HEADER_BYTES_MAX), GATE_FINE);
    cr_expect_eq(judge_header(JOINED, GATE_HEADER_BYTES_MAX), GATE_FINE);
    cr_expect_eq(judge_header(JOINED, GATE_HEADER_BYTES_MAX + 1), GATE_FRAME_BYTES);
    struct text text = {.bytes = 0};
    put_handshake(&text);
    put_head(&text, 2, GATE_STRANGER_BYTES_MAX + 1);
    put(&text, "\x0a\0\0\0\0\0\0\0\0", 9);
    cr_expect_eq(judge(&text), GATE_FRAME_BYTES, "its first field is another");
}

Test(gate, a_session_that_has_not_joined_sends_few_large_headers)
{
    static uint8_t zeros[1 << 20];
    struct text text = {.bytes = 0};
    struct gate_zmtp zmtp = {0};
    put_handshake(&text);
    cr_assert(gate_zmtp_take(&zmtp, text.data, text.bytes, level_of));
    for (int i = 0; i < 8; i++) {
        text.bytes = 0;
        put_header(&text, 0, GREETED, FRAME_HEADER_BYTES_MAX, 64);
        cr_assert(gate_zmtp_take(&zmtp, text.data, text.bytes, level_of), "%d", i);
        for (size_t left = FRAME_HEADER_BYTES_MAX - 64, n; left > 0; left -= n) {
            n = MIN(left, sizeof zeros);
            cr_assert(gate_zmtp_take(&zmtp, zeros, n, level_of));
        }
    }
    cr_assert_not(gate_zmtp_take(&zmtp, text.data, text.bytes, level_of));
    cr_assert_eq(zmtp.fault, GATE_FRAME_BYTES);
}

/* A message of a session with `count` further frames of 0 bytes. */
static enum gate_fault judge_frames(uint64_t token, int count)
{
    struct text text = {.bytes = 0};
    put_handshake(&text);
    put_header(&text, 1, token, 12, 12);
    for (int i = 0; i < count; i++)
        put_frame(&text, 1, "", 0);
    return judge(&text);
}

Test(gate, messages_have_few_frames_and_payloads_are_for_members)
{
    cr_expect_eq(judge_frames(JOINED, GATE_FRAMES_MAX - 1), GATE_FINE);
    cr_expect_eq(judge_frames(JOINED, GATE_FRAMES_MAX), GATE_FRAMES, "frames of 0 bytes count");
    cr_expect_eq(judge_frames(STRANGER, 1), GATE_PAYLOAD);
    cr_expect_eq(judge_frames(GREETED, 1), GATE_PAYLOAD);
    cr_expect_eq(judge_frames(0, 1), GATE_PAYLOAD);
    struct text text = {.bytes = 0};
    put_handshake(&text);
    put_header(&text, 1, JOINED, 12, 12);
    struct text larger = text;
    put_head(&text, 2, GATE_PAYLOAD_BYTES_MAX);
    put_head(&larger, 2, (uint64_t)GATE_PAYLOAD_BYTES_MAX + 1);
    cr_expect_eq(judge(&text), GATE_FINE);
    cr_expect_eq(judge(&larger), GATE_FRAME_BYTES);
    text.bytes = 0;
    put_handshake(&text);
    put_header(&text, 0, JOINED, 12, 12);
    put_header(&text, 1, 0, 0, 0); /* the session of a message is not that of the next one */
    put_frame(&text, 0, "x", 1);
    cr_expect_eq(judge(&text), GATE_PAYLOAD);
}

/* ---- sessions ---- */

Test(gate, a_session_counts_from_hello_to_its_end_and_a_while_more)
{
    const uint64_t first = 77ull << 12 | 5, second = 78ull << 12 | 5, other = 77ull << 12 | 6;
    cr_expect_eq(gate_sessions_level(first), GATE_STRANGER);
    cr_expect_eq(gate_sessions_level(0), GATE_STRANGER);
    cr_expect_eq(gate_sessions_level(5), GATE_STRANGER, "a number alone is no token");
    gate_sessions_set(first, GATE_GREETED);
    cr_expect_eq(gate_sessions_level(first), GATE_GREETED);
    gate_sessions_set(first, GATE_JOINED);
    cr_expect_eq(gate_sessions_level(first), GATE_JOINED);
    cr_expect(gate_sessions_lives(first));
    cr_expect_eq(gate_sessions_level(second), GATE_STRANGER);
    cr_expect_eq(gate_sessions_level(other), GATE_STRANGER);
    gate_sessions_end(second, 1000);
    cr_expect(gate_sessions_lives(first), "another token of its number");
    gate_sessions_end(first, 1000);
    cr_expect_not(gate_sessions_lives(first));
    cr_expect_eq(gate_sessions_level(first), GATE_JOINED, "what was under way is answered");
    gate_sessions_set(second, GATE_GREETED);
    cr_expect_eq(gate_sessions_level(first), GATE_JOINED);
    cr_expect_eq(gate_sessions_level(second), GATE_GREETED);
    gate_sessions_tick(1000 + GATE_GRACE_MS);
    cr_expect_eq(gate_sessions_level(first), GATE_JOINED);
    gate_sessions_tick(1001 + GATE_GRACE_MS);
    cr_expect_eq(gate_sessions_level(first), GATE_STRANGER);
    cr_expect_eq(gate_sessions_level(second), GATE_GREETED);
    gate_sessions_clear();
    cr_expect_eq(gate_sessions_level(second), GATE_STRANGER);
}

/* ---- connections ---- */

enum { CONNS_MAX = 32 };

static struct sockaddr_in door_address;
static int door;
static uint64_t begin_ms;

static void open_door(void)
{
    socklen_t size = sizeof door_address;
    begin_ms = mono_ms();
    gate_start(1 << 20, 3);
    gate_listening(true);
    door = socket(AF_INET, SOCK_STREAM, 0);
    door_address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cr_assert_eq(bind(door, (const struct sockaddr *)&door_address, size), 0);
    cr_assert_eq(listen(door, CONNS_MAX), 0);
    gate_listening(false);
    cr_assert_eq(getsockname(door, (struct sockaddr *)&door_address, &size), 0);
}

static void close_door(void)
{
    close(door);
    gate_stop();
}

/* From 127.0.0.HOST, accepted so long after the beginning. */
static int come(int *ret_peer, uint8_t host, uint64_t after_ms)
{
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + host)};
    *ret_peer = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(*ret_peer, (const struct sockaddr *)&from, sizeof from), 0);
    cr_assert_eq(connect(*ret_peer, (const struct sockaddr *)&door_address, sizeof door_address), 0);
    int raw = (int)syscall(SYS_accept4, door, NULL, NULL, 0); /* past the gate */
    cr_assert_geq(raw, 0);
    return gate_accept(door, raw, begin_ms + after_ms);
}

/* Whether the gate has ended it: its peer reads the end. */
static bool is_shut(int peer)
{
    char byte;
    return recv(peer, &byte, 1, MSG_DONTWAIT) >= 0;
}

static bool say(int fd, const struct text *text, uint64_t after_ms)
{
    return gate_read(fd, text->data, text->bytes, begin_ms + after_ms);
}

TestSuite(gate_conns, .init = open_door, .fini = close_door, .timeout = 60);

Test(gate_conns, the_stranger_that_was_idle_for_longest_goes_first)
{
    int fd[4], peer[4];
    struct text hello = {.bytes = 0};
    put_handshake(&hello);
    gate_allow_strangers(3);
    for (int i = 0; i < 3; i++)
        fd[i] = come(&peer[i], 1, (uint64_t)i);
    cr_assert(say(fd[0], &hello, 10));
    fd[3] = come(&peer[3], 1, 20);
    cr_assert_geq(fd[3], 0);
    cr_expect_not(is_shut(peer[0]), "it spoke");
    cr_expect(is_shut(peer[1]));
    cr_expect_not(is_shut(peer[2]));
    cr_expect_not(is_shut(peer[3]));
    cr_expect_eq(gate_count(GATE_CROWDED), 1);
    gate_allow_strangers(1);
    cr_expect(is_shut(peer[0]) && is_shut(peer[2]));
    cr_expect_not(is_shut(peer[3]));
    cr_expect_eq(gate_strangers(), 4, "they have their descriptors until they are closed");
    for (int i = 0; i < 4; i++)
        close(fd[i]);
    cr_expect_eq(gate_strangers(), 0);
}

Test(gate_conns, a_host_with_many_does_not_drive_out_another_one)
{
    int fd[6], peer[6];
    gate_allow_strangers(4);
    fd[0] = come(&peer[0], 2, 0);
    for (int i = 1; i < 6; i++)
        fd[i] = come(&peer[i], 1, (uint64_t)i);
    cr_expect_not(is_shut(peer[0]), "it is the oldest, and alone");
    cr_expect(is_shut(peer[1]) && is_shut(peer[2]));
    cr_expect_not(is_shut(peer[3]) || is_shut(peer[4]) || is_shut(peer[5]));
    for (int i = 0; i < 6; i++)
        close(fd[i]);
}

Test(gate_conns, where_the_shut_ones_are_not_closed_nobody_comes_in)
{
    int fd[CONNS_MAX], peer[CONNS_MAX], in = 0;
    gate_allow_strangers(4);
    for (int i = 0; i < 16; i++) {
        fd[in] = come(&peer[i], 1, (uint64_t)i);
        if (fd[in] < 0)
            cr_expect_eq(errno, EAGAIN);
        in += fd[in] >= 0;
    }
    cr_expect_eq(in, 4 + 1 + GATE_STRANGERS_MIN / 4);
    while (in > 0)
        close(fd[--in]);
    fd[0] = come(&peer[0], 1, 20);
    cr_expect_geq(fd[0], 0);
    close(fd[0]);
}

/* A message with a payload of so many bytes, none of which comes. */
static bool begin_payload(int fd, uint64_t token, uint64_t bytes)
{
    struct text text = {.bytes = 0};
    put_handshake(&text);
    put_header(&text, 1, token, 30, 30);
    put_head(&text, 2, bytes);
    return say(fd, &text, 0);
}

Test(gate_conns, unfinished_messages_of_a_session_are_bounded_over_all_connections)
{
    enum { EACH = 3, EACH_MIB = 30, FIT = EACH * 48 / EACH_MIB };
    const uint64_t token = 99ull << 12 | 3, later = 97ull << 12 | 3, other = 98ull << 12 | 4, mib = 1 << 20;
    int fd[FIT + 4], peer[FIT + 4];
    static uint8_t zeros[1 << 20];
    gate_sessions_set(token, GATE_JOINED);
    gate_sessions_set(other, GATE_JOINED);
    for (int i = 0; i < FIT + 4; i++)
        fd[i] = come(&peer[i], 1, 0);
    for (int i = 0; i < FIT; i++)
        cr_assert(begin_payload(fd[i], token, EACH_MIB * mib), "%d", i);
    cr_assert_not(begin_payload(fd[FIT], token, EACH_MIB * mib));
    cr_assert_eq(gate_count(GATE_UNDER_WAY), 1);
    cr_assert(begin_payload(fd[FIT + 1], other, EACH_MIB * mib), "another session has its own");
    for (uint64_t i = 0; i < EACH_MIB; i++) /* one is whole: there is room for another */
        cr_assert(gate_read(fd[0], zeros, sizeof zeros, begin_ms));
    close(fd[FIT]);
    cr_assert(begin_payload(fd[FIT + 2], token, (EACH_MIB - 1) * mib));
    /* Of who is over nothing is held against who has its number then. */
    gate_sessions_end(token, begin_ms);
    gate_sessions_set(later, GATE_JOINED);
    gate_tick(begin_ms + 2000);
    cr_assert(begin_payload(fd[FIT + 3], later, EACH_MIB * mib));
    close(fd[1]);
    for (int i = 0; i < FIT + 4; i++)
        if (i != FIT && i != 1)
            close(fd[i]);
    fd[0] = come(&peer[0], 1, 0);
    cr_assert(begin_payload(fd[0], other, EACH_MIB * mib));
    close(fd[0]);
    gate_sessions_clear();
}

Test(gate_conns, a_session_that_has_not_joined_has_little_under_way)
{
    const uint64_t token = 99ull << 12 | 3;
    struct text text = {.bytes = 0};
    int fd[5], peer[5];
    gate_sessions_set(token, GATE_GREETED);
    put_handshake(&text);
    put_header(&text, 0, token, 4 << 20, 64);
    for (int i = 0; i < 5; i++) {
        fd[i] = come(&peer[i], 1, 0);
        cr_assert_eq(say(fd[i], &text, 0), i < 4, "%d", i);
    }
    for (int i = 0; i < 5; i++)
        close(fd[i]);
    gate_sessions_clear();
}

Test(gate_conns, members_do_not_count_and_are_not_closed_for_being_idle)
{
    const uint64_t token = 99ull << 12 | 3, main_token = 98ull << 12 | 4;
    int fd[3], peer[3];
    struct text text = {.bytes = 0};
    gate_sessions_set(token, GATE_JOINED);
    gate_sessions_set(main_token, GATE_GREETED);
    for (int i = 0; i < 3; i++)
        fd[i] = come(&peer[i], 1, 0);
    put_handshake(&text);
    cr_assert(say(fd[1], &text, 0) && say(fd[2], &text, 0));
    put_header(&text, 0, token, 30, 30);
    cr_assert(say(fd[0], &text, 0));
    gate_attach(fd[1], main_token);
    cr_expect_eq(gate_strangers(), 1);
    gate_tick(begin_ms + 2000);
    gate_allow_strangers(1);
    cr_expect_not(is_shut(peer[2]));
    for (uint64_t s = 3; s < 62; s++)
        gate_tick(begin_ms + s * 1000);
    cr_expect(is_shut(peer[2]), "idle for a minute");
    cr_expect_eq(gate_count(GATE_IDLE), 1);
    cr_expect_not(is_shut(peer[0]) || is_shut(peer[1]));
    gate_sessions_end(token, begin_ms + 62000);
    for (uint64_t s = 62; s < 121; s++)
        gate_tick(begin_ms + s * 1000);
    cr_expect_not(is_shut(peer[0]), "it may say hello again");
    gate_tick(begin_ms + 122000);
    cr_expect(is_shut(peer[0]), "a stranger again");
    cr_expect_not(is_shut(peer[1]));
    for (int i = 0; i < 3; i++)
        close(fd[i]);
}

Test(gate_conns, further_connections_of_a_session_are_strangers)
{
    const uint64_t token = 99ull << 12 | 3, next = 100ull << 12 | 3;
    int fd[5], peer[5];
    struct text text = {.bytes = 0};
    gate_sessions_set(token, GATE_JOINED);
    put_handshake(&text);
    put_header(&text, 0, token, 30, 30);
    for (int i = 0; i < 5; i++) {
        fd[i] = come(&peer[i], 1, (uint64_t)i);
        cr_assert(say(fd[i], &text, (uint64_t)i));
    }
    cr_expect_eq(gate_strangers(), 2, "three are its own");
    gate_allow_strangers(1);
    cr_expect(is_shut(peer[3]));
    close(fd[0]);
    gate_attach(fd[4], token);
    cr_expect_eq(gate_strangers(), 1, "there was a place for one more");
    gate_sessions_end(token, begin_ms);
    gate_sessions_set(next, GATE_GREETED);
    gate_tick(begin_ms + 2000);
    cr_expect_eq(gate_strangers(), 4, "it has ended");
    gate_attach(fd[1], next);
    cr_expect_eq(gate_strangers(), 3, "one went on under the next token");
    for (int i = 1; i < 5; i++)
        close(fd[i]);
    cr_expect_eq(gate_strangers(), 0);
}

Test(gate_conns, handshakes_take_ten_seconds_at_most)
{
    int fd[2], peer[2];
    struct text text = {.bytes = 0};
    put_handshake(&text);
    for (int i = 0; i < 2; i++)
        fd[i] = come(&peer[i], 1, 0);
    cr_assert_eq(send(peer[1], "x", 1, 0), 1);
    for (uint64_t s = 1; s < 10; s++)
        gate_tick(begin_ms + s * 1000);
    cr_expect_not(is_shut(peer[0]));
    gate_tick(begin_ms + 10000);
    cr_expect(is_shut(peer[0]));
    cr_expect_not(is_shut(peer[1]), "its bytes wait for us");
    cr_expect_eq(gate_count(GATE_SLOW_HANDSHAKE), 1);
    close(fd[0]);
    close(fd[1]);
}

Test(gate_conns, a_frame_makes_progress)
{
    const uint64_t token = 99ull << 12 | 3;
    int fd[3], peer[3];
    static struct text zeros = {.bytes = BYTES_MAX};
    struct text text = {.bytes = 0};
    gate_sessions_set(token, GATE_JOINED);
    put_handshake(&text);
    put_header(&text, 1, token, 30, 30);
    put_head(&text, 2, 32 << 20);
    for (int i = 0; i < 3; i++) {
        fd[i] = come(&peer[i], 1, 0);
        cr_assert(say(fd[i], &text, 0));
    }
    for (uint64_t s = 1; s <= 61; s++) {
        for (int n = 0; n < 2 && s % 5 == 0; n++) /* 16 KiB in 5 s */
            cr_assert(say(fd[0], &zeros, s * 1000));
        cr_assert(s % 5 || is_shut(peer[1]) || say(fd[1], &(struct text){.bytes = 1}, s * 1000));
        gate_tick(begin_ms + s * 1000);
    }
    cr_expect_not(is_shut(peer[0]), "64 KiB in 30 s are enough");
    cr_expect(is_shut(peer[1]), "a byte now and then is not");
    cr_expect(is_shut(peer[2]));
    cr_expect_eq(gate_count(GATE_SLOW_FRAME), 2);
    for (int i = 0; i < 3; i++)
        close(fd[i]);
}

Test(gate_conns, time_that_this_process_slept_is_nobodys_fault)
{
    int fd, peer;
    struct text text = {.bytes = 0};
    put_greeting(&text);
    fd = come(&peer, 1, 0);
    cr_assert(say(fd, &text, 0));
    gate_tick(begin_ms + 1000);
    gate_tick(begin_ms + 100000);
    cr_expect_not(is_shut(peer));
    for (uint64_t s = 101; s <= 110; s++)
        gate_tick(begin_ms + s * 1000);
    cr_expect(is_shut(peer), "its ten seconds went on afterwards");
    close(fd);
}

Test(gate_conns, only_sockets_that_were_named_are_watched)
{
    int pair[2], fd, peer;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    cr_expect_not(gate_watches(pair[0]));
    cr_expect_eq(send(pair[1], "no ZMTP", 7, 0), 7);
    char bytes[16];
    cr_expect_eq(recv(pair[0], bytes, sizeof bytes, 0), 7, "it is read as ever");
    fd = come(&peer, 1, 0);
    cr_expect(gate_watches(fd));
    cr_expect_eq(send(peer, "no ZMTP", 7, 0), 7);
    cr_expect_eq(recv(fd, bytes, sizeof bytes, MSG_PEEK), 7);
    cr_expect_eq(recv(fd, bytes, sizeof bytes, 0), -1);
    cr_expect_eq(errno, ECONNRESET);
    cr_expect_eq(gate_count(GATE_GREETING), 1);
    close(fd);
    cr_expect_not(gate_watches(fd));
    close(pair[0]);
    close(pair[1]);
}

Test(gate_conns, a_quarter_of_the_open_files_is_for_strangers)
{
    cr_expect_eq(gate_strangers_most(20), GATE_STRANGERS_MIN);
    cr_expect_eq(gate_strangers_most(100), 25);
    cr_expect_eq(gate_strangers_most(1024), 256);
    cr_expect_eq(gate_strangers_most(1 << 20), GATE_STRANGERS_MAX);
}
