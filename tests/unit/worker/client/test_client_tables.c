/* Jobs of a client with a table on the small server: rows arrive as they should be, and sums come out exactly, whatever
 * is lost, forgotten, or given late. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "common/base/util.h"
#include "tests/unit/support/leaks.h"
#include "tests/unit/support/mini_client.h"
#include "tests/unit/support/mini_rows.h"

enum { ROW_COUNT = MINI_SHARDS * MINI_PART_ROWS, SLOTS = 8 };

static const uint64_t SHAPE[] = {ELEMS}, TABLE_SHAPE[] = {ROW_COUNT, MINI_DIM};
static const dp_tensor TENSORS[] = {{.name = "weight", .rank = 1, .shape = SHAPE, .regularized = 1},
                                    {.name = "table", .rank = 2, .shape = TABLE_SHAPE, .kind = DP_TABLE}};

static dp_err rows_fail; /* the answer to the next questions */
static unsigned asked;

/* dp_model.rows */
static dp_err rows_of(void *arg, const dp_ask *ask, dp_rows *rows, dp_error *err)
{
    static uint64_t ids[ROW_COUNT];
    bool touched[ROW_COUNT] = {false};
    (void)arg;
    asked++;
    if (rows_fail)
        return dp_fail(err, rows_fail, "the rows are lost");
    for (uint32_t i = 0; i < ask->slot_count; i++) {
        uint64_t of_slot[MINI_ROWS_OF_SLOT];
        mini_rows_touched(ask->step, ask->slots[i], of_slot);
        for (size_t k = 0; k < MINI_ROWS_OF_SLOT; k++)
            touched[of_slot[k]] = true;
    }
    rows->ids = ids;
    for (uint64_t id = 0; id < ROW_COUNT; id++)
        if (touched[id])
            ids[rows->count++] = id;
    return DP_OK;
}

static const dp_model MODEL = {
    .tensors = TENSORS, .tensor_count = 2, .labels = (const double[]){-1, 1}, .label_count = 2, .rows = rows_of};

static struct mini *tables_new(uint64_t steps, bool evaluate)
{
    struct mini *mini = mini_new(steps, evaluate);
    mini->tables = true;
    return mini;
}

static dp_client *tables_join(const struct mini *mini)
{
    dp_client *client = connect_to(mini);
    dp_error err;
    cr_assert_eq(dp_join(client, &MINI_DATA, NULL, &MODEL, &err), DP_OK, "%s", err.text);
    return client;
}

/* A slot's gradient of a row's value; 0 where it does not touch the row. */
static float row_gradient(const struct plan *plan, uint64_t step, uint32_t slot, uint64_t id, uint32_t c)
{
    uint64_t ids[MINI_ROWS_OF_SLOT];
    const struct plan_step at = plan_at(plan, step);
    mini_rows_touched(step, slot, ids);
    for (size_t k = 0; k < MINI_ROWS_OF_SLOT; k++)
        if (ids[k] == id)
            return mini_row_gradient(at.train_step, slot, id, c);
    return 0;
}

/* A row's value after all steps before `step`. */
static float row_value(const struct plan *plan, uint64_t step, uint64_t id, uint32_t c)
{
    float value = c == 0 ? (float)id : 0;
    for (uint64_t t = 0; t < step; t++)
        for (uint32_t slot = 0; slot < SLOTS && plan_at(plan, t).asks->pushes; slot++)
            value += row_gradient(plan, t, slot, id, c);
    return value;
}

static void expect_task_rows(const dp_client *client, const dp_task *task)
{
    const float *values = task->theta + ELEMS;
    cr_assert_eq(task->theta_elems, ELEMS + task->rows[0].count * MINI_DIM);
    for (uint64_t i = 0; i < task->rows[0].count; i++)
        for (uint32_t c = 0; c < MINI_DIM; c++)
            cr_assert_eq(values[i * MINI_DIM + c], row_value(&client->job.plan, task->step, task->rows[0].ids[i], c),
                         "step %lu, row %lu", (unsigned long)task->step, (unsigned long)task->rows[0].ids[i]);
}

