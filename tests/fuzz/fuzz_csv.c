/* Any bytes as a CSV file, with the label column by number, by name, and as found. */
#include "fuzz_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const columns[] = {NULL, "-1", "a\"b"};
    for (size_t i = 0; i < 3; i++) {
        struct data_source source = {
            .path = "fuzz", .format = DATA_CSV, .label_column = columns[i], .features = i == 1 ? 2 : 0};
        check_parse(&source, bytes, size, NULL, 0);
    }
    return 0;
}
