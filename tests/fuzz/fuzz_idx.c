/* A byte n, an IDX label file of n bytes, and an IDX file of all the rest. */
#include "tests/fuzz/fuzz_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size == 0 || bytes[0] > size - 1)
        return 0;
    size_t labels_size = bytes[0];
    const uint8_t *labels = bytes + 1, *images = labels + labels_size;
    size_t images_size = size - 1 - labels_size;
    check_parse(&(struct data_source){.path = "fuzz", .format = DATA_IDX}, images, images_size, labels, labels_size);
    check_parse(&(struct data_source){.path = "fuzz", .labels_path = "l"}, images, images_size, labels, labels_size);
    return 0;
}
