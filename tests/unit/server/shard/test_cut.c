/* The cut of a shard: the bytes of its file are those of a straightforward serialization of its state at the step,
 * whatever is committed while they are taken; cuts that come too late, are given up, or are made again. */
#include "server/shard/cut.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "server/shard/parts.h"
#include "server/shard/shard.h"
#include "common/checkpoint/shard_file.h"
#include "tests/unit/support/hear.h"
#include "server/table/read.h"
#include "tests/unit/support/leaks.h"

enum {
    SLICES = 3,
    PARTS = 2,
    ROWS = 100,
    DIM = 2,
    SLOTS = 2,
    STEPS = 30,
    CUT = 4,
    STALENESS = 2,
    FIRST = 48,
    A = 12,
    B = 48
};
/* The shard has elements [FIRST, FIRST + A + B) of theta: the end of tensor `a` and the first of `b`. */
static const struct range RANGES[SLICES] = {{FIRST, A + 16}, {FIRST + A + 16, 16}, {FIRST + A + 32, B - 32}};
static const struct part_range PART_RANGES[PARTS] = {{2, 0, 49}, {2, 50, 99}};

struct world {
    struct shard_job job;
    struct shard shard;
    struct shard_counters counters;
    uint32_t completed;
    uint32_t ready; /* times that the cut was said to be */
};

static void hear_params(void *arg, const struct params *params)
{
    (void)arg, (void)params;
}

static void hear_rows(void *arg, const struct rows_params *rows)
{
    (void)arg;
    free(rows->values);
}

static void hear_refusal(void *arg, const struct refusal *refusal)
{
    (void)arg;
    cr_assert_fail("%s", refusal->text);
}

static void hear_arrived(void *arg, uint32_t session, uint64_t step, uint32_t node)
{
    (void)arg, (void)session, (void)step, (void)node;
}

static void hear_completed(void *arg, uint64_t step, const struct metrics *m)
{
    struct world *w = arg;
    (void)step, (void)m;
    w->completed++;
}

static void hear_failed(void *arg, const dp_error *err)
{
    (void)arg;
    cr_assert_fail("%s", err->text);
}

static void hear(void *arg, const struct event *event)
{
    hear_event(&(struct hearing){.completed = hear_completed, .failed = hear_failed}, arg, event);
}

static void hear_cut(void *arg)
{
    struct world *w = arg;
    w->ready++;
}

static void set_up(struct world *w, const struct update_rule *rule, uint64_t eval_rows)
{
    const uint64_t a[] = {FIRST + A}, b[] = {B + 16}, table[] = {ROWS, DIM};
    const struct shard_calls calls = {.params = hear_params,
                                      .rows = hear_rows,
                                      .refuse = hear_refusal,
                                      .arrived = hear_arrived,
                                      .emit = hear,
                                      .cut = hear_cut,
                                      .arg = w};
    dp_error err;
    *w = (struct world){.job = {.plan = {.seed = 1,
                                         .train_rows = 40,
                                         .eval_rows = eval_rows,
                                         .batch = 20,
                                         .train_steps = STEPS,
                                         .slots = SLOTS},
                                .rule = rule,
                                .params = {.schedule = {.lr = 0.1, .period = 1, .period_mult = 1, .every = 1},
                                           .momentum = 0.9,
                                           .beta1 = 0.9,
                                           .beta2 = 0.99,
                                           .eps = 1e-8,
                                           .trust = 0.01}}};
    cr_assert_eq(tensors_add(&w->job.tensors, "a", 1, a, INIT_NORMAL, 1, true, &err), DP_OK);
    cr_assert_eq(tensors_add(&w->job.tensors, "b", 1, b, INIT_NORMAL, 1, true, &err), DP_OK);
    cr_assert_eq(tensors_add_table(&w->job.tensors, "t", TENSOR_TABLE, 2, table, INIT_NORMAL, 1, true, &err), DP_OK);
    shard_init(&w->shard, 3, &w->counters, &calls);
}

static void start(struct world *w, bool tables)
{
    dp_error err;
    cr_assert_eq(shard_start(&w->shard, &w->job, 5, RANGES, SLICES, &err), DP_OK, "%s", err.text);
    if (tables)
        cr_assert_eq(shard_rows_start(&w->shard, 20, PART_RANGES, PARTS, 1 << 20, &err), DP_OK, "%s", err.text);
}

static void tear_down(struct world *w)
{
    shard_fini(&w->shard);
    ASSERT_NO_LEAKS();
}

/* ---- steps ---- */

