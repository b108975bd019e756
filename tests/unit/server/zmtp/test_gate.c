/* The gate: the table of sessions, and connections over time. */
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "server/zmtp/gate.h"
#include "server/zmtp/tcp.h"
#include "server/zmtp/watch.h"
#include "server/zmtp/sessions.h"
#include "tests/unit/support/gate_bytes.h"

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

/* A message that announces a payload of `bytes` bytes, none of which comes. */
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
    /* A closed connection's record does not count against the next one with its number. */
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
    struct text again = {.bytes = 0};
    put_header(&again, 0, token, 30, 30);
    cr_assert(say(fd[4], &again, 5));
    cr_expect_eq(gate_strangers(), 2, "still none");
    close(fd[0]);
    cr_assert(say(fd[4], &again, 6));
    cr_expect_eq(gate_strangers(), 1, "its next message found a place for one more");
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
