/* The gate's parser, by every rule and at every byte's boundary. */
#include <criterion/criterion.h>
#include <string.h>

#include "common/base/util.h"
#include "server/zmtp/zmtp.h"
#include "tests/unit/support/gate_bytes.h"

enum { STRANGER = 7 << 12, GREETED = 8 << 12, JOINED = 9 << 12 };

static enum gate_level level_of(uint64_t token)
{
    return token == JOINED ? GATE_JOINED : token == GREETED ? GATE_GREETED : GATE_STRANGER;
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

Test(gate_zmtp, a_handshake_and_messages_pass)
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

Test(gate_zmtp, what_is_no_greeting_of_zmtp_3_is_refused)
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

Test(gate_zmtp, identities_and_other_sockets_are_refused)
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

Test(gate_zmtp, nothing_comes_before_ready)
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

Test(gate_zmtp, commands_are_ping_and_pong)
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

Test(gate_zmtp, flags_and_sizes_that_there_are_none_of)
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

Test(gate_zmtp, headers_are_as_large_as_their_sender_may_make_them)
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

Test(gate_zmtp, a_session_that_has_not_joined_sends_few_large_headers)
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

Test(gate_zmtp, messages_have_few_frames_and_payloads_are_for_members)
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