/* Every row that a slot of the task touches is there. */
static void expect_rows_of_slots(const dp_task *task)
{
    for (uint32_t i = 0; i < task->slot_count; i++) {
        uint64_t ids[MINI_ROWS_OF_SLOT];
        mini_rows_touched(task->step, task->slots[i], ids);
        for (size_t k = 0; k < MINI_ROWS_OF_SLOT; k++) {
            uint64_t at = 0;
            while (at < task->rows[0].count && task->rows[0].ids[at] != ids[k])
                at++;
            cr_assert_lt(at, task->rows[0].count, "row %lu of slot %u", (unsigned long)ids[k], task->slots[i]);
        }
    }
}

static void tables_push_slot(dp_client *client, const dp_task *task, uint32_t slot)
{
    dp_error err;
    dp_metrics metrics = {.count = 2, .loss = slot, .correct = 1};
    float *grad = NULL;
    if (task->kind == DP_TRAIN) {
        uint64_t train_step = plan_at(&client->job.plan, task->step).train_step;
        grad = dp_gradient(client, &err);
        cr_assert_not_null(grad);
        for (size_t i = 0; i < ELEMS; i++)
            grad[i] = (float)(slot + 1 + 10 * train_step + i);
        for (uint64_t i = 0; i < task->rows[0].count; i++)
            for (uint32_t c = 0; c < MINI_DIM; c++)
                grad[ELEMS + i * MINI_DIM + c] =
                    row_gradient(&client->job.plan, task->step, slot, task->rows[0].ids[i], c);
    }
    cr_assert_eq(dp_push(client, slot, grad, &metrics, &err), DP_OK, "%s", err.text);
}

static dp_err tables_work(dp_client *client, unsigned *ret_tasks, dp_error *err)
{
    dp_task task;
    dp_err e;
    *ret_tasks = 0;
    while ((e = dp_next(client, &task, err)) == DP_OK) {
        expect_theta(client, &task, 0);
        expect_task_rows(client, &task);
        expect_rows_of_slots(&task);
        for (uint32_t i = task.slot_count; i-- > 0;)
            tables_push_slot(client, &task, task.slots[i]);
        ++*ret_tasks;
    }
    return e;
}

static void expect_tables(struct mini *mini, dp_client *client, unsigned tasks, uint64_t train_steps)
{
    dp_error err;
    unsigned done;
    const struct plan plan = mini->plan;
    cr_assert_eq(tables_work(client, &done, &err), DP_JOB_DONE, "%s", err.text);
    cr_assert_eq(done, tasks, "%u tasks", done);
    dp_leave(&client, DP_JOB_DONE, NULL);
    expect_sums(mini, 0, train_steps);
    for (uint64_t id = 0; id < ROW_COUNT; id++)
        for (uint32_t c = 0; c < MINI_DIM; c++)
            cr_assert_eq(mini->parts[id / MINI_PART_ROWS].theta[id % MINI_PART_ROWS][c],
                         row_value(&plan, plan_total(&plan), id, c), "row %lu", (unsigned long)id);
}

static void expect_whole_job(struct mini *mini, unsigned tasks)
{
    mini_start(mini);
    expect_tables(mini, tables_join(mini), tasks, mini->plan.train_steps);
    mini_end(&mini);
}

Test(client_tables, rows_come_with_theta_and_go_with_the_gradient)
{
    expect_whole_job(tables_new(5, false), 5);
}

Test(client_tables, evaluation_steps_pull_rows_of_their_own)
{
    expect_whole_job(tables_new(3, true), 6);
}

/* The list of step t + 1 goes with the push of t; the push of t + 1 names it. Extra lists: of the first step, when the
 * worker does not know its slots yet, so of the slots that come late. */
