/* A job that begins with the values of a checkpoint has the bits of the job that the checkpoint is of, whatever layout
 * of shards, slices and parts each of them has, and whatever its files were written beside. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "common/terms/constraint_text.h"
#include "server/shard/cut.h"
#include "server/shard/parts.h"
#include "server/store/source.h"
#include "tests/unit/support/checkpoints.h"
#include "tests/unit/support/cluster.h"
#include "tests/unit/support/leaks.h"
#include "tests/unit/support/reference.h"

enum {
    A = 90,
    B = 70,
    ELEMS = A + B,
    TABLE = 1, /* number of the table among tensors, where there is one */
    ROWS = 60,
    DIM = 2,
    STRIDE_MAX = 1 + DIM * (1 + UPDATE_STATE_MAX),
    SLOTS = 3,
    EPOCH = 5,
    STEPS = 14,
    PARTS_MAX = 8,
    REPORT_MAX = 3 * 64
};

/* A layout of the same job. */
struct layout {
    uint32_t shards, parts;
    uint64_t slice_elems;
};

struct run {
    struct cluster cluster;
    struct layout layout;
    struct shard_job job;
    struct part_range parts[PARTS_MAX];
    uint32_t first_part[CLUSTER_SHARDS_MAX + 1];
};

/* ---- jobs ---- */

static struct shard_job job_of(const struct update_rule *rule, bool table)
{
    const uint64_t a = A, b = B, rows[] = {ROWS, DIM};
    dp_error err;
    struct shard_job job = {
        .plan =
            {.seed = 3, .train_rows = 8 * EPOCH - 1, .eval_rows = 6, .batch = 8, .train_steps = STEPS, .slots = SLOTS},
        .rule = rule,
        .params = reference_params(rule, 0.05),
        .constraints = {.method = METHOD_PROJECT, .beta = 0.5, .rho_max = 64, .every = 1}};
    job.params.schedule.kind = SCHEDULE_INV_SQRT;
    job.params.schedule.decay = 0.1;
    cr_assert_eq(tensors_add(&job.tensors, "a", 1, &a, INIT_NORMAL, 0.5F, true, &err), DP_OK);
    if (table)
        cr_assert_eq(tensors_add_table(&job.tensors, "t", TENSOR_TABLE, 2, rows, INIT_NORMAL, 0.5F, true, &err), DP_OK);
    cr_assert_eq(tensors_add(&job.tensors, "b.state0", 1, &b, INIT_NORMAL, 0.5F, true, &err), DP_OK);
    return job;
}

static void constrain(struct shard_job *job, const char *constraint, enum constraint_method method)
{
    dp_error err;
    job->constraints.method = method;
    cr_assert_eq(constraints_add(&job->constraints, constraint, &err), DP_OK, "%s", err.text);
    cr_assert_eq(constraints_resolve(&job->constraints, &job->tensors, &err), DP_OK, "%s", err.text);
}

static bool has_table(const struct shard_job *job)
{
    return job->tensors.count == 3;
}

/* ---- runs ---- */

static void start_parts(struct run *run)
{
    const struct layout *l = &run->layout;
    dp_error err;
    for (uint32_t p = 0; p < l->parts; p++)
        run->parts[p] =
            (struct part_range){TABLE, (uint64_t)ROWS * p / l->parts, (uint64_t)ROWS * (p + 1) / l->parts - 1};
    for (uint32_t s = 0; s < l->shards; s++) {
        const uint32_t first = l->parts * s / l->shards, end = l->parts * (s + 1) / l->shards;
        const uint64_t span = layout_table_span(&run->job.tensors.list[TABLE]);
        run->first_part[s] = first;
        run->first_part[s + 1] = end;
        for (uint32_t p = first; p < end; p++)
            exchange_add_blocks(&run->cluster.exchange, s, TABLE,
                                (run->parts[p].last - run->parts[p].first) / span + 1);
        cr_assert_eq(
            shard_rows_start(&run->cluster.ends[s].shard, 100 + first, run->parts + first, end - first, 1 << 20, &err),
            DP_OK, "%s", err.text);
    }
}

/* `from` may be NULL. */
static struct run *run_new(const struct shard_job *job, struct layout layout, struct values_source *from,
                           uint64_t first)
{
    struct run *run = mem_array_zero(1, sizeof *run);
    cr_assert_not_null(run);
    run->layout = layout;
    run->job = *job;
    run->job.from = from;
    run->job.first_step = first;
    cluster_start(&run->cluster, &run->job, layout.shards, layout.slice_elems);
    if (has_table(job))
        start_parts(run);
    for (uint32_t s = 0; s < layout.shards; s++)
        run->cluster.ends[s].shard.own.from = NULL;
    return run;
}

