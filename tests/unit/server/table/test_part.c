/* Parts of tables: lazily updated rows are what dense replay gives, bits do not depend on how ids are cut, in what
 * order nodes come or what was read, and old versions can be read until all shards are past them. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "server/dense/commit.h"
#include "server/dense/slice.h"
#include "server/step/block_sums.h"
#include "server/table/copy.h"
#include "server/table/part.h"
#include "server/table/read.h"
#include "server/table/report.h"
#include "tests/unit/support/leaks.h"
#include "tests/unit/support/roll.h"

enum { ROWS = 60, DIM = 3, ELEMS = ROWS * DIM, STEPS = 40, SLOTS = 5 };

static struct shard_job job_of(const struct update_rule *rule, enum tensor_kind kind)
{
    const uint64_t shape[] = {ROWS, DIM}, row[] = {DIM};
    struct shard_job job = {
        .plan = {.seed = 3, .train_rows = 100, .batch = 50, .train_steps = STEPS, .slots = SLOTS},
        .rule = rule,
        .params = {.schedule = {.lr = 0.05, .period = 1, .period_mult = 1, .every = 1},
                   .momentum = 0.9,
                   .beta1 = 0.9,
                   .beta2 = 0.999,
                   .alpha = 0.99,
                   .eps = 1e-8,
                   .ftrl_beta = 1},
    };
    dp_err e = kind == TENSOR_DENSE
                   ? tensors_add(&job.tensors, "t", 2, shape, INIT_NORMAL, 0.1f, true, NULL)
                   : tensors_add_table(&job.tensors, "t", kind, kind == TENSOR_TABLE ? 2 : 1,
                                       kind == TENSOR_TABLE ? shape : row, INIT_NORMAL, 0.1f, true, NULL);
    cr_assert_eq(e, DP_OK);
    return job;
}

/* Whether a slot of a step touches a row: few do, and some rows are left alone for long or for ever. */
static bool touches(uint64_t step, uint32_t slot, uint32_t row)
{
    return row % 7 != 0 && (step * 31 + slot * 17 + row * 13) % (5 + row % 11) == 0;
}

static float gradient(uint64_t step, uint32_t slot, uint32_t elem)
{
    return 20 * sinf((float)(elem * 7 + slot * 131 + step * 17));
}

/* The rows of ids [first, last] that a slot touches. */
static struct rowsum slot_rows(uint64_t step, uint32_t slot, uint64_t first, uint64_t last)
{
    uint32_t n = 0;
    for (uint32_t row = 0; row < ROWS; row++)
        n += row >= first && row <= last && touches(step, slot, row);
    if (n == 0)
        return (struct rowsum){0};
    struct rowlist *list = rowlist_new(n);
    float *values = mem_array((size_t)n * DIM, sizeof *values);
    n = 0;
    for (uint32_t row = 0; row < ROWS; row++)
        if (row >= first && row <= last && touches(step, slot, row)) {
            list->ids[n] = row;
            for (uint32_t d = 0; d < DIM; d++)
                values[n * DIM + d] = gradient(step, slot, row * DIM + d);
            n++;
        }
    return (struct rowsum){list, {values, (size_t)n * DIM * sizeof *values, values, free}};
}

static struct metrics slot_metrics(uint32_t slot)
{
    return (struct metrics){10, 0.1 * (slot + 1), slot};
}

static void push_slot(struct part *part, uint64_t step, uint32_t slot)
{
    struct rowsum rows = slot_rows(step, slot, part->range.first, part->range.last);
    struct metrics m = slot_metrics(slot);
    table_find(&part->table, rows.list ? rows.list : &(struct rowlist){0});
    (void)part_push(part, step, part->window.leaves + slot, &rows, &m);
    cr_assert(!rows.list && !rows.values.data, "taken");
}

/* One step, its slots in a random order and some twice. */
static void step_part(struct part *part, struct metrics *m)
{
    dp_error err;
    uint64_t step = part->window.next;
    while (!part_ready(part))
        push_slot(part, step, roll(SLOTS));
    cr_assert_eq(part_commit(part, m, &err), DP_OK, "%s", err.text);
}

