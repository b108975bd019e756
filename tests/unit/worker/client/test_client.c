/* Jobs of a client with a small server that loses, refuses and forgets: each ends with exactly the parameters that it
 * should have. */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/support/leaks.h"
#include "tests/unit/support/mini_client.h"

Test(client, a_job_of_two_steps)
{
    struct mini *mini = mini_run(2, false);
    expect_job(mini, join_to(mini), 2);
    while (atomic_load(&mini->bye) < 0)
        ;
    mini_free(&mini);
    cr_assert_eq(notice_count(), 0);
    ASSERT_NO_LEAKS();
}

Test(client, eight_slots_are_one_push_for_each_slice_with_the_pull_in_it)
{
    struct mini *mini = mini_run(2, false);
    dp_client *client = join_to(mini);
    client->timing.resend = client->timing.resend_max = 60000;
    expect_job(mini, client, 2);
    cr_assert_eq(atomic_load(&mini->pushes), 2 * MINI_ALL);
    cr_assert_eq(atomic_load(&mini->duplicates), 0);
    cr_assert_eq(atomic_load(&mini->pulls), 3 * MINI_ALL);
    cr_assert_eq(mini->slices[0].count, 2 * 16);
    cr_assert_eq(mini->slices[0].loss, 2 * 28.0);
    expect_sums(mini, 0, 2);
    mini_end(&mini);
}

/* All messages about a slice keep to one of them. */
Test(client, slices_of_a_shard_take_turns_on_two_connections)
{
    struct mini *mini = mini_run(20, false);
    expect_job(mini, join_to(mini), 20);
    for (uint32_t i = 0; i < MINI_ALL; i++) {
        const struct mini_slice *s = &mini->slices[i], *next = &mini->slices[i + 1];
        cr_assert_gt(s->from_id_size, 0);
        cr_assert_eq(s->from_changes, 0, "slice %u keeps to one", i);
        if (i % MINI_SLICES + 1 < MINI_SLICES)
            cr_assert(s->from_id_size != next->from_id_size || memcmp(s->from_id, next->from_id, s->from_id_size) != 0,
                      "slices %u and %u go by different ones", i, i + 1);
    }
    mini_end(&mini);
}

Test(client, evaluation_steps_have_no_gradients)
{
    struct mini *mini = mini_run(2, true);
    expect_job(mini, join_to(mini), 4);
    expect_sums(mini, 0, 2);
    cr_assert_eq(mini->slices[3].count, 2 * (16 + 2 * 5));
    mini_end(&mini);
}

Test(client, replies_that_are_lost_are_asked_for_again)
{
    struct mini *mini = mini_new(3, true);
    atomic_store(&mini->opts.drop_params, 4);
    mini_start(mini);
    expect_job(mini, join_to(mini), 6);
    cr_assert_eq(atomic_load(&mini->opts.drop_params), 0);
    expect_sums(mini, 0, 3);
    mini_end(&mini);
}

/* Messages behind the answer that makes theta whole are not in the way of the next step. */
Test(client, replies_that_come_twice_are_taken_once)
{
    struct mini *mini = mini_new(20, false);
    atomic_store(&mini->opts.double_params, 20 * MINI_ALL);
    mini_start(mini);
    expect_job(mini, join_to(mini), 20);
    cr_assert_eq(atomic_load(&mini->opts.double_params), 0);
    expect_sums(mini, 0, 20);
    mini_end(&mini);
}

Test(client, pushes_that_are_lost_are_sent_again)
{
    struct mini *mini = mini_run(3, false);
    dp_client *client = join_to(mini);
    dp_task task = task_next(client);
    atomic_store(&mini->opts.drop_pushes, 5);
    push_task(client, &task);
    expect_job(mini, client, 2);
    expect_sums(mini, 0, 3);
    mini_end(&mini);
}

Test(client, busy_shards_are_tried_again)
{
    struct mini *mini = mini_new(3, false);
    atomic_store(&mini->opts.busy, 15);
    mini_start(mini);
    expect_job(mini, join_to(mini), 3);
    expect_sums(mini, 0, 3);
    mini_end(&mini);
}

