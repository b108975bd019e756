/* Large answers that are not read, counted in bytes. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "server/members/answers.h"
#include "tests/unit/support/leaks.h"

enum { MIB = 1 << 20 };

static struct answer_text *text_of(struct answers *answers, size_t bytes)
{
    char *block = malloc(bytes);
    cr_assert_not_null(block);
    struct answer_text *text = answer_text_new(answers, block, bytes);
    cr_assert_not_null(text);
    return text;
}

/* One text is one in memory, and counts for each peer that has not read it. */
Test(answers, are_shared_and_counted_for_each_peer)
{
    struct answers answers = {0};
    struct answer_text *text = text_of(&answers, 3 * MIB);
    zmq_msg_t frames[3];
    cr_assert_eq(atomic_load(&answers.text_bytes), 3 * MIB);
    for (int i = 0; i < 3; i++) {
        cr_assert(answers_may(&answers, i < 2 ? 7 : 8, text->bytes));
        cr_assert_eq(answer_frame(text, i < 2 ? 7 : 8, true, &frames[i]), DP_OK);
        cr_assert_eq(zmq_msg_data(&frames[i]), text->text, "nothing is copied");
    }
    cr_assert_eq(atomic_load(&answers.text_bytes), 3 * MIB);
    cr_assert_eq(atomic_load(&answers.of_peer[7]), 6 * MIB);
    cr_assert_eq(atomic_load(&answers.of_peer[8]), 3 * MIB);
    answer_text_release(&text);
    cr_assert_null(text);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(atomic_load(&answers.text_bytes), 3 * MIB, "frames hold it");
        zmq_msg_close(&frames[i]);
    }
    cr_assert_eq(atomic_load(&answers.text_bytes), 0);
    cr_assert_eq(atomic_load(&answers.of_peer[7]), 0);
    answer_text_release(&text);
    ASSERT_NO_LEAKS();
}

/* 8 MiB of a peer; the answer before may always be on its way. */
Test(answers, of_a_peer_that_does_not_read_are_bounded)
{
    struct answers answers = {0};
    struct answer_text *text = text_of(&answers, 3 * MIB);
    zmq_msg_t frames[2];
    for (int i = 0; i < 2; i++)
        cr_assert_eq(answer_frame(text, 5, true, &frames[i]), DP_OK);
    cr_assert(answers_may(&answers, 5, 2 * MIB), "8 MiB in all");
    cr_assert_not(answers_may(&answers, 5, 2 * MIB + 1));
    cr_assert(answers_may(&answers, 5, 7 * MIB), "the one before may be on its way");
    cr_assert(answers_may(&answers, 6, 100 * MIB), "another that has read all");
    for (int i = 0; i < 2; i++)
        zmq_msg_close(&frames[i]);
    cr_assert(answers_may(&answers, 5, 8 * MIB));
    answer_text_release(&text);
    ASSERT_NO_LEAKS();
}

/* Beyond 64 MiB of texts each peer has the last answer and one more at most. */
Test(answers, of_all_peers_are_bounded)
{
    struct answers answers = {0};
    struct answer_text *large = text_of(&answers, 64 * MIB), *small = text_of(&answers, 1024);
    zmq_msg_t frames[2];
    cr_assert(answers_crowded(&answers));
    for (int i = 0; i < 2; i++) {
        cr_assert(answers_may(&answers, 9, small->bytes));
        cr_assert_eq(answer_frame(small, 9, true, &frames[i]), DP_OK);
    }
    cr_assert_not(answers_may(&answers, 9, small->bytes));
    answer_text_release(&large);
    cr_assert_not(answers_crowded(&answers));
    cr_assert(answers_may(&answers, 9, small->bytes));
    for (int i = 0; i < 2; i++)
        zmq_msg_close(&frames[i]);
    answer_text_release(&small);
    ASSERT_NO_LEAKS();
}

/* In a post, what a peer has not read is under way. */
Test(answers, are_under_way_in_the_post)
{
    struct post post;
    cr_assert_eq(post_init(&post), DP_OK);
    struct answers answers = {.post = &post};
    struct answer_text *text = text_of(&answers, 10);
    zmq_msg_t frame;
    const uint32_t peer = post_sender("\0\0\0\1\2", 5);
    cr_assert_eq(answer_frame(text, peer, true, &frame), DP_OK);
    cr_assert_eq(atomic_load(&post.of_sender[peer]), 1);
    zmq_msg_close(&frame);
    cr_assert_eq(atomic_load(&post.of_sender[peer]), 0);
    cr_assert_eq(answer_frame(text, peer, false, &frame), DP_OK);
    cr_assert_eq(atomic_load(&post.of_sender[peer]), 0, "nobody asked for it");
    zmq_msg_close(&frame);
    cr_assert_eq(atomic_load(&post.of_sender[peer]), 0);
    answer_text_release(&text);
    post_fini(&post);
    ASSERT_NO_LEAKS();
}