static void read_range(struct part *part, uint64_t step, float *out)
{
    uint64_t last = MIN(part->range.last, (uint64_t)ROWS - 1);
    struct rowlist *list = rowlist_new((uint32_t)(last - part->range.first + 1));
    for (uint32_t i = 0; i < list->count; i++)
        list->ids[i] = part->range.first + i;
    cr_assert_eq(part_read(part, step, list, out + part->range.first * DIM), DP_OK);
    rowlist_release(&list);
}

static void start(struct part *part, const struct shard_job *job, uint64_t first, uint64_t last)
{
    dp_error err = {0};
    cr_assert_eq(rowrule_check(job, &err), DP_OK, "%s", err.text);
    cr_assert_eq(part_init(part, job, (struct part_range){0, first, last}, &err), DP_OK, "%s", err.text);
}

/* The whole run with ids cut at `cut`; what all rows are at the end. */
static void run(const struct shard_job *job, uint64_t cut, bool reads, float *out)
{
    uint64_t last = job->tensors.list[0].last_row;
    struct part parts[2];
    struct metrics m;
    start(&parts[0], job, 0, cut - 1);
    start(&parts[1], job, cut, last);
    for (int p = 0; p < 2; p++) {
        while (parts[p].window.next < parts[p].total_steps) {
            step_part(&parts[p], &m);
            if (reads && roll(2))
                read_range(&parts[p], parts[p].window.next, out);
            part_release_before(&parts[p], parts[p].window.next);
        }
        cr_assert(m.count == 10 * SLOTS && m.correct == 10);
        read_range(&parts[p], parts[p].total_steps, out);
        part_fini(&parts[p]);
    }
}

Test(part, bits_do_not_depend_on_cuts_order_or_reads)
{
    static const struct update_rule *const RULES[] = {&rule_sgd,     &rule_momentum, &rule_nesterov, &rule_adagrad,
                                                      &rule_rmsprop, &rule_adam,     &rule_adamw,    &rule_ftrl};
    for (size_t r = 0; r < ARRAY_LEN(RULES); r++) {
        struct shard_job job = job_of(RULES[r], TENSOR_TABLE), hashed = job_of(RULES[r], TENSOR_HASHED);
        job.regular[0] = hashed.regular[0] = (struct regular){.l1 = 0.01, .l2 = 0.1};
        static float want[ELEMS], got[ELEMS];
        run(&job, 30, false, want);
        for (uint64_t cut = 1; cut < ROWS; cut += 13) {
            run(&job, cut, true, got);
            cr_assert_arr_eq(got, want, sizeof want, "%s cut at %u", RULES[r]->name, (unsigned)cut);
            run(&hashed, cut, true, got);
            cr_assert_arr_eq(got, want, sizeof want, "%s hashed", RULES[r]->name);
        }
    }
    ASSERT_NO_LEAKS();
}

/* -- lazy = dense replay -- */

static void dense_step(struct slice *slice, uint64_t step)
{
    struct metrics m = {10, 0, 0};
    dp_error err;
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        float *g = mem_array_zero(ELEMS, sizeof *g);
        for (uint32_t i = 0; i < ELEMS; i++)
            g[i] = touches(step, slot, i / DIM) ? gradient(step, slot, i) : 0;
        struct blob blob = {g, ELEMS * sizeof *g, g, free};
        (void)slice_push(slice, step, slice->window.leaves + slot, &blob, &m);
    }
    cr_assert_eq(slice_commit(slice, &m, &err), DP_OK);
    slice_release_before(slice, step + 1);
}

