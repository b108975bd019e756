/* Any bytes as a CSV file, with the label column by number, by name, and as found, and for schemas with names and
 * without them. */
#include "tests/fuzz/fuzz_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const columns[] = {NULL, "-1", "a\"b"};
    for (size_t i = 0; i < 3; i++) {
        struct data_source source = {
            .path = "fuzz", .format = DATA_CSV, .label_column = columns[i], .features = i == 1 ? 2 : 0};
        check_parse(&source, bytes, size, NULL, 0);
    }
    static char *names[] = {"a", "b", "label"}, *ignored[] = {"0", "c"};
    static const struct schema schemas[] = {
        {.format = SCHEMA_CSV, .count = 2, .names = names, .label = "label", .fields = 3, .label_at = 1},
        {.format = SCHEMA_CSV, .count = 2, .fields = 4, .label_at = 2, .ignored = ignored, .ignored_count = 2},
        {.count = 2, .label_at = SCHEMA_NO_LABEL},
    };
    for (size_t i = 0; i < 12; i++) {
        struct data_source source = {.path = "fuzz", .format = DATA_CSV, .want = &schemas[i % 3], .want_of = "m"};
        source.features = 2;
        source.label_optional = i % 2;
        source.extra_ignored = i < 6;
        source.header = i < 3 ? DATA_HEADER_ON : DATA_HEADER_AUTO;
        source.ignore = i > 8 ? "c, -1" : NULL;
        check_parse(&source, bytes, size, NULL, 0);
    }
    return 0;
}