Test(client_tables, a_list_is_sent_once)
{
    struct mini *mini = tables_new(5, false);
    mini_start(mini);
    expect_tables(mini, tables_join(mini), 5, 5);
    cr_assert_eq(atomic_load(&mini->row_pushes), 5 * MINI_SHARDS, "one node for each part");
    cr_assert_leq(atomic_load(&mini->lists), 5 + 1, "%u lists", atomic_load(&mini->lists));
    cr_assert_leq(asked, 6, "%u questions", asked);
    mini_end(&mini);
}

Test(client_tables, lists_that_the_shard_forgets_are_sent_again)
{
    struct mini *mini = tables_new(6, true);
    atomic_store(&mini->opts.forget_lists, 9);
    expect_whole_job(mini, 12);
}

Test(client_tables, what_is_lost_is_sent_again)
{
    struct mini *mini = tables_new(4, true);
    atomic_store(&mini->opts.drop_params, 7);
    atomic_store(&mini->opts.drop_pushes, 9);
    atomic_store(&mini->opts.busy, 5);
    expect_whole_job(mini, 8);
}

/* A step some of whose pushes were refused as slots of others is computed anew: refusals that come together are one
 * more task. Those of the second shard may come after what was pushed again to the first one, which is refused then. */
Test(client_tables, what_is_refused_as_not_dealt_is_computed_anew)
{
    static const int PUSHES[] = {1, 4, MINI_ALL + MINI_SHARDS};
    for (size_t i = 0; i < sizeof PUSHES / sizeof PUSHES[0]; i++) {
        struct mini *mini = tables_new(4, true);
        atomic_store(&mini->opts.not_dealt, PUSHES[i]);
        mini_start(mini);
        dp_client *client = tables_join(mini);
        dp_error err;
        unsigned tasks;
        client->timing.resend = client->timing.resend_max = 600000;
        cr_assert_eq(tables_work(client, &tasks, &err), DP_JOB_DONE, "%s", err.text);
        cr_assert(tasks > 8 && tasks <= 8 + (PUSHES[i] > 1 ? MINI_SHARDS : 1), "%u tasks", tasks);
        dp_leave(&client, DP_JOB_DONE, NULL);
        expect_sums(mini, 0, 4);
        mini_free(&mini);
    }
    ASSERT_NO_LEAKS();
}

/* Slots of a lost worker come in the middle of a step, with rows that this worker does not have; its own, which are
 * siblings of theirs, are in hand. */
Test(client_tables, slots_that_come_late_get_their_rows)
{
    static const uint64_t FIRST[] = {0x0f, 0xaa, 0x01};
    for (size_t i = 0; i < ARRAY_LEN(FIRST); i++) {
        struct mini *mini = tables_new(1, false);
        atomic_store(&mini->opts.first_slots, FIRST[i]);
        atomic_store(&mini->opts.extra_slots, 0xff & ~FIRST[i]);
        expect_whole_job(mini, 2);
    }
}

/* Slots that come late have rows of their own, and more of them than slot 0. */
Test(client_tables, a_gradient_made_for_other_slots_is_refused)
{
    struct mini *mini = tables_new(1, false);
    dp_error err;
    dp_task task;
    const dp_metrics metrics = {.count = 2};
    atomic_store(&mini->opts.first_slots, 0x01);
    atomic_store(&mini->opts.extra_slots, 0xfe);
    mini_start(mini);
    dp_client *client = tables_join(mini);
    task = task_next(client);
    cr_assert_eq(task.slot_count, 1);
    float *small = dp_gradient(client, &err);
    tables_push_slot(client, &task, 0);
    task = task_next(client);
    cr_assert_eq(dp_push(client, task.slots[0], small, &metrics, &err), DP_USAGE);
    cr_assert_not_null(strstr(err.text, "made for a task with other slots"), "%s", err.text);
    for (uint32_t i = 0; i < task.slot_count; i++)
        tables_push_slot(client, &task, task.slots[i]);
    expect_tables(mini, client, 0, 1);
    mini_end(&mini);
}

