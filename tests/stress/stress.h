/* Concurrency under ThreadSanitizer: plain programs (Criterion's abort under it at start) that speak TAP. Thread: any.
 */
#ifndef DP_TESTS_STRESS_STRESS_H
#define DP_TESTS_STRESS_STRESS_H

#include <stdio.h>
#include <stdlib.h>

/* Ends the program with a failed test unless the condition holds. */
#define MUST(condition, ...)                                                    \
    do {                                                                        \
        if (!(condition)) {                                                     \
            printf("not ok 1 - %s:%d: " #condition "\n# ", __FILE__, __LINE__); \
            printf(__VA_ARGS__);                                                \
            printf("\n1..1\n");                                                 \
            fflush(stdout);                                                     \
            _Exit(1);                                                           \
        }                                                                       \
    } while (0)

#define PASS(name)                         \
    do {                                   \
        printf("ok 1 - %s\n1..1\n", name); \
        return 0;                          \
    } while (0)

#endif
