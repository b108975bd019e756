/* A shard's file of a checkpoint: what it says of itself comes back, its values are where it says, and damage to its
 * head or its length is found without a digest. */
#include <criterion/criterion.h>

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/checkpoint/shard_file.h"
#include "tests/unit/support/files.h"
#include "tests/unit/support/leaks.h"

enum { STATES = 2, A = 5, B = 3, DIM = 2, ROWS = 4, ROW_WORDS = 3 + DIM * (1 + STATES), SLOTS = 9 };
enum { LAST_WORDS = ROW_WORDS + DIM /* of a row with its floats of the cut */ };
enum { WORDS = (A + B) * (1 + STATES) + ROWS * ROW_WORDS + LAST_WORDS };
#define LEN(a) (sizeof(a) / sizeof *(a))

static struct shard_file_range ranges[] = {{"layer \"a\"/weights", UINT64_C(1) << 39, A}, {"b", 0, B}};
static struct shard_file_part parts[] = {{"table", 0, 99, ROWS, DIM, false}, {"table", 100, UINT64_MAX, 1, DIM, true}};
static struct metrics sums[] = {{3, 0.1, 2}, {INT64_MAX, DBL_TRUE_MIN, 0}};
static uint8_t accepted[] = {0xff, 0x01, 0x00, 0x80};
static struct shard_file_arrivals arrivals[] = {{7, A, 2, sums, accepted}};

static struct shard_file_facts sample(void)
{
    struct shard_file_facts facts = {.step = INT64_MAX,
                                     .train_step = 12,
                                     .shard = 3,
                                     .slots = SLOTS,
                                     .states = STATES,
                                     .rule = "adam",
                                     .range_count = LEN(ranges),
                                     .part_count = LEN(parts),
                                     .arrival_count = LEN(arrivals),
                                     .ranges = ranges,
                                     .parts = parts,
                                     .arrivals = arrivals};
    facts.multipliers.mu[0] = -0.0;
    facts.multipliers.rho[1] = 0.1;
    facts.multipliers.last[2] = INFINITY;
    return facts;
}

/* ---- the head ---- */

struct bytes {
    char *data;
    size_t count;
};

static struct bytes sample_head(void)
{
    struct bytes head;
    struct shard_file_facts facts = sample();
    cr_assert_eq(shard_file_head(&facts, &head.data, &head.count), DP_OK);
    return head;
}

static dp_err parse(struct bytes head, uint64_t file_bytes, dp_error *err)
{
    struct shard_file file;
    dp_err e = shard_file_parse("the file", head.data, head.count, file_bytes, &file, err);
    if (e == DP_OK)
        shard_file_close(&file);
    return e;
}

Test(shard_file, facts_come_back_as_they_were)
{
    struct bytes head = sample_head();
    struct shard_file file;
    const struct shard_file_facts want = sample(), *f = &file.facts;
    dp_error err;
    cr_assert_eq(head.count % 64, 0);
    cr_assert_eq(shard_file_parse("f", head.data, head.count, head.count + 4 * WORDS, &file, &err), DP_OK, "%s",
                 err.text);
    cr_assert(f->step == want.step && f->train_step == 12 && f->shard == 3 && f->slots == SLOTS && f->states == STATES);
    cr_assert_str_eq(f->rule, "adam");
    cr_assert(f->range_count == 2 && f->part_count == 2 && f->arrival_count == 1);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_str_eq(f->ranges[i].tensor, ranges[i].tensor);
        cr_assert(f->ranges[i].first == ranges[i].first && f->ranges[i].count == ranges[i].count);
        cr_assert_str_eq(f->parts[i].tensor, parts[i].tensor);
        cr_assert(f->parts[i].first == parts[i].first && f->parts[i].last == parts[i].last);
        cr_assert(f->parts[i].rows == parts[i].rows && f->parts[i].dim == DIM &&
                  f->parts[i].current == parts[i].current);
        cr_assert(f->arrivals->sums[i].count == sums[i].count && f->arrivals->sums[i].correct == sums[i].correct);
        cr_assert_eq(memcmp(&f->arrivals->sums[i].loss, &sums[i].loss, sizeof(double)), 0);
    }
    cr_assert(f->arrivals->first == 7 && f->arrivals->count == A && f->arrivals->open == 2);
    cr_assert_eq(memcmp(f->arrivals->accepted, accepted, sizeof accepted), 0);
    cr_assert_eq(memcmp(&f->multipliers, &want.multipliers, sizeof want.multipliers), 0);
    shard_file_close(&file);
    shard_file_close(&file);
    free(head.data);
    ASSERT_NO_LEAKS();
}