/* A row that one value of a fold has and the other has not is +0 there: -0 would tell who folded. */
Test(client_tables, rows_have_no_minus_zero)
{
    struct mini *mini = tables_new(1, false);
    dp_error err;
    dp_task task;
    const dp_metrics metrics = {.count = 2};
    mini_start(mini);
    dp_client *client = tables_join(mini);
    task = task_next(client);
    float *grad = dp_gradient(client, &err);
    for (uint64_t i = 0; i < task.theta_elems; i++)
        grad[i] = -0.0f;
    cr_assert_eq(dp_push(client, task.slots[0], grad, &metrics, &err), DP_OK, "%s", err.text);
    const struct node_value *held = &client->step.held[task.slots[0]];
    cr_assert_eq(held->slab->values, grad, "its sibling is to come");
    for (uint64_t i = ELEMS; i < task.theta_elems; i++)
        cr_assert_not(signbit(grad[i]));
    dp_leave(&client, DP_OK, NULL);
    mini_end(&mini);
}

/* As if the shard had completed the step with slots of others, and had answered all that was asked of the next. */
static void go_ahead(struct dp_client *client, const struct shard *shard)
{
    struct theta *theta = &client->plane.theta;
    memset(theta->got + shard->first_slice, THETA_NEW, shard->slice_count);
    memset(theta->got + theta->slice_count + shard->first_part, THETA_NEW, shard->part_count);
    theta->counts[THETA_MISSING] -= shard->slice_count + shard->part_count;
    theta->counts[THETA_NEW] += shard->slice_count + shard->part_count;
}

/* A lost worker's slots had reached one shard and not the other. */
Test(client_tables, late_rows_are_asked_for_again_of_a_shard_that_is_ahead, .timeout = 60)
{
    static const uint32_t LATE[] = {4, 5, 6, 7};
    const struct duty_assign more = {.slots = LATE, .slot_count = 4, .extra_slots = LATE, .extra_count = 4};
    struct mini *mini = tables_new(2, false);
    dp_task task;
    atomic_store(&mini->opts.first_slots, 0x0f);
    mini_start(mini);
    dp_client *client = tables_join(mini);
    task = task_next(client);
    for (uint32_t i = task.slot_count; i-- > 0;)
        tables_push_slot(client, &task, task.slots[i]);
    go_ahead(client, &client->plane.shards[0]);
    duty_take(&client->duty, &more, 0);
    step_owe(client);
    atomic_store(&mini->opts.drop_params, 6); /* of both shards */
    task = task_next(client);
    cr_assert(task.step == 0 && task.slot_count == 4 && task.slots[0] == 4);
    expect_task_rows(client, &task);
    expect_rows_of_slots(&task);
    dp_leave(&client, DP_OK, NULL);
    mini_end(&mini);
}

Test(client_tables, late_slots_are_folded_with_those_in_hand)
{
    struct mini *mini = tables_new(1, false);
    dp_task task;
    struct duty_assign more = {.slots = (const uint32_t[]){0, 2, 4, 6}, .slot_count = 4, .extra_step = 0};
    atomic_store(&mini->opts.first_slots, 0x55);
    mini_start(mini);
    dp_client *client = tables_join(mini);
    task = task_next(client);
    cr_assert_eq(task.slot_count, 4);
    more.extra_slots = (const uint32_t[]){1, 3, 5, 7};
    more.extra_count = 4;
    duty_take(&client->duty, &more, 0);
    step_owe(client);
    for (uint32_t i = 0; i < 4; i++)
        tables_push_slot(client, &task, task.slots[i]); /* held: their siblings are owed now */
    expect_tables(mini, client, 1, 1);
    cr_assert_eq(atomic_load(&mini->row_pushes), MINI_SHARDS, "the whole tree is one node");
    mini_end(&mini);
}

Test(client_tables, a_session_lost_and_a_server_started_anew)
{
    struct mini *mini = tables_new(4, false);
    dp_task task;
    mini_start(mini);
    dp_client *client = tables_join(mini);
    task = task_next(client);
    for (uint32_t i = 0; i < task.slot_count; i++)
        tables_push_slot(client, &task, task.slots[i]);
    atomic_store(&mini->opts.forget_sessions, 1);
    mini_wait(&mini->opts.forget_sessions);
    task = task_next(client);
    expect_task_rows(client, &task);
    atomic_store(&mini->opts.restart, 1);
    mini_wait(&mini->opts.restart);
    for (uint32_t i = 0; i < task.slot_count; i++)
        tables_push_slot(client, &task, task.slots[i]);
    expect_tables(mini, client, 4, 4);
    mini_end(&mini);
}

