/* Layout: every element of theta in exactly one slice of one shard, cut where the header says; initial values. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/util.h"
#include "common/tensor/tensor.h"

static void add(struct tensors *tensors, const char *name, uint64_t rows, uint64_t columns, enum tensor_init init,
                float arg)
{
    dp_error err;
    cr_assert_eq(tensors_add(tensors, name, columns ? 2 : 1, (const uint64_t[]){rows, columns}, init, arg, true, &err),
                 DP_OK, "%s", err.text);
}

Test(tensor, add_and_offsets)
{
    struct tensors t = {0};
    add(&t, "weight", 64, 10, INIT_ZEROS, 0);
    add(&t, "bias", 10, 0, INIT_ZEROS, 0);
    cr_assert_eq(t.count, 2);
    cr_assert_eq(t.list[0].elems, 640);
    cr_assert_eq(tensors_offset(&t, 1), 640);
    cr_assert_eq(tensors_offset(&t, 2), 650);
    cr_assert_eq(tensors_total(&t), 650);
}

Test(tensor, add_refuses)
{
    static const struct {
        const char *name;
        uint32_t rank;
        uint64_t shape[TENSOR_RANK_MAX];
        unsigned init;
        float arg;
    } BAD[] = {
        {"", 1, {1}, 0, 0},
        {"a b", 1, {1}, 0, 0},
        {"a\"b", 1, {1}, 0, 0},
        {"a\\b", 1, {1}, 0, 0},
        {"a\nb", 1, {1}, 0, 0},
        {"\xc3\xa4", 1, {1}, 0, 0},
        {"__metadata__", 1, {1}, 0, 0},
        {"a234567890123456789012345678901234567890123456789012345678901234", 1, {1}, 0, 0},
        {"taken", 1, {1}, 0, 0},
        {"a", 0, {1}, 0, 0},
        {"a", 5, {1, 1, 1, 1}, 0, 0},
        {"a", 2, {3, 0}, 0, 0},
        {"a", 2, {(uint64_t)1 << 32, (uint64_t)1 << 32}, 0, 0},
        {"a", 1, {((uint64_t)1 << 40)}, 0, 0},
        {"a", 1, {1}, INIT_HE_UNIFORM + 1, 0},
        {"a", 1, {1}, INIT_CONSTANT, INFINITY},
        {"a", 1, {1}, INIT_NORMAL, NAN},
    };
    struct tensors t = {0};
    add(&t, "taken", 1, 0, INIT_ZEROS, 0);
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        dp_error err = {0};
        dp_err code = tensors_add(&t, BAD[i].name, BAD[i].rank, BAD[i].shape, (enum tensor_init)BAD[i].init, BAD[i].arg,
                                  true, &err);
        cr_expect_eq(code, DP_RANGE, "case %zu", i);
        cr_expect_neq(err.text[0], 0);
        cr_expect_eq(t.count, 1, "case %zu", i);
    }
}

Test(tensor, add_refuses_too_many)
{
    struct tensors t = {0};
    for (int i = 0; i < TENSOR_COUNT_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        add(&t, name, 1, 0, INIT_ZEROS, 0);
    }
    cr_assert_eq(tensors_add(&t, "more", 1, (const uint64_t[]){1}, INIT_ZEROS, 0, true, NULL), DP_RANGE);
}

Test(tensor, block_follows_the_total)
{
    static const uint64_t CASES[][2] = {{1, 16},    {650, 16},      {2047, 16},     {2048, 32},     {4095, 32},
                                        {4096, 64}, {262143, 2048}, {262144, 4096}, {524288, 4096}, {1 << 30, 4096}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct tensors t = {0};
        add(&t, "w", CASES[i][0], 0, INIT_ZEROS, 0);
        cr_expect_eq(layout_block(&t), CASES[i][1], "total %lu", (unsigned long)CASES[i][0]);
    }
    struct tensors none = {0};
    cr_assert_eq(layout_block(&none), 16);
}

static uint64_t draw(uint64_t *at, uint64_t low, uint64_t high)
{
    return low + rng_u64(99, RNG_STREAM_INIT, 2, (*at)++) % (high - low + 1);
}

static struct tensors random_tensors(uint64_t *at)
{
    struct tensors t = {0};
    uint64_t count = draw(at, 1, 8);
    for (uint64_t i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "t%lu", (unsigned long)i);
        uint64_t scale = draw(at, 0, 3);
        uint64_t rows = scale == 0 ? 1 : scale == 1 ? draw(at, 1, 40) : draw(at, 1, scale == 2 ? 3000 : 40000);
        add(&t, name, rows, draw(at, 0, 5), (enum tensor_init)draw(at, 0, INIT_HE_UNIFORM), 0.5F);
    }
    return t;
}

static bool is_legal_cut(const struct tensors *t, uint64_t at)
{
    uint64_t block = layout_block(t), start = 0;
    for (uint32_t i = 0; i < t->count; start += t->list[i].elems, i++)
        if (at >= start && at < start + t->list[i].elems)
            return (at - start) % block == 0;
    return at == start;
}

static void check_slices(const struct tensors *t, struct range range, uint64_t slice_elems)
{
    enum { MAX_SLICES = 20000 };
    AUTOFREE struct range *slices = mem_array(MAX_SLICES, sizeof *slices);
    size_t n = layout_slices(t, range, slice_elems, slices, MAX_SLICES);
    uint64_t at = range.first, block = layout_block(t), most = MAX(slice_elems, 2 * block);
    cr_assert_leq(n, range.count / (most - block) + 1);
    cr_assert_leq(n, MAX_SLICES);
    cr_assert_eq(layout_slices(t, range, slice_elems, NULL, 0), n);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(slices[i].first, at);
        cr_assert(slices[i].count >= 1 && slices[i].count <= most);
        cr_assert(is_legal_cut(t, at));
        if (most >= 4 * block) /* shares of more than a block: none is lost */
            cr_assert(fabs((double)slices[i].count - (double)range.count / (double)n) <= (double)block + 1);
        at += slices[i].count;
    }
    cr_assert_eq(at, range.first + range.count);
}

