/* Letters between the head and its port: what moves, in which order, and what no peer can take from the others. */
#include <criterion/criterion.h>
#include <string.h>

#include "server/net/post.h"
#include "tests/unit/support/leaks.h"

static struct post post;

static void setup(void)
{
    cr_assert_eq(post_init(&post), DP_OK);
}

static void teardown(void)
{
    post_fini(&post);
    ASSERT_NO_LEAKS();
}

TestSuite(post, .init = setup, .fini = teardown, .timeout = 60);

/* A message as ROUTER gives it: of the peer that has this number. */
static void message(uint32_t peer, size_t bytes, zmq_msg_t frames[2])
{
    const uint8_t id[] = {0, (uint8_t)(peer >> 24), (uint8_t)(peer >> 16), (uint8_t)(peer >> 8), (uint8_t)peer};
    zmq_msg_init_size(&frames[0], sizeof id);
    memcpy(zmq_msg_data(&frames[0]), id, sizeof id);
    zmq_msg_init_size(&frames[1], bytes);
    memset(zmq_msg_data(&frames[1]), 7, bytes);
}

static bool pass_on(uint32_t peer, size_t bytes)
{
    zmq_msg_t frames[2];
    message(peer, bytes, frames);
    bool taken = post_pass_on(&post, frames, 2);
    cr_assert_eq(zmq_msg_size(&frames[1]), taken ? 0 : bytes, "what is refused is still there");
    zmq_msg_close(&frames[0]);
    zmq_msg_close(&frames[1]);
    return taken;
}

/* The head reads `most` letters, or all. */
static unsigned read_some(unsigned most)
{
    unsigned n = 0;
    for (struct letter *letter; n < most && (letter = post_receive(&post)); n++)
        post_done(&post, letter);
    return n;
}

Test(post, a_message_moves)
{
    zmq_msg_t frames[2];
    message(3, 100000, frames);
    const void *data = zmq_msg_data(&frames[1]);
    cr_assert(post_pass_on(&post, frames, 2));
    struct letter *letter = post_receive(&post);
    cr_assert_not_null(letter);
    cr_assert_eq(letter->about, ABOUT_MESSAGE);
    cr_assert_eq(letter->lost, DP_OK);
    cr_assert_eq(letter->count, 2);
    cr_assert_eq(zmq_msg_data(&letter->frames[1]), data, "it was copied");
    cr_assert_eq(zmq_msg_size(&letter->frames[1]), 100000);
    post_done(&post, letter);
    cr_assert_null(post_receive(&post));
}

Test(post, letters_go_both_ways_in_order_and_come_back)
{
    zmq_msg_t frames[2];
    for (uint32_t i = 0; i < 3; i++) {
        message(i, 10, frames);
        struct letter *letter = letter_new(i == 1 ? ABOUT_PROBE : ABOUT_MESSAGE, 100 + i, frames, 2);
        cr_assert_not_null(letter);
        cr_assert_eq(post_send(&post, letter), DP_OK);
    }
    for (uint32_t i = 0; i < 3; i++) {
        struct letter *letter = post_collect(&post);
        cr_assert_eq(letter->session, 100 + i);
        letter->lost = i == 1 ? DP_UNREACHABLE : DP_OK;
        if (i == 1)
            post_return(&post, letter);
        else
            letter_free(letter);
    }
    cr_assert_null(post_collect(&post));
    cr_assert(pass_on(9, 1));
    struct letter *back = post_receive(&post);
    cr_assert_eq(back->about, ABOUT_PROBE);
    cr_assert_eq(back->lost, DP_UNREACHABLE);
    cr_assert_eq(back->session, 101);
    post_done(&post, back);
    cr_assert_eq(read_some(9), 1);
}

/* One peer that says much, and then many: who has nothing under way is heard all the same. */
Test(post, a_flood_takes_no_room_from_others)
{
    const unsigned floods = POST_WAITING_MAX / POST_SENDER_MAX;
    for (int i = 0; i < POST_SENDER_MAX; i++)
        cr_assert(pass_on(0, 10));
    cr_assert_not(pass_on(0, 10), "more than one may have");
    for (uint32_t peer = 1; peer < floods; peer++)
        for (int i = 0; i < POST_SENDER_MAX; i++)
            cr_assert(pass_on(peer, 10));
    for (uint32_t peer = floods; peer < POST_SENDERS; peer++) {
        cr_assert(pass_on(peer, 10), "peer %u is not heard", peer);
        cr_assert_not(pass_on(peer, 10), "a second one of peer %u", peer);
    }
    cr_assert_eq(read_some(POST_SENDER_MAX), POST_SENDER_MAX); /* those of the first */
    cr_assert(pass_on(0, 10));
    cr_assert_eq(read_some(UINT32_MAX), POST_WAITING_MAX - POST_SENDER_MAX + POST_SENDERS - floods + 1);
    cr_assert_eq(post.waiting, 0);
    cr_assert_eq(post.waiting_bytes, 0);
    for (int i = 0; i < POST_SENDER_MAX; i++)
        cr_assert(pass_on(0, 10));
}

Test(post, bytes_are_bounded_too)
{
    const size_t large = POST_BYTES_MAX / 2;
    cr_assert(pass_on(1, large));
    cr_assert(pass_on(1, large / 2));
    cr_assert_not(pass_on(1, large));
    cr_assert(pass_on(2, large), "its first");
    cr_assert_eq(read_some(1), 1);
    cr_assert(pass_on(1, 1));
}

/* A hello that waits for a probe is read after it, and still counts as its peer's. */
Test(post, a_hello_that_is_put_off)
{
    zmq_msg_t frames[2];
    cr_assert(pass_on(5, 10));
    struct letter *hello = post_receive(&post);
    message(4, 10, frames);
    cr_assert_eq(post_send(&post, letter_new(ABOUT_NAMESAKE, 77, frames, 2)), DP_OK);
    hello->about = ABOUT_HELLO;
    cr_assert_eq(post_send(&post, hello), DP_OK);
    cr_assert_eq(post.waiting, 1);
    struct letter *probe = post_collect(&post);
    probe->lost = DP_UNREACHABLE;
    post_return(&post, probe);
    post_return(&post, post_collect(&post));
    struct letter *first = post_receive(&post), *second = post_receive(&post);
    cr_assert_eq(first->about, ABOUT_NAMESAKE);
    cr_assert_eq(second, hello);
    post_done(&post, first);
    post_done(&post, second);
    cr_assert_eq(post.waiting, 0);
}

/* With letters of all kinds in it. */
Test(post, what_is_left_is_freed)
{
    zmq_msg_t frames[2];
    cr_assert(pass_on(5, 100000));
    message(4, 100000, frames);
    cr_assert_eq(post_send(&post, letter_new(ABOUT_MESSAGE, 0, frames, 2)), DP_OK);
    cr_assert_eq(post_send(&post, letter_new(ABOUT_TURN, 0, NULL, 0)), DP_OK);
}
