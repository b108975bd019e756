/* A client with data of its own, on the library's public header alone: it brings one tensor, goes through MINIBATCHES
 * minibatches, and says each step that is done. The gradient of each of its samples is VALUE everywhere.
 *
 *   free_client ENDPOINT NAME MINIBATCHES SAMPLES VALUE [ELEMENTS]
 *
 * It prints "step N count N theta X" once step N is part of the parameters. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <dp.h>

static uint64_t elems = 600000; /* some slices on each of a few shards */

static void notice(void *arg, const char *text)
{
    fprintf(stderr, "%s: %s\n", (const char *)arg, text);
}

static dp_err run(dp_client *client, uint64_t minibatches, uint64_t samples, float value, dp_error *err)
{
    const uint64_t shape[] = {elems};
    const dp_tensor tensor = {.name = "w", .rank = 1, .shape = shape, .init = DP_INIT_ZEROS, .regularized = 1};
    const dp_model model = {.tensors = &tensor, .tensor_count = 1};
    dp_task task;
    dp_err e = dp_join_free(client, &model, err);
    if (e == DP_OK)
        e = dp_next(client, &task, err);
    for (uint64_t i = 0; e == DP_OK && i < minibatches; i++) {
        float *grad = dp_gradient(client, err);
        if (!grad)
            return DP_NOMEM;
        for (uint64_t k = 0; k < elems; k++)
            grad[k] = (float)samples * value;
        uint64_t step = task.step;
        e = dp_step(client, grad, &(dp_metrics){.count = samples, .loss = (double)samples}, &task, err);
        if (e == DP_OK)
            printf("step %" PRIu64 " theta %.6f %.6f\n", step, (double)task.theta[0], (double)task.theta[elems - 1]);
        fflush(stdout);
    }
    return e;
}

int main(int argc, char **argv)
{
    if (argc != 6 && argc != 7)
        return 2;
    if (argc == 7)
        elems = strtoull(argv[6], NULL, 10);
    dp_config config = {.server = argv[1], .name = argv[2], .notice = notice, .notice_arg = argv[2]};
    dp_client *client = NULL;
    dp_error err = {0};
    dp_err e = dp_connect(&config, &client, &err);
    if (e == DP_OK)
        e = run(client, strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10), strtof(argv[5], NULL), &err);
    dp_leave(&client, e, e ? err.text : "");
    if (e && e != DP_JOB_DONE)
        fprintf(stderr, "%s: %s\n", argv[2], err.text);
    return dp_err_exit_status(e == DP_JOB_DONE ? DP_OK : e);
}
