/* Counter-based random numbers and the pseudo-random permutation of an epoch: pure functions of (key, counter), so that
 * any process computes the same ones in any order. Philox4x32-10: Salmon et al., "Parallel random numbers: as easy as
 * 1, 2, 3", SC11. Thread: any. */
#ifndef DP_COMMON_BASE_RNG_H
#define DP_COMMON_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* Streams of one seed; numbers are part of the result of a job, so they are never reused. */
enum rng_stream { RNG_STREAM_INIT = 1, RNG_STREAM_SHUFFLE = 2 };

/* Four 32-bit words for a 128-bit counter under a 64-bit key. */
void rng_philox(uint64_t key, const uint32_t counter[4], uint32_t ret_words[4]);

/* 64 bits for (seed, stream, a, b): block b of the (seed, stream, a) sequence. `a` is below 2^56. */
uint64_t rng_u64(uint64_t seed, enum rng_stream stream, uint64_t a, uint64_t b);
/* Uniform in [0, 1) with 24 bits: element i of the (seed, stream, a) sequence, one block an element. */
float rng_uniform(uint64_t seed, enum rng_stream stream, uint64_t a, uint64_t i);
/* Standard normal (Box-Muller in our own arithmetic, so the same bits on every CPU): element i of the sequence. */
float rng_normal(uint64_t seed, enum rng_stream stream, uint64_t a, uint64_t i);

/* The permutation of [0, n) that belongs to (seed, stream shuffle, a): a balanced Feistel network over the next even
 * power of two with cycle walking, O(1) memory. Ciphers for such domains: Black & Rogaway, "Ciphers with arbitrary
 * finite domains", CT-RSA 2002. */
enum { PERM_ROUNDS = 8 };
struct perm {
    uint64_t n;
    unsigned half_bits; /* the network permutes [0, 4^half_bits) */
    uint64_t keys[PERM_ROUNDS];
};
/* n <= 2^56, a < 2^56. */
void perm_init(struct perm *perm, uint64_t n, uint64_t seed, uint64_t a);
/* Image of i < n; a bijection of [0, n). At most four network walks on average. */
uint64_t perm_at(const struct perm *perm, uint64_t i);

#endif