/* At every step, all rows; the greatest distance, relative to what is moved at all. */
static double distance_to_dense(const struct shard_job *table_job)
{
    struct shard_job job = *table_job;
    struct shard_job dense = job_of(job.rule, TENSOR_DENSE);
    job.tensors.list[0].unit = 1;
    dense.params = job.params;
    dense.regular[0] = job.regular[0];
    dense.constraints = job.constraints;
    dense.tensors.list[0].unit = job.constraints.count ? DIM : 1;
    static float rows[ELEMS];
    struct part part;
    struct slice slice;
    struct metrics m;
    dp_error err;
    double worst = 0;
    start(&part, &job, 0, ROWS - 1);
    cr_assert_eq(slice_init(&slice, &dense, (struct range){0, ELEMS}, &err), DP_OK);
    for (uint64_t step = 0; step < STEPS; step++) {
        step_part(&part, &m);
        part_release_before(&part, step + 1);
        dense_step(&slice, step);
        read_range(&part, step + 1, rows);
        const float *want = slice_theta(&slice, step + 1)->theta;
        for (uint32_t i = 0; i < ELEMS; i++) {
            double gap = fabs((double)rows[i] - (double)want[i]) / (0.01 + fabs((double)want[i]));
            worst = isnan(gap) ? INFINITY : fmax(worst, gap);
        }
    }
    slice_fini(&slice);
    part_fini(&part);
    return worst;
}

Test(part, lazy_is_dense_replay)
{
    static const struct update_rule *const RULES[] = {&rule_sgd,     &rule_momentum, &rule_nesterov, &rule_adagrad,
                                                      &rule_rmsprop, &rule_adam,     &rule_adamw,    &rule_ftrl};
    static const struct regular REGULAR[] = {{0}, {.l1 = 0.02}, {.l2 = 0.5}, {.l1 = 0.02, .l2 = 0.5}};
    for (size_t r = 0; r < ARRAY_LEN(RULES); r++)
        for (size_t k = 0; k < ARRAY_LEN(REGULAR); k++)
            for (int variant = 0; variant < 4; variant++) {
                struct shard_job job = job_of(RULES[r], TENSOR_TABLE);
                job.regular[0] = REGULAR[k];
                job.params.decay = variant & 1 ? DECAY_DECOUPLED : DECAY_COUPLED;
                job.params.schedule.kind = variant & 2 ? SCHEDULE_INV_TIME : SCHEDULE_CONSTANT;
                job.params.schedule.decay = 0.1;
                double worst = distance_to_dense(&job);
                cr_assert_leq(worst, 1e-4, "%s, regularizers %zu, variant %d: %g", RULES[r]->name, k, variant, worst);
            }
    ASSERT_NO_LEAKS();
}

/* Without anything that moves rows while they are left alone, it is the same arithmetic to the last bit; and under
 * ftrl, which makes a row from sums that stay. */
Test(part, plain_rules_have_the_bits_of_dense)
{
    struct shard_job sgd = job_of(&rule_sgd, TENSOR_TABLE), adagrad = job_of(&rule_adagrad, TENSOR_TABLE);
    cr_assert_eq(distance_to_dense(&sgd), 0);
    cr_assert_eq(distance_to_dense(&adagrad), 0);
    struct shard_job ftrl = job_of(&rule_ftrl, TENSOR_TABLE);
    ftrl.regular[0] = (struct regular){.l1 = 0.02, .l2 = 0.5};
    cr_assert_eq(distance_to_dense(&ftrl), 0);
    sgd.params.clip_value = 0.1;
    cr_assert_eq(distance_to_dense(&sgd), 0);
    ASSERT_NO_LEAKS();
}

Test(part, constraints_of_rows)
{
    static const struct update_rule *const RULES[] = {&rule_sgd, &rule_adagrad, &rule_rmsprop};
    static const struct constraint LIST[] = {{.kind = CONSTRAINT_NONNEG},
                                             {.kind = CONSTRAINT_BOX, .lo = 0.05, .hi = 0.2},
                                             {.kind = CONSTRAINT_MAX_NORM, .arg = 0.15},
                                             {.kind = CONSTRAINT_UNIT_NORM}};
    for (size_t r = 0; r < ARRAY_LEN(RULES); r++)
        for (size_t c = 0; c < ARRAY_LEN(LIST); c++)
            for (int terms = 0; terms < 4; terms++) {
                struct shard_job job = job_of(RULES[r], TENSOR_TABLE);
                job.regular[0].l2 = terms & 1 ? 0.5 : 0;
                job.regular[0].l1 = terms & 2 ? 0.02 : 0;
                if (LIST[c].kind == CONSTRAINT_UNIT_NORM && (terms & 2 || job.rule->adaptive))
                    continue; /* refused */
                job.params.decay = job.rule->adaptive ? DECAY_DECOUPLED : DECAY_COUPLED;
                job.constraints.list[0] = LIST[c];
                job.constraints.list[0].mask = 1;
                job.constraints.count = 1;
                double worst = distance_to_dense(&job);
                cr_assert_leq(worst, 1e-4, "%s, constraint %zu, terms %d: %g", RULES[r]->name, c, terms, worst);
            }
    ASSERT_NO_LEAKS();
}

