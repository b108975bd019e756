/* Large answers; see answers.h. Invariant: a text is freed by its last holder, the frames among them. */
#include "server/members/answers.h"

#include <stdlib.h>

#include "common/base/mem.h"

/* A frame on its way. */
struct held {
    struct answer_text *text;
    uint32_t peer;
    struct post *post; /* in which it is under way, or NULL */
};

struct answer_text *answer_text_new(struct answers *answers, char *text, size_t bytes)
{
    struct answer_text *made = mem_array(1, sizeof *made);
    if (!made) {
        free(text);
        return NULL;
    }
    *made = (struct answer_text){.answers = answers, .holders = 1, .bytes = bytes, .text = text};
    atomic_fetch_add_explicit(&answers->text_bytes, bytes, memory_order_relaxed);
    return made;
}

void answer_text_release(struct answer_text **ref)
{
    struct answer_text *text = *ref;
    *ref = NULL;
    if (!text || atomic_fetch_sub_explicit(&text->holders, 1, memory_order_acq_rel) > 1)
        return;
    atomic_fetch_sub_explicit(&text->answers->text_bytes, text->bytes, memory_order_relaxed);
    free(text->text);
    free(text);
}

bool answers_crowded(const struct answers *answers)
{
    return atomic_load_explicit(&answers->text_bytes, memory_order_relaxed) > ANSWERS_TEXT_BYTES;
}

bool answers_may(const struct answers *answers, uint32_t peer, size_t bytes)
{
    uint64_t owed = atomic_load_explicit(&answers->of_peer[peer], memory_order_relaxed);
    return owed <= bytes || (!answers_crowded(answers) && owed + bytes <= ANSWERS_PEER_BYTES);
}

/* Thread: libzmq's, or of whoever drops the frame. */
static void give_back(void *data, void *hint)
{
    struct held *held = hint;
    struct answers *answers = held->text->answers;
    (void)data;
    if (held->post)
        post_answered(held->post, held->peer);
    atomic_fetch_sub_explicit(&answers->of_peer[held->peer], held->text->bytes, memory_order_relaxed);
    answer_text_release(&held->text);
    free(held);
}

dp_err answer_frame(struct answer_text *text, uint32_t peer, bool asked, zmq_msg_t *ret_frame)
{
    struct answers *answers = text->answers;
    struct held *held = mem_array(1, sizeof *held);
    if (!held)
        return DP_NOMEM;
    *held = (struct held){text, peer, asked ? answers->post : NULL};
    atomic_fetch_add_explicit(&text->holders, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&answers->of_peer[peer], text->bytes, memory_order_relaxed);
    if (held->post)
        post_answering(held->post, peer);
    if (zmq_msg_init_data(ret_frame, text->text, text->bytes, give_back, held) == 0)
        return DP_OK;
    give_back(NULL, held);
    return DP_NOMEM;
}