/* Words that a file needs for what it says of itself. */
static uint64_t words_of(const struct shard_file_facts *f)
{
    uint64_t words = 0;
    for (uint32_t i = 0; i < f->range_count; i++)
        words += f->ranges[i].count * (1 + f->states);
    for (uint32_t i = 0; i < f->part_count; i++)
        words += f->parts[i].rows * (3 + f->parts[i].dim * (1 + (uint64_t)f->states + (f->parts[i].current ? 1 : 0)));
    return words;
}

/* Most changes are found without the manifest's digest. None leads beyond the file's end. */
Test(shard_file, a_changed_byte_of_a_head)
{
    struct bytes head = sample_head();
    size_t found = 0;
    struct shard_file file;
    dp_error err;
    for (size_t i = 0; i < 8 * head.count; i++) {
        head.data[i / 8] = (char)(head.data[i / 8] ^ 1 << i % 8);
        dp_err e = shard_file_parse("the file", head.data, head.count, head.count + 4 * WORDS, &file, &err);
        if (e == DP_OK) {
            cr_assert_eq(words_of(&file.facts), WORDS, "bit %zu", i);
            shard_file_close(&file);
        } else {
            found++;
            cr_assert_eq(e, DP_DATA, "bit %zu", i);
            cr_assert_not_null(strstr(err.text, "the file: "), "%s", err.text);
        }
        head.data[i / 8] = (char)(head.data[i / 8] ^ 1 << i % 8);
    }
    cr_assert_gt(found, 8 * head.count * 3 / 4);
    free(head.data);
    ASSERT_NO_LEAKS();
}

Test(shard_file, every_length_is_found)
{
    struct bytes head = sample_head();
    const uint64_t file_bytes = head.count + 4 * WORDS;
    dp_error err;
    for (size_t cut = 0; cut < head.count; cut++) {
        struct bytes some = {malloc(cut + !cut), cut};
        memcpy(some.data, head.data, cut);
        cr_assert_eq(parse(some, file_bytes, &err), DP_DATA, "%zu", cut);
        free(some.data);
    }
    for (uint64_t of = head.count; of < file_bytes + 10; of++)
        cr_assert_eq(parse(head, of, &err), of == file_bytes ? DP_OK : DP_DATA, "%" PRIu64, of);
    cr_assert_not_null(strstr(err.text, "is damaged: it has "), "%s", err.text);
    free(head.data);
    ASSERT_NO_LEAKS();
}

/* No reader would take it; a cut fails then. */
Test(shard_file, a_head_that_is_too_large)
{
    enum { OPEN = 64, BYTES = 4096 / 8, SLICES = 6000, FEWER = 100 };
    static struct metrics open_sums[OPEN];
    static uint8_t all[OPEN * BYTES];
    static struct shard_file_arrivals many[SLICES];
    struct shard_file_facts facts = sample();
    struct bytes head = {0};
    dp_error err;
    for (size_t i = 0; i < SLICES; i++)
        many[i] = (struct shard_file_arrivals){i, 1, OPEN, open_sums, all};
    facts.slots = 8 * BYTES;
    facts.arrivals = many;
    facts.arrival_count = SLICES; /* of 66 KiB each */
    cr_assert_eq(shard_file_head(&facts, &head.data, &head.count), DP_RANGE);
    cr_assert_null(head.data);
    facts.arrival_count = FEWER;
    cr_assert_eq(shard_file_head(&facts, &head.data, &head.count), DP_OK);
    cr_assert_eq(parse(head, head.count + 4 * WORDS, &err), DP_OK, "%s", err.text);
    free(head.data);
    ASSERT_NO_LEAKS();
}

/* ---- other tools ---- */

/* A tensor of the head: its type, its elements, and the byte of the values at which it begins. */
static void expect_tensor(const json_t *head, const char *name, const char *type, json_int_t count, json_int_t at)
{
    const json_t *tensor = json_object_get(head, name), *shape = json_object_get(tensor, "shape");
    const json_t *offsets = json_object_get(tensor, "data_offsets");
    json_int_t elems = 1;
    cr_assert_not_null(tensor, "%s", name);
    cr_assert_str_eq(json_string_value(json_object_get(tensor, "dtype")), type);
    for (size_t i = 0; i < json_array_size(shape); i++)
        elems *= json_integer_value(json_array_get(shape, i));
    cr_assert_eq(elems, count, "%s", name);
    cr_assert_eq(json_integer_value(json_array_get(offsets, 0)), at, "%s", name);
    cr_assert_eq(json_integer_value(json_array_get(offsets, 1)), at + 4 * count, "%s", name);
}

