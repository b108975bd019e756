/* A child that a worker forks, as frameworks and bindings do: each call on the client that it inherited returns at
 * once, and the worker notices nothing. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "tests/unit/support/leaks.h"
#include "tests/unit/support/mini_client.h"

enum { CHILD_MS = 10000, LOOK_US = 10000 };

/* Runs `check` in a forked child; fails the test unless it ends with 0 in time. It returns the number of the
 * check that failed. */
static void in_child(int (*check)(dp_client *client), dp_client *client)
{
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0)
        _exit(check(client));
    int status = 0;
    uint64_t end_ms = mono_ms() + CHILD_MS;
    while (waitpid(child, &status, WNOHANG) == 0) {
        if (mono_ms() > end_ms)
            kill(child, SIGKILL);
        usleep(LOOK_US);
    }
    cr_assert(WIFEXITED(status), "it hung or died of signal %d", WTERMSIG(status));
    cr_assert_eq(WEXITSTATUS(status), 0, "check %d failed", WEXITSTATUS(status));
}

static int leaves(dp_client *client)
{
    dp_leave(&client, DP_OK, NULL);
    return client ? 1 : 0;
}

static bool usage(dp_err e, const dp_error *err)
{
    return e == DP_USAGE && err->code == DP_USAGE && strstr(err->text, "has forked this one");
}

/* All but dp_leave, after which it leaves. */
static int calls(dp_client *client)
{
    dp_task task = {0};
    dp_metrics metrics = {.count = 1};
    dp_error err;
    if (!usage(dp_next(client, &task, &err), &err))
        return 1;
    if (!usage(dp_join(client, &MINI_DATA, NULL, &MINI_MODEL, &err), &err))
        return 2;
    if (!usage(dp_join_free(client, &MINI_MODEL, &err), &err))
        return 3;
    if (dp_gradient(client, &err) || !usage(err.code, &err))
        return 4;
    if (!usage(dp_push(client, 0, NULL, &metrics, &err), &err))
        return 5;
    if (!usage(dp_step(client, NULL, &metrics, &task, &err), &err))
        return 6;
    if (dp_task_wanted(client))
        return 7;
    if (dp_next(client, &task, NULL) != DP_USAGE || dp_push(client, 0, NULL, &metrics, NULL) != DP_USAGE ||
        dp_gradient(client, NULL))
        return 8;
    uint64_t rows[2];
    if (!dp_client_job(client)->model || dp_step_rows(client, 0, 0, rows, 2) == 0)
        return 9;
    return leaves(client) ? 10 : 0;
}

Test(client_fork, a_child_leaves_at_once_and_the_worker_goes_on)
{
    struct mini *mini = mini_run(3, false);
    dp_client *client = join_to(mini);
    dp_task task;
    in_child(leaves, client);
    task = task_next(client);
    in_child(leaves, client);
    push_task(client, &task);
    in_child(leaves, client);
    cr_assert_eq(atomic_load(&mini->bye), -1, "no child says goodbye for the worker");
    expect_job(mini, client, 2);
    expect_sums(mini, 0, 3);
    mini_end(&mini);
}

Test(client_fork, calls_in_a_child_are_refused_and_the_worker_goes_on)
{
    struct mini *mini = mini_run(3, false);
    dp_client *client = join_to(mini);
    dp_error err;
    dp_task task = task_next(client);
    float *grad = dp_gradient(client, &err);
    cr_assert_not_null(grad);
    in_child(calls, client);
    cr_assert(dp_task_wanted(client));
    dp_gradient_free(client, grad);
    push_task(client, &task);
    expect_job(mini, client, 2);
    expect_sums(mini, 0, 3);
    mini_end(&mini);
}

/* One that connects anew is a worker as any other. */
static int works(dp_client *client)
{
    dp_error err;
    char server[64];
    snprintf(server, sizeof server, "%s", client->config.server);
    dp_config config = config_for(server);
    dp_client *own = NULL;
    dp_leave(&client, DP_OK, NULL);
    if (dp_connect(&config, &own, &err))
        return 1;
    if (!dp_client_job(own)->model)
        return 2;
    dp_leave(&own, DP_OK, NULL);
    return 0;
}

Test(client_fork, a_child_may_connect_anew)
{
    struct mini *mini = mini_run(1, false);
    dp_client *client = connect_to(mini);
    in_child(works, client);
    dp_leave(&client, DP_OK, NULL);
    mini_end(&mini);
}