/* The worker computes and sends again the slots dealt to it; those that had arrived are duplicates. */
static void refused_as_not_dealt(int pushes)
{
    struct mini *mini = mini_run(4, true);
    dp_client *client = join_to(mini);
    dp_error err;
    client->timing.resend = client->timing.resend_max = 600000;
    dp_task task = task_next(client);
    atomic_store(&mini->opts.not_dealt, pushes);
    do
        push_task(client, &task);
    while (dp_next(client, &task, &err) == DP_OK);
    cr_assert_eq(err.code, DP_JOB_DONE, "%s", err.text);
    cr_assert_eq(atomic_load(&mini->opts.not_dealt), 0);
    cr_assert(noticed("computing what is dealt to this worker now"));
    expect_sums(mini, 0, 4);
    dp_leave(&client, DP_OK, NULL);
    mini_free(&mini);
}

Test(client, slots_that_others_hold_by_now_end_nothing, .timeout = 60)
{
    refused_as_not_dealt(1);
    refused_as_not_dealt(MINI_ALL);
    refused_as_not_dealt(3 * MINI_ALL);
    ASSERT_NO_LEAKS();
}

/* On arrival no later answer depends on it, and theta of the next step comes before it is sent again: so the worker
 * goes back to ask what is there. */
Test(client, a_push_refused_for_now_on_arrival_is_not_forgotten, .timeout = 60)
{
    struct mini *mini = mini_new(3, false);
    mini->staleness = 2;
    mini_start(mini);
    dp_client *client = join_to(mini);
    dp_error err;
    client->timing.busy = client->timing.busy_max = 600000;
    dp_task task = task_next(client);
    atomic_store(&mini->opts.busy, 1);
    do
        push_task(client, &task);
    while (dp_next(client, &task, &err) == DP_OK);
    cr_assert_eq(err.code, DP_JOB_DONE, "%s", err.text);
    cr_assert_eq(atomic_load(&mini->pushes), 3 * 8 * MINI_ALL, "each slot once on each slice");
    dp_leave(&client, DP_OK, NULL);
    mini_end(&mini);
}

/* One slice's message is refused, the others are answered: it is sent again soon, not after the wait for an answer. */
Test(client, answers_about_others_do_not_put_off_what_is_sent_again, .timeout = 60)
{
    struct mini *mini = mini_new(3, false);
    atomic_store(&mini->opts.busy, 1);
    mini_start(mini);
    dp_client *client = join_to(mini);
    client->timing.resend = client->timing.resend_max = 600000;
    expect_job(mini, client, 3);
    expect_sums(mini, 0, 3);
    mini_end(&mini);
}

/* Two pushes of six are lost, with the pulls in them; then two answers. */
Test(client, what_a_shard_lacks_is_sent_again_and_nothing_else)
{
    struct mini *mini = mini_new(2, false);
    atomic_store(&mini->opts.asks, 1);
    mini_start(mini);
    dp_client *client = join_to(mini);
    dp_task task = task_next(client);
    atomic_store(&mini->opts.drop_pushes, 2);
    push_task(client, &task);
    mini_wait(&mini->opts.drop_pushes);
    task = task_next(client);
    cr_assert_eq(task.step, 1);
    cr_assert_geq(atomic_load(&mini->questions), 2);
    cr_assert_eq(atomic_load(&mini->pulls), 2 * MINI_ALL, "those of the first step, of four slices, and of two again");
    atomic_store(&mini->opts.drop_params, 2);
    expect_job(mini, client, 1);
    cr_assert_eq(atomic_load(&mini->pushes), 2 * MINI_ALL);
    cr_assert_eq(atomic_load(&mini->duplicates), 0);
    cr_assert_eq(atomic_load(&mini->pulls), 3 * MINI_ALL + 2, "two again");
    expect_sums(mini, 0, 2);
    mini_end(&mini);
}

/* While a step waits for another worker, nothing is sent again, whatever the wait. */
Test(client, nothing_is_sent_again_while_a_step_waits_for_others)
{
    struct mini *mini = mini_new(1, false);
    atomic_store(&mini->opts.asks, 1);
    atomic_store(&mini->opts.first_slots, 0x0f);
    mini_start(mini);
    dp_client *client = join_to(mini);
    dp_task task = task_next(client);
    push_task(client, &task);
    dp_error err = stopped_waiting(client, 1000);
    cr_assert_geq(atomic_load(&mini->questions), 2 * MINI_ALL, "it was asked twice at least");
    cr_assert_eq(atomic_load(&mini->pulls), 2 * MINI_ALL);
    cr_assert_eq(atomic_load(&mini->duplicates), 0);
    mini_leave(&mini, &client, &err);
}