static void check_layout(const struct tensors *t, uint32_t shards, uint64_t slice_elems)
{
    AUTOFREE struct range *ranges = mem_array(shards, sizeof *ranges);
    uint64_t total = tensors_total(t), block = layout_block(t), at = 0;
    layout_shards(t, shards, ranges);
    for (uint32_t s = 0; s < shards; s++) {
        cr_assert_eq(ranges[s].first, at);
        cr_assert(is_legal_cut(t, at));
        cr_assert(fabs((double)ranges[s].count - (double)total / shards) <= (double)block + 1, "shard %u of %u: %lu",
                  (unsigned)s, (unsigned)shards, (unsigned long)ranges[s].count);
        check_slices(t, ranges[s], slice_elems);
        at += ranges[s].count;
    }
    cr_assert_eq(at, total);
}

Test(tensor, layout_covers_theta_once)
{
    uint64_t at = 0;
    for (int i = 0; i < 400; i++) {
        struct tensors t = random_tensors(&at);
        check_layout(&t, 1, draw(&at, 1, 100000));
        check_layout(&t, (uint32_t)draw(&at, 1, 6), draw(&at, 16, 20000));
        check_layout(&t, (uint32_t)draw(&at, 1, 100), 524288);
    }
}

Test(tensor, layout_of_the_digits_model)
{
    struct tensors t = {0};
    add(&t, "weight", 64, 10, INIT_ZEROS, 0);
    add(&t, "bias", 10, 0, INIT_ZEROS, 0);
    struct range ranges[3];
    layout_shards(&t, 3, ranges);
    cr_assert_eq(ranges[0].count, 208);
    cr_assert_eq(ranges[1].count, 224);
    cr_assert_eq(ranges[2].count, 218);
}

Test(tensor, layout_of_a_large_tensor)
{
    struct tensors t = {0};
    add(&t, "w", 10000000, 0, INIT_ZEROS, 0);
    struct range slices[64];
    size_t n = layout_slices(&t, (struct range){0, 10000000}, 524288, slices, ARRAY_LEN(slices));
    cr_assert_eq(n, 20); /* ceil(10^7 / 524288), none of them a sliver */
    for (size_t i = 0; i < n; i++)
        cr_assert(slices[i].count >= 499000 - 4096 && slices[i].count <= 524288);
}

Test(tensor, layout_without_elements)
{
    struct tensors none = {0};
    struct range ranges[2];
    layout_shards(&none, 2, ranges);
    cr_assert(ranges[0].count == 0 && ranges[1].count == 0);
    cr_assert_eq(layout_slices(&none, ranges[0], 100, NULL, 0), 0);
    cr_assert_eq(layout_segments(&none, ranges[0], NULL, 0), 0);
}

