/* Bytes of ZMTP for tests of the gate, appended to a text. */
#ifndef DP_TESTS_UNIT_SUPPORT_GATE_BYTES_H
#define DP_TESTS_UNIT_SUPPORT_GATE_BYTES_H

#include <stddef.h>
#include <stdint.h>

enum { BYTES_MAX = 8192 };

struct text {
    uint8_t data[BYTES_MAX];
    size_t bytes;
};

void put(struct text *text, const void *data, size_t bytes);
void put_greeting(struct text *text);
/* Flags and size of a frame. */
void put_head(struct text *text, uint8_t flags, uint64_t bytes);
void put_frame(struct text *text, uint8_t flags, const void *data, size_t bytes);
/* READY of a socket of `type`, with another property unless `name` is NULL. */
void put_ready(struct text *text, const char *type, const char *name, const char *value, size_t bytes);
/* Greeting and READY of a DEALER. */
void put_handshake(struct text *text);
/* A header frame of `bytes` bytes that begins with a session; its first `sent` bytes come. */
void put_header(struct text *text, uint8_t more, uint64_t token, size_t bytes, size_t sent);

#endif
