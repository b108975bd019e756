/* A client of the mini server that computes what is known beforehand, for tests. */
#include "tests/unit/support/mini_client.h"

#include <criterion/criterion.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "tests/unit/support/leaks.h"

enum { NOTICES_MAX = 64 };

static char notices[NOTICES_MAX][640];
static size_t notices_told;

static volatile int stop_when_waiting; /* set once a client tells that it waits */

static void on_notice(void *arg, const char *text)
{
    (void)arg;
    if (strstr(text, "waiting for step"))
        stop_when_waiting = 1;
    if (notices_told < NOTICES_MAX)
        str_copy(notices[notices_told++], sizeof notices[0], text);
}

bool noticed(const char *part)
{
    for (size_t i = 0; i < notices_told; i++)
        if (strstr(notices[i], part))
            return true;
    return false;
}

static const double LABELS[] = {-1, 1};
static const uint64_t SHAPE[] = {ELEMS};
static const dp_tensor TENSOR = {.name = "weight", .rank = 1, .shape = SHAPE, .regularized = 1};
const dp_dataset MINI_DATA = {.name = "a\nname", .rows = 16, .features = 5, .labels = LABELS, .label_count = 2};
const dp_model MINI_MODEL = {.tensors = &TENSOR, .tensor_count = 1, .labels = LABELS, .label_count = 2};

size_t notice_count(void)
{
    return notices_told;
}

dp_config config_for(const char *server)
{
    return (dp_config){.server = server, .connect_timeout_ms = 5000, .server_timeout_ms = 8000, .notice = on_notice};
}

dp_client *connect_to(const struct mini *mini)
{
    dp_config config = config_for(mini->endpoint);
    dp_client *client = NULL;
    dp_error err;
    cr_assert_eq(dp_connect(&config, &client, &err), DP_OK, "%s", err.text);
    client->timing.poll = 10;
    client->timing.ask_again = 2000;
    client->timing.resend = 60;
    client->timing.resend_max = 120;
    client->timing.busy = 10;
    return client;
}

dp_client *join_to(const struct mini *mini)
{
    dp_client *client = connect_to(mini);
    dp_error err;
    cr_assert_eq(dp_join(client, &MINI_DATA, NULL, &MINI_MODEL, &err), DP_OK, "%s", err.text);
    return client;
}

struct mini *mini_run(uint64_t steps, bool evaluate)
{
    struct mini *mini = mini_new(steps, evaluate);
    mini_start(mini);
    return mini;
}

void mini_wait(const atomic_int *wish)
{
    while (atomic_load(wish) > 0)
        ;
}

void mini_end(struct mini **mini)
{
    mini_free(mini);
    ASSERT_NO_LEAKS();
}

void mini_leave(struct mini **mini, dp_client **client, const dp_error *err)
{
    dp_leave(client, err->code, err->text);
    mini_end(mini);
}

dp_task task_next(dp_client *client)
{
    dp_task task;
    dp_error err;
    cr_assert_eq(dp_next(client, &task, &err), DP_OK, "%s", err.text);
    return task;
}

dp_error stopped_waiting(dp_client *client, uint64_t wait_ms)
{
    dp_task task;
    dp_error err;
    client->tell.stop = &stop_when_waiting;
    client->timing.wait_notice = wait_ms;
    cr_assert_eq(dp_next(client, &task, &err), DP_STOPPED);
    return err;
}

static float grad_value(uint64_t train_step, uint32_t slot, size_t elem)
{
    return (float)(slot + 1 + 10 * train_step + elem);
}

float theta_value(uint64_t first_step, uint64_t train_steps, size_t elem)
{
    float value = (float)(elem / MINI_ELEMS * 1000 + elem % MINI_ELEMS);
    for (uint64_t t = first_step; t < train_steps; t++)
        for (uint32_t k = 0; k < 8; k++)
            value += grad_value(t, k, elem);
    return value;
}

void expect_theta(const dp_client *client, const dp_task *task, uint64_t first_step)
{
    uint64_t train_steps = plan_at(&client->job.plan, task->step).train_step;
    for (size_t i = 0; i < ELEMS; i++)
        cr_assert_eq(task->theta[i], theta_value(first_step, train_steps, i), "step %lu, element %zu: %g",
                     (unsigned long)task->step, i, (double)task->theta[i]);
}

void push_slot(dp_client *client, const dp_task *task, uint32_t slot)
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

void push_task(dp_client *client, const dp_task *task)
{
    for (uint32_t i = task->slot_count; i-- > 0;)
        push_slot(client, task, task->slots[i]);
}

dp_err work(dp_client *client, uint64_t first_step, unsigned *ret_tasks, dp_error *err)
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

void expect_job(struct mini *mini, dp_client *client, unsigned tasks)
{
    dp_error err;
    unsigned done;
    uint64_t first = atomic_load(&mini->opts.start_step);
    cr_assert_eq(work(client, first, &done, &err), DP_JOB_DONE, "%s", err.text);
    cr_assert_eq(done, tasks, "%u tasks", done);
    dp_leave(&client, DP_JOB_DONE, NULL);
    cr_assert_null(client);
}

void expect_sums(struct mini *mini, uint64_t first, uint64_t train_steps)
{
    for (size_t i = 0; i < ELEMS; i++)
        cr_assert_eq(mini->slices[i / MINI_ELEMS].theta[i % MINI_ELEMS], theta_value(first, train_steps, i));
}