static float gradient(uint64_t step, uint32_t slot, uint64_t elem)
{
    return sinf((float)(elem * 7 + slot * 131 + step * 17));
}

static struct blob floats_new(uint64_t step, uint32_t slot, uint64_t first, size_t count)
{
    float *g = mem_array(count, sizeof *g);
    cr_assert(g);
    for (size_t i = 0; i < count; i++)
        g[i] = gradient(step, slot, first + i);
    return (struct blob){g, count * sizeof *g, g, free};
}

/* A slot of the piece's step; some rows are first touched late. */
static void push(struct world *w, uint32_t piece, uint64_t step, uint32_t slot)
{
    struct push_pull msg = {.piece = piece, .push = true, .step = step, .node = SLOTS + slot, .metrics = {10, 1, 2}};
    struct blob payload = {0};
    const bool asks = plan_question(&w->job.plan, step)->pushes != NULL;
    if (asks && piece < SLICES) {
        payload = floats_new(step, slot, RANGES[piece].first, RANGES[piece].count);
    } else if (asks) {
        const uint32_t part = piece - SLICES, n = 8;
        uint64_t ids[8];
        for (uint32_t i = 0; i < n; i++)
            ids[i] = PART_RANGES[part].first + (step / 2 + slot) % 6 + 6 * i;
        msg.push_list = shard_rows_learn(&w->shard, part, step * SLOTS + slot, n, ids);
        payload = floats_new(step, slot, ids[0], (size_t)n * DIM);
    }
    shard_push_pull(&w->shard, &msg, &payload);
    rowlist_release(&msg.push_list);
}

/* The open step of a piece. */
static void step_piece(struct world *w, uint32_t piece)
{
    const uint64_t step = w->shard.pieces[piece].window->next;
    for (uint32_t k = 0; k < SLOTS; k++)
        push(w, piece, step, k);
}

static void step_all(struct world *w)
{
    for (uint32_t i = 0; i < w->shard.piece_count; i++)
        step_piece(w, i);
    shard_global_low(&w->shard, w->shard.low);
}

/* ---- a straightforward serialization ---- */

struct text {
    size_t bytes, room;
    char *data;
};

static void add(struct text *text, const void *data, size_t bytes)
{
    if (text->bytes + bytes > text->room) {
        text->room = 2 * (text->bytes + bytes);
        text->data = realloc(text->data, text->room);
        cr_assert(text->data);
    }
    memcpy(text->data + text->bytes, data, bytes);
    text->bytes += bytes;
}

struct arrivals {
    uint32_t count;
    struct shard_file_arrivals list[SLICES];
    struct metrics sums[SLICES][STALENESS + 1];
    uint8_t accepted[SLICES][STALENESS + 1]; /* a byte has all slots */
};

/* On arrival: the slots of open steps that each slice has. */
static void find_arrivals(const struct world *w, struct arrivals *to)
{
    for (uint32_t i = 0; i < SLICES; i++) {
        const struct slice *slice = &w->shard.slices[i];
        const struct steps *window = &slice->window;
        if (slice_staleness(slice, window->next) == 0)
            continue;
        for (uint64_t step = window->next; step < window->opened; step++) {
            to->sums[i][step - window->next] = slice->arrived[step % SLICE_VERSIONS];
            for (uint32_t k = 0; k < SLOTS; k++)
                to->accepted[i][step - window->next] |= (uint8_t)(steps_present(window, step, window->leaves + k) << k);
        }
        to->list[to->count++] = (struct shard_file_arrivals){
            RANGES[i].first, RANGES[i].count, window->opened - window->next, to->sums[i], to->accepted[i]};
    }
}

static void add_head(struct world *w, struct text *to, uint64_t step, uint64_t train_step)
{
    struct shard_file_range ranges[] = {{"a", FIRST, A}, {"b", 0, B}};
    struct shard_file_part parts[PARTS];
    struct arrivals arrivals = {0};
    const struct shard *shard = &w->shard;
    for (uint32_t i = 0; i < shard->tables.count; i++)
        parts[i] = (struct shard_file_part){"t",
                                            PART_RANGES[i].first,
                                            PART_RANGES[i].last,
                                            shard->tables.parts[i].table.touched,
                                            DIM,
                                            shard->tables.parts[i].rule.moves};
    find_arrivals(w, &arrivals);
    struct shard_file_facts facts = {.step = step,
                                     .train_step = train_step,
                                     .shard = 3,
                                     .slots = SLOTS,
                                     .states = w->job.rule->state_count,
                                     .range_count = 2,
                                     .ranges = ranges,
                                     .part_count = shard->tables.count,
                                     .parts = parts,
                                     .arrival_count = arrivals.count,
                                     .arrivals = arrivals.list,
                                     .multipliers = shard->phases.multipliers};
    strcpy(facts.rule, w->job.rule->name);
    char *head;
    size_t bytes;
    cr_assert_eq(shard_file_head(&facts, &head, &bytes), DP_OK);
    add(to, head, bytes);
    free(head);
}

