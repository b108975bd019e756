/* Counter-based random numbers and the pseudo-random permutation of an epoch: pure functions of (key, counter), so that
 * any process computes the same ones in any order. Philox4x32-10: Salmon et al., "Parallel random numbers: as easy as
 * 1, 2, 3", SC11. Thread: any. */
#ifndef DP_RNG_H
#define DP_RNG_H

#include <stddef.h>
#include <stdint.h>

/* Streams of one seed; numbers are part of the result of a job, so they are never reused. */
enum rng_stream { RNG_STREAM_INIT = 1, RNG_STREAM_SHUFFLE = 2 };

/* Four 32-bit words for a 128-bit counter under a 64-bit key. */
void rng_philox(uint64_t key, const uint32_t counter[4], uint32_t ret_words[4]);

/* 64 bits for (seed, stream, a, b). `a` is at most 2^56. */
uint64_t rng_u64(uint64_t seed, enum rng_stream stream, uint64_t a, uint64_t b);
/* Uniform in [0, 1) with 24 bits: element i of the (seed, stream, a) sequence. */
float rng_uniform(uint64_t seed, enum rng_stream stream, uint64_t a, uint64_t i);
/* Standard normal (Box-Muller in our own arithmetic, so the same bits on every CPU): element i of the sequence. */
float rng_normal(uint64_t seed, enum rng_stream stream, uint64_t a, uint64_t i);

/* The permutation of [0, n) that belongs to (seed, stream, a): a Feistel network over the next even power of two with
 * cycle walking, O(1) memory. perm_at is a bijection of [0, n). */
struct perm {
    uint64_t n;
    uint64_t seed;
    uint64_t a;
    unsigned half_bits;
};
void perm_init(struct perm *perm, uint64_t n, uint64_t seed, uint64_t a);
uint64_t perm_at(const struct perm *perm, uint64_t i);

#endif