Test(tensor, segments_cover_a_range)
{
    uint64_t at = 0;
    for (int i = 0; i < 300; i++) {
        struct tensors t = random_tensors(&at);
        uint64_t total = tensors_total(&t), first = draw(&at, 0, total);
        struct range range = {first, draw(&at, 0, total - first)};
        struct segment segments[TENSOR_COUNT_MAX];
        size_t n = layout_segments(&t, range, segments, ARRAY_LEN(segments));
        cr_assert_eq(layout_segments(&t, range, NULL, 0), n);
        uint64_t next = 0;
        for (size_t s = 0; s < n; s++) {
            uint64_t start = tensors_offset(&t, segments[s].tensor);
            cr_assert_eq(segments[s].offset, next);
            cr_assert_gt(segments[s].count, 0);
            cr_assert_geq(range.first + next, start);
            cr_assert_leq(range.first + next + segments[s].count, start + t.list[segments[s].tensor].elems);
            next += segments[s].count;
        }
        cr_assert_eq(next, range.count);
    }
}

Test(tensor, init_does_not_depend_on_the_cuts)
{
    uint64_t at = 0;
    for (int i = 0; i < 30; i++) {
        struct tensors t = random_tensors(&at);
        uint64_t total = tensors_total(&t);
        AUTOFREE float *whole = mem_array(total, sizeof *whole), *parts = mem_array(total, sizeof *parts);
        tensors_init_range(&t, 5, 0, total, whole);
        for (uint64_t first = 0; first < total;) {
            uint64_t count = MIN(draw(&at, 1, total / 5 + 1), total - first);
            tensors_init_range(&t, 5, first, count, parts + first);
            first += count;
        }
        cr_assert_arr_eq(whole, parts, total * sizeof *whole);
    }
}

Test(tensor, init_values)
{
    enum { N = 30 * 1000 };
    static float out[N];
    double sum = 0, sum2 = 0;
    struct tensors t = {0};
    add(&t, "n", N, 0, INIT_NORMAL, 0.02F);
    tensors_init_range(&t, 1, 0, N, out);
    for (int i = 0; i < N; i++) {
        sum += (double)out[i];
        sum2 += (double)out[i] * (double)out[i];
    }
    cr_assert(fabs(sum / N) < 0.0006);
    cr_assert(fabs(sqrt(sum2 / N) - 0.02) < 0.0003);
    struct tensors c = {0};
    add(&c, "z", 3, 0, INIT_ZEROS, 7);
    add(&c, "c", 3, 0, INIT_CONSTANT, -2.5F);
    tensors_init_range(&c, 1, 0, 6, out);
    cr_assert_arr_eq(out, ((const float[]){0, 0, 0, -2.5F, -2.5F, -2.5F}), 6 * sizeof *out);
}

static void check_uniform_init(enum tensor_init init, double limit)
{
    enum { IN = 300, OUT = 100 };
    static float out[IN * OUT];
    struct tensors t = {0};
    add(&t, "w", IN, OUT, init, 0);
    tensors_init_range(&t, 3, 0, IN * OUT, out);
    double sum = 0, low = 0, high = 0;
    for (int i = 0; i < IN * OUT; i++) {
        sum += (double)out[i];
        low = fmin(low, (double)out[i]);
        high = fmax(high, (double)out[i]);
    }
    cr_assert(low >= -limit * (1 + 1e-7) && low < -0.999 * limit, "low %g, limit %g", low, limit);
    cr_assert(high <= limit * (1 + 1e-7) && high > 0.999 * limit, "high %g, limit %g", high, limit);
    cr_assert(fabs(sum / (IN * OUT)) < 0.02 * limit);
}

Test(tensor, init_bounds)
{
    check_uniform_init(INIT_GLOROT_UNIFORM, sqrt(6.0 / 400));
    check_uniform_init(INIT_HE_UNIFORM, sqrt(6.0 / 300));
}

Test(tensor, init_differs_by_seed_and_tensor)
{
    struct tensors t = {0};
    float a[64], b[64];
    add(&t, "x", 32, 0, INIT_NORMAL, 1);
    add(&t, "y", 32, 0, INIT_NORMAL, 1);
    tensors_init_range(&t, 1, 0, 64, a);
    tensors_init_range(&t, 2, 0, 64, b);
    cr_assert_arr_neq(a, b, sizeof a);
    cr_assert_arr_neq(a, a + 32, sizeof a / 2);
}

