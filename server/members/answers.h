/* Large answers of the head that libzmq holds for as long as their peers do not read them, bounded in bytes. Queues of
 * sockets are bounded in messages alone, and a message may have megabytes.
 *
 * A peer that has read all but the last answer is always answered, since libzmq may hold that a little longer. One that
 * has not gets no more than ANSWERS_PEER_BYTES, and once all together hold much, nothing; it is not told so, since it
 * does not read. A text is one in memory however many it is sent to.
 * Thread: head; frames are given back by libzmq's. */
#ifndef DP_SERVER_MEMBERS_ANSWERS_H
#define DP_SERVER_MEMBERS_ANSWERS_H

#include <stdbool.h>
#include <stdint.h>
#include <zmq.h>

#include "server/net/post.h"

enum {
    ANSWERS_LARGE_BYTES = 1024,    /* smaller ones are not counted, the queue's bound on messages is enough for them */
    ANSWERS_PEER_BYTES = 8 << 20,  /* of one kind of routing ids (server/net/post.h) */
    ANSWERS_TEXT_BYTES = 64 << 20, /* of texts that are still held, each counted once */
};

struct answers {
    struct post *post; /* of a head that shares its socket: what a peer does not read is under way there; or NULL */
    _Atomic uint64_t text_bytes;
    _Atomic uint64_t of_peer[POST_SENDERS];
};

/* Bytes that are sent to any number of peers. */
struct answer_text {
    struct answers *answers;
    _Atomic uint32_t holders;
    size_t bytes;
    char *text; /* heap */
};

/* With one holder, the caller. Takes the text; NULL when out of memory. */
struct answer_text *answer_text_new(struct answers *answers, char *text, size_t bytes);
/* Accepts NULL. Thread: any. */
void answer_text_release(struct answer_text **ref);

/* Whether texts that nobody reads take so much memory that new ones must be short. */
bool answers_crowded(const struct answers *answers);
/* Whether a peer, by its number post_sender, may be sent another `bytes`. */
bool answers_may(const struct answers *answers, uint32_t peer, size_t bytes);
/* A frame of the text for the peer, which counts until libzmq is done with it; `asked`: as something that the peer has
 * under way in the post, too. DP_NOMEM. */
DP_MUST_CHECK dp_err answer_frame(struct answer_text *text, uint32_t peer, bool asked, zmq_msg_t *ret_frame);

#endif
