/* The cost of a step to a shard for each row of a table that it touches: a push of random rows, its commit, and a read
 * of the same rows, without the network. By the size of the table at equal numbers of touched rows, which it should not
 * depend on, and by rule.
 *
 *   bench_tables [auto|ref|avx2|avx512]
 *
 * "same list": the shard has the list, as with key caching; "new lists": every step has rows of its own. The best of
 * several steps is taken. Thread: main. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/util.h"
#include "server/table/part.h"
#include "server/table/read.h"

enum { TOUCHED = 100000, RUNS = 12, LISTS = 4 };

static uint64_t state = 88172645463325252u;

static uint64_t roll(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 11) % below;
}

static void give_up(const char *text)
{
    fprintf(stderr, "bench_tables: %s\n", text);
    exit(1);
}

/* Sorted, distinct, random: each row in turn with the chance that brings out TOUCHED of them (Knuth's algorithm S). */
static struct rowlist *list_new(uint64_t rows)
{
    struct rowlist *list = rowlist_new(TOUCHED);
    if (!list)
        give_up("out of memory");
    for (uint64_t id = 0, n = 0; n < TOUCHED; id++)
        if (roll(rows - id) < TOUCHED - n)
            list->ids[n++] = id;
    return list;
}

static struct shard_job job_of(const struct update_rule *rule, enum tensor_kind kind, uint64_t rows, uint32_t dim)
{
    struct shard_job job = {
        .plan = {.seed = 1, .train_rows = 100000, .batch = 100, .train_steps = 1000, .slots = 1},
        .rule = rule,
        .params = {.schedule = {.lr = 0.01}, .momentum = 0.9, .eps = 1e-8, .alpha = 0.99, .ftrl_beta = 1},
    };
    const uint64_t table[] = {rows, dim}, row[] = {dim};
    bool ranged = kind == TENSOR_TABLE;
    if (tensors_add_table(&job.tensors, "t", kind, ranged ? 2 : 1, ranged ? table : row, INIT_ZEROS, 0, true, NULL))
        give_up("a table that cannot be");
    return job;
}

/* One step; returns its time. The values are made before. */
static uint64_t step(struct part *part, struct rowlist *list, float *out)
{
    dp_error err;
    struct metrics m = {100, 1, 0};
    size_t floats = (size_t)TOUCHED * part->table.dim;
    float *values = mem_array(floats, sizeof *values);
    if (!values)
        give_up("out of memory");
    for (size_t i = 0; i < floats; i++)
        values[i] = (float)(i % 7) - 3;
    struct rowsum rows = {rowlist_retain(list), {values, floats * sizeof *values, values, free}};
    uint64_t before_ns = mono_ns(), at = part->window.next;
    table_find(&part->table, list);
    if (part_push(part, at, 1, &rows, &m) != STEPS_KEEP || part_commit(part, &m, &err) ||
        part_read(part, at + 1, list, out))
        give_up("a step failed");
    part_release_before(part, at + 1);
    return mono_ns() - before_ns;
}

/* Nanoseconds of a row that is pushed and pulled. */
static double measure(const struct update_rule *rule, enum tensor_kind kind, uint64_t rows, uint32_t dim, bool same)
{
    struct shard_job job = job_of(rule, kind, rows, dim);
    struct rowlist *lists[LISTS];
    struct part part;
    dp_error err;
    float *out = mem_array((size_t)TOUCHED * dim, sizeof *out);
    if (!out || part_init(&part, &job, (struct part_range){0, 0, job.tensors.list[0].last_row}, &err))
        give_up("out of memory");
    uint64_t best_ns = UINT64_MAX;
    for (int i = 0; i < LISTS; i++)
        lists[i] = list_new(rows);
    for (int i = 0; i < RUNS + LISTS; i++) {
        uint64_t ns = step(&part, lists[same ? 0 : i % LISTS], out);
        best_ns = i < LISTS ? best_ns : MIN(best_ns, ns);
    }
    for (int i = 0; i < LISTS; i++)
        rowlist_release(&lists[i]);
    part_fini(&part);
    free(out);
    return (double)best_ns / TOUCHED;
}

int main(int argc, char **argv)
{
    static const uint64_t ROWS[] = {1 << 18, 1 << 20, 1 << 22, 1 << 24};
    static const struct update_rule *const RULES[] = {&rule_sgd, &rule_adagrad, &rule_momentum, &rule_ftrl};
    dp_error err;
    if (kernels_select(argc > 1 ? argv[1] : "auto", &err))
        give_up(err.text);
    printf("%d rows a step, dim 1; ns a row that is pushed, committed and read, %s kernels\n\n", TOUCHED,
           kernels_get()->name);
    printf("%-10s %10s %12s %12s %12s\n", "rule", "rows", "same list", "new lists", "hashed");
    for (size_t r = 0; r < ARRAY_LEN(RULES); r++)
        for (size_t n = 0; n < ARRAY_LEN(ROWS); n++)
            printf("%-10s %10llu %12.1f %12.1f %12.1f\n", RULES[r]->name, (unsigned long long)ROWS[n],
                   measure(RULES[r], TENSOR_TABLE, ROWS[n], 1, true),
                   measure(RULES[r], TENSOR_TABLE, ROWS[n], 1, false),
                   measure(RULES[r], TENSOR_HASHED, ROWS[n], 1, false));
    return 0;
}
