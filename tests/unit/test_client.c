/* The client against a small server that loses, refuses, forgets and falls silent: jobs end with exactly the parameters
 * that they should have, or with an error that says why. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "leaks.h"
#include "mini_server.h"
#include "util.h"

enum { ELEMS = MINI_ALL * MINI_ELEMS, NOTICES_MAX = 64 };

static char notices[NOTICES_MAX][640];
static size_t notice_count;

/* Set once a client tells that it waits, for tests that want no more than that. */
static volatile int stop_when_waiting;

static void on_notice(void *arg, const char *text)
{
    (void)arg;
    if (strstr(text, "waiting for step"))
        stop_when_waiting = 1;
    if (notice_count < NOTICES_MAX)
        str_copy(notices[notice_count++], sizeof notices[0], text);
}

static bool noticed(const char *part)
{
    for (size_t i = 0; i < notice_count; i++)
        if (strstr(notices[i], part))
            return true;
    return false;
}

static const double LABELS[] = {-1, 1};
static const uint64_t SHAPE[] = {ELEMS};
static const dp_tensor TENSOR = {.name = "weight", .rank = 1, .shape = SHAPE, .regularized = 1};
static const dp_dataset DATA = {.name = "a\nname", .rows = 16, .features = 5, .labels = LABELS, .label_count = 2};
static const dp_model MODEL = {.tensors = &TENSOR, .tensor_count = 1, .labels = LABELS, .label_count = 2};

static dp_config config_for(const char *server)
{
    return (dp_config){.server = server, .connect_timeout_ms = 5000, .server_timeout_ms = 8000, .notice = on_notice};
}

static dp_client *connect_to(const struct mini *mini)
{
    dp_config config = config_for(mini->endpoint);
    dp_client *client = NULL;
    dp_error err;
    cr_assert_eq(dp_connect(&config, &client, &err), DP_OK, "%s", err.text);
    client->timing.poll = 10;
    client->timing.ask_again = 100;
    client->timing.resend = 60;
    client->timing.resend_max = 120;
    client->timing.busy = 10;
    return client;
}

static dp_client *join_to(const struct mini *mini)
{
    dp_client *client = connect_to(mini);
    dp_error err;
    cr_assert_eq(dp_join(client, &DATA, NULL, &MODEL, &err), DP_OK, "%s", err.text);
    return client;
}

static float grad_value(uint64_t train_step, uint32_t slot, size_t elem)
{
    return (float)(slot + 1 + 10 * train_step + elem);
}

/* theta after `train_steps` steps of it, from where the server begins. */
static float theta_value(uint64_t first_step, uint64_t train_steps, size_t elem)
{
    float value = (float)(elem / MINI_ELEMS * 1000 + elem % MINI_ELEMS);
    for (uint64_t t = first_step; t < train_steps; t++)
        for (uint32_t k = 0; k < 8; k++)
            value += grad_value(t, k, elem);
    return value;
}

static void expect_theta(const dp_client *client, const dp_task *task, uint64_t first_step)
{
    uint64_t train_steps = plan_at(&client->job.plan, task->step).train_step;
    for (size_t i = 0; i < ELEMS; i++)
        cr_assert_eq(task->theta[i], theta_value(first_step, train_steps, i), "step %lu, element %zu: %g",
                     (unsigned long)task->step, i, (double)task->theta[i]);
}

static void push_slot(dp_client *client, const dp_task *task, uint32_t slot)
{
    dp_error err;
    dp_metrics metrics = {.count = 2, .loss = slot, .correct = 1};
    float *grad = NULL;
    if (task->kind == DP_TRAIN) {
        uint64_t train_step = plan_at(&client->job.plan, task->step).train_step;
        grad = dp_gradient(client, &err);
        cr_assert_not_null(grad);
        cr_assert_eq((uintptr_t)grad % CACHE_LINE_BYTES, 0);
        for (size_t i = 0; i < ELEMS; i++)
            grad[i] = grad_value(train_step, slot, i);
    }
    cr_assert_eq(dp_push(client, slot, grad, &metrics, &err), DP_OK, "%s", err.text);
}

