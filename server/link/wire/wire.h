/* Messages between head and shard: a header, which is protobuf (proto/link.proto), and payload frames behind it. This
 * file knows how they are put together and taken apart; command.h and event.h know what is in them.
 *
 * Invariants: reading takes no more than WIRE_MEMORY_BYTES_MAX for a header whatever its bytes say; results own what
 * they point to; on failure nothing is left. Thread: any. */
#ifndef DP_SERVER_LINK_WIRE_WIRE_H
#define DP_SERVER_LINK_WIRE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/base/dp_err.h"
#include "proto/arena.h"

enum {
    WIRE_HEADER_BYTES_MAX = 4 << 20,
    WIRE_MEMORY_BYTES_MAX = 16 << 20, /* most memory that a parsed header takes */
};

struct wire_part {
    const void *data;
    size_t bytes;
};

/* A message that was written owns its header, and borrows its payloads from the value. One that is to be read borrows
 * all. */
struct wire_message {
    uint8_t *header;
    size_t header_bytes;
    uint32_t part_count, part_room;
    struct wire_part *parts; /* heap */
};

/* Frees a message that was written. */
void wire_message_fini(struct wire_message *message);
/* Appends a payload. DP_NOMEM. */
DP_MUST_CHECK dp_err wire_add_part(struct wire_message *message, const void *data, size_t bytes);
/* Writes the header. DP_NOMEM. */
DP_MUST_CHECK dp_err wire_pack(const ProtobufCMessage *body, struct wire_message *message);

/* A header that was read, with the payloads that were not taken yet. */
struct wire_reader {
    const struct wire_message *message;
    uint32_t next;
    struct arena arena;
    ProtobufCMessage *body; /* in the arena */
};

/* Parses the header. Always followed by wire_reader_fini. DP_PROTO. */
DP_MUST_CHECK dp_err wire_unpack(struct wire_reader *reader, const struct wire_message *message,
                                 const ProtobufCMessageDescriptor *kind, dp_error *err);
void wire_reader_fini(struct wire_reader *reader);
/* Copies the next payload, which must be `count` items of `item_bytes` each: heap, the caller's. DP_PROTO, DP_NOMEM. */
DP_MUST_CHECK dp_err wire_take_part(struct wire_reader *reader, uint64_t count, size_t item_bytes, void **ret_items,
                                    dp_error *err);
/* Whether all payloads were taken. DP_PROTO. */
DP_MUST_CHECK dp_err wire_check_end(const struct wire_reader *reader, dp_error *err);

#endif
