/* Bytes that no peer of ours ever sends, the same each time: noise over TCP before and after a good greeting, HTTP,
 * endless frames, connections that stay silent, messages of noise, cut and flipped headers, frames that are too large.
 * Thread: the test's. */
#ifndef DP_TESTS_INTEGRATION_SUPPORT_NONSENSE_H
#define DP_TESTS_INTEGRATION_SUPPORT_NONSENSE_H

#include <stddef.h>
#include <stdint.h>

enum { NONSENSE_IDLE_MAX = 256 };

/* Zero-initialize. */
struct nonsense {
    uint64_t session, incarnation; /* put where they belong in half of the noise */
    int idle[NONSENSE_IDLE_MAX];   /* connections that say nothing more */
    size_t idle_next;
};

/* All of it to one port. */
void nonsense_say(struct nonsense *nonsense, const char *endpoint);
/* Hangs up. */
void nonsense_end(struct nonsense *nonsense);
/* The next of a fixed sequence. */
uint64_t nonsense_random(void);

#endif
