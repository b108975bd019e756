/* A peer that says what a test wants it to say, true or not. Every wait has a deadline; what goes wrong on its own side
 * fails the test. Thread: the test's. */
#ifndef DP_TESTS_INTEGRATION_SUPPORT_PEER_H
#define DP_TESTS_INTEGRATION_SUPPORT_PEER_H

#include <stddef.h>
#include <stdint.h>
#include <zmq.h>

#include "proto/frame.h"

enum { PEER_ENDPOINT_MAX = 256, PEER_FRAMES_MAX = 16 };

struct peer {
    void *socket; /* DEALER, or ROUTER after peer_listen */
    struct arena arena;
    zmq_msg_t frames[PEER_FRAMES_MAX]; /* last message received; on a ROUTER frames[0] is the sender */
    size_t frame_count;
};

struct bytes {
    const void *data;
    size_t size;
};

/* A DEALER connected to an endpoint, "*" for the host meaning 127.0.0.1. `receive_limit`: messages that may wait to be
 * read, 0 for libzmq's default. */
void peer_connect(struct peer *peer, const char *endpoint, int receive_limit);
/* A ROUTER on a free port, whose endpoint goes to endpoint[PEER_ENDPOINT_MAX]. */
void peer_listen(struct peer *peer, char *endpoint);
void peer_close(struct peer *peer);

/* Sends frames as they are; false if the queue is full. */
bool peer_send_frames(struct peer *peer, size_t count, const struct bytes *frames);
/* Sends a header, with a payload frame if payload is not NULL; a ROUTER answers the sender of the last message. */
bool peer_send(struct peer *peer, const Dp__Header *header, const void *payload, size_t bytes);
/* Next message that parses, or NULL after timeout_ms. Valid until the next call. */
const Dp__Header *peer_receive(struct peer *peer, uint32_t timeout_ms);
/* The answer with the header's request id; fails the test if there is none in 10 s. A server that wants to know whose
 * we are is told, by this user's secret, and asked again. */
const Dp__Header *peer_ask(struct peer *peer, const Dp__Header *header, const void *payload, size_t bytes);

/* The same of a peer that proves nothing. */
const Dp__Header *peer_ask_unproved(struct peer *peer, const Dp__Header *header, const void *payload, size_t bytes);

/* Reads what the head says until it has dealt `count` slots to this worker: Joined comes before that, and a push until
 * then may be refused. Fails the test after a minute. */
void peer_await_slots(struct peer *peer, size_t count);

/* A TCP connection to an endpoint, or -1 where nobody listens. */
int tcp_connect(const char *endpoint);
/* Writes what the other side takes within some time; what it refuses is dropped. */
void tcp_write(int fd, const void *data, size_t bytes);

#endif