/* -- tables -- */

Test(tensor, tables_are_no_part_of_theta)
{
    struct tensors tensors = {0};
    dp_error err = {0};
    const uint64_t rows[] = {1000000, 4, 4}, row[] = {16}, five[] = {5};
    cr_assert_eq(tensors_add_table(&tensors, "t", TENSOR_TABLE, 3, rows, INIT_NORMAL, 1, true, &err), DP_OK);
    cr_assert_eq(tensors_add(&tensors, "d", 1, five, INIT_ZEROS, 0, true, &err), DP_OK);
    cr_assert_eq(tensors_add_table(&tensors, "h", TENSOR_HASHED, 1, row, INIT_NORMAL, 1, true, &err), DP_OK);
    cr_assert_eq(tensors_total(&tensors), 5);
    cr_assert_eq(tensors.list[0].dim, 16);
    cr_assert_eq(tensors.list[0].last_row, 999999);
    cr_assert_eq(tensors.list[2].dim, 16);
    cr_assert_eq(tensors.list[2].last_row, UINT64_MAX);
    struct range range;
    struct segment segments[2];
    layout_shards(&tensors, 1, &range);
    cr_assert_eq(range.count, 5);
    cr_assert_eq(layout_segments(&tensors, range, segments, 2), 1);
    cr_assert_eq(segments[0].tensor, 1);
    cr_assert_eq(layout_slices(&tensors, range, 1024, &range, 1), 1);
}

Test(tensor, a_job_of_tables_alone_has_no_slices)
{
    struct tensors tensors = {0};
    struct range ranges[3];
    const uint64_t rows[] = {7};
    cr_assert_eq(tensors_add_table(&tensors, "t", TENSOR_TABLE, 1, rows, INIT_ZEROS, 0, true, NULL), DP_OK);
    layout_shards(&tensors, 3, ranges);
    for (int s = 0; s < 3; s++)
        cr_assert_eq(layout_slices(&tensors, ranges[s], 1024, NULL, 0), 0);
}

Test(tensor, rows_differ_and_do_not_change)
{
    struct tensors tensors = {0};
    const uint64_t rows[] = {1000, 3}, row[] = {3};
    float a[3], b[3], c[3];
    cr_assert_eq(tensors_add_table(&tensors, "t", TENSOR_TABLE, 2, rows, INIT_NORMAL, 1, true, NULL), DP_OK);
    cr_assert_eq(tensors_add_table(&tensors, "h", TENSOR_HASHED, 1, row, INIT_NORMAL, 1, true, NULL), DP_OK);
    tensors_init_row(&tensors, 0, 42, 7, a);
    tensors_init_row(&tensors, 0, 42, 7, b);
    tensors_init_row(&tensors, 0, 42, 8, c);
    cr_assert_arr_eq(a, b, sizeof a);
    cr_assert_arr_neq(a, c, sizeof a);
    tensors_init_row(&tensors, 1, 42, UINT64_MAX, b);
    cr_assert_arr_neq(a, b, sizeof a);
}

Test(tensor, impossible_tables)
{
    struct tensors tensors = {0};
    dp_error err = {0};
    const uint64_t wide[] = {2, TENSOR_DIM_MAX + 1}, none[] = {0}, huge[] = {(uint64_t)1 << 40, 2};
    cr_assert_eq(tensors_add_table(&tensors, "t", TENSOR_TABLE, 2, wide, INIT_ZEROS, 0, true, &err), DP_RANGE);
    cr_assert_eq(tensors_add_table(&tensors, "t", TENSOR_TABLE, 1, none, INIT_ZEROS, 0, true, &err), DP_RANGE);
    cr_assert_eq(tensors_add_table(&tensors, "t", TENSOR_TABLE, 2, huge, INIT_ZEROS, 0, true, &err), DP_RANGE);
    cr_assert_eq(tensors_add_table(&tensors, "t", TENSOR_DENSE, 2, wide, INIT_ZEROS, 0, true, &err), DP_RANGE);
    cr_assert_eq(tensors_add_table(&tensors, "", TENSOR_TABLE, 1, none, INIT_ZEROS, 0, true, &err), DP_RANGE);
    cr_assert_eq(tensors.count, 0);
}
