/* Letters between the head and the thread whose socket it shares: with one shard, messages of workers arrive at that
 * shard's port, which passes on those for the head; answers go the way back. Frames move into a letter and are not
 * copied. Neither side waits for the other: a letter that cannot be taken is refused.
 *
 * Letters under way are bounded, for each peer and for all, so that one that floods the head takes no room
 * from the others: a peer with nothing under way is always heard. Thread: as stated; `socket` is the port's. */
#ifndef DP_SERVER_NET_POST_H
#define DP_SERVER_NET_POST_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>
#include <zmq.h>

#include "server/link/queue.h"

enum {
    POST_FRAMES = 3,               /* routing id, header, payload */
    POST_SENDERS = 4096,           /* kinds of routing ids that are told apart */
    POST_SENDER_MAX = 64,          /* letters of one of them under way, while there are fewer of all than */
    POST_WAITING_MAX = 1024,       /* this, */
    POST_BYTES_MAX = 64 << 20,     /* with fewer bytes */
    POST_QUEUE = 4 * POST_SENDERS, /* letters that fit */
};

enum letter_about {
    ABOUT_MESSAGE,  /* a message, to or from a peer */
    ABOUT_ASSIGN,   /* to a peer, as the following: where it cannot be sent, it comes back. Its slots; */
    ABOUT_PROBE,    /* to find out whether it is connected; */
    ABOUT_NAMESAKE, /* the same, as another worker of its name has come */
    ABOUT_HELLO,    /* a message from a peer that goes to the port and back, behind what it found out */
    ABOUT_TURN,     /* nothing: comes back when it is the port's turn */
};

struct letter {
    enum letter_about about;
    dp_err lost;      /* it comes back as it could not be sent: why */
    uint64_t session; /* of the peer, for what may come back */
    uint32_t sender;  /* number of the peer; POST_SENDERS: the head's own */
    uint32_t count;   /* frames */
    size_t bytes;
    zmq_msg_t frames[POST_FRAMES];
};

struct post {
    uv_async_t *wake;     /* of the port; NULL: it does not run. Thread: head */
    struct queue in, out; /* of pointers, to the head and to the port */
    _Atomic uint32_t waiting;
    _Atomic uint64_t waiting_bytes;
    _Atomic uint8_t of_sender[POST_SENDERS];
};

/* The number of a peer, of POST_SENDERS, by its routing id. */
uint32_t post_sender(const void *id, size_t bytes);

/* DP_NOMEM. Thread: head. */
DP_MUST_CHECK dp_err post_init(struct post *post);
/* With the letters that are left, once the port has ended. Accepts a zeroed one. */
void post_fini(struct post *post);

/* A letter of the head's, which takes the frames; NULL when out of memory, the frames are closed then. */
struct letter *letter_new(enum letter_about about, uint64_t session, zmq_msg_t *frames, size_t count);

/* The port runs, and is woken by this; NULL: it has ended. Thread: head. */
void post_open(struct post *post, uv_async_t *wake);
/* To the port, which is woken if it runs. DP_BUSY where there is no room: the letter is gone. Thread: head. */
DP_MUST_CHECK dp_err post_send(struct post *post, struct letter *letter);
/* An answer to a peer is on its way for as long as it does not read it: it counts as under way, like what it says.
 * Thread: head; post_answered: any, at last libzmq's. */
void post_answering(struct post *post, uint32_t sender);
void post_answered(struct post *post, uint32_t sender);
/* The next letter for the head, or NULL. Thread: head. */
struct letter *post_receive(struct post *post);
/* It has been read. Thread: head. */
void post_done(struct post *post, struct letter *letter);

/* A message of a peer for the head; takes the frames, [1..POST_FRAMES]. False where the peer has too much under way, or
 * memory is short: nothing was taken. Thread: socket. */
bool post_pass_on(struct post *post, zmq_msg_t *frames, size_t count);
/* The next letter of the head, or NULL. Thread: socket. */
struct letter *post_collect(struct post *post);
/* Back to the head; where there is no room it is gone. Thread: socket. */
void post_return(struct post *post, struct letter *letter);
/* It has left. Its frames are closed unless count is 0. Thread: socket. */
void letter_free(struct letter *letter);

#endif
