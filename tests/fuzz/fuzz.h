/* A fuzz target: libFuzzer's entry point. A target aborts (FUZZ_ASSERT) where something that must hold does
 * not, and otherwise only must not crash, leak or hang. */
#ifndef DP_TESTS_FUZZ_FUZZ_H
#define DP_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define FUZZ_ASSERT(condition)                                                            \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            abort();                                                                      \
        }                                                                                 \
    } while (0)

#endif