static void run_free(struct run *run)
{
    cluster_stop(&run->cluster);
    free(run);
}

static float gradient(uint64_t step, uint32_t slot, uint64_t elem)
{
    return 4 * sinf((float)(elem * 7 + slot * 131 + step * 17));
}

/* Rows that a slot touches: other ones at each step, and some first when the job is nearly over. */
static bool touches(uint64_t step, uint32_t slot, uint64_t id)
{
    return (id * 11 + step * 5 + slot * 3) % 13 == 0 && id < 25 + 3 * step;
}

static void push_rows(struct run *run, uint32_t s, uint32_t p, uint64_t step, uint32_t slot)
{
    struct shard *shard = &run->cluster.ends[s].shard;
    const uint32_t own = p - run->first_part[s];
    struct push_pull msg = {
        .piece = shard->slice_count + own, .push = true, .step = step, .metrics = {.count = 2, .loss = 1}};
    uint64_t ids[ROWS];
    uint32_t count = 0;
    float *values = mem_array((size_t)ROWS * DIM, sizeof *values);
    cr_assert_not_null(values);
    for (uint64_t id = run->parts[p].first; id <= run->parts[p].last; id++) {
        if (!touches(step, slot, id))
            continue;
        for (uint32_t d = 0; d < DIM; d++)
            values[(size_t)count * DIM + d] = gradient(step, slot, 1000 + id * DIM + d);
        ids[count++] = id;
    }
    struct blob payload = {values, (size_t)count * DIM * sizeof *values, values, free};
    msg.node = steps_node(shard->pieces[msg.piece].window, 0, slot);
    if (count > 0 && plan_question(&run->job.plan, step)->pushes)
        msg.push_list = shard_rows_learn(shard, own, step * SLOTS + slot, count, ids);
    if (!msg.push_list)
        blob_release(&payload);
    shard_push_pull(shard, &msg, &payload);
    rowlist_release(&msg.push_list);
}

/* An evaluation has no gradients. */
static void push_nothing(struct run *run, uint64_t step)
{
    for (uint32_t s = 0; s < run->layout.shards; s++) {
        struct shard *shard = &run->cluster.ends[s].shard;
        for (uint32_t i = 0; i < shard->slice_count; i++)
            for (uint32_t k = 0; k < SLOTS; k++) {
                struct push_pull msg = {.piece = i, .push = true, .step = step, .metrics = {.count = 2}};
                struct blob none = {0};
                msg.node = steps_node(shard->pieces[i].window, 0, k);
                shard_push_pull(shard, &msg, &none);
            }
    }
}

static void run_step(struct run *run, uint64_t step)
{
    static float slots[SLOTS * ELEMS];
    for (uint32_t s = 0; has_table(&run->job) && s < run->layout.shards; s++)
        for (uint32_t p = run->first_part[s]; p < run->first_part[s + 1]; p++)
            for (uint32_t k = 0; k < SLOTS; k++)
                push_rows(run, s, p, step, k);
    for (uint32_t k = 0; k < SLOTS; k++)
        for (uint64_t i = 0; i < ELEMS; i++)
            slots[k * ELEMS + i] = gradient(step, k, i);
    if (plan_question(&run->job.plan, step)->pushes)
        cluster_step_slots(&run->cluster, step, slots, step);
    else
        push_nothing(run, step);
    for (uint32_t s = 0; s < run->layout.shards; s++) {
        cr_assert_eq(run->cluster.ends[s].shard.low, step + 1);
        shard_global_low(&run->cluster.ends[s].shard, step + 1);
    }
}

static void run_until(struct run *run, uint64_t end)
{
    for (uint64_t step = run->cluster.ends[0].shard.low; step < end; step++)
        run_step(run, step);
}

/* ---- all that there is at the end ---- */

struct end {
    float theta[ELEMS], state[UPDATE_STATE_MAX][ELEMS];
    uint32_t rows[ROWS][STRIDE_MAX]; /* with stamps */
    struct multipliers multipliers;
    uint64_t report_step;
    double report[REPORT_MAX];
};

static void look_at_rows(const struct part *part, struct end *end)
{
    for (uint64_t id = part->table.first; (id = table_next_touched(&part->table, id)) <= part->table.last; id++)
        memcpy(end->rows[id], table_record(&part->table, (uint32_t)(id - part->table.first)),
               part->table.stride * sizeof(float));
}

