/* A worker of the exchange bench: gradients that were filled once, nothing computed.
 *
 *   bench_exchange_worker SERVER ELEMS SKIP on|off
 *
 * The last says whether memory is shared. Reports the seconds of a step, from step SKIP on, to exchange.h's crew.
 * Thread: main. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dp.h"
#include "exchange_bench.h"
#include "util.h"

static const uint64_t EPOCH_STEPS = 1 << 20;

static void die(const dp_error *err)
{
    fprintf(stderr, "bench_exchange_worker: %s\n", err->text);
    exit(EXIT_FAILURE);
}

static void join(dp_client *client, uint64_t elems)
{
    dp_error err;
    /* Rows for one long epoch: what is measured are ordinary steps, not the reports at the ends of epochs. */
    const dp_dataset data = {
        .name = "synthetic", .rows = EPOCH_STEPS * dp_client_job(client)->slots, .features = 1, .fingerprint = 1};
    const dp_tensor tensor = {.name = "w", .rank = 1, .shape = &elems, .init = DP_INIT_ZEROS, .regularized = 1};
    const dp_model model = {.tensors = &tensor, .tensor_count = 1};
    if (dp_join(client, &data, NULL, &model, &err))
        die(&err);
}

/* Buffers come back: each is written once, so that its pages are there. */
static float *gradient(dp_client *client, uint64_t elems)
{
    static float *seen[8];
    dp_error err;
    float *grad = dp_gradient(client, &err);
    if (!grad)
        die(&err);
    for (size_t i = 0; i < sizeof seen / sizeof seen[0]; i++) {
        if (seen[i] == grad)
            return grad;
        if (!seen[i]) {
            seen[i] = grad;
            break;
        }
    }
    for (uint64_t i = 0; i < elems; i++)
        grad[i] = 1e-6F;
    return grad;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return EXIT_FAILURE;
    uint64_t elems = strtoull(argv[2], NULL, 10), skip = strtoull(argv[3], NULL, 10), last = skip;
    dp_shm shm = strcmp(argv[4], "on") == 0 ? DP_SHM_ON : DP_SHM_OFF;
    dp_client *client = NULL;
    dp_error err;
    mem_keep();
    if (dp_connect(&(dp_config){.server = argv[1], .shm = shm}, &client, &err))
        die(&err);
    join(client, elems);
    if (!crew_ready())
        return EXIT_FAILURE;
    double start = -1;
    dp_task task;
    dp_err e;
    while ((e = dp_next(client, &task, &err)) == DP_OK) {
        if (start < 0 && task.step >= skip) {
            start = seconds_now();
            skip = task.step;
        }
        last = task.step + 1;
        const dp_metrics metrics = {.count = 1};
        for (uint32_t i = 0; i < task.slot_count; i++)
            if (dp_push(client, task.slots[i], gradient(client, elems), &metrics, &err))
                die(&err);
    }
    double end = seconds_now();
    if (e != DP_JOB_DONE)
        die(&err);
    dp_leave(&client, DP_OK, "");
    crew_report((end - start) / (double)(last - skip));
    return EXIT_SUCCESS;
}