/* Each row of a step is in one slot of it. */
static void expect_rows(const dp_client *client, const dp_task *task)
{
    uint64_t rows[16], seen = 0, total = task->kind == DP_TRAIN ? 16 : 5;
    for (uint32_t slot = 0; slot < 9; slot++) {
        uint64_t count = dp_slot_rows(client, slot, NULL, 0);
        cr_assert_eq(dp_slot_rows(client, slot, rows, ARRAY_LEN(rows)), count);
        for (uint64_t i = 0; i < count; i++) {
            cr_assert_not(seen >> rows[i] & 1);
            seen |= UINT64_C(1) << rows[i];
        }
    }
    cr_assert_eq(seen, (UINT64_C(1) << total) - 1);
}

/* In another order than that of the slots. */
static void push_task(dp_client *client, const dp_task *task)
{
    for (uint32_t i = task->slot_count; i-- > 0;)
        push_slot(client, task, task->slots[i]);
}

/* Works until the end; returns why it ended. */
static dp_err work(dp_client *client, uint64_t first_step, unsigned *ret_tasks, dp_error *err)
{
    dp_task task;
    dp_err e;
    *ret_tasks = 0;
    while ((e = dp_next(client, &task, err)) == DP_OK) {
        expect_theta(client, &task, first_step);
        expect_rows(client, &task);
        push_task(client, &task);
        ++*ret_tasks;
    }
    return e;
}

static void expect_job(struct mini *mini, dp_client *client, unsigned tasks)
{
    dp_error err;
    unsigned done;
    uint64_t first = atomic_load(&mini->opts.start_step);
    cr_assert_eq(work(client, first, &done, &err), DP_JOB_DONE, "%s", err.text);
    cr_assert_eq(done, tasks, "%u tasks", done);
    dp_leave(&client, DP_JOB_DONE, NULL);
    cr_assert_null(client);
}

static void expect_sums(struct mini *mini, uint64_t first, uint64_t train_steps)
{
    for (size_t i = 0; i < ELEMS; i++)
        cr_assert_eq(mini->slices[i / MINI_ELEMS].theta[i % MINI_ELEMS], theta_value(first, train_steps, i));
}

Test(client, a_job_of_two_steps)
{
    struct mini *mini = mini_new(2, false);
    mini_start(mini);
    expect_job(mini, join_to(mini), 2);
    while (atomic_load(&mini->bye) < 0)
        ;
    mini_free(&mini);
    cr_assert_eq(notice_count, 0, "%s", notices[0]);
    ASSERT_NO_LEAKS();
}

