/* A worker of the checkpoint bench: gradients that were filled once, nothing computed. Thread: main. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "tests/bench/checkpoint/checkpoint.h"
#include "tests/bench/exchange/bench.h"
#include "worker/dp.h"

static const uint64_t ROWS = 1 << 30; /* one long epoch: no reports between */

static _Noreturn void die(const dp_error *err)
{
    fprintf(stderr, "bench_checkpoint: worker: %s\n", err->text);
    _exit(EXIT_FAILURE);
}

/* Buffers come back: each is filled once, so that its pages are there. */
static float *gradient(dp_client *client, uint64_t elems)
{
    static float *seen[8];
    dp_error err;
    float *grad = dp_gradient(client, &err);
    if (!grad)
        die(&err);
    for (size_t i = 0; i < ARRAY_LEN(seen); i++) {
        if (seen[i] == grad)
            return grad;
        if (seen[i])
            continue;
        seen[i] = grad;
        break;
    }
    for (uint64_t k = 0; k < elems; k++)
        grad[k] = 1e-6F;
    return grad;
}

static void join(dp_client *client, uint64_t floats)
{
    dp_error err;
    const dp_dataset data = {.name = "synthetic", .rows = ROWS, .features = 1, .fingerprint = 1};
    const dp_tensor tensor = {.name = "w", .rank = 1, .shape = &floats, .init = DP_INIT_ZEROS, .regularized = 1};
    const dp_model model = {.tensors = &tensor, .tensor_count = 1};
    if (dp_join(client, &data, NULL, &model, &err))
        die(&err);
}

void checkpoint_worker(const char *endpoint, uint64_t floats)
{
    static const dp_metrics METRICS = {.count = 1};
    dp_client *client = NULL;
    dp_error err;
    dp_task task;
    mem_keep();
    if (dp_connect(&(dp_config){.server = endpoint, .shm = DP_SHM_ON}, &client, &err))
        die(&err);
    join(client, floats);
    if (!crew_ready())
        _exit(EXIT_FAILURE);
    while (dp_next(client, &task, &err) == DP_OK) {
        crew_report(seconds_now());
        for (uint32_t i = 0; i < task.slot_count; i++)
            if (dp_push(client, task.slots[i], gradient(client, task.theta_elems), &METRICS, &err))
                die(&err);
    }
    die(&err);
}
