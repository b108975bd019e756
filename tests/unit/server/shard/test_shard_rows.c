/* Tables on a shard: pulls of rows wait for their step, lists are kept under their hash, a shard that has parts alone
 * completes steps, and slices and parts complete a step together. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "server/shard/ask.h"
#include "server/shard/parts.h"
#include "server/shard/shard.h"
#include "tests/unit/support/hear.h"
#include "tests/unit/support/leaks.h"

enum { ROWS = 100, DIM = 2, SLOTS = 2, STEPS = 3 };

/* The shard's calls. */
struct heard {
    size_t rows, params, refusals, completed;
    struct rows_params last; /* its values were copied */
    float values[ROWS * DIM];
    float *room; /* memory for the rows of the next answers, ROWS * DIM floats; NULL: none */
    dp_err last_refusal;
    uint32_t refused_part;
    uint64_t refused_step;
    struct metrics metrics;
};

static void hear_rows(void *arg, const struct rows_params *rows)
{
    struct heard *h = arg;
    h->rows++;
    h->last = *rows;
    if (rows->values)
        memcpy(h->values, rows->values, rows->bytes);
    if (!rows->shared)
        free(rows->values);
}

static float *give_room(void *arg, uint32_t session, uint64_t bytes, uint64_t *ret_at)
{
    const struct heard *h = arg;
    cr_assert_leq(bytes, ROWS * DIM * sizeof(float));
    *ret_at = 1000 + session;
    return h->room;
}

static void hear_params(void *arg, const struct params *params)
{
    struct heard *h = arg;
    (void)params;
    h->params++;
}

static void hear_refusal(void *arg, const struct refusal *refusal)
{
    struct heard *h = arg;
    h->refusals++;
    h->last_refusal = refusal->code;
    h->refused_part = refusal->slice;
    h->refused_step = refusal->step;
}