static struct end *end_of(const struct run *run)
{
    struct end *end = mem_array_zero(1, sizeof *end);
    const struct cluster *c = &run->cluster;
    cr_assert_not_null(end);
    cluster_theta(c, plan_total(&run->job.plan), end->theta);
    for (uint32_t s = 0; s < c->shard_count; s++) {
        const struct shard *shard = &c->ends[s].shard;
        for (uint32_t k = 0; k < shard->slice_count; k++)
            for (uint32_t i = 0; i < run->job.rule->state_count; i++)
                memcpy(end->state[i] + shard->slices[k].range.first, shard->slices[k].state[i],
                       shard->slices[k].range.count * sizeof(float));
        for (uint32_t p = 0; p < shard->tables.count; p++)
            look_at_rows(&shard->tables.parts[p], end);
        end->multipliers = shard->phases.multipliers;
    }
    const size_t values = run->job.tensors.count * shard_job_report_values(&run->job);
    cr_assert_leq(values, REPORT_MAX);
    end->report_step = c->report_step;
    if (c->report)
        memcpy(end->report, c->report, values * sizeof *end->report);
    return end;
}

static void compare(const struct end *got, const struct end *want, const char *about)
{
    cr_assert_arr_eq(got->theta, want->theta, sizeof got->theta, "theta of %s", about);
    cr_assert_arr_eq(got->state, want->state, sizeof got->state, "state of %s", about);
    cr_assert_arr_eq(got->rows, want->rows, sizeof got->rows, "rows of %s", about);
    cr_assert_arr_eq(&got->multipliers, &want->multipliers, sizeof got->multipliers, "multipliers of %s", about);
    cr_assert_eq(got->report_step, want->report_step, "%s", about);
    cr_assert_arr_eq(got->report, want->report, sizeof got->report, "report of %s", about);
}

/* ---- checkpoints ---- */

static struct folder folder;

static void set_up(void)
{
    checkpoints_open(&folder);
}

static void tear_down(void)
{
    checkpoints_close(&folder);
}

TestSuite(resume, .init = set_up, .fini = tear_down);

/* The checkpoint at `cut` of a run that is stopped some steps later: its bytes are made then. */
static void checkpoint(struct run *run, uint64_t cut, uint64_t later)
{
    struct shard *shards[CLUSTER_SHARDS_MAX];
    dp_error err;
    run_until(run, cut > 1 ? cut - 1 : 0);
    for (uint32_t s = 0; s < run->layout.shards; s++) {
        shards[s] = &run->cluster.ends[s].shard;
        cr_assert_eq(cut_arm(shards[s], cut, plan_trained(&run->job.plan, cut), &err), DP_OK, "%s", err.text);
    }
    run_until(run, MIN(cut + later, plan_total(&run->job.plan)));
    checkpoints_write(&folder, shards, run->layout.shards);
}

static struct run *resume(const struct shard_job *job, struct layout layout, uint64_t cut)
{
    struct values_source *from;
    dp_error err;
    cr_assert_eq(source_open(&folder, plan_trained(&job->plan, cut), &from, &err), DP_OK, "%s", err.text);
    struct run *run = run_new(job, layout, from, cut);
    source_close(&from);
    return run;
}

static const struct layout LAYOUTS[] = {{1, 1, 1 << 20}, {2, 3, 48}, {3, 5, 16}, {5, 8, 32}};

/* All layouts after all others, and the same ones again, each cut at another step. */
static void check_all(const struct shard_job *job, const char *about)
{
    const uint64_t total = plan_total(&job->plan);
    struct run *quiet = run_new(job, LAYOUTS[0], NULL, 0);
    run_until(quiet, total);
    struct end *want = end_of(quiet);
    run_free(quiet);
    for (uint32_t i = 0; i < ARRAY_LEN(LAYOUTS) * ARRAY_LEN(LAYOUTS); i++) {
        const struct layout before = LAYOUTS[i / ARRAY_LEN(LAYOUTS)], after = LAYOUTS[i % ARRAY_LEN(LAYOUTS)];
        const uint64_t cut = i % (total - 1);
        char text[160];
        snprintf(text, sizeof text, "%s, rule %s, cut at %" PRIu64 ", %u shards, then %u", about, job->rule->name, cut,
                 before.shards, after.shards);
        struct run *run = run_new(job, before, NULL, 0);
        checkpoint(run, cut, i % 4);
        run_free(run);
        run = resume(job, after, cut);
        run_until(run, total);
        struct end *got = end_of(run);
        compare(got, want, text);
        run_free(run);
        free(got);
    }
    free(want);
}

