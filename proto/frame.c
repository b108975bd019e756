/* Parsing, checking and writing of headers.
 *
 * Invariants: a parse takes no more than FRAME_ARENA_BYTES_MAX whatever the bytes say; what it returns has passed every
 * check of its kind, so nobody above has to look for NULL bodies, long strings or lists out of bounds. The checks of
 * the single kinds are in frame_check.c. Thread: any; an arena belongs to one thread. */
#include "proto/frame.h"

#include "proto/frame_check.h"

/* Field numbers of Header: bodies are fields from the first on, but for those of the proof. */
enum { FIELD_BODY_FIRST = 10, FIELD_PROOF = 190, FIELD_USER = 191 };

/* A varint of at most ten bytes at *at; false where the bytes end within it. */
static bool varint_read(const uint8_t *data, size_t bytes, size_t *at, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70 && *at < bytes; shift += 7) {
        uint8_t byte = data[(*at)++];
        value |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
        if (!(byte & 0x80)) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

/* Steps over a field's value; false where it does not fit in the bytes. */
static bool field_skip(unsigned wire_type, const uint8_t *data, size_t bytes, size_t *at)
{
    uint64_t n;
    switch (wire_type) {
    case 0:
        return varint_read(data, bytes, at, &n);
    case 1:
        n = 8;
        break;
    case 2:
        if (!varint_read(data, bytes, at, &n))
            return false;
        break;
    case 5:
        n = 4;
        break;
    default:
        return false;
    }
    if (n > bytes - *at)
        return false;
    *at += (size_t)n;
    return true;
}

/* Counts the top-level fields that are bodies, known to this version or not; -1 if the bytes are no message. Protobuf
 * takes the last of several and merges equal ones; here a message says one thing. */
static int body_count(const uint8_t *data, size_t bytes)
{
    int count = 0;
    for (size_t at = 0; at < bytes;) {
        uint64_t key;
        if (!varint_read(data, bytes, &at, &key) || !field_skip((unsigned)(key & 7), data, bytes, &at))
            return -1;
        uint64_t field = key >> 3;
        if (field >= FIELD_BODY_FIRST && field != FIELD_PROOF && field != FIELD_USER && ++count > 1)
            break;
    }
    return count;
}

static dp_err frame_unpack(struct arena *arena, const void *data, size_t bytes, Dp__Header **ret_header, dp_error *err)
{
    ProtobufCAllocator allocator = arena_allocator(arena);
    Dp__Header *header = dp__header__unpack(&allocator, bytes, data);
    if (header) {
        *ret_header = header;
        return DP_OK;
    }
    if (arena->full)
        return dp_fail(err, DP_PROTO, "header of %zu bytes would take more than %d bytes of memory", bytes,
                       FRAME_ARENA_BYTES_MAX);
    return dp_fail(err, DP_PROTO, "header of %zu bytes is not a protobuf message of this protocol", bytes);
}

dp_err frame_parse(struct arena *arena, const void *data, size_t bytes, size_t payload_count,
                   const Dp__Header **ret_header, dp_error *err)
{
    arena_reset(arena, FRAME_ARENA_BYTES_MAX);
    if (bytes == 0)
        return dp_fail(err, DP_PROTO, "header is empty");
    if (bytes > FRAME_HEADER_BYTES_MAX)
        return dp_fail(err, DP_PROTO, "header has %zu bytes, at most %d are read", bytes, FRAME_HEADER_BYTES_MAX);
    int bodies = body_count(data, bytes);
    if (bodies < 0)
        return dp_fail(err, DP_PROTO, "header of %zu bytes is not a protobuf message", bytes);
    if (bodies != 1)
        return dp_fail(err, DP_PROTO, "header has %s", bodies == 0 ? "no body" : "more than one body");
    Dp__Header *header = NULL;
    dp_err rc = frame_unpack(arena, data, bytes, &header, err);
    if (rc == DP_OK)
        rc = frame_check_body(header, payload_count, err);
    if (rc == DP_OK)
        *ret_header = header;
    return rc;
}

size_t frame_size(const Dp__Header *header)
{
    return dp__header__get_packed_size(header);
}

void frame_write(const Dp__Header *header, void *buf)
{
    dp__header__pack(header, buf);
}