static void hear_completed(void *arg, uint64_t step, const struct metrics *m)
{
    struct heard *h = arg;
    cr_assert_eq(step, h->completed, "each step once, in order");
    h->completed++;
    h->metrics = *m;
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

struct fixture {
    struct shard_job job;
    struct shard shard;
    struct shard_counters counters;
    struct heard heard;
};

/* A table in two parts, ids 10 and 11; with a slice, id 9, or without. */
static void set_up(struct fixture *f, bool slice, uint64_t eval_rows)
{
    static const struct part_range parts[] = {{0, 0, 49}, {0, 50, 99}};
    const struct range range = {0, 4};
    const uint64_t table[] = {ROWS, DIM}, dense[] = {4};
    struct shard_calls calls = {.params = hear_params,
                                .refuse = hear_refusal,
                                .emit = hear,
                                .room = give_room,
                                .rows = hear_rows,
                                .arg = &f->heard};
    dp_error err;
    *f = (struct fixture){
        .job = {
            .plan =
                {.seed = 1, .train_rows = 8, .eval_rows = eval_rows, .batch = 8, .train_steps = STEPS, .slots = SLOTS},
            .rule = &rule_sgd,
            .params = {.schedule.lr = 1.0}}};
    cr_assert_eq(tensors_add_table(&f->job.tensors, "t", TENSOR_TABLE, 2, table, INIT_CONSTANT, 3, true, &err), DP_OK);
    if (slice)
        cr_assert_eq(tensors_add(&f->job.tensors, "d", 1, dense, INIT_ZEROS, 0, true, &err), DP_OK);
    shard_init(&f->shard, 0, &f->counters, &calls);
    cr_assert_eq(shard_start(&f->shard, &f->job, 9, &range, slice, &err), DP_OK);
    cr_assert_eq(shard_rows_start(&f->shard, 10, parts, 2, 1 << 20, &err), DP_OK);
}

static void tear_down(struct fixture *f)
{
    shard_fini(&f->shard);
    ASSERT_NO_LEAKS();
}

/* The part's first `count` rows: a new reference. */
static struct rowlist *some(struct fixture *f, uint32_t part, uint32_t count)
{
    uint64_t ids[ROWS];
    for (uint32_t i = 0; i < count; i++)
        ids[i] = part * 50 + i;
    return count ? shard_rows_learn(&f->shard, part, 1000 + count, count, ids) : NULL;
}

static void send(struct fixture *f, struct push_pull msg, uint32_t pushed, uint32_t pulled)
{
    struct blob values = {0};
    msg.push_list = some(f, msg.piece, pushed);
    msg.pull_list = some(f, msg.piece, pulled);
    if (pushed) {
        float *g = mem_array((size_t)pushed * DIM, sizeof *g);
        for (uint32_t i = 0; i < pushed * DIM; i++)
            g[i] = 4;
        values = (struct blob){g, (size_t)pushed * DIM * sizeof *g, g, free};
    }
    msg.piece += f->shard.slice_count;
    shard_push_pull(&f->shard, &msg, &values);
    rowlist_release(&msg.push_list);
    rowlist_release(&msg.pull_list);
}

static void push(struct fixture *f, uint32_t part, uint64_t step, uint32_t slot, uint32_t rows)
{
    struct metrics m = {4, 0.5 * (slot + 1), slot};
    send(f, (struct push_pull){.piece = part, .push = true, .step = step, .node = SLOTS + slot, .metrics = m}, rows, 0);
}

static void pull(struct fixture *f, uint32_t session, uint32_t part, uint64_t step, uint32_t rows)
{
    send(f, (struct push_pull){.session = session, .request = step, .piece = part, .pull = true, .pull_step = step}, 0,
         rows);
}

Test(shard_rows, a_shard_of_parts_alone_completes_steps)
{
    static struct fixture f;
    set_up(&f, false, 0);
    push(&f, 0, 0, 0, 5);
    push(&f, 0, 0, 1, 2);
    cr_assert_eq(f.heard.completed, 0, "the other part has nothing yet");
    push(&f, 1, 0, 0, 0);
    push(&f, 1, 0, 1, 0);
    cr_assert_eq(f.heard.completed, 1);
    cr_assert(f.heard.metrics.count == 8 && f.heard.metrics.correct == 1, "of the first part, once");
    pull(&f, 0, 0, 1, 6);
    cr_assert_eq(f.heard.rows, 1);
    const float want[] = {2, 2, 2, 2, 2.5f, 2.5f, 2.5f, 2.5f, 2.5f, 2.5f, 3, 3};
    cr_assert_arr_eq(f.heard.values, want, sizeof want);
    cr_assert(f.heard.last.part == 10 && f.heard.last.count == 6 && f.heard.last.keys == 1006);
    cr_assert_eq(atomic_load(&f.counters.rows), 5);
    cr_assert_eq(atomic_load(&f.counters.rows_pushed), 7);
    cr_assert_eq(atomic_load(&f.counters.rows_pulled), 6);
    tear_down(&f);
}

Test(shard_rows, answers_go_where_a_session_reads_them)
{
    static struct fixture f;
    static float room[ROWS * DIM];
    set_up(&f, false, 0);
    pull(&f, 1, 0, 0, 2);
    cr_assert(f.heard.rows == 1 && !f.heard.last.shared, "it has no room");
    f.heard.room = room;
    pull(&f, 5, 0, 0, 3);
    cr_assert(f.heard.last.shared && f.heard.last.at == 1005);
    for (uint32_t i = 0; i < 3 * DIM; i++)
        cr_assert_eq(room[i], 3, "the initial value");
    cr_assert_eq(room[3 * DIM], 0);
    pull(&f, 5, 0, 0, 0);
    cr_assert(!f.heard.last.shared && !f.heard.last.values, "no rows need no room");
    tear_down(&f);
}

Test(shard_rows, pulls_wait_and_only_the_latest_is_kept)
{
    static struct fixture f;
    set_up(&f, false, 0);
    pull(&f, 1, 0, 1, 3);
    pull(&f, 1, 0, 1, 4);
    pull(&f, 2, 0, 1, 0);
    pull(&f, 3, 0, 1, 5);
    pull(&f, 1, 0, 0, 2);
    cr_assert(f.heard.rows == 1 && f.heard.last.count == 2, "the open step is answered at once");
    shard_forget(&f.shard, 3);
    push(&f, 0, 0, 0, 1);
    push(&f, 0, 0, 1, 1);
    cr_assert_eq(f.heard.rows, 3);
    cr_assert(f.heard.last.session == 2 && f.heard.last.count == 0 && !f.heard.last.values,
              "an empty list is answered");
    pull(&f, 1, 0, 3, 1);
    cr_assert_eq(f.heard.last_refusal, DP_RANGE);
    cr_assert_eq(f.heard.refused_part, 10);
    tear_down(&f);
}

Test(shard_rows, old_steps_are_answered_until_all_shards_are_past_them)
{
    static struct fixture f;
    set_up(&f, false, 0);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        push(&f, 0, 0, slot, 2);
    pull(&f, 1, 0, 0, 2);
    cr_assert_eq(f.heard.values[0], 3, "as it was");
    pull(&f, 1, 0, 1, 2);
    cr_assert_eq(f.heard.values[0], 2);
    push(&f, 0, 0, 0, 2);
    cr_assert_eq(atomic_load(&f.counters.duplicates), 1);
    shard_global_low(&f.shard, 1);
    pull(&f, 1, 0, 0, 2);
    cr_assert_eq(f.heard.last_refusal, DP_STEP_DONE);
    push(&f, 0, 2, 0, 2);
    cr_assert_eq(f.heard.last_refusal, DP_RANGE, "a step that is not open");
    push(&f, 0, 1, 0, 2);
    push(&f, 0, 1, 1, 2);
    pull(&f, 1, 0, 0, 2);
    cr_assert_eq(f.heard.last_refusal, DP_STEP_DONE);
    cr_assert_eq(f.heard.refused_step, 1, "which other parts and shards may not have completed");
    tear_down(&f);
}

Test(shard_rows, what_is_held_is_not_sent_again_after_an_evaluation)
{
    static struct fixture f;
    set_up(&f, false, 4);
    for (uint32_t part = 0; part < 2; part++)
        for (uint32_t slot = 0; slot < SLOTS; slot++)
            push(&f, part, 0, slot, 1);
    push(&f, 0, 1, 0, 1);
    cr_assert_eq(f.heard.last_refusal, DP_PROTO, "step 1 is an evaluation");
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        push(&f, 0, 1, slot, 0);
    send(&f, (struct push_pull){.piece = 0, .pull = true, .pull_step = 2, .have = 1 + 1}, 0, 7);
    cr_assert(f.heard.last.unchanged && !f.heard.last.values && f.heard.last.number == 1);
    send(&f, (struct push_pull){.piece = 0, .pull = true, .pull_step = 2, .have = 1 + 0}, 0, 7);
    cr_assert(!f.heard.last.unchanged && f.heard.last.count == 7);
    tear_down(&f);
}

Test(shard_rows, slices_and_parts_complete_a_step_together_and_the_last_pull_says_so)
{
    static struct fixture f;
    set_up(&f, true, 0);
    for (uint64_t step = 0; step < STEPS; step++) {
        for (uint32_t part = 0; part < 2; part++)
            for (uint32_t slot = 0; slot < SLOTS; slot++)
                push(&f, part, step, slot, slot);
        cr_assert_eq(f.heard.completed, step, "the slice is missing");
        for (uint32_t slot = 0; slot < SLOTS; slot++) {
            float *g = mem_array_zero(4, sizeof *g);
            struct blob gradient = {g, 4 * sizeof *g, g, free};
            struct push_pull msg = {.push = true, .step = step, .node = SLOTS + slot, .metrics = {4, 10, 0}};
            shard_push_pull(&f.shard, &msg, &gradient);
        }
        cr_assert_eq(f.heard.completed, step + 1);
        cr_assert_eq(f.heard.metrics.loss, 20, "of the slice");
        shard_global_low(&f.shard, step + 1);
    }
    pull(&f, 1, 1, STEPS, 5);
    cr_assert(f.heard.last.last && !f.heard.last.values && f.heard.last.part == 11);
    tear_down(&f);
}

Test(shard_rows, control_holds_parts_back_as_well)
{
    static struct fixture f;
    set_up(&f, false, 0);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        push(&f, 0, 0, slot, 1);
    cr_assert_eq(shard_prepare(&f.shard, 0, SETTING_LR), 1, "one part has committed step 0");
    for (uint64_t step = 0; step < 2; step++)
        for (uint32_t slot = 0; slot < SLOTS; slot++)
            for (uint32_t part = step == 0; part < 2; part++)
                push(&f, part, step, slot, 1);
    cr_assert_eq(f.heard.completed, 1, "nothing is committed from the promised step on");
    shard_set(&f.shard, 1, &(struct setting){.lr = 0.5});
    cr_assert_eq(f.heard.completed, 2);
    pull(&f, 1, 0, 2, 1);
    cr_assert_eq(f.heard.values[0], 3 - 1 - 0.5f);
    tear_down(&f);
}

Test(shard_rows, lists_are_known_until_others_take_their_place)
{
    static struct fixture f;
    set_up(&f, false, 0);
    struct rowlist *list = some(&f, 0, 5), *again = some(&f, 0, 5);
    cr_assert_eq(list, again, "one list");
    cr_assert_eq(shard_rows_known(&f.shard, 0, 1005, 5), list);
    cr_assert_null(shard_rows_known(&f.shard, 1, 1005, 5), "of another part");
    cr_assert_null(shard_rows_known(&f.shard, 0, 1005, 6));
    cr_assert_eq(atomic_load(&f.counters.lists_received), 1);
    cr_assert_gt(atomic_load(&f.counters.list_bytes), 0);
    rowlist_release(&list);
    rowlist_release(&again);
    tear_down(&f);
}

Test(shard_rows, slots_that_a_part_is_owed)
{
    static struct fixture f;
    uint32_t owed[SLOTS];
    uint64_t step;
    set_up(&f, true, 0);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        float *g = mem_array_zero(4, sizeof *g);
        struct blob gradient = {g, 4 * sizeof *g, g, free};
        shard_push_pull(&f.shard, &(struct push_pull){.push = true, .node = SLOTS + slot}, &gradient);
    }
    push(&f, 0, 0, 0, 0);
    push(&f, 0, 0, 1, 0);
    push(&f, 1, 0, 0, 0);
    cr_assert_eq(shard_owed(&f.shard, &step, owed), 1);
    cr_assert(step == 0 && owed[0] == 1);
    tear_down(&f);
}

/* Two workers died, each between its pushes to two parts: both slots are named at once. */
Test(shard_rows, slots_that_different_parts_are_owed)
{
    static struct fixture f;
    uint32_t owed[SLOTS];
    uint64_t step;
    set_up(&f, false, 0);
    push(&f, 0, 0, 0, 0);
    push(&f, 1, 0, 1, 0);
    cr_assert_eq(shard_owed(&f.shard, &step, owed), 2);
    cr_assert(step == 0 && owed[0] == 0 && owed[1] == 1);
    tear_down(&f);
}