Test(resume, slices_go_on_with_the_same_bits, .timeout = 300)
{
    for (int r = 0; r < UPDATE_RULES; r++) {
        struct shard_job job = job_of(update_rule_at(r), false);
        check_all(&job, "dense");
        job.regular[0].l1 = job.regular[1].l2 = 0.01;
        job.params.clip_norm = 3;
        check_all(&job, "clipped");
    }
    ASSERT_NO_LEAKS();
}

Test(resume, rows_go_on_with_the_same_bits, .timeout = 300)
{
    uint32_t rules = 0;
    dp_error err;
    for (int r = 0; r < UPDATE_RULES; r++) {
        struct shard_job job = job_of(update_rule_at(r), true);
        job.regular[TABLE].l1 = job.regular[TABLE].l2 = 0.01;
        if (rowrule_check(&job, &err))
            continue;
        check_all(&job, "a table");
        rules++;
    }
    cr_assert_geq(rules, 4);
    ASSERT_NO_LEAKS();
}

/* Multipliers that grow at each step; a table's part is past a step before the slices that await sums of all shards. */
Test(resume, multipliers_go_on, .timeout = 300)
{
    for (int table = 0; table < 2; table++) {
        struct shard_job job = job_of(&rule_sgd, table);
        constrain(&job, "sum=1@b.state0", METHOD_AUGMENTED);
        constrain(&job, "l2-ball=1@a", METHOD_AUGMENTED);
        check_all(&job, table ? "multipliers beside a table" : "multipliers");
        constraints_fini(&job.constraints);
    }
    struct shard_job job = job_of(&rule_adam, false);
    constrain(&job, "l2-ball=1", METHOD_PROJECT);
    check_all(&job, "a ball");
    constraints_fini(&job.constraints);
    ASSERT_NO_LEAKS();
}

/* Rows that were last touched long ago are brought up to date with the rates of then. */
Test(resume, rows_know_the_rates_of_the_past)
{
    static struct schedule_change past[] = {{2, 0.3}};
    struct schedule_past rates = {.count = 1, .room = 1, .list = past};
    struct shard_job job = job_of(&rule_momentum, true);
    const uint64_t total = plan_total(&job.plan), cut = plan_step_of(&job.plan, 7);
    job.regular[TABLE].l2 = 0.01;
    cr_assert(schedule_set(&job.params.schedule, 2, 0.3) && schedule_set(&job.params.schedule, 6, 0.02) &&
              schedule_set(&job.params.schedule, 9, 0.1));
    struct run *run = run_new(&job, LAYOUTS[1], NULL, 0);
    checkpoint(run, cut, 2);
    run_until(run, total);
    struct end *want = end_of(run);
    run_free(run);
    job.params.schedule.past = &rates;
    job.params.schedule.change_count = 2;
    memmove(job.params.schedule.changes, job.params.schedule.changes + 1, 2 * sizeof *job.params.schedule.changes);
    run = resume(&job, LAYOUTS[2], cut);
    run_until(run, total);
    struct end *got = end_of(run);
    compare(got, want, "rates of the past");
    run_free(run);
    free(got);
    free(want);
    ASSERT_NO_LEAKS();
}

/* Such a job is there to be exported. */
Test(resume, a_job_may_begin_at_its_end)
{
    struct shard_job job = job_of(&rule_adam, true);
    const uint64_t total = plan_total(&job.plan);
    dp_error err;
    for (uint32_t i = 0; i < ARRAY_LEN(LAYOUTS); i++) {
        struct run *run = run_new(&job, LAYOUTS[0], NULL, 0);
        checkpoint(run, total, 0);
        struct end *want = end_of(run);
        run_free(run);
        run = resume(&job, LAYOUTS[i], total);
        struct end *got = end_of(run);
        got->report_step = want->report_step;
        memcpy(got->report, want->report, sizeof got->report);
        compare(got, want, "the end");
        struct shard *shard = &run->cluster.ends[0].shard;
        cr_assert_eq(shard->low, total);
        shard_global_low(shard, total);
        cr_assert_eq(cut_arm(shard, total, STEPS, &err), DP_OK, "%s", err.text);
        cr_assert(cut_is_ready(shard), "it may be kept again");
        run_free(run);
        free(got);
        free(want);
    }
    ASSERT_NO_LEAKS();
}
