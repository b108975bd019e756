/* A worker of bench_exchange_rows: gradients of rows that were filled once, nothing computed.
 *
 *   bench_exchange_rows_worker SERVER DIM SKIP
 *
 * Each slot touches the same ROWS random rows of a table of TABLE_ROWS x DIM in every step. Reports the seconds of a
 * step, from step SKIP on, to exchange.h's crew. Thread: main. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dp.h"
#include "exchange_bench.h"
#include "exchange_rows.h"
#include "util.h"

static void die(const dp_error *err)
{
    fprintf(stderr, "bench_exchange_rows_worker: %s\n", err->text);
    exit(EXIT_FAILURE);
}

/* Steele et al. 2014: splitmix64. */
static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static int id_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* ROWS distinct rows, sorted; others for another slot. */
static const uint64_t *rows_of_slot(uint32_t slot)
{
    static uint64_t ids[ROWS];
    uint64_t state = slot + 1, count = 0;
    static uint8_t taken[TABLE_ROWS];
    memset(taken, 0, sizeof taken);
    while (count < ROWS) {
        uint64_t id = random_next(&state) % TABLE_ROWS;
        if (!taken[id])
            ids[count++] = id;
        taken[id] = 1;
    }
    qsort(ids, ROWS, sizeof *ids, id_compare);
    return ids;
}

/* dp_model.rows: with as many slots as workers, a worker has one. */
static dp_err rows(void *arg, const dp_ask *ask, dp_rows *ret_rows, dp_error *err)
{
    static uint32_t last = UINT32_MAX;
    static const uint64_t *ids;
    (void)arg;
    if (ask->slot_count != 1)
        return dp_fail(err, DP_USAGE, "%u slots instead of 1", ask->slot_count);
    if (ask->slots[0] != last)
        ids = rows_of_slot(ask->slots[0]);
    last = ask->slots[0];
    *ret_rows = (dp_rows){ids, ROWS};
    return DP_OK;
}

static void join(dp_client *client, uint64_t dim)
{
    dp_error err;
    const uint64_t shape[] = {TABLE_ROWS, dim};
    const dp_dataset data = {
        .name = "synthetic", .rows = dp_client_job(client)->slots, .features = 1, .fingerprint = 1};
    const dp_tensor tensor = {.name = "w", .rank = 2, .shape = shape, .kind = DP_TABLE, .regularized = 1};
    const dp_model model = {.tensors = &tensor, .tensor_count = 1, .rows = rows};
    if (dp_join(client, &data, NULL, &model, &err))
        die(&err);
}

/* Buffers come back: each is written once. */
static float *gradient(dp_client *client, uint64_t elems)
{
    static float *seen[8];
    dp_error err;
    float *grad = dp_gradient(client, &err);
    if (!grad)
        die(&err);
    size_t i = 0;
    while (i < ARRAY_LEN(seen) && seen[i] && seen[i] != grad)
        i++;
    if (i < ARRAY_LEN(seen) && seen[i] == grad)
        return grad;
    if (i < ARRAY_LEN(seen))
        seen[i] = grad;
    for (uint64_t k = 0; k < elems; k++)
        grad[k] = 1e-6F;
    return grad;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return EXIT_FAILURE;
    uint64_t dim = strtoull(argv[2], NULL, 10), skip = strtoull(argv[3], NULL, 10), last = skip;
    dp_client *client = NULL;
    dp_error err;
    mem_keep();
    if (dp_connect(&(dp_config){.server = argv[1]}, &client, &err))
        die(&err);
    join(client, dim);
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
        if (task.step > 0 && task.theta[0] == 0) {
            (void)dp_fail(&err, DP_PROTO, "rows do not change from step to step");
            die(&err);
        }
        const dp_metrics metrics = {.count = 1};
        for (uint32_t i = 0; i < task.slot_count; i++)
            if (dp_push(client, task.slots[i], gradient(client, task.theta_elems), &metrics, &err))
                die(&err);
    }
    double end = seconds_now();
    if (e != DP_JOB_DONE)
        die(&err);
    dp_leave(&client, DP_OK, "");
    crew_report((end - start) / (double)(last - skip));
    return EXIT_SUCCESS;
}