/* -- old versions -- */

Test(part, old_versions_are_what_they_were)
{
    struct shard_job job = job_of(&rule_momentum, TENSOR_HASHED);
    job.regular[0].l1 = 0.01;
    static float then[STEPS + 1][ELEMS], now[ELEMS];
    struct part part;
    struct metrics m;
    start(&part, &job, 0, UINT64_MAX);
    uint64_t low = 0;
    read_range(&part, 0, then[0]);
    for (uint64_t step = 0; step < STEPS; step++) {
        step_part(&part, &m);
        read_range(&part, step + 1, then[step + 1]);
        for (uint64_t old = low; old <= step + 1; old++) {
            cr_assert(part_holds(&part, old));
            read_range(&part, old, now);
            cr_assert_arr_eq(now, then[old], sizeof now, "theta_%u at step %u", (unsigned)old, (unsigned)step);
        }
        low += roll(3);
        low = MIN(low, step);
        part_release_before(&part, low);
        cr_assert(low == 0 || !part_holds(&part, low - 1));
    }
    part_fini(&part);
    ASSERT_NO_LEAKS();
}

/* All rows that `from` has touched. */
static void copy_rows(struct part *to, const struct part *from)
{
    struct rowlist *list = rowlist_new(ROWS);
    for (uint32_t i = 0; i < ROWS; i++)
        list->ids[i] = i;
    list->missing = ROWS;
    table_find(&from->table, list);
    for (uint32_t i = 0; i < ROWS; i++) {
        const float *record = list->rows[i] == ROW_NONE ? NULL : table_record(&from->table, list->rows[i]);
        if (!record || record_stamp(record) == 0)
            continue;
        struct rowlist *one = rowlist_new(1);
        one->ids[0] = i;
        one->missing = 1;
        cr_assert_eq(table_make(&to->table, one), DP_OK);
        table_stamp(&to->table, one->rows[0], record_stamp(record));
        memcpy(table_record(&to->table, one->rows[0]), record, from->table.stride * sizeof *record);
        rowlist_release(&one);
    }
    rowlist_release(&list);
}

/* A part that begins at a later step with the rows of then ends with the bits of one that began at 0. */
Test(part, goes_on_from_a_later_step)
{
    const struct update_rule *rules[] = {&rule_sgd, &rule_momentum, &rule_adam, &rule_ftrl};
    float *want = mem_array(ELEMS, sizeof *want), *got = mem_array(ELEMS, sizeof *got);
    for (size_t r = 0; r < ARRAY_LEN(rules) * 2; r++) {
        struct shard_job whole = job_of(rules[r / 2], r % 2 ? TENSOR_HASHED : TENSOR_TABLE), later = whole;
        struct part a, b;
        struct metrics m;
        later.first_step = STEPS / 3;
        start(&a, &whole, 0, ROWS - 1);
        start(&b, &later, 0, ROWS - 1);
        cr_assert_not(part_holds(&b, later.first_step - 1), "before its time");
        while (a.window.next < later.first_step) {
            step_part(&a, &m);
            part_release_before(&a, a.window.next);
        }
        copy_rows(&b, &a);
        cr_assert_eq(part_version(&a, a.window.next), part_version(&b, b.window.next));
        for (; a.window.next < STEPS; part_release_before(&a, a.window.next), part_release_before(&b, b.window.next)) {
            step_part(&a, &m);
            step_part(&b, &m);
        }
        read_range(&a, STEPS, want);
        read_range(&b, STEPS, got);
        cr_assert_eq(memcmp(want, got, ELEMS * sizeof *want), 0, "rule %s, kind %zu", rules[r / 2]->name, r % 2);
        part_fini(&a);
        part_fini(&b);
    }
    free(want);
    free(got);
    ASSERT_NO_LEAKS();
}