/* The server's fault, and nothing is computed on it. */
Test(client_tables, rows_that_are_wrong_end_the_job)
{
    static const struct {
        enum mini_wrong wrong;
        const char *says;
    } CASES[] = {{MINI_SHORT, "bytes instead of"},
                 {MINI_UNCHANGED, "are said to be unchanged"},
                 {MINI_FOREIGN_PART, "which is another shard's"}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct mini *mini = tables_new(3, false);
        dp_error err;
        dp_task task;
        mini_start(mini);
        dp_client *client = tables_join(mini);
        task = task_next(client);
        atomic_store(&mini->opts.wrong_rows, CASES[i].wrong);
        for (uint32_t k = 0; k < task.slot_count; k++)
            tables_push_slot(client, &task, task.slots[k]);
        cr_assert_eq(dp_next(client, &task, &err), DP_PROTO);
        cr_assert_not_null(strstr(err.text, CASES[i].says), "%s", err.text);
        dp_leave(&client, DP_PROTO, err.text);
        mini_free(&mini);
    }
    ASSERT_NO_LEAKS();
}

/* Rows of a list that nobody asked for are somebody else's answer: the right ones are waited for. */
Test(client_tables, rows_of_another_list_are_ignored)
{
    struct mini *mini = tables_new(2, false);
    dp_task task;
    mini_start(mini);
    dp_client *client = tables_join(mini);
    task = task_next(client);
    atomic_store(&mini->opts.wrong_rows, MINI_OTHER_LIST);
    for (uint32_t k = 0; k < task.slot_count; k++)
        tables_push_slot(client, &task, task.slots[k]);
    while (atomic_load(&mini->row_pushes) < MINI_SHARDS)
        ;
    for (int i = 0; i < 100; i++) {
        (void)dp_task_wanted(client); /* a heartbeat may say that the step is complete */
        cr_assert_not(theta_whole(&client->plane.theta), "rows of another list are no rows of the next step");
    }
    atomic_store(&mini->opts.wrong_rows, MINI_RIGHT);
    expect_tables(mini, client, 1, 2);
    mini_end(&mini);
}

Test(client_tables, what_rows_fails_with_ends_the_call)
{
    struct mini *mini = tables_new(2, false);
    dp_error err;
    dp_task task;
    mini_start(mini);
    dp_client *client = tables_join(mini);
    rows_fail = DP_DATA;
    cr_assert_eq(dp_next(client, &task, &err), DP_DATA);
    cr_assert_str_eq(err.text, "the rows are lost");
    rows_fail = DP_OK;
    dp_leave(&client, DP_DATA, err.text);
    mini_end(&mini);
}

Test(client_tables, a_model_with_tables_says_which_rows)
{
    struct mini *mini = tables_new(2, false);
    dp_model model = MODEL;
    dp_error err;
    model.rows = NULL;
    mini_start(mini);
    dp_client *client = connect_to(mini);
    cr_assert_eq(dp_join(client, &MINI_DATA, NULL, &model, &err), DP_USAGE);
    dp_leave(&client, DP_USAGE, "");
    mini_end(&mini);
}

Test(client_tables, a_server_that_knows_no_tables_is_told_apart)
{
    struct mini *mini = mini_new(2, false);
    dp_error err;
    mini_start(mini);
    dp_client *client = connect_to(mini);
    cr_assert_eq(dp_join(client, &MINI_DATA, NULL, &MODEL, &err), DP_VERSION);
    cr_assert(strstr(err.text, "'table' is a table, which tcp://127.0.0.1:"), "%s", err.text);
    dp_leave(&client, DP_VERSION, "");
    mini_end(&mini);
}