/* Rows that were touched, in the order of their ids. */
static void add_rows(struct text *to, struct part *part)
{
    float now[DIM];
    const struct table *table = &part->table;
    for (uint64_t id = table->first; (id = table_next_touched(table, id)) != UINT64_MAX; id++) {
        add(to, &id, sizeof id);
        const float *record = table_record(table, (uint32_t)(id - table->first));
        add(to, record, table->stride * sizeof(float));
        rowrule_read(&part->rule, id, record, part_version(part, part->window.next), now);
        if (part->rule.moves)
            add(to, now, sizeof now);
        if (id == table->last)
            break;
    }
}

static struct text serialize(struct world *w, uint64_t step, uint64_t train_step)
{
    struct text text = {0};
    struct shard *shard = &w->shard;
    add_head(w, &text, step, train_step);
    for (uint32_t i = 0; i < shard->slice_count; i++)
        add(&text, slice_theta(&shard->slices[i], shard->slices[i].window.next)->theta,
            RANGES[i].count * sizeof(float));
    for (uint32_t s = 0; s < w->job.rule->state_count; s++)
        for (uint32_t i = 0; i < shard->slice_count; i++)
            add(&text, shard->slices[i].state[s], RANGES[i].count * sizeof(float));
    for (uint32_t i = 0; i < shard->tables.count; i++)
        add_rows(&text, &shard->tables.parts[i]);
    return text;
}

/* ---- the bytes of a cut ---- */