Test(part, it_waits_where_too_many_versions_would_have_to_be_held)
{
    struct shard_job job = job_of(&rule_sgd, TENSOR_TABLE);
    job.plan.train_steps = 2 * PART_STEPS;
    struct part part;
    struct metrics m;
    start(&part, &job, 0, ROWS - 1);
    for (uint32_t i = 0; i < PART_STEPS - 1; i++)
        step_part(&part, &m);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        push_slot(&part, part.window.next, slot);
    cr_assert_not(part_ready(&part));
    part_release_before(&part, 1);
    cr_assert(part_ready(&part));
    part_fini(&part);
    ASSERT_NO_LEAKS();
}

Test(part, reads_make_no_rows)
{
    struct shard_job job = job_of(&rule_adam, TENSOR_HASHED);
    static float out[ELEMS];
    struct part part;
    struct metrics m;
    start(&part, &job, 0, UINT64_MAX);
    step_part(&part, &m);
    uint32_t count = part.table.count;
    cr_assert(count > 0 && count < ROWS && part.table.touched == count);
    read_range(&part, 1, out);
    read_range(&part, 0, out);
    cr_assert_eq(part.table.count, count);
    part_fini(&part);
    ASSERT_NO_LEAKS();
}

/* -- reports -- */

/* The totals of the report at step 3, over two parts cut at `cut` as of two shards. */
static void report_of(const struct shard_job *job, uint64_t cut, double *ret_totals)
{
    const struct range none[2] = {{0, 0}, {0, 0}};
    struct exchange exchange;
    struct metrics m;
    double *totals = NULL;
    cr_assert_eq(exchange_init(&exchange, &job->tensors, 2, none), DP_OK);
    for (uint32_t p = 0; p < 2; p++) {
        struct part part;
        start(&part, job, p ? cut : 0, p ? job->tensors.list[0].last_row : cut - 1);
        exchange_add_blocks(&exchange, p, 0, part_blocks(&part));
        part_fini(&part);
    }
    for (uint32_t p = 0; p < 2; p++) {
        struct part part;
        start(&part, job, p ? cut : 0, p ? job->tensors.list[0].last_row : cut - 1);
        while (part.window.next <= 3)
            step_part(&part, &m);
        cr_assert_null(part_report_take(&part, 2), "not the end of an epoch");
        double *sums = part_report_take(&part, 3);
        cr_assert_not_null(sums);
        cr_assert_eq(exchange_add(&exchange, p, 3, EXCHANGE_REPORT, shard_job_report_values(job), sums, &totals),
                     DP_OK);
        cr_assert_eq(totals != NULL, p == 1);
        part_fini(&part);
    }
    memcpy(ret_totals, totals, shard_job_report_values(job) * sizeof *totals);
    free(totals);
    exchange_fini(&exchange);
}

Test(part, reports_add_up_over_shards_with_the_same_bits)
{
    struct shard_job job = job_of(&rule_momentum, TENSOR_TABLE);
    job.regular[0] = (struct regular){.l1 = 0.01, .l2 = 0.1};
    double want[REPORT_VALUES], got[REPORT_VALUES], squares = 0;
    static float theta[ELEMS];
    struct part part;
    struct metrics m;
    report_of(&job, 30, want);
    for (uint64_t cut = 1; cut < ROWS; cut += 11) {
        report_of(&job, cut, got);
        cr_assert_arr_eq(got, want, sizeof want);
    }
    start(&part, &job, 0, ROWS - 1);
    while (part.window.next < 3)
        step_part(&part, &m);
    read_range(&part, 3, theta);
    for (uint32_t i = 0; i < ELEMS; i++)
        squares += (double)theta[i] * (double)theta[i];
    part_fini(&part);
    cr_assert_float_eq(want[REPORT_SQUARES], squares, 1e-9 * squares, "of all rows as the step found them");
    cr_assert_eq(want[REPORT_ELEMS], ELEMS);
    cr_assert_gt(want[REPORT_GRADIENT], 0);
    ASSERT_NO_LEAKS();
}

