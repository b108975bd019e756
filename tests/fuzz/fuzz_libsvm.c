/* Any bytes as a LIBSVM file, and as a file whose format is to be found. */
#include "tests/fuzz/fuzz_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    check_parse(&(struct data_source){.path = "fuzz", .format = DATA_LIBSVM}, bytes, size, NULL, 0);
    check_parse(&(struct data_source){.path = "fuzz", .format = DATA_LIBSVM, .features = 3}, bytes, size, NULL, 0);
    check_parse(&(struct data_source){.path = "fuzz", .format = DATA_LIBSVM, .hash_bits = 2}, bytes, size, NULL, 0);
    check_parse(&(struct data_source){.path = "fuzz"}, bytes, size, NULL, 0);
    return 0;
}