static int by_id(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

/* Rows may be in any order. */
static void sort_rows(struct world *w, struct text *text, const uint64_t *rows)
{
    size_t at = text->bytes;
    for (uint32_t i = w->shard.tables.count; i-- > 0;) {
        const uint32_t floats = 1 + w->job.rule->state_count + (w->shard.tables.parts[i].rule.moves ? 1 : 0);
        const size_t row_bytes = (2 + 1 + (size_t)DIM * floats) * sizeof(uint32_t);
        cr_assert_geq(at, rows[i] * row_bytes);
        at -= rows[i] * row_bytes;
        qsort(text->data + at, rows[i], row_bytes, by_id);
    }
}

/* All of it, with `between` steps after each piece of bytes. */
static struct text take(struct world *w, uint32_t between)
{
    struct text text = {0};
    for (bool more = true; more;) {
        struct blob bytes = {0};
        cr_assert_eq(cut_next(&w->shard, &bytes, &more), DP_OK);
        for (uint32_t i = 0; i < between && w->completed + 1 < STEPS; i++)
            step_all(w);
        if (bytes.bytes > 0)
            add(&text, bytes.data, bytes.bytes);
        blob_release(&bytes);
    }
    return text;
}

static void compare(struct text *got, struct text *want)
{
    cr_assert_eq(got->bytes, want->bytes, "%zu bytes of %zu", got->bytes, want->bytes);
    for (size_t i = 0; i < got->bytes; i++)
        cr_assert_eq(got->data[i], want->data[i], "byte %zu of %zu", i, got->bytes);
    free(got->data);
    free(want->data);
}

static void touched(const struct world *w, uint64_t rows[PARTS])
{
    for (uint32_t i = 0; i < w->shard.tables.count; i++)
        rows[i] = w->shard.tables.parts[i].table.touched;
}

static const struct update_rule *const RULES[] = {&rule_sgd, &rule_momentum, &rule_adam};

Test(cut, has_the_bytes_of_the_step)
{
    static struct world w;
    dp_error err;
    for (size_t r = 0; r < ARRAY_LEN(RULES); r++)
        for (uint32_t between = 0; between < 3; between++) {
            uint64_t rows[PARTS];
            set_up(&w, RULES[r], 0);
            start(&w, true);
            cr_assert_eq(cut_arm(&w.shard, CUT, CUT, &err), DP_OK, "%s", err.text);
            while (w.completed < CUT) {
                cr_assert_not(cut_is_ready(&w.shard));
                step_all(&w);
            }
            cr_assert(cut_is_ready(&w.shard) && w.ready == 1);
            struct text want = serialize(&w, CUT, CUT);
            touched(&w, rows);
            struct text got = take(&w, between);
            sort_rows(&w, &got, rows);
            compare(&got, &want);
            cut_drop(&w.shard);
            shard_fini(&w.shard);
        }
    ASSERT_NO_LEAKS();
}

/* A cut that comes while pieces are at the step, some of them, or none. */
Test(cut, keeps_pieces_that_are_there_at_once)
{
    static struct world w;
    dp_error err;
    set_up(&w, &rule_adam, 0);
    start(&w, true);
    while (w.completed < CUT)
        step_all(&w);
    struct text want = serialize(&w, CUT, 7);
    cr_assert_eq(cut_arm(&w.shard, CUT, 7, &err), DP_OK);
    cr_assert(cut_is_ready(&w.shard));
    cr_assert_eq(w.ready, 0, "the caller sees it");
    struct text got = take(&w, 0);
    compare(&got, &want);
    step_piece(&w, 0);
    step_piece(&w, SLICES);
    cr_assert_eq(cut_arm(&w.shard, CUT + 1, CUT + 1, &err), DP_OK);
    cr_assert_not(cut_is_ready(&w.shard), "only two pieces are there");
    step_piece(&w, 0);
    for (uint32_t i = 1; i < SLICES + PARTS; i++)
        if (i != SLICES)
            step_piece(&w, i);
    cr_assert(cut_is_ready(&w.shard) && w.ready == 1);
    tear_down(&w);
}

Test(cut, of_a_step_that_a_piece_is_past_is_late)
{
    static struct world w;
    dp_error err;
    set_up(&w, &rule_sgd, 0);
    start(&w, true);
    step_all(&w);
    step_piece(&w, SLICES + 1);
    cr_assert_eq(cut_arm(&w.shard, 1, 1, &err), DP_RANGE);
    cr_assert(strstr(err.text, "shard 3 is past step 1"), "%s", err.text);
    for (uint32_t i = 0; i < SLICES + PARTS; i++)
        step_piece(&w, i);
    cr_assert_eq(w.ready, 0, "nothing is cut");
    cr_assert_eq(cut_arm(&w.shard, STEPS + 1, 1, &err), DP_DATA);
    cr_assert_eq(cut_arm(&w.shard, 3, 3, &err), DP_OK);
    tear_down(&w);
}

Test(cut, may_be_given_up_and_made_again_at_any_time)
{
    static struct world w;
    dp_error err;
    for (uint32_t taken = 0; taken < 7; taken++) {
        set_up(&w, &rule_momentum, 0);
        start(&w, true);
        cut_drop(&w.shard); /* nothing is cut */
        cr_assert_eq(cut_arm(&w.shard, 2, 2, &err), DP_OK);
        step_all(&w);
        step_piece(&w, 1);
        if (taken == 6)
            cut_drop(&w.shard); /* one piece of five is kept */
        step_all(&w);
        for (uint32_t i = 0; i < taken && taken < 6; i++) {
            struct blob bytes = {0};
            bool more;
            cr_assert_eq(cut_next(&w.shard, &bytes, &more), DP_OK);
            blob_release(&bytes);
        }
        cr_assert_eq(cut_arm(&w.shard, CUT, CUT, &err), DP_OK); /* gives it up */
        while (!cut_is_ready(&w.shard))
            step_all(&w);
        struct text got = take(&w, 1);
        cr_assert_gt(got.bytes, (A + B) * 2 * sizeof(float));
        free(got.data);
        shard_fini(&w.shard); /* drops it */
    }
    ASSERT_NO_LEAKS();
}

/* A step before the loss says so: it must not take the place of one that is of use. */
Test(cut, of_theta_that_is_not_finite_is_none)
{
    static struct world w;
    dp_error err;
    struct blob bytes = {0};
    bool more;
    set_up(&w, &rule_momentum, 0);
    w.job.params.schedule.lr = 1e300;
    start(&w, true);
    cr_assert_eq(cut_arm(&w.shard, 2, 2, &err), DP_OK);
    step_all(&w);
    cr_assert_not(cut_is_ready(&w.shard));
    step_all(&w);
    cr_assert(cut_is_ready(&w.shard));
    cr_assert_eq(cut_next(&w.shard, &bytes, &more), DP_DIVERGED);
    tear_down(&w);
}

/* The state after an evaluation step, and at the end of the job. */
Test(cut, at_evaluations_and_the_end_has_the_bytes_of_the_step)
{
    static struct world w;
    dp_error err;
    set_up(&w, &rule_adam, 4);
    start(&w, true);
    const uint64_t total = plan_total(&w.job.plan), cuts[] = {3, total};
    for (size_t c = 0; c < ARRAY_LEN(cuts); c++) {
        const uint64_t train_step = cuts[c] == total ? STEPS : plan_at(&w.job.plan, cuts[c]).train_step;
        cr_assert_eq(cut_arm(&w.shard, cuts[c], train_step, &err), DP_OK);
        while (!cut_is_ready(&w.shard))
            step_all(&w);
        struct text want = serialize(&w, cuts[c], train_step), got = take(&w, 0);
        compare(&got, &want);
    }
    tear_down(&w);
}

Test(cut, on_arrival_has_the_slots_that_are_in_theta)
{
    static struct world w;
    dp_error err;
    set_up(&w, &rule_momentum, 0);
    cr_assert(consistency_set(&w.job.consistency, 0, STALENESS));
    start(&w, false);
    cr_assert_eq(cut_arm(&w.shard, 2, 2, &err), DP_OK);
    push(&w, 0, 2, 1);
    push(&w, 1, 1, 0);
    step_all(&w);
    push(&w, 0, 3, 0);
    push(&w, 0, 1, 0);
    push(&w, 1, 3, 1);
    push(&w, 1, 1, 1);
    cr_assert_not(cut_is_ready(&w.shard));
    cr_assert_eq(w.shard.slices[1].window.next, 2, "one is there already");
    push(&w, 0, 1, 1);
    step_piece(&w, 2);
    cr_assert(cut_is_ready(&w.shard));
    struct text want = serialize(&w, 2, 2), got = take(&w, 1);
    compare(&got, &want);
    tear_down(&w);
}

/* ---- global rules ---- */

/* The commit of the cut's step is half done: its state has changed already. */
Test(cut, amid_the_passes_of_its_step_is_late_once_they_have_changed_something)
{
    static struct world w;
    static const double totals[2 * 8] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    dp_error err;
    set_up(&w, &rule_lamb, 0);
    w.job.params.clip_norm = 1;
    start(&w, false);
    for (uint32_t i = 0; i < SLICES; i++)
        step_piece(&w, i);
    cr_assert(w.shard.phases.busy && w.shard.phases.pass == PASS_GATHER);
    struct text want = serialize(&w, 0, 0);
    cr_assert_eq(cut_arm(&w.shard, 0, 0, &err), DP_OK, "only sums were taken");
    shard_totals(&w.shard, 0, 0, totals);
    cr_assert(w.shard.phases.busy && w.shard.phases.pass == PASS_LAMB);
    struct text got = take(&w, 0);
    compare(&got, &want);
    cr_assert_eq(cut_arm(&w.shard, 0, 0, &err), DP_RANGE);
    cr_assert_eq(cut_arm(&w.shard, 1, 1, &err), DP_OK);
    shard_totals(&w.shard, 0, 1, totals);
    cr_assert(cut_is_ready(&w.shard) && w.ready == 1 && w.completed == 1);
    tear_down(&w);
}

Test(cut, has_the_multipliers_of_the_step)
{
    static struct world w;
    dp_error err;
    double totals[2 * 16] = {0};
    set_up(&w, &rule_sgd, 0);
    w.job.constraints = (struct constraints){
        .method = METHOD_AUGMENTED, .beta = 2, .rho_max = 64, .tolerance = 1e-6, .every = 1, .count = 1};
    w.job.constraints.list[0] =
        (struct constraint){.kind = CONSTRAINT_SUM, .arg = 3, .mask = 3, .elems = FIRST + A + B + 16};
    start(&w, false);
    cr_assert_eq(cut_arm(&w.shard, 2, 2, &err), DP_OK);
    struct multipliers at_cut = {0};
    for (uint64_t step = 0; step < 4; step++) {
        if (step == 2)
            at_cut = w.shard.phases.multipliers;
        for (uint32_t i = 0; i < SLICES; i++)
            step_piece(&w, i);
        cr_assert(w.shard.phases.busy);
        totals[commit_gather_values(&w.job) - 1] = (double)step + 0.5;
        shard_totals(&w.shard, step, 0, totals);
        shard_global_low(&w.shard, w.shard.low);
    }
    cr_assert_neq(at_cut.mu[0], w.shard.phases.multipliers.mu[0], "they go on changing");
    cr_assert_eq(memcmp(&w.shard.cut.multipliers, &at_cut, sizeof at_cut), 0);
    tear_down(&w);
}
