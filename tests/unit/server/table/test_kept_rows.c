/* Rows of a part kept at a step: each row that was touched before, with its words of that moment, and no other,
 * whatever commits come before, between and after the calls that give them. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "server/table/keep.h"
#include "server/table/part.h"
#include "server/table/read.h"
#include "tests/unit/support/leaks.h"

enum { ROWS = 30000, DIM = 16, STEPS = 64, CUT = 8, ID_WORDS = 2 };
static const uint64_t ID_STEP = 1000003; /* of hashed ids */

struct world {
    struct shard_job job;
    struct part part;
};

/* Rows in the form of a file. */
struct rows {
    size_t count, room, words; /* words of a row */
    uint32_t *at;
};

static void set_up(struct world *w, const struct update_rule *rule, enum tensor_kind kind)
{
    const uint64_t shape[] = {ROWS, DIM}, row[] = {DIM};
    const bool range = kind == TENSOR_TABLE;
    dp_error err;
    *w = (struct world){
        .job = {.plan = {.seed = 3, .train_rows = 50 * STEPS, .batch = 50, .train_steps = STEPS, .slots = 1},
                .rule = rule,
                .params = {.schedule = {.lr = 0.05, .period = 1, .period_mult = 1, .every = 1},
                           .momentum = 0.9,
                           .beta1 = 0.9,
                           .beta2 = 0.999,
                           .eps = 1e-8}}};
    cr_assert_eq(tensors_add_table(&w->job.tensors, "t", kind, range ? 2 : 1, range ? shape : row, INIT_CONSTANT, 0.1f,
                                   true, &err),
                 DP_OK);
    const struct part_range all = {0, 0, w->job.tensors.list[0].last_row};
    cr_assert_eq(part_init(&w->part, &w->job, all, &err), DP_OK, "%s", err.text);
}

static void tear_down(struct world *w)
{
    part_fini(&w->part);
}

/* Some rows are never touched, some first after the cut, others now and then. */
static bool touches(uint64_t step, uint32_t row)
{
    if (row % 7 == 0 || (row % 7 == 1 && step < CUT))
        return false;
    return (step * 31 + row * 13 + row / 64) % (row % 5 == 0 ? 2 : 9) == 0;
}

static struct rowsum rows_of(const struct part *part, uint64_t step)
{
    uint32_t n = 0;
    for (uint32_t row = 0; row < ROWS; row++)
        n += touches(step, row);
    struct rowlist *list = rowlist_new(n);
    float *values = mem_array((size_t)n * DIM, sizeof *values);
    cr_assert(list && values && n > 0);
    n = 0;
    for (uint32_t row = 0; row < ROWS; row++)
        if (touches(step, row)) {
            for (uint32_t d = 0; d < DIM; d++)
                values[n * DIM + d] = (float)((row * DIM + d + step * 17) % 23) - 11;
            list->ids[n++] = part->table.kind == TENSOR_HASHED ? row * ID_STEP : row;
        }
    return (struct rowsum){list, {values, (size_t)n * DIM * sizeof *values, values, free}};
}

static void commit(struct world *w)
{
    struct part *part = &w->part;
    const uint64_t step = part->window.next;
    struct rowsum rows = rows_of(part, step);
    struct metrics m = {.count = 50};
    dp_error err;
    cr_assert_eq(part_push(part, step, 1, &rows, &m), STEPS_KEEP);
    cr_assert(part_ready(part));
    cr_assert_eq(part_commit(part, &m, &err), DP_OK);
    free(part_report_take(part, step));
    part_release_before(part, step + 1);
}

/* ---- rows that are there, and those that were given ---- */