Test(client, a_connection_made_anew_resends)
{
    struct mini *mini = mini_run(3, false);
    dp_client *client = join_to(mini);
    client->timing.resend = client->timing.resend_max = 60000;
    dp_task task = task_next(client);
    atomic_store(&mini->opts.drop_pushes, 4);
    push_task(client, &task);
    mini_wait(&mini->opts.drop_pushes);
    atomic_store(&mini->opts.rebind_shards, 1);
    expect_job(mini, client, 2);
    cr_assert(noticed("lost the connection to shard tcp://127.0.0.1:"));
    cr_assert(noticed("is back"));
    expect_sums(mini, 0, 3);
    mini_end(&mini);
}

/* Pushes lost before the last slot was handed in go again with it, not after the wait for an answer. */
Test(client, a_connection_made_anew_while_computing_resends)
{
    struct mini *mini = mini_new(1, false);
    atomic_store(&mini->opts.first_slots, 0x2f);
    atomic_store(&mini->opts.extra_slots, 0xd0);
    mini_start(mini);
    dp_client *client = join_to(mini);
    client->timing.resend = client->timing.resend_max = 60000;
    dp_task task = task_next(client);
    cr_assert_eq(task.slot_count, 5);
    atomic_store(&mini->opts.drop_pushes, MINI_ALL);
    for (uint32_t i = 0; i < 4; i++)
        push_slot(client, &task, task.slots[i]);
    mini_wait(&mini->opts.drop_pushes);
    atomic_store(&mini->opts.rebind_shards, 1);
    while (!client->plane.shards[0].resend_pushes || !client->plane.shards[1].resend_pushes)
        cr_assert(dp_task_wanted(client));
    push_slot(client, &task, task.slots[4]);
    expect_job(mini, client, 1);
    expect_sums(mini, 0, 1);
    mini_end(&mini);
}

Test(client, a_job_under_way_is_joined_at_its_step)
{
    struct mini *mini = mini_new(9, false);
    atomic_store(&mini->opts.start_step, 7);
    mini_start(mini);
    expect_job(mini, join_to(mini), 2);
    expect_sums(mini, 7, 9);
    mini_end(&mini);
}

Test(client, a_job_that_is_over_is_done)
{
    struct mini *mini = mini_new(9, false);
    atomic_store(&mini->opts.start_step, 9);
    mini_start(mini);
    expect_job(mini, join_to(mini), 0);
    mini_end(&mini);
}

Test(client, slots_of_a_lost_worker_come_while_waiting)
{
    struct mini *mini = mini_new(1, false);
    atomic_store(&mini->opts.first_slots, 0x2f);
    atomic_store(&mini->opts.extra_slots, 0xd0);
    mini_start(mini);
    dp_client *client = join_to(mini);
    dp_task task = task_next(client);
    cr_assert_eq(task.slot_count, 5);
    cr_assert_eq(task.slots[4], 5);
    push_task(client, &task);
    task = task_next(client);
    cr_assert_eq(task.step, 0);
    cr_assert_eq(task.slot_count, 3);
    cr_assert_eq(task.slots[0], 4);
    expect_theta(client, &task, 0);
    push_task(client, &task);
    expect_job(mini, client, 0);
    cr_assert_eq(atomic_load(&mini->pushes), 4 * MINI_ALL, "(2,0) and 5; then 4, and 6 with 7");
    expect_sums(mini, 0, 1);
    mini_end(&mini);
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
    mini_end(&mini);
}

Test(client, a_lost_session_is_taken_up_again)
{
    struct mini *mini = mini_run(5, true);
    dp_client *client = join_to(mini);
    dp_task task;
    for (int i = 0; i < 3; i++) {
        task = task_next(client);
        push_slot(client, &task, task.slots[0]);
        atomic_store(&mini->opts.forget_sessions, 1);
        mini_wait(&mini->opts.forget_sessions);
        for (uint32_t k = 1; k < task.slot_count; k++)
            push_slot(client, &task, task.slots[k]);
    }
    expect_job(mini, client, 7);
    cr_assert_geq(atomic_load(&mini->hellos), 3);
    cr_assert(noticed("lost the session"));
    cr_assert(noticed("joined tcp://127.0.0.1:"));
    cr_assert_not(noticed("the job went on")); /* it is the same one */
    expect_sums(mini, 0, 5);
    mini_end(&mini);
}