Test(shard_file, is_safetensors)
{
    struct bytes head = sample_head();
    uint64_t length = 0;
    memcpy(&length, head.data, 8); /* little-endian, as this machine is */
    cr_assert_eq(length, head.count - 8);
    json_t *json = json_loadb(head.data + 8, length, JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(json);
    cr_assert_str_eq(json_string_value(json_object_get(json_object_get(json, "__metadata__"), "format")),
                     "dp-checkpoint-1");
    expect_tensor(json, "layer \"a\"/weights", "F32", A, 0);
    expect_tensor(json, "b", "F32", B, 4 * A);
    expect_tensor(json, "layer \"a\"/weights.state0", "F32", A, 4 * (A + B));
    expect_tensor(json, "b.state0", "F32", B, 4 * (2 * A + B));
    expect_tensor(json, "b.state1", "F32", B, 4 * (3 * A + 2 * B));
    expect_tensor(json, "table.rows.0", "U32", ROWS * ROW_WORDS, 4 * 3 * (A + B));
    expect_tensor(json, "table.rows.1", "U32", LAST_WORDS, 4 * (3 * (A + B) + ROWS * ROW_WORDS));
    cr_assert_eq(json_object_size(json), 9);
    json_decref(json);
    free(head.data);
    ASSERT_NO_LEAKS();
}

/* ---- values ---- */

static char dir[PATH_MAX], path[PATH_MAX + 16];

/* Word i of the values is i. */
static void make_file(size_t words)
{
    struct bytes head = sample_head();
    folder_make(dir);
    snprintf(path, sizeof path, "%s/shard", dir);
    char *all = malloc(head.count + 4 * words);
    memcpy(all, head.data, head.count);
    for (uint32_t i = 0; i < words; i++)
        memcpy(all + head.count + 4 * i, &i, 4);
    file_make(path, all, head.count + 4 * words);
    free(all);
    free(head.data);
}

static void remove_file(void)
{
    unlink(path);
    cr_assert_eq(rmdir(dir), 0, "%s", strerror(errno));
    ASSERT_NO_LEAKS();
}

static void expect_words(const void *found, uint32_t count, uint32_t first)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t word;
        memcpy(&word, (const char *)found + 4 * i, 4);
        cr_assert_eq(word, first + i);
    }
}

Test(shard_file, values_are_read)
{
    struct shard_file file;
    dp_error err;
    float some[A];
    uint32_t rows[ROWS * ROW_WORDS];
    make_file(WORDS);
    cr_assert_eq(shard_file_open(path, &file, &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(file.name, path);
    for (int state = -1; state < STATES; state++) {
        const uint32_t first = (uint32_t)(state + 1) * (A + B);
        cr_assert_eq(shard_file_read(&file, 0, state, 0, A, some, &err), DP_OK);
        expect_words(some, A, first);
        cr_assert_eq(shard_file_read(&file, 1, state, 1, B - 1, some, &err), DP_OK);
        expect_words(some, B - 1, first + A + 1);
    }
    cr_assert_eq(shard_file_read_rows(&file, 0, 0, ROWS, rows, &err), DP_OK);
    expect_words(rows, ROWS * ROW_WORDS, 3 * (A + B));
    cr_assert_eq(shard_file_read_rows(&file, 0, 2, 1, rows, &err), DP_OK);
    expect_words(rows, ROW_WORDS, 3 * (A + B) + 2 * ROW_WORDS);
    cr_assert_eq(shard_file_read_rows(&file, 1, 0, 1, rows, &err), DP_OK);
    expect_words(rows, LAST_WORDS, 3 * (A + B) + ROWS * ROW_WORDS);
    shard_file_close(&file);
    remove_file();
}

Test(shard_file, that_became_shorter_while_it_is_read)
{
    struct shard_file file;
    dp_error err;
    float some[A];
    uint32_t rows[LAST_WORDS];
    make_file(WORDS);
    cr_assert_eq(shard_file_open(path, &file, &err), DP_OK, "%s", err.text);
    cr_assert_eq(truncate(path, (off_t)file.values_at), 0);
    cr_assert_eq(shard_file_read(&file, 0, -1, 0, A, some, &err), DP_IO);
    cr_assert(strstr(err.text, path) && strstr(err.text, "it ends too soon"), "%s", err.text);
    cr_assert_eq(shard_file_read_rows(&file, 1, 0, 1, rows, &err), DP_IO);
    shard_file_close(&file);
    remove_file();
}

Test(shard_file, that_cannot_be_opened)
{
    struct shard_file file;
    dp_error err;
    make_file(WORDS - 1);
    cr_assert_eq(shard_file_open(path, &file, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, path), "%s", err.text);
    for (off_t bytes = 0; bytes < 20; bytes++) {
        cr_assert_eq(truncate(path, 20 - bytes), 0);
        cr_assert_neq(shard_file_open(path, &file, &err), DP_OK);
    }
    file_make(path, "\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10);
    cr_assert_eq(shard_file_open(path, &file, &err), DP_DATA);
    unlink(path);
    cr_assert_eq(shard_file_open(path, &file, &err), DP_IO);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(shard_file_open(path, &file, &err), DP_IO);
    remove_file();
}
