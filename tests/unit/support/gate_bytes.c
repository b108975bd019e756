/* Bytes of ZMTP; see gate_bytes.h. */
#include "tests/unit/support/gate_bytes.h"

#include <criterion/criterion.h>
#include <string.h>

void put(struct text *text, const void *data, size_t bytes)
{
    cr_assert_leq(text->bytes + bytes, sizeof text->data);
    if (bytes > 0)
        memcpy(text->data + text->bytes, data, bytes);
    text->bytes += bytes;
}

void put_greeting(struct text *text)
{
    static const uint8_t GREETING[64] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1, 'N', 'U', 'L', 'L'};
    put(text, GREETING, sizeof GREETING);
}

void put_head(struct text *text, uint8_t flags, uint64_t bytes)
{
    uint8_t head[9] = {flags};
    for (int i = 0; i < 8; i++)
        head[1 + i] = (uint8_t)(bytes >> (56 - 8 * i));
    if (flags & 2) {
        put(text, head, 9);
    } else {
        head[1] = (uint8_t)bytes;
        put(text, head, 2);
    }
}

void put_frame(struct text *text, uint8_t flags, const void *data, size_t bytes)
{
    put_head(text, (uint8_t)(flags | (bytes > 255 ? 2 : 0)), bytes);
    put(text, data, bytes);
}

static void put_property(struct text *body, const char *name, const char *value, size_t bytes)
{
    const uint8_t name_bytes = (uint8_t)strlen(name), size[4] = {0, 0, (uint8_t)(bytes >> 8), (uint8_t)bytes};
    put(body, &name_bytes, 1);
    put(body, name, name_bytes);
    put(body, size, sizeof size);
    put(body, value, bytes);
}

void put_ready(struct text *text, const char *type, const char *name, const char *value, size_t bytes)
{
    static struct text body;
    body.bytes = 0;
    put(&body, "\5READY", 6);
    if (type)
        put_property(&body, "Socket-Type", type, strlen(type));
    if (name)
        put_property(&body, name, value, bytes);
    put_frame(text, 4, body.data, body.bytes);
}

void put_handshake(struct text *text)
{
    put_greeting(text);
    put_ready(text, "DEALER", "Identity", "", 0);
}

void put_header(struct text *text, uint8_t more, uint64_t token, size_t bytes, size_t sent)
{
    static uint8_t body[BYTES_MAX] = {1 << 3 | 1};
    for (int i = 0; i < 8; i++)
        body[1 + i] = (uint8_t)(token >> 8 * i);
    put_head(text, (uint8_t)(more | (bytes > 255 ? 2 : 0)), bytes);
    put(text, body, sent);
}
