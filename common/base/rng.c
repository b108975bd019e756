/* Philox4x32-10, the numbers drawn from it, and the epoch permutation.
 *
 * Every function is pure; only IEEE double + - * / sqrt are used, so the bits do not depend on the CPU or on libm.
 * Thread: any. */
#include "common/base/rng.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

/* Block `b` of the sequence (seed, stream, a): b in the low half of the counter, a and the stream in the high half. */
static void rng_block(uint64_t seed, enum rng_stream stream, uint64_t a, uint64_t b, uint32_t ret_words[4])
{
    assert(a < (uint64_t)1 << 56);
    uint64_t high = a | (uint64_t)stream << 56;
    const uint32_t counter[4] = {(uint32_t)b, (uint32_t)(b >> 32), (uint32_t)high, (uint32_t)(high >> 32)};
    rng_philox(seed, counter, ret_words);
}

void rng_philox(uint64_t key, const uint32_t counter[4], uint32_t ret_words[4])
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u; /* Weyl sequences: golden ratio and sqrt(3) - 1 */
        k1 += 0xBB67AE85u;
    }
    ret_words[0] = c0;
    ret_words[1] = c1;
    ret_words[2] = c2;
    ret_words[3] = c3;
}

uint64_t rng_u64(uint64_t seed, enum rng_stream stream, uint64_t a, uint64_t b)
{
    uint32_t words[4];
    rng_block(seed, stream, a, b, words);
    return words[0] | (uint64_t)words[1] << 32;
}

float rng_uniform(uint64_t seed, enum rng_stream stream, uint64_t a, uint64_t i)
{
    uint32_t words[4];
    rng_block(seed, stream, a, i, words);
    return (float)(words[0] >> 8) * 0x1p-24f;
}

/* ln(x) for x in (0, 1): x = m 2^e with m in [sqrt(1/2), sqrt(2)), then the series of 2 artanh((m-1)/(m+1)). */
static double unit_log(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int e = (int)(bits >> 52) - 1022;
    bits = (bits & 0x000FFFFFFFFFFFFFu) | 0x3FE0000000000000u;
    double m;
    memcpy(&m, &bits, sizeof m); /* in [1/2, 1) */
    if (m < 0x1.6a09e667f3bcdp-1) {
        m *= 2;
        e--;
    }
    double s = (m - 1) / (m + 1), s2 = s * s, sum = 0;
    for (int k = 19; k >= 1; k -= 2)
        sum = sum * s2 + 1.0 / k;
    return e * 0x1.62e42fefa39efp-1 + 2 * s * sum;
}

/* cos(2 pi u) for u in [0, 1): folded to a quarter turn, then to an eighth by cos(x) = sin(pi/2 - x); Taylor series. */
static double turn_cos(double u)
{
    if (u > 0.5)
        u = 1 - u;
    double sign = 1;
    if (u > 0.25) {
        u = 0.5 - u;
        sign = -1;
    }
    bool use_sin = u > 0.125;
    double x = (use_sin ? 0.25 - u : u) * 0x1.921fb54442d18p+2, x2 = x * x, sum = 1;
    /* 1 - x2/(1*2) (1 - x2/(3*4) (...)) for cos, and the same with (2*3), (4*5), ... for sin(x)/x. */
    for (int k = 15; k >= 1; k -= 2) {
        int d = use_sin ? (k + 1) * (k + 2) : k * (k + 1);
        sum = 1 - x2 / d * sum;
    }
    return sign * (use_sin ? x * sum : sum);
}

float rng_normal(uint64_t seed, enum rng_stream stream, uint64_t a, uint64_t i)
{
    uint32_t words[4];
    rng_block(seed, stream, a, i, words);
    double radius = sqrt(-2 * unit_log((words[0] + 0.5) * 0x1p-32));
    return (float)(radius * turn_cos(words[1] * 0x1p-32));
}

void perm_init(struct perm *perm, uint64_t n, uint64_t seed, uint64_t a)
{
    assert(n <= (uint64_t)1 << 56);
    perm->n = n;
    perm->half_bits = 1;
    while ((uint64_t)1 << 2 * perm->half_bits < n)
        perm->half_bits++;
    for (unsigned r = 0; r < PERM_ROUNDS; r++)
        perm->keys[r] = rng_u64(seed, RNG_STREAM_SHUFFLE, a, r);
}

/* Half a word for half a word: two rounds of multiply and shift, of which the best mixed, highest bits are taken. */
static inline uint64_t perm_round(uint64_t half, uint64_t key, unsigned half_bits)
{
    uint64_t x = (half ^ key) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 32) * 0x94D049BB133111EBu;
    return x >> (64 - half_bits);
}

uint64_t perm_at(const struct perm *perm, uint64_t i)
{
    assert(i < perm->n);
    unsigned h = perm->half_bits;
    uint64_t mask = ((uint64_t)1 << h) - 1;
    do {
        uint64_t left = i >> h, right = i & mask;
        for (int r = 0; r < PERM_ROUNDS; r++) {
            uint64_t next = left ^ perm_round(right, perm->keys[r], h);
            left = right;
            right = next;
        }
        i = left << h | right;
    } while (i >= perm->n);
    return i;
}
