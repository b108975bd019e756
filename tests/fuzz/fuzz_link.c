/* Any bytes as a message between head and shard: refused with a reason, or read as a value that can be written and read
 * again as the same bytes. The input has the header and each payload, with their lengths as uint32 before them. */
#include <string.h>

#include "common/base/util.h"
#include "server/link/wire/command.h"
#include "server/link/wire/event.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/support/link_samples.h"

enum { PARTS_MAX = 64 };

static struct command_start *job;
static struct version *versions;

static bool next(const uint8_t *data, size_t bytes, size_t *at, struct wire_part *ret_part)
{
    uint32_t length;
    if (bytes - *at < sizeof length)
        return false;
    memcpy(&length, data + *at, sizeof length);
    *at += sizeof length;
    *ret_part = (struct wire_part){data + *at, MIN((size_t)length, bytes - *at)};
    *at += ret_part->bytes;
    return true;
}

static bool same(const struct wire_message *a, const struct wire_message *b)
{
    bool same = a->header_bytes == b->header_bytes && a->part_count == b->part_count &&
                memcmp(a->header, b->header, a->header_bytes) == 0;
    for (uint32_t i = 0; same && i < a->part_count; i++)
        same = a->parts[i].bytes == b->parts[i].bytes &&
               (a->parts[i].bytes == 0 || memcmp(a->parts[i].data, b->parts[i].data, a->parts[i].bytes) == 0);
    return same;
}

static void try_command(const struct wire_message *message, const struct command_start *of)
{
    struct command command, again;
    struct wire_message first, second;
    dp_error err = {0};
    if (wire_command_read(message, of, &command, &err)) {
        FUZZ_ASSERT(err.text[0]);
        return;
    }
    FUZZ_ASSERT(wire_command_write(&command, &first) == DP_OK);
    FUZZ_ASSERT(wire_command_read(&first, of, &again, &err) == DP_OK);
    FUZZ_ASSERT(wire_command_write(&again, &second) == DP_OK && same(&first, &second));
    wire_message_fini(&first);
    wire_message_fini(&second);
    command_fini(&command);
    command_fini(&again);
}

static void try_event(const struct wire_message *message)
{
    struct event event, again;
    struct wire_message first, second;
    dp_error err = {0};
    if (wire_event_read(message, job, &versions, &event, &err)) {
        FUZZ_ASSERT(err.text[0]);
        wire_versions_sweep(&versions);
        return;
    }
    FUZZ_ASSERT(wire_event_write(&event, job, &first) == DP_OK);
    FUZZ_ASSERT(wire_event_read(&first, job, &versions, &again, &err) == DP_OK);
    FUZZ_ASSERT(wire_event_write(&again, job, &second) == DP_OK && same(&first, &second));
    wire_message_fini(&first);
    wire_message_fini(&second);
    event_fini(&event);
    event_fini(&again);
    wire_versions_sweep(&versions);
    FUZZ_ASSERT(!versions);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct wire_part header, parts[PARTS_MAX];
    size_t at = 0;
    if (!job)
        job = link_sample_job();
    if (!next(data, bytes, &at, &header))
        return 0;
    struct wire_message message = {.header = (uint8_t *)header.data, .header_bytes = header.bytes, .parts = parts};
    while (message.part_count < PARTS_MAX && next(data, bytes, &at, &parts[message.part_count]))
        message.part_count++;
    try_command(&message, NULL);
    try_command(&message, job);
    try_event(&message);
    return 0;
}
