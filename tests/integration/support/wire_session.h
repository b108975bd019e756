/* A session without a client: hello and join by hand, for programs that drive many connections or misbehave. Knows no
 * retries. A shard takes slots that were dealt to the session: wire_session_slot says which. Thread: one at a time. */
#ifndef DP_TESTS_INTEGRATION_SUPPORT_WIRE_SESSION_H
#define DP_TESTS_INTEGRATION_SUPPORT_WIRE_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WIRE_ENDPOINT_MAX = 256 };

struct wire_session {
    void *head; /* DEALER: while it is open, the session lives as long as its lease */
    uint64_t session, incarnation;
    char shard[WIRE_ENDPOINT_MAX]; /* the first one, connectable */
    uint64_t slice_elems;          /* of its first slice */
};

/* Says hello and joins with data of `rows` rows and one tensor of `elems` zeros. False, with the reason on stderr,
 * where the server says no or nothing for 10 s. */
bool wire_session_open(struct wire_session *ret_session, void *zmq, const char *server, uint64_t rows, uint64_t elems);
void wire_session_close(struct wire_session *session);
/* Waits until it is dealt slots, and gives the first of them. False after 10 s. */
bool wire_session_slot(struct wire_session *session, uint32_t *ret_slot);

/* Header of a message to the shard's first slice: pushes slot `slot` of `step` unless it is negative, asks for theta of
 * `pull_step`, holding 1 + a version or 0. Written to buf[64]; returns its bytes. */
size_t wire_header(const struct wire_session *session, uint64_t step, int64_t slot, uint64_t pull_step, uint64_t have,
                   void *buf);

#endif
