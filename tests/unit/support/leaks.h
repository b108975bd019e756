/* Leak check for unit tests. Criterion ends with status 0 after a leak report, so a test that allocates asks itself:
 * ASSERT_NO_LEAKS() as its last line fails the test. Without AddressSanitizer it does nothing. */
#ifndef DP_TESTS_UNIT_SUPPORT_LEAKS_H
#define DP_TESTS_UNIT_SUPPORT_LEAKS_H

#include <criterion/criterion.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAS_LEAK_CHECK 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_LEAK_CHECK 1
#endif
#endif

#ifdef HAS_LEAK_CHECK
#include <sanitizer/lsan_interface.h>
#define ASSERT_NO_LEAKS() cr_assert_eq(__lsan_do_recoverable_leak_check(), 0, "memory leaked")
#else
#define ASSERT_NO_LEAKS() ((void)0)
#endif

#endif
