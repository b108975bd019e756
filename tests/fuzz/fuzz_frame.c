/* Any bytes as a header: parsed or refused; what was parsed can be written, read again as the same bytes, and checked
 * against a job. */
#include <string.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "proto/frame_limits.h"
#include "proto/frame_rows.h"
#include "tests/fuzz/fuzz.h"

static struct arena arena, arena_again;

static void check_ranges(const Dp__PushPull *msg, size_t payload_bytes)
{
    static const uint64_t elems[] = {100, 7, SLICE_BYTES / sizeof(float)};
    static const struct frame_limits limits = {
        .first_slice = 1000, .slice_count = 3, .slots = 5, .slice_elems = elems, .total_steps = 1 << 20};
    dp_error err;
    if (frame_check_push_pull(msg, &limits, payload_bytes, &err) != DP_OK)
        return;
    FUZZ_ASSERT(msg->slice >= 1000 && msg->slice < 1003);
    FUZZ_ASSERT(!msg->push || frame_node_valid(msg->level, msg->index, 5));
}

/* The bytes behind the header are taken as the list of rows. */
static void check_rows(const Dp__RowsPushPull *msg, const uint8_t *data, size_t bytes)
{
    static const struct frame_part parts[] = {{0, 999, 1}, {1000, UINT64_MAX, 16}};
    static const struct frame_rows_limits limits = {
        .first_part = 1000, .part_count = 2, .slots = 5, .parts = parts, .total_steps = 1 << 20};
    size_t sizes[3] = {bytes, bytes, bytes};
    struct frame_rows at = frame_rows_of(msg);
    dp_error err;
    FUZZ_ASSERT(at.count <= ARRAY_LEN(sizes));
    if (at.push_ids != FRAME_NONE && at.values != FRAME_NONE)
        sizes[at.values] = bytes / sizeof(uint64_t) * sizeof(float);
    if (frame_check_part(msg, &limits, sizes, &err) != DP_OK)
        return;
    const struct frame_part *part = &parts[msg->part - 1000];
    if (at.push_ids == FRAME_NONE || frame_check_ids(data, msg->push_keys, part, &err) != DP_OK)
        return;
    FUZZ_ASSERT(bytes == msg->push_keys->count * sizeof(uint64_t) &&
                frame_keys_hash(data, msg->push_keys->count) == msg->push_keys->hash);
}

static void drop_unknown(ProtobufCMessage *msg);

static void drop_unknown_of_field(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field)
{
    const char *base = (const char *)msg;
    uint32_t which = field->id;
    size_t count = 1;
    ProtobufCMessage *one = NULL, **list = &one;
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        memcpy(&which, base + field->quantifier_offset, sizeof which);
    if (which != field->id)
        return;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        memcpy(&count, base + field->quantifier_offset, sizeof count);
        memcpy(&list, base + field->offset, sizeof list);
    } else {
        memcpy(&one, base + field->offset, sizeof one);
    }
    for (size_t i = 0; i < count; i++)
        if (list[i])
            drop_unknown(list[i]);
}

/* Fields of other versions are ignored, so what becomes of them is nobody's concern: protobuf-c keeps even one whose
 * number is 0, writes it, and then cannot read it. */
static void drop_unknown(ProtobufCMessage *msg)
{
    msg->n_unknown_fields = 0;
    for (unsigned i = 0; i < msg->descriptor->n_fields; i++)
        if (msg->descriptor->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
            drop_unknown_of_field(msg, &msg->descriptor->fields[i]);
}

static void parse(const uint8_t *data, size_t bytes, size_t payload_count)
{
    const Dp__Header *header = NULL, *again = NULL;
    ProtobufCMessage *root;
    dp_error err = {0};
    if (frame_parse(&arena, data, bytes, payload_count, &header, &err) != DP_OK) {
        FUZZ_ASSERT(header == NULL && err.text[0]);
        return;
    }
    memcpy(&root, &header, sizeof root); /* the arena is ours, const or not */
    drop_unknown(root);
    size_t n = frame_size(header);
    uint8_t *first = mem_array(n, 1), *second = mem_array(n, 1);
    FUZZ_ASSERT(first && second);
    frame_write(header, first);
    FUZZ_ASSERT(n > FRAME_HEADER_BYTES_MAX ||
                frame_parse(&arena_again, first, n, payload_count, &again, &err) == DP_OK);
    if (again) {
        FUZZ_ASSERT(frame_size(again) == n);
        frame_write(again, second);
        FUZZ_ASSERT(memcmp(first, second, n) == 0);
    }
    if (header->body_case == DP__HEADER__BODY_PUSH_PULL)
        check_ranges(header->push_pull, payload_count ? 400 : SIZE_MAX);
    if (header->body_case == DP__HEADER__BODY_ROWS_PUSH_PULL)
        check_rows(header->rows_push_pull, data, bytes);
    free(first);
    free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    for (size_t payload_count = 0; payload_count < 4; payload_count++)
        parse(data, bytes, payload_count);
    return 0;
}
