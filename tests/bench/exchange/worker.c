/* A worker of the exchange bench: gradients that were filled once, nothing computed.
 *
 *   bench_exchange_worker SERVER FLOATS DIM SKIP on|off
 *
 * DIM 0: one dense tensor of FLOATS; else a table of rows of DIM floats. The last says whether memory is shared.
 * Reports the seconds of a step, from step SKIP on, to bench.h's crew. Thread: main. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "tests/bench/exchange/bench.h"
#include "tests/bench/exchange/worker.h"

/* Rows for one long epoch: what is measured are ordinary steps, not the reports at the ends of epochs. */
static const uint64_t EPOCH_STEPS = 1 << 20;

static void die(const dp_error *err)
{
    fprintf(stderr, "bench_exchange_worker: %s\n", err->text);
    exit(EXIT_FAILURE);
}

static void join(dp_client *client, uint64_t floats, uint64_t dim)
{
    dp_error err;
    const uint64_t dense[] = {floats}, table[] = {EXCHANGE_TABLE_ROWS, dim};
    const dp_dataset data = {
        .name = "synthetic", .rows = EPOCH_STEPS * dp_client_job(client)->slots, .features = 1, .fingerprint = 1};
    dp_tensor tensor = {.name = "w", .rank = 1, .shape = dense, .init = DP_INIT_ZEROS, .regularized = 1};
    dp_model model = {.tensors = &tensor, .tensor_count = 1};
    if (dim > 0) {
        tensor.kind = DP_TABLE;
        tensor.rank = 2;
        tensor.shape = table;
        model.rows = worker_rows;
    }
    if (dp_join(client, &data, NULL, &model, &err))
        die(&err);
}

/* Buffers come back: each is written once, as far as it is used, so that its pages are there. */
static float *gradient(dp_client *client, uint64_t elems)
{
    static float *seen[8];
    static uint64_t filled[ARRAY_LEN(seen)];
    dp_error err;
    size_t i = 0;
    float *grad = dp_gradient(client, &err);
    if (!grad)
        die(&err);
    while (i + 1 < ARRAY_LEN(seen) && seen[i] && seen[i] != grad)
        i++;
    if (seen[i] == grad && filled[i] >= elems)
        return grad;
    seen[i] = grad;
    filled[i] = elems;
    for (uint64_t k = 0; k < elems; k++)
        grad[k] = 1e-6F;
    return grad;
}

static void compute(dp_client *client, const dp_task *task)
{
    static const dp_metrics METRICS = {.count = 1};
    dp_error err;
    if (task->step > 0 && (task->theta[0] == 0 || task->theta[task->theta_elems - 1] == 0)) {
        (void)dp_fail(&err, DP_PROTO, "theta does not change from step to step");
        die(&err);
    }
    for (uint32_t i = 0; i < task->slot_count; i++)
        if (dp_push(client, task->slots[i], gradient(client, task->theta_elems), &METRICS, &err))
            die(&err);
}

/* To the end of the job; seconds of a step from step `skip` on. */
static double run(dp_client *client, uint64_t skip)
{
    uint64_t first = skip, last = skip;
    double start = -1;
    dp_error err;
    dp_task task;
    dp_err e;
    while ((e = dp_next(client, &task, &err)) == DP_OK) {
        if (start < 0 && task.step >= skip) {
            start = seconds_now();
            first = task.step;
        }
        last = task.step + 1;
        compute(client, &task);
    }
    double end = seconds_now();
    if (e != DP_JOB_DONE)
        die(&err);
    return (end - start) / (double)(last - first);
}

int main(int argc, char **argv)
{
    if (argc != 6)
        return EXIT_FAILURE;
    dp_client *client = NULL;
    dp_error err;
    dp_shm shm = strcmp(argv[5], "on") == 0 ? DP_SHM_ON : DP_SHM_OFF;
    mem_keep();
    if (dp_connect(&(dp_config){.server = argv[1], .shm = shm}, &client, &err))
        die(&err);
    join(client, strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
    if (!crew_ready())
        return EXIT_FAILURE;
    double seconds = run(client, strtoull(argv[4], NULL, 10));
    dp_leave(&client, DP_OK, "");
    crew_report(seconds);
    return EXIT_SUCCESS;
}
