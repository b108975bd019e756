/* Philox's published vectors, the streams drawn from it, and the epoch permutation. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/util.h"

/* Random123's kat_vectors for philox4x32-10. */
Test(rng, philox_known_answers)
{
    static const struct {
        uint64_t key;
        uint32_t counter[4], words[4];
    } KAT[] = {
        {0, {0, 0, 0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {UINT64_MAX,
         {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {0x299f31d0a4093822u,
         {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < ARRAY_LEN(KAT); i++) {
        uint32_t words[4];
        rng_philox(KAT[i].key, KAT[i].counter, words);
        cr_assert_arr_eq(words, KAT[i].words, sizeof words, "vector %zu", i);
    }
}

Test(rng, every_argument_changes_the_bits)
{
    uint64_t base = rng_u64(7, RNG_STREAM_INIT, 3, 5);
    cr_assert_eq(base, rng_u64(7, RNG_STREAM_INIT, 3, 5));
    cr_assert_neq(base, rng_u64(8, RNG_STREAM_INIT, 3, 5));
    cr_assert_neq(base, rng_u64(7, RNG_STREAM_SHUFFLE, 3, 5));
    cr_assert_neq(base, rng_u64(7, RNG_STREAM_INIT, 4, 5));
    cr_assert_neq(base, rng_u64(7, RNG_STREAM_INIT, 3, 6));
    cr_assert_neq(base, rng_u64(7 + ((uint64_t)1 << 32), RNG_STREAM_INIT, 3, 5));
    cr_assert_neq(base, rng_u64(7, RNG_STREAM_INIT, 3 + ((uint64_t)1 << 55), 5));
    cr_assert_neq(base, rng_u64(7, RNG_STREAM_INIT, 3, 5 + ((uint64_t)1 << 63)));
}

/* The draws are part of a job's result: these values must never change. */
Test(rng, draws_are_pinned)
{
    static const uint32_t UNIFORM[] = {0x3f52d799, 0x3d2ec640, 0x3f6060f6, 0x3dc65360};
    static const uint32_t NORMAL[] = {0x3ebc3589, 0xbfa0fbe1, 0x3f00e9ec, 0xbfdab70b};
    for (uint64_t i = 0; i < 4; i++) {
        float u = rng_uniform(42, RNG_STREAM_INIT, 1, i), z = rng_normal(42, RNG_STREAM_INIT, 1, i);
        uint32_t u_bits, z_bits;
        memcpy(&u_bits, &u, sizeof u);
        memcpy(&z_bits, &z, sizeof z);
        cr_expect_eq(u_bits, UNIFORM[i], "uniform %lu is %08x", (unsigned long)i, u_bits);
        cr_expect_eq(z_bits, NORMAL[i], "normal %lu is %08x", (unsigned long)i, z_bits);
    }
}

Test(rng, uniform_is_uniform)
{
    enum { N = 100000, BINS = 64 };
    int bins[BINS] = {0};
    double sum = 0;
    for (uint64_t i = 0; i < N; i++) {
        float u = rng_uniform(1, RNG_STREAM_INIT, 0, i);
        cr_assert(u >= 0 && u < 1);
        bins[(int)(u * BINS)]++;
        sum += (double)u;
    }
    double chi2 = 0;
    for (int b = 0; b < BINS; b++)
        chi2 += (bins[b] - N / (double)BINS) * (bins[b] - N / (double)BINS) / (N / (double)BINS);
    cr_assert(chi2 < 120, "chi2 = %g with 63 degrees of freedom", chi2);
    cr_assert(fabs(sum / N - 0.5) < 0.005);
}

Test(rng, normal_has_normal_moments)
{
    enum { N = 200000 };
    double m1 = 0, m2 = 0, m4 = 0;
    int tail = 0;
    for (uint64_t i = 0; i < N; i++) {
        double z = (double)rng_normal(2, RNG_STREAM_INIT, 0, i);
        cr_assert(isfinite(z));
        m1 += z / N;
        m2 += z * z / N;
        m4 += z * z * z * z / N;
        tail += fabs(z) > 1.959964;
    }
    cr_assert(fabs(m1) < 0.01, "mean %g", m1);
    cr_assert(fabs(m2 - 1) < 0.02, "variance %g", m2);
    cr_assert(fabs(m4 - 3) < 0.15, "fourth moment %g", m4);
    cr_assert(fabs(tail / (double)N - 0.05) < 0.003, "tail %g", tail / (double)N);
}

/* Our log and cos against libm's, through Box-Muller of the same words. */
Test(rng, normal_agrees_with_libm)
{
    for (uint64_t i = 0; i < 100000; i++) {
        uint64_t w = rng_u64(9, RNG_STREAM_INIT, 4, i);
        double u = ((double)(uint32_t)w + 0.5) * 0x1p-32, v = (double)(w >> 32) * 0x1p-32;
        double z = sqrt(-2 * log(u)) * cos(2 * M_PI * v);
        double got = (double)rng_normal(9, RNG_STREAM_INIT, 4, i);
        cr_assert(fabs(got - z) <= 6e-8 * fabs(z) + 1e-14, "%lu: %.17g, not %.17g", (unsigned long)i, got, z);
    }
}

static void check_bijection(uint64_t n, uint64_t seed, uint64_t a)
{
    struct perm perm;
    perm_init(&perm, n, seed, a);
    AUTOFREE unsigned char *seen = mem_array_zero(n, 1);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t j = perm_at(&perm, i);
        cr_assert_lt(j, n);
        cr_assert_not(seen[j], "n=%lu: %lu twice", (unsigned long)n, (unsigned long)j);
        seen[j] = 1;
    }
}

Test(rng, perm_is_a_bijection)
{
    static const uint64_t SIZES[] = {16, 17, 64, 65, 255, 256, 257, 1000, 4096, 4097, 32561};
    for (uint64_t n = 1; n <= 40; n++)
        for (uint64_t a = 0; a < 20; a++)
            check_bijection(n, 11, a);
    for (size_t s = 0; s < ARRAY_LEN(SIZES); s++)
        for (uint64_t a = 0; a < 3; a++)
            check_bijection(SIZES[s], s, a);
}

/* The largest domain: in range and without a repetition among neighbours. */
Test(rng, perm_of_the_largest_domain)
{
    struct perm perm;
    perm_init(&perm, (uint64_t)1 << 56, 1, 0);
    uint64_t last = UINT64_MAX;
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t j = perm_at(&perm, ((uint64_t)1 << 56) - 1 - i);
        cr_assert(j < (uint64_t)1 << 56 && j != last);
        last = j;
    }
}

static uint64_t places_in_common(uint64_t n, uint64_t seed_a, uint64_t a, uint64_t seed_b, uint64_t b)
{
    struct perm p, q;
    perm_init(&p, n, seed_a, a);
    perm_init(&q, n, seed_b, b);
    uint64_t same = 0;
    for (uint64_t i = 0; i < n; i++)
        same += perm_at(&p, i) == perm_at(&q, i);
    return same;
}

Test(rng, perm_differs_by_seed_and_epoch)
{
    /* Two random permutations share one place on average, and more than 12 with probability 1e-10. */
    cr_assert_leq(places_in_common(5000, 1, 0, 1, 1), 12);
    cr_assert_leq(places_in_common(5000, 1, 0, 2, 0), 12);
    cr_assert_leq(places_in_common(5000, 1, 7, (uint64_t)1 << 40, 7), 12);
    cr_assert_eq(places_in_common(5000, 1, 3, 1, 3), 5000);
}

/* Over many keys, the image of each position is uniform, and so is the image of a pair: chi-square both. */
static void check_uniform(uint64_t n)
{
    enum { KEYS = 20000 };
    AUTOFREE uint32_t *count = mem_array_zero(n * n, sizeof *count), *pair = mem_array_zero(n * n, sizeof *pair);
    for (uint64_t a = 0; a < KEYS; a++) {
        struct perm perm;
        perm_init(&perm, n, 77, a);
        for (uint64_t i = 0; i < n; i++)
            count[i * n + perm_at(&perm, i)]++;
        pair[perm_at(&perm, 0) * n + perm_at(&perm, 1)]++;
    }
    double chi2 = 0, chi2_pair = 0, expect = KEYS / (double)n, expect_pair = KEYS / (double)(n * (n - 1));
    for (uint64_t i = 0; i < n * n; i++) {
        chi2 += (count[i] - expect) * (count[i] - expect) / expect;
        if (i / n != i % n)
            chi2_pair += (pair[i] - expect_pair) * (pair[i] - expect_pair) / expect_pair;
    }
    double free1 = (double)((n - 1) * (n - 1)), free2 = (double)(n * (n - 1) - 1);
    cr_expect(fabs(chi2 - free1) < 6 * sqrt(2 * free1), "n=%lu: chi2 %g, %g expected", (unsigned long)n, chi2, free1);
    cr_expect(fabs(chi2_pair - free2) < 6 * sqrt(2 * free2) + 6, "n=%lu: pair chi2 %g, %g expected", (unsigned long)n,
              chi2_pair, free2);
}

Test(rng, perm_looks_uniform)
{
    check_uniform(2);
    check_uniform(5);
    check_uniform(16);
    check_uniform(17);
    check_uniform(40);
}

/* Neighbours must not stay neighbours, else a sorted file's minibatches are of one class. */
Test(rng, perm_scatters_neighbours)
{
    enum { N = 32561 };
    struct perm perm;
    perm_init(&perm, N, 5, 2);
    double mean = 0;
    for (uint64_t i = 0; i + 1 < N; i++)
        mean += fabs((double)perm_at(&perm, i + 1) - (double)perm_at(&perm, i)) / (N - 1);
    cr_assert(fabs(mean / N - 1.0 / 3) < 0.01, "mean distance %g n", mean / N);
}