Test(client, eight_slots_are_one_push_for_each_slice_with_the_pull_in_it)
{
    struct mini *mini = mini_new(2, false);
    mini_start(mini);
    expect_job(mini, join_to(mini), 2);
    cr_assert_eq(atomic_load(&mini->pushes), 2 * MINI_ALL);
    cr_assert_eq(atomic_load(&mini->duplicates), 0);
    cr_assert_eq(atomic_load(&mini->pulls), 3 * MINI_ALL);
    cr_assert_eq(mini->slices[0].count, 2 * 16);
    cr_assert_eq(mini->slices[0].loss, 2 * 28.0);
    expect_sums(mini, 0, 2);
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

Test(client, evaluation_steps_have_no_gradients)
{
    struct mini *mini = mini_new(2, true);
    mini_start(mini);
    expect_job(mini, join_to(mini), 4);
    expect_sums(mini, 0, 2);
    cr_assert_eq(mini->slices[3].count, 2 * (16 + 2 * 5));
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

Test(client, replies_that_are_lost_are_asked_for_again)
{
    struct mini *mini = mini_new(3, true);
    atomic_store(&mini->opts.drop_params, 4);
    mini_start(mini);
    expect_job(mini, join_to(mini), 6);
    cr_assert_eq(atomic_load(&mini->opts.drop_params), 0);
    expect_sums(mini, 0, 3);
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

Test(client, pushes_that_are_lost_are_sent_again)
{
    struct mini *mini = mini_new(3, false);
    mini_start(mini);
    dp_client *client = join_to(mini);
    dp_task task;
    dp_error err;
    cr_assert_eq(dp_next(client, &task, &err), DP_OK, "%s", err.text);
    atomic_store(&mini->opts.drop_pushes, 5);
    push_task(client, &task);
    expect_job(mini, client, 2);
    expect_sums(mini, 0, 3);
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

Test(client, busy_shards_are_tried_again)
{
    struct mini *mini = mini_new(3, false);
    atomic_store(&mini->opts.busy, 15);
    mini_start(mini);
    expect_job(mini, join_to(mini), 3);
    expect_sums(mini, 0, 3);
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

Test(client, a_connection_made_anew_resends)
{
    struct mini *mini = mini_new(3, false);
    mini_start(mini);
    dp_client *client = join_to(mini);
    dp_task task;
    dp_error err;
    client->timing.resend = client->timing.resend_max = 60000;
    cr_assert_eq(dp_next(client, &task, &err), DP_OK, "%s", err.text);
    atomic_store(&mini->opts.drop_pushes, 4);
    push_task(client, &task);
    while (atomic_load(&mini->opts.drop_pushes) > 0)
        ;
    atomic_store(&mini->opts.rebind_shards, 1);
    expect_job(mini, client, 2);
    cr_assert(noticed("lost the connection to shard tcp://127.0.0.1:"));
    cr_assert(noticed("is back"));
    expect_sums(mini, 0, 3);
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

/* What was lost before the last slot was handed in goes again with it, not after the wait for an answer. */
Test(client, a_connection_made_anew_while_computing_resends)
{
    struct mini *mini = mini_new(1, false);
    atomic_store(&mini->opts.first_slots, 0x2f);
    atomic_store(&mini->opts.extra_slots, 0xd0);
    mini_start(mini);
    dp_client *client = join_to(mini);
    dp_task task;
    dp_error err;
    client->timing.resend = client->timing.resend_max = 60000;
    cr_assert_eq(dp_next(client, &task, &err), DP_OK, "%s", err.text);
    cr_assert_eq(task.slot_count, 5);
    atomic_store(&mini->opts.drop_pushes, MINI_ALL);
    for (uint32_t i = 0; i < 4; i++)
        push_slot(client, &task, task.slots[i]);
    while (atomic_load(&mini->opts.drop_pushes) > 0)
        ;
    atomic_store(&mini->opts.rebind_shards, 1);
    while (!client->shards[0].resend_pushes || !client->shards[1].resend_pushes)
        cr_assert(dp_task_wanted(client));
    push_slot(client, &task, task.slots[4]);
    expect_job(mini, client, 1);
    expect_sums(mini, 0, 1);
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

Test(client, a_job_under_way_is_joined_at_its_step)
{
    struct mini *mini = mini_new(9, false);
    atomic_store(&mini->opts.start_step, 7);
    mini_start(mini);
    expect_job(mini, join_to(mini), 2);
    expect_sums(mini, 7, 9);
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

Test(client, a_job_that_is_over_is_done)
{
    struct mini *mini = mini_new(9, false);
    atomic_store(&mini->opts.start_step, 9);
    mini_start(mini);
    expect_job(mini, join_to(mini), 0);
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

Test(client, slots_of_a_lost_worker_come_while_waiting)
{
    struct mini *mini = mini_new(1, false);
    atomic_store(&mini->opts.first_slots, 0x2f);
    atomic_store(&mini->opts.extra_slots, 0xd0);
    mini_start(mini);
    dp_client *client = join_to(mini);
    dp_task task;
    dp_error err;
    cr_assert_eq(dp_next(client, &task, &err), DP_OK, "%s", err.text);
    cr_assert_eq(task.slot_count, 5);
    cr_assert_eq(task.slots[4], 5);
    push_task(client, &task);
    cr_assert_eq(dp_next(client, &task, &err), DP_OK, "%s", err.text);
    cr_assert_eq(task.step, 0);
    cr_assert_eq(task.slot_count, 3);
    cr_assert_eq(task.slots[0], 4);
    expect_theta(client, &task, 0);
    push_task(client, &task);
    expect_job(mini, client, 0);
    cr_assert_eq(atomic_load(&mini->pushes), 4 * MINI_ALL, "(2,0) and 5; then 4, and 6 with 7");
    expect_sums(mini, 0, 1);
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

Test(client, a_worker_without_slots_follows)
{
    struct mini *mini = mini_new(4, false);
    atomic_store(&mini->opts.first_slots, 0);
    mini_start(mini);
    dp_client *idle = join_to(mini);
    atomic_store(&mini->opts.first_slots, 0xff);
    expect_job(mini, join_to(mini), 4);
    expect_job(mini, idle, 0);
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

Test(client, a_lost_session_is_taken_up_again)
{
    struct mini *mini = mini_new(5, true);
    mini_start(mini);
    dp_client *client = join_to(mini);
    dp_task task;
    dp_error err;
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(dp_next(client, &task, &err), DP_OK, "%s", err.text);
        push_slot(client, &task, task.slots[0]);
        atomic_store(&mini->opts.forget_sessions, 1);
        while (atomic_load(&mini->opts.forget_sessions))
            ;
        for (uint32_t k = 1; k < task.slot_count; k++)
            push_slot(client, &task, task.slots[k]);
    }
    expect_job(mini, client, 7);
    cr_assert_geq(atomic_load(&mini->hellos), 3);
    cr_assert(noticed("lost the session"));
    cr_assert(noticed("joined tcp://127.0.0.1:"));
    expect_sums(mini, 0, 5);
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

Test(client, a_new_incarnation_begins_where_the_server_says)
{
    struct mini *mini = mini_new(4, false);
    mini_start(mini);
    dp_client *client = join_to(mini);
    dp_task task;
    dp_error err;
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(dp_next(client, &task, &err), DP_OK, "%s", err.text);
        push_task(client, &task);
    }
    atomic_store(&mini->opts.restart, 1);
    while (atomic_load(&mini->opts.restart))
        ;
    /* The step that was under way may be complete already. */
    while (dp_next(client, &task, &err) == DP_OK && task.step != 0)
        push_task(client, &task);
    cr_assert_eq(task.step, 0);
    expect_theta(client, &task, 0);
    push_task(client, &task);
    expect_job(mini, client, 3);
    expect_sums(mini, 0, 4);
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

Test(client, another_job_is_refused)
{
    struct mini *mini = mini_new(4, false);
    mini_start(mini);
    dp_client *client = join_to(mini);
    dp_error err;
    unsigned tasks;
    atomic_store(&mini->opts.other_labels, 1);
    atomic_store(&mini->opts.restart, 1);
    while (atomic_load(&mini->opts.restart))
        ;
    cr_assert_eq(work(client, 0, &tasks, &err), DP_REFUSED, "%s", err.text);
    cr_assert_not_null(strstr(err.text, "label of class 1 is 3, was 1"), "%s", err.text);
    dp_leave(&client, err.code, err.text);
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

Test(client, a_silent_server_is_unreachable_after_the_timeout)
{
    struct mini *mini = mini_new(4, false);
    mini_start(mini);
    dp_client *client = join_to(mini);
    dp_task task;
    dp_error err;
    client->server_timeout_ms = 3500;
    cr_assert_eq(dp_next(client, &task, &err), DP_OK, "%s", err.text);
    atomic_store(&mini->opts.mute, 1);
    push_task(client, &task);
    uint64_t begin = mono_ms();
    cr_assert_eq(dp_next(client, &task, &err), DP_UNREACHABLE);
    cr_assert_lt(mono_ms() - begin, 5000);
    cr_assert_not_null(strstr(err.text, "has not been heard of for 3 s"), "%s", err.text);
    cr_assert(noticed("has been silent for 3 s"));
    dp_leave(&client, err.code, err.text);
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

Test(client, a_server_that_is_gone_is_unreachable_after_the_timeout)
{
    struct mini *mini = mini_new(4, false);
    mini_start(mini);
    dp_client *client = join_to(mini);
    dp_task task;
    dp_error err;
    client->server_timeout_ms = 700;
    client->timing.notice = 200;
    cr_assert_eq(dp_next(client, &task, &err), DP_OK, "%s", err.text);
    mini_free(&mini);
    push_task(client, &task);
    uint64_t begin = mono_ms();
    cr_assert_eq(dp_next(client, &task, &err), DP_UNREACHABLE);
    cr_assert_lt(mono_ms() - begin, 3000);
    cr_assert_not_null(strstr(err.text, "connection refused"), "%s", err.text);
    cr_assert(noticed("lost the session"));
    cr_assert_eq(dp_next(client, &task, &err), DP_UNREACHABLE, "and again, if somebody asks");
    dp_leave(&client, err.code, err.text);
    ASSERT_NO_LEAKS();
}

Test(client, what_people_are_told_when_a_step_takes_long)
{
    struct mini *mini = mini_new(1, false);
    atomic_store(&mini->opts.first_slots, 0x0f);
    mini_start(mini);
    dp_client *client = join_to(mini);
    dp_task task;
    dp_error err;
    client->stop = &stop_when_waiting;
    client->timing.wait_notice = 50;
    cr_assert_eq(dp_next(client, &task, &err), DP_OK, "%s", err.text);
    push_task(client, &task);
    cr_assert_eq(dp_next(client, &task, &err), DP_STOPPED);
    cr_assert(noticed("waiting for step 1 since 0 s: 6 of 6 slices have not come from tcp://127.0.0.1:"));
    cr_assert_eq(dp_next(client, &task, &err), DP_STOPPED);
    dp_leave(&client, err.code, err.text);
    while (atomic_load(&mini->bye) < 0)
        ;
    cr_assert_eq(atomic_load(&mini->bye), DP_STOPPED);
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

Test(client, notices_of_the_server_end_the_job)
{
    static const dp_err CODES[] = {DP_SHUTDOWN, DP_JOB_DONE};
    for (size_t i = 0; i < ARRAY_LEN(CODES); i++) {
        struct mini *mini = mini_new(1, false);
        atomic_store(&mini->opts.first_slots, 0);
        mini_start(mini);
        dp_client *client = join_to(mini);
        dp_task task;
        dp_error err;
        atomic_store(&mini->opts.notice, (int)CODES[i]);
        cr_assert_eq(dp_next(client, &task, &err), CODES[i]);
        cr_assert_str_eq(err.text, "maintenance tonight");
        cr_assert_not(dp_task_wanted(client));
        dp_leave(&client, err.code, err.text);
        mini_free(&mini);
    }
    ASSERT_NO_LEAKS();
}

Test(client, a_step_that_others_completed_is_not_wanted)
{
    struct mini *mini = mini_new(9, false);
    mini_start(mini);
    dp_client *client = join_to(mini);
    dp_task task;
    dp_error err;
    cr_assert_eq(dp_next(client, &task, &err), DP_OK, "%s", err.text);
    cr_assert(dp_task_wanted(client));
    atomic_store(&mini->opts.start_step, 5);
    atomic_store(&mini->opts.low, 5);
    while (dp_task_wanted(client))
        ;
    cr_assert_eq(task.step, 0);
    /* The mini server itself is still at step 0: it parks the pull for step 5. */
    client->stop = &stop_when_waiting;
    client->timing.wait_notice = 1;
    cr_assert_eq(dp_next(client, &task, &err), DP_STOPPED);
    cr_assert_eq(client->theta.want, 5);
    push_slot(client, &task, 0); /* too late, and no harm */
    dp_leave(&client, err.code, err.text);
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

/* Slots given for a step that has become complete are not handed out again and again while its answer is awaited. */
Test(client, a_complete_step_is_waited_out)
{
    struct mini *mini = mini_new(9, false);
    atomic_store(&mini->opts.first_slots, 0x0f);
    atomic_store(&mini->opts.extra_slots, 0xf0);
    mini_start(mini);
    dp_client *client = join_to(mini);
    dp_task task;
    dp_error err;
    cr_assert_eq(dp_next(client, &task, &err), DP_OK, "%s", err.text);
    atomic_store(&mini->opts.low, 5);
    while (dp_task_wanted(client))
        ;
    push_task(client, &task);
    client->stop = &stop_when_waiting;
    client->timing.wait_notice = 50;
    cr_assert_eq(dp_next(client, &task, &err), DP_STOPPED);
    dp_leave(&client, err.code, err.text);
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

Test(client, a_refused_join_says_why)
{
    struct mini *mini = mini_new(1, false);
    atomic_store(&mini->opts.refuse_join, 1);
    mini_start(mini);
    dp_client *client = connect_to(mini);
    dp_error err;
    dp_task task;
    cr_assert_str_eq(dp_client_job(client)->model, "mini");
    cr_assert_eq(dp_client_job(client)->tensor_count, 0);
    cr_assert_eq(dp_next(client, &task, &err), DP_USAGE);
    cr_assert_null(dp_gradient(client, &err));
    cr_assert_eq(dp_join(client, &DATA, NULL, &MODEL, &err), DP_REFUSED);
    cr_assert_str_eq(err.text, "mini says REFUSED");
    dp_leave(&client, err.code, err.text);
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

Test(client, wrong_use_is_told)
{
    struct mini *mini = mini_new(1, false);
    mini_start(mini);
    dp_client *client = join_to(mini);
    dp_error err;
    dp_task task;
    dp_metrics metrics = {.count = 1};
    float foreign[1];
    const dp_job *job = dp_client_job(client);
    cr_assert_eq(job->tensor_count, 1);
    cr_assert_str_eq(job->tensors[0].name, "weight");
    cr_assert_eq(job->theta_elems, ELEMS);
    cr_assert_eq(job->labels[1], 1);
    cr_assert_eq(dp_join(client, &DATA, NULL, &MODEL, &err), DP_USAGE);
    cr_assert_eq(dp_push(client, 0, dp_gradient(client, &err), &metrics, &err), DP_USAGE, "no task yet");
    cr_assert_eq(dp_slot_rows(client, 0, NULL, 0), 0);
    cr_assert_eq(dp_next(client, &task, &err), DP_OK);
    cr_assert_eq(dp_push(client, 0, foreign, &metrics, &err), DP_USAGE);
    cr_assert_eq(dp_push(client, 0, NULL, &metrics, &err), DP_USAGE);
    cr_assert_eq(dp_push(client, 8, dp_gradient(client, &err), &metrics, &err), DP_RANGE);
    cr_assert_eq(dp_push(client, 0, dp_gradient(client, &err), NULL, &err), DP_USAGE);
    dp_gradient_free(client, dp_gradient(client, &err));
    dp_gradient_free(client, NULL);
    dp_leave(&client, DP_DATA, "row 5 is\tbad");
    dp_leave(&client, DP_OK, NULL);
    dp_leave(NULL, DP_OK, NULL);
    while (atomic_load(&mini->bye) < 0)
        ;
    cr_assert_eq(atomic_load(&mini->bye), DP_DATA);
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

Test(client, parameters_of_a_wrong_size_end_the_job)
{
    struct mini *mini = mini_new(1, false);
    atomic_store(&mini->opts.wrong_size, 1);
    mini_start(mini);
    dp_client *client = join_to(mini);
    dp_error err;
    dp_task task;
    cr_assert_eq(dp_next(client, &task, &err), DP_PROTO);
    cr_assert_not_null(strstr(err.text, "have 144 bytes, the slice has 148"), "%s", err.text);
    dp_leave(&client, err.code, err.text);
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

Test(client, slabs_are_used_again)
{
    struct mini *mini = mini_new(50, false);
    mini_start(mini);
    dp_client *client = join_to(mini);
    dp_error err;
    unsigned tasks;
    cr_assert_eq(work(client, 0, &tasks, &err), DP_JOB_DONE, "%s", err.text);
    size_t slabs = 0;
    for (const struct slab *slab = client->slabs.all; slab; slab = slab->next)
        slabs++;
    cr_assert_leq(slabs, 12, "%zu slabs for 8 slots", slabs);
    dp_leave(&client, err.code, err.text);
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

/* A port on which nobody listens, or a listener that never answers. */
static int plain_socket(bool listening, char *endpoint, size_t size)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof addr;
    cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&addr, &length), 0);
    if (listening)
        cr_assert_eq(listen(fd, 8), 0);
    snprintf(endpoint, size, "tcp://127.0.0.1:%u", ntohs(addr.sin_port));
    return fd;
}

static void expect_unreachable(const char *server, uint64_t timeout_ms, const char *part)
{
    dp_config config = config_for(server);
    dp_client *client = NULL;
    dp_error err;
    config.connect_timeout_ms = timeout_ms;
    uint64_t begin = mono_ms();
    cr_assert_eq(dp_connect(&config, &client, &err), DP_UNREACHABLE);
    cr_assert_null(client);
    cr_assert_geq(mono_ms() - begin, timeout_ms);
    cr_assert_lt(mono_ms() - begin, timeout_ms + 2000);
    cr_assert_not_null(strstr(err.text, part), "%s", err.text);
    cr_assert_not_null(strstr(err.text, server), "%s", err.text);
}

Test(client, an_absent_server_is_tried_until_the_deadline)
{
    char endpoint[64];
    int fd = plain_socket(false, endpoint, sizeof endpoint);
    expect_unreachable(endpoint, 700, "connection refused (tried for 1 s)");
    cr_assert_eq(notice_count, 1);
    cr_assert(noticed("(connection refused), trying for another 1 s"), "%s", notices[0]);
    close(fd);
    ASSERT_NO_LEAKS();
}

Test(client, a_port_of_something_else_is_told_apart)
{
    char endpoint[64];
    int fd = plain_socket(true, endpoint, sizeof endpoint);
    expect_unreachable(endpoint, 700, "nothing there answers as dp-server");
    close(fd);
    ASSERT_NO_LEAKS();
}

Test(client, a_host_that_does_not_resolve)
{
    expect_unreachable("tcp://no-such-host.invalid:7700", 300, "cannot reach");
    ASSERT_NO_LEAKS();
}

Test(client, a_server_that_comes_later_is_found)
{
    struct mini *mini = mini_new(1, false);
    mini_start(mini);
    dp_config config = config_for(mini->endpoint);
    atomic_store(&mini->opts.mute, 1);
    dp_client *client = NULL;
    dp_error err;
    config.connect_timeout_ms = 200;
    cr_assert_eq(dp_connect(&config, &client, &err), DP_UNREACHABLE);
    atomic_store(&mini->opts.mute, 0);
    expect_job(mini, join_to(mini), 1);
    mini_free(&mini);
    ASSERT_NO_LEAKS();
}

Test(client, a_bad_endpoint_is_a_usage_error)
{
    static const char *const BAD[] = {"",
                                      "localhost:7700",
                                      "tcp://",
                                      "tcp://host",
                                      "tcp://:7700",
                                      "tcp://host:0",
                                      "tcp://host:70000",
                                      "tcp://host:x",
                                      "tcp://*:7700",
                                      "ipc:///tmp/x",
                                      "tcp://::1:7700",
                                      "tcp://[::1",
                                      "tcp://a b:1"};
    dp_config config = {0};
    dp_client *client = NULL;
    dp_error err;
    cr_assert_eq(dp_connect(&config, &client, &err), DP_USAGE);
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        config.server = BAD[i];
        cr_assert_eq(dp_connect(&config, &client, &err), DP_USAGE, "%s", BAD[i]);
        cr_assert_not_null(strstr(err.text, "tcp://HOST:PORT"), "%s", err.text);
    }
    cr_assert_eq(dp_connect(&config, &client, NULL), DP_USAGE);
    ASSERT_NO_LEAKS();
}
