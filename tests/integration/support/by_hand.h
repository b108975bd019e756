/* A worker that is driven by hand over the wire. A fault on its own side fails the test. Thread: the test's. */
#ifndef DP_TESTS_INTEGRATION_SUPPORT_BY_HAND_H
#define DP_TESTS_INTEGRATION_SUPPORT_BY_HAND_H

#include "tests/integration/support/peer.h"

enum { BY_HAND_ROWS = 4096 };

struct who {
    struct peer head;
    uint64_t session, incarnation, request;
};

/* Two workers that connect, and hang up. */
void meet(const char *endpoint, struct who *a, struct who *b);
void part(struct who *a, struct who *b);
/* Its next message to the head; `message` is the body. */
Dp__Header header_of(struct who *who, Dp__Header__BodyCase body, void *message);
Dp__Hello hello_of(const char *name, uint64_t worker, uint32_t pid);
/* Says hello, with the session that it has; the answer. A Welcome's session is its own then. */
const Dp__Header *say_hello_again(struct who *who, Dp__Hello *hello);
/* The same without a session. */
const Dp__Header *say_hello(struct who *who, Dp__Hello *hello);
/* The same; fails the test unless it is welcome. */
void come(struct who *who, const char *name, uint64_t worker, uint32_t pid);
/* Joins a linear model of four features on `rows` rows of data that nobody has; the answer. */
const Dp__Header *ask_to_join(struct who *who, uint64_t rows);
/* The same with BY_HAND_ROWS; fails the test unless it has joined. */
void join(struct who *who);
/* The same without waiting for the answer; false where the queue is full. */
bool send_join(struct who *who);
void leave(struct who *who);
/* Sends a heartbeat; the kind of the answer. */
Dp__Header__BodyCase beat(struct who *who);

#endif