/* If rows begin as zeros, untouched ones are counted, not looked at. */
Test(part, reports_of_zeros)
{
    struct shard_job zeros = job_of(&rule_adam, TENSOR_TABLE), all = zeros;
    double got[REPORT_VALUES], want[REPORT_VALUES];
    zeros.tensors.list[0].init = INIT_ZEROS;
    all.tensors.list[0].init = INIT_CONSTANT;
    all.tensors.list[0].init_arg = 0;
    for (uint64_t cut = 1; cut < ROWS; cut += 29) {
        report_of(&zeros, cut, got);
        report_of(&all, cut, want);
        cr_assert_eq(got[REPORT_ELEMS], ELEMS);
        cr_assert(got[REPORT_ZEROS] > 0 && got[REPORT_ZEROS] == want[REPORT_ZEROS]);
        cr_assert_float_eq(got[REPORT_SQUARES], want[REPORT_SQUARES], 1e-12 * want[REPORT_SQUARES]);
    }
    ASSERT_NO_LEAKS();
}

/* A hashed table reports what was touched before the step. */
Test(part, reports_of_hashed_tables)
{
    struct shard_job job = job_of(&rule_sgd, TENSOR_HASHED), ranged = job_of(&rule_sgd, TENSOR_TABLE);
    double got[REPORT_VALUES], all[REPORT_VALUES];
    report_of(&job, UINT64_C(1) << 54, got);
    report_of(&ranged, 30, all);
    cr_assert(got[REPORT_ELEMS] > 0 && got[REPORT_ELEMS] < ELEMS && fmod(got[REPORT_ELEMS], DIM) == 0);
    cr_assert_lt(got[REPORT_SQUARES], all[REPORT_SQUARES]);
    cr_assert_float_eq(got[REPORT_GRADIENT], all[REPORT_GRADIENT], 1e-9 * all[REPORT_GRADIENT]);
    ASSERT_NO_LEAKS();
}

/* -- short memory -- */

#define REFUSED(change, says)                                                          \
    do {                                                                               \
        struct shard_job job = job_of(&rule_sgd, TENSOR_TABLE);                        \
        dp_error err_ = {0};                                                           \
        change;                                                                        \
        cr_assert_eq(rowrule_check(&job, &err_), DP_USAGE, "%s was taken", #change);   \
        cr_assert(strstr(err_.text, says), "'%s' does not say '%s'", err_.text, says); \
    } while (0)

static void constrain(struct shard_job *job, enum constraint_kind kind, enum constraint_method method)
{
    job->constraints.method = method;
    job->constraints.count = 1;
    job->constraints.list[0] = (struct constraint){.kind = kind, .mask = 1};
}

Test(part, what_tables_cannot_have)
{
    REFUSED(job.rule = &rule_lars, "norm of the whole");
    REFUSED(job.rule = &rule_lamb, "norm of the whole");
    REFUSED(job.regular[0].group = 1, "--group-lasso");
    REFUSED(job.params.clip_norm = 1, "--clip-value");
    REFUSED(job.plan.train_steps = UINT64_C(1) << 33, "training steps");
    REFUSED(constrain(&job, CONSTRAINT_L2_BALL, METHOD_PROJECT), "l2-ball");
    REFUSED(constrain(&job, CONSTRAINT_NONNEG, METHOD_PENALTY), "penalties");
    REFUSED((constrain(&job, CONSTRAINT_NONNEG, METHOD_PROJECT), job.rule = &rule_momentum), "momentum");
    REFUSED((constrain(&job, CONSTRAINT_NONNEG, METHOD_PROJECT), job.rule = &rule_adagrad, job.regular[0].l2 = 1),
            "decoupled");
    REFUSED((constrain(&job, CONSTRAINT_UNIT_NORM, METHOD_PROJECT), job.regular[0].l1 = 1), "turn");
    struct shard_job dense = job_of(&rule_lars, TENSOR_DENSE);
    cr_assert_eq(rowrule_check(&dense, NULL), DP_OK, "there is no table");
}
