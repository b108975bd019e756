/* Letters between the head and a port; see post.h. Invariant: each letter that a peer sent is counted from post_pass_on
 * until post_done, or until it is dropped. */
#include "server/net/post.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "common/net/zuv.h"

dp_err post_init(struct post *post)
{
    memset(post, 0, sizeof *post);
    dp_err e = queue_init(&post->in, POST_QUEUE, sizeof(struct letter *));
    return e ? e : queue_init(&post->out, POST_QUEUE, sizeof(struct letter *));
}

void letter_free(struct letter *letter)
{
    for (uint32_t i = 0; i < letter->count; i++)
        zmq_msg_close(&letter->frames[i]);
    free(letter);
}

void post_fini(struct post *post)
{
    struct queue *queues[] = {&post->in, &post->out};
    for (size_t i = 0; i < ARRAY_LEN(queues); i++) {
        struct letter *letter;
        while (queues[i]->items && queue_take(queues[i], &letter))
            letter_free(letter);
        queue_fini(queues[i]);
    }
}

struct letter *letter_new(enum letter_about about, uint64_t session, zmq_msg_t *frames, size_t count)
{
    struct letter *letter = count <= POST_FRAMES ? mem_array(1, sizeof *letter) : NULL;
    if (!letter) {
        for (size_t i = 0; i < count; i++)
            zmq_msg_close(&frames[i]);
        return NULL;
    }
    letter->about = about;
    letter->lost = DP_OK;
    letter->session = session;
    letter->sender = POST_SENDERS;
    letter->count = (uint32_t)count;
    letter->bytes = 0;
    for (size_t i = 0; i < count; i++) {
        zmq_msg_init(&letter->frames[i]);
        zmq_msg_move(&letter->frames[i], &frames[i]);
    }
    return letter;
}

void post_open(struct post *post, uv_async_t *wake)
{
    post->wake = wake;
}

dp_err post_send(struct post *post, struct letter *letter)
{
    bool sent = queue_put(&post->out, &letter);
    if (!sent)
        post_done(post, letter);
    if (post->wake)
        zuv_wake(post->wake);
    return sent ? DP_OK : DP_BUSY;
}

static struct letter *take(struct queue *queue)
{
    struct letter *letter;
    return queue_take(queue, &letter) ? letter : NULL;
}

struct letter *post_receive(struct post *post)
{
    return take(&post->in);
}

void post_answering(struct post *post, uint32_t sender)
{
    if (sender < POST_SENDERS)
        atomic_fetch_add_explicit(&post->of_sender[sender], 1, memory_order_relaxed);
}

void post_answered(struct post *post, uint32_t sender)
{
    if (sender < POST_SENDERS)
        atomic_fetch_sub_explicit(&post->of_sender[sender], 1, memory_order_relaxed);
}

struct letter *post_collect(struct post *post)
{
    return take(&post->out);
}

static void count_out(struct post *post, const struct letter *letter)
{
    if (letter->sender == POST_SENDERS)
        return;
    atomic_fetch_sub_explicit(&post->of_sender[letter->sender], 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&post->waiting, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&post->waiting_bytes, letter->bytes, memory_order_relaxed);
}

void post_done(struct post *post, struct letter *letter)
{
    count_out(post, letter);
    letter_free(letter);
}

void post_return(struct post *post, struct letter *letter)
{
    if (!queue_put(&post->in, &letter))
        post_done(post, letter);
}

/* libzmq numbers its peers one after the other, so that each has a place of its own; ids that peers gave themselves
 * share the places. */
uint32_t post_sender(const void *id, size_t bytes)
{
    const uint8_t *at = id;
    uint32_t hash = 0;
    for (size_t i = 0; i < bytes; i++)
        hash = hash * 256 + at[i] + (hash >> 24) * 31;
    return hash % POST_SENDERS;
}

bool post_pass_on(struct post *post, zmq_msg_t *frames, size_t count)
{
    const uint32_t sender = post_sender(zmq_msg_data(&frames[0]), zmq_msg_size(&frames[0]));
    const uint8_t mine = atomic_load_explicit(&post->of_sender[sender], memory_order_relaxed);
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += zmq_msg_size(&frames[i]);
    if (mine > 0 &&
        (mine >= POST_SENDER_MAX || atomic_load_explicit(&post->waiting, memory_order_relaxed) >= POST_WAITING_MAX ||
         atomic_load_explicit(&post->waiting_bytes, memory_order_relaxed) + bytes > POST_BYTES_MAX))
        return false;
    struct letter *letter = mem_array(1, sizeof *letter);
    if (!letter)
        return false;
    *letter = (struct letter){.about = ABOUT_MESSAGE, .sender = sender, .count = (uint32_t)count, .bytes = bytes};
    for (size_t i = 0; i < count; i++) {
        zmq_msg_init(&letter->frames[i]);
        zmq_msg_move(&letter->frames[i], &frames[i]);
    }
    atomic_fetch_add_explicit(&post->of_sender[sender], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&post->waiting, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&post->waiting_bytes, bytes, memory_order_relaxed);
    if (queue_put(&post->in, &letter))
        return true;
    for (size_t i = 0; i < count; i++)
        zmq_msg_move(&frames[i], &letter->frames[i]);
    post_done(post, letter);
    return false;
}
