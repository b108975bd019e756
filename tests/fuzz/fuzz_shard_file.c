/* Any bytes as the head of a shard's file, the last eight of them as the length of that file: refused with a reason, or
 * read so that its values end at the end of the file. */
#include <stdlib.h>
#include <string.h>

#include "common/checkpoint/shard_file.h"
#include "tests/fuzz/fuzz.h"

static uint64_t value_words(const struct shard_file_facts *facts)
{
    uint64_t words = 0;
    for (uint32_t i = 0; i < facts->range_count; i++)
        words += facts->ranges[i].count * (1 + facts->states);
    for (uint32_t i = 0; i < facts->part_count; i++)
        words += facts->parts[i].rows * shard_file_row_words(facts, &facts->parts[i]);
    return words;
}

static void check(const struct shard_file_facts *facts, const uint8_t *data, size_t bytes, uint64_t file_bytes)
{
    char *head;
    size_t length;
    FUZZ_ASSERT(file_bytes - bytes == 4 * value_words(facts));
    FUZZ_ASSERT(shard_file_head(facts, &head, &length) == DP_OK);
    FUZZ_ASSERT(length == bytes && memcmp(head, data, bytes) == 0);
    free(head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct shard_file file;
    dp_error err = {0};
    uint64_t file_bytes = 0;
    if (bytes < sizeof file_bytes)
        return 0;
    bytes -= sizeof file_bytes;
    memcpy(&file_bytes, data + bytes, sizeof file_bytes);
    if (shard_file_parse("fuzz", data, bytes, file_bytes, &file, &err)) {
        FUZZ_ASSERT(strstr(err.text, "fuzz: "));
        return 0;
    }
    check(&file.facts, data, bytes, file_bytes);
    shard_file_close(&file);
    return 0;
}