Test(client, a_new_incarnation_begins_where_the_server_says)
{
    struct mini *mini = mini_run(4, false);
    dp_client *client = join_to(mini);
    dp_task task;
    dp_error err;
    for (int i = 0; i < 2; i++) {
        task = task_next(client);
        push_task(client, &task);
    }
    atomic_store(&mini->opts.train_step, 1200);
    atomic_store(&mini->opts.restart, 1);
    mini_wait(&mini->opts.restart);
    /* The step that was under way may be complete already. */
    while (dp_next(client, &task, &err) == DP_OK && task.step != 0)
        push_task(client, &task);
    cr_assert_eq(task.step, 0);
    cr_assert(noticed(" again; the job went on at step 1200"));
    expect_theta(client, &task, 0);
    push_task(client, &task);
    expect_job(mini, client, 3);
    expect_sums(mini, 0, 4);
    mini_end(&mini);
}

Test(client, another_job_is_refused)
{
    struct mini *mini = mini_run(4, false);
    dp_client *client = join_to(mini);
    dp_error err;
    unsigned tasks;
    atomic_store(&mini->opts.other_labels, 1);
    atomic_store(&mini->opts.restart, 1);
    mini_wait(&mini->opts.restart);
    cr_assert_eq(work(client, 0, &tasks, &err), DP_REFUSED, "%s", err.text);
    cr_assert_not_null(strstr(err.text, "label of class 1 is 3, was 1"), "%s", err.text);
    mini_leave(&mini, &client, &err);
}

/* By what its Welcome says of it: joined, it would be settled by the data and the model of this worker. */
Test(client, another_job_is_not_joined)
{
    struct mini *mini = mini_run(4, false);
    dp_client *client = join_to(mini);
    dp_error err;
    unsigned tasks;
    atomic_store(&mini->opts.other_seed, 1);
    atomic_store(&mini->opts.restart, 1);
    mini_wait(&mini->opts.restart);
    cr_assert_eq(work(client, 0, &tasks, &err), DP_REFUSED, "%s", err.text);
    cr_assert_not_null(strstr(err.text, "seed is 8, was 7"), "%s", err.text);
    dp_leave(&client, err.code, err.text);
    for (int i = 0; i < 500 && atomic_load(&mini->bye) < 0; i++)
        usleep(10000);
    cr_assert_eq(atomic_load(&mini->bye), DP_REFUSED, "it says goodbye to that job");
    cr_assert_eq(atomic_load(&mini->joins), 1);
    mini_end(&mini);
}

/* A job that waits for its first worker is compared by what it knows. */
Test(client, a_job_that_is_not_settled_yet_is_told_from_another)
{
    static char model[] = "softmax", other[] = "logistic";
    const struct client_job settled = {
        .view = {
            .model = model, .features = 64, .classes = 10, .batch = 500, .slots = 8, .train_rows = 500, .evaluate = 1}};
    struct client_job waiting = {.view = {.model = model, .batch = 1024, .slots = 8}};
    dp_error err;
    cr_assert_eq(client_job_like(&settled, &waiting, &err), DP_OK, "%s", err.text);
    cr_assert_eq(client_job_like(&waiting, &settled, &err), DP_OK, "%s", err.text);
    cr_assert_eq(client_job_like(&settled, &settled, &err), DP_OK, "%s", err.text);
    waiting.view.batch = 400;
    cr_assert_eq(client_job_like(&settled, &waiting, &err), DP_REFUSED);
    cr_assert_not_null(strstr(err.text, "batch is 400, was 500"), "%s", err.text);
    waiting.view.batch = 1024;
    waiting.view.features = 65;
    cr_assert_eq(client_job_like(&settled, &waiting, &err), DP_REFUSED);
    waiting.view.features = 64;
    cr_assert_eq(client_job_like(&settled, &waiting, &err), DP_OK, "%s", err.text);
    waiting.view.model = other;
    cr_assert_eq(client_job_like(&settled, &waiting, &err), DP_REFUSED);
}

Test(client, slabs_are_used_again)
{
    struct mini *mini = mini_run(50, false);
    dp_client *client = join_to(mini);
    dp_error err;
    unsigned tasks;
    cr_assert_eq(work(client, 0, &tasks, &err), DP_JOB_DONE, "%s", err.text);
    size_t slabs = 0;
    for (const struct slab *slab = client->plane.slabs.all; slab; slab = slab->next)
        slabs++;
    cr_assert_leq(slabs, 12, "%zu slabs for 8 slots", slabs);
    mini_leave(&mini, &client, &err);
}
