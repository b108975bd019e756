/* A peer that speaks ZMTP 3.0 byte by byte over TCP, so that it can say what libzmq never would: an identity of its
 * own, frames without an end, half a greeting. It fails no test: functions tell what came of it. Every wait has a
 * deadline. Thread: the caller's. */
#ifndef DP_TESTS_INTEGRATION_SUPPORT_RAW_PEER_H
#define DP_TESTS_INTEGRATION_SUPPORT_RAW_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/frame.h"

enum {
    RAW_GREETING_BYTES = 64,
    RAW_COMMAND_MAX = 4096, /* of a READY's body */
    RAW_MORE = 1,           /* flags of a frame */
    RAW_LONG = 2,
    RAW_COMMAND = 4,
};

struct raw_peer {
    int fd; /* -1: closed */
    struct arena arena;
    uint8_t *in; /* bytes that came and were not read yet: [in_size], in_bytes of it used */
    size_t in_size, in_bytes;
    uint8_t *payload; /* of the last message received, [payload_bytes] */
    size_t payload_bytes;
};

/* The bytes of a good greeting (NULL security, as a client), and of a READY command of a socket type ("DEALER") and an
 * identity (bytes 0: an empty one); returns its size. */
void raw_greeting(uint8_t greeting[RAW_GREETING_BYTES]);
size_t raw_ready(uint8_t out[RAW_COMMAND_MAX + 16], const char *type, const void *identity, size_t bytes);

/* TCP alone, "*" for the host meaning 127.0.0.1. False where nobody listens. */
bool raw_open(struct raw_peer *peer, const char *endpoint);
/* TCP, greeting and READY of a DEALER, both ways. False where the other side refuses. An identity is optional. */
bool raw_connect(struct raw_peer *peer, const char *endpoint, const void *identity, size_t bytes);
/* Closes at once (RST), so that no port stays in TIME_WAIT. */
void raw_close(struct raw_peer *peer);

/* Sends bytes as they are. False where the connection has ended, or does not take them within 10 s. */
bool raw_write(struct raw_peer *peer, const void *data, size_t bytes);
/* One frame; `flags` of RAW_MORE and RAW_COMMAND. */
bool raw_frame(struct raw_peer *peer, int flags, const void *data, size_t bytes);
/* Only the announcement of a frame of `bytes` bytes. */
bool raw_frame_head(struct raw_peer *peer, int flags, uint64_t bytes);
/* A message: a header, and a payload unless NULL. */
bool raw_send(struct raw_peer *peer, const Dp__Header *header, const void *payload, size_t bytes);

/* The next message that parses, or NULL after timeout_ms or at the end of the connection. Valid until the next call;
 * its payload is in peer->payload. */
const Dp__Header *raw_receive(struct raw_peer *peer, int64_t timeout_ms);
/* Whether the other side closes within timeout_ms; what comes meanwhile is dropped. */
bool raw_closed(struct raw_peer *peer, int64_t timeout_ms);

#endif
