/* Messages between head and shard; see wire.h. Thread: any. */
#include "server/link/wire/wire.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/util.h"

void wire_message_fini(struct wire_message *message)
{
    free(message->header);
    free(message->parts);
    *message = (struct wire_message){0};
}

dp_err wire_add_part(struct wire_message *message, const void *data, size_t bytes)
{
    if (message->part_count == message->part_room) {
        uint32_t room = MAX(2 * message->part_room, 4U);
        struct wire_part *parts = realloc(message->parts, room * sizeof *parts);
        if (!parts)
            return DP_NOMEM;
        message->parts = parts;
        message->part_room = room;
    }
    message->parts[message->part_count++] = (struct wire_part){data, bytes};
    return DP_OK;
}

dp_err wire_pack(const ProtobufCMessage *body, struct wire_message *message)
{
    size_t bytes = protobuf_c_message_get_packed_size(body);
    uint8_t *header = mem_array(bytes, 1);
    if (!header)
        return DP_NOMEM;
    protobuf_c_message_pack(body, header);
    message->header = header;
    message->header_bytes = bytes;
    return DP_OK;
}

dp_err wire_unpack(struct wire_reader *reader, const struct wire_message *message,
                   const ProtobufCMessageDescriptor *kind, dp_error *err)
{
    *reader = (struct wire_reader){.message = message};
    arena_reset(&reader->arena, WIRE_MEMORY_BYTES_MAX);
    ProtobufCAllocator allocator = arena_allocator(&reader->arena);
    if (message->header_bytes > WIRE_HEADER_BYTES_MAX)
        return dp_fail(err, DP_PROTO, "a header of %zu bytes, of at most %d", message->header_bytes,
                       WIRE_HEADER_BYTES_MAX);
    reader->body = protobuf_c_message_unpack(kind, &allocator, message->header_bytes, message->header);
    if (!reader->body)
        return dp_fail(err, DP_PROTO, "a header of %zu bytes that is no %s", message->header_bytes, kind->short_name);
    return DP_OK;
}

void wire_reader_fini(struct wire_reader *reader)
{
    arena_fini(&reader->arena);
    reader->body = NULL;
}

dp_err wire_take_part(struct wire_reader *reader, uint64_t count, size_t item_bytes, void **ret_items, dp_error *err)
{
    const struct wire_message *message = reader->message;
    if (reader->next >= message->part_count)
        return dp_fail(err, DP_PROTO, "payload %u is missing", reader->next);
    const struct wire_part *part = &message->parts[reader->next];
    if (count > SIZE_MAX / item_bytes || part->bytes != count * item_bytes)
        return dp_fail(err, DP_PROTO, "payload %u has %zu bytes, which are not the %llu items of the header",
                       reader->next, part->bytes, (unsigned long long)count);
    void *items = mem_array(MAX(part->bytes, (size_t)1), 1);
    if (!items)
        return dp_fail(err, DP_NOMEM, "out of memory for a payload of %zu bytes", part->bytes);
    if (part->bytes > 0)
        memcpy(items, part->data, part->bytes);
    reader->next++;
    *ret_items = items;
    return DP_OK;
}

dp_err wire_check_end(const struct wire_reader *reader, dp_error *err)
{
    uint32_t count = reader->message->part_count;
    if (reader->next == count)
        return DP_OK;
    return dp_fail(err, DP_PROTO, "%u payloads, of which %u belong to the message", count, reader->next);
}