static void add(struct rows *rows, const void *words, size_t count)
{
    if (rows->count + count > rows->room) {
        rows->room = 2 * (rows->count + count);
        rows->at = realloc(rows->at, rows->room * rows->words * sizeof *rows->at);
        cr_assert(rows->at);
    }
    memcpy(rows->at + rows->count * rows->words, words, count * rows->words * sizeof *rows->at);
    rows->count += count;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static void sort(struct rows *rows)
{
    qsort(rows->at, rows->count, rows->words * sizeof *rows->at, by_id);
}

/* A deep copy, by the ids. */
static struct rows copy_of(struct part *part)
{
    struct rows rows = {.words = ID_WORDS + part->table.stride + (part->rule.moves ? DIM : 0)};
    struct rowlist *list = rowlist_new(ROWS);
    uint32_t *words = mem_array(rows.words, sizeof *words);
    for (uint32_t row = 0; row < ROWS; row++)
        list->ids[row] = part->table.kind == TENSOR_HASHED ? row * ID_STEP : row;
    table_find(&part->table, list);
    for (uint32_t i = 0; i < ROWS; i++) {
        const float *record = list->rows[i] == ROW_NONE ? NULL : table_record(&part->table, list->rows[i]);
        if (!record || record_stamp(record) == 0)
            continue;
        memcpy(words, &list->ids[i], sizeof list->ids[i]);
        memcpy(words + ID_WORDS, record, part->table.stride * sizeof *words);
        if (part->rule.moves) /* as an export has the row */
            rowrule_read(&part->rule, list->ids[i], record, part_version(part, part->window.next),
                         (float *)(void *)(words + ID_WORDS + part->table.stride));
        add(&rows, words, 1);
    }
    free(words);
    rowlist_release(&list);
    return rows;
}

/* Takes what is next; false at the end. */
static bool take(struct part *part, struct rows *rows)
{
    struct blob bytes;
    bool more;
    cr_assert_eq(part_kept_next(part, &bytes, &more), DP_OK);
    cr_assert_eq(bytes.bytes % (rows->words * sizeof *rows->at), 0);
    cr_assert_leq(bytes.bytes, 1 << 20);
    if (bytes.bytes > 0)
        add(rows, bytes.data, bytes.bytes / (rows->words * sizeof *rows->at));
    blob_release(&bytes);
    return more;
}

static void compare(struct rows *got, struct rows *want, const char *what)
{
    sort(got);
    sort(want);
    cr_assert_eq(got->count, want->count, "%s: %zu rows of %zu", what, got->count, want->count);
    cr_assert_eq(memcmp(got->at, want->at, got->count * got->words * sizeof *got->at), 0, "%s: other words", what);
    free(got->at);
    free(want->at);
}

/* `first` commits come before the first rows are taken, `between` after each time. */
static void run(const struct update_rule *rule, enum tensor_kind kind, uint32_t first, uint32_t between)
{
    struct world w;
    char what[80];
    set_up(&w, rule, kind);
    while (w.part.window.next < CUT)
        commit(&w);
    struct rows want = copy_of(&w.part), got = {.words = want.words};
    cr_assert_gt(want.count * want.words * sizeof *want.at, 1 << 20, "one block has all");
    cr_assert_eq(part_keep(&w.part), DP_OK);
    cr_assert_eq(w.part.kept->rows, want.count);
    for (uint32_t i = 0; i < first; i++)
        commit(&w);
    for (uint32_t calls = 0; take(&w.part, &got); calls++)
        for (uint32_t i = 0; i < between && calls < 4; i++)
            commit(&w);
    part_kept_drop(&w.part);
    commit(&w);
    snprintf(what, sizeof what, "%s kind %d, %u commits before, %u between", rule->name, (int)kind, first, between);
    compare(&got, &want, what);
    tear_down(&w);
}

Test(kept_rows, are_those_of_the_cut_whatever_commits_follow)
{
    static const struct update_rule *const rules[] = {&rule_sgd, &rule_momentum, &rule_adam};
    static const enum tensor_kind kinds[] = {TENSOR_TABLE, TENSOR_HASHED};
    static const uint32_t firsts[] = {0, 3};
    for (size_t r = 0; r < ARRAY_LEN(rules); r++)
        for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
            for (size_t f = 0; f < ARRAY_LEN(firsts); f++)
                for (uint32_t between = 0; between < 3; between += 2)
                    run(rules[r], kinds[k], firsts[f], between);
    ASSERT_NO_LEAKS();
}

Test(kept_rows, may_be_dropped_half_taken_and_begun_again)
{
    struct world w;
    set_up(&w, &rule_momentum, TENSOR_HASHED);
    for (uint32_t i = 0; i < 12; i++)
        commit(&w);
    struct rows first = copy_of(&w.part), got = {.words = first.words};
    cr_assert_eq(part_keep(&w.part), DP_OK);
    commit(&w);
    cr_assert(take(&w.part, &got), "one block has all rows: the test needs more");
    commit(&w);
    part_kept_drop(&w.part);
    free(first.at);
    got.count = 0;
    commit(&w);
    struct rows second = copy_of(&w.part);
    cr_assert_eq(part_keep(&w.part), DP_OK);
    commit(&w);
    while (take(&w.part, &got))
        commit(&w);
    compare(&got, &second, "begun again");
    tear_down(&w); /* drops it */
    ASSERT_NO_LEAKS();
}

Test(kept_rows, of_a_part_that_nothing_touched_are_none)
{
    static const enum tensor_kind kinds[] = {TENSOR_TABLE, TENSOR_HASHED};
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        struct world w;
        set_up(&w, &rule_sgd, kinds[k]);
        struct rows got = {.words = ID_WORDS + w.part.table.stride};
        cr_assert_eq(part_keep(&w.part), DP_OK);
        cr_assert_eq(w.part.kept->rows, 0);
        for (uint32_t i = 0; i < CUT + 2; i++)
            commit(&w);
        while (take(&w.part, &got))
            commit(&w);
        cr_assert_eq(got.count, 0);
        tear_down(&w);
    }
    ASSERT_NO_LEAKS();
}

/* A walk over many places between two rows stops now and then, and goes on. */
Test(kept_rows, of_a_vast_table_are_found_bit_by_bit)
{
    enum { PLACES = 1 << 26 };
    struct world w = {.job = {.plan = {.train_rows = 1, .batch = 1, .train_steps = 2, .slots = 1}, .rule = &rule_sgd}};
    const uint64_t shape[] = {PLACES, 1};
    dp_error err;
    cr_assert_eq(tensors_add_table(&w.job.tensors, "t", TENSOR_TABLE, 2, shape, INIT_ZEROS, 0, true, &err), DP_OK);
    cr_assert_eq(part_init(&w.part, &w.job, (struct part_range){0, 0, PLACES - 1}, &err), DP_OK, "%s", err.text);
    table_stamp(&w.part.table, 5, 1);
    table_stamp(&w.part.table, PLACES - 1, 1);
    struct rows want = {.words = 4}, got = {.words = 4};
    static const uint32_t words[] = {5, 0, 1, 0, PLACES - 1, 0, 1, 0};
    add(&want, words, 2);
    cr_assert_eq(part_keep(&w.part), DP_OK);
    uint32_t calls = 1;
    while (take(&w.part, &got))
        calls++;
    cr_assert_geq(calls, 3, "%u calls", calls);
    compare(&got, &want, "far apart");
    tear_down(&w);
    ASSERT_NO_LEAKS();
}
