/* A worker of bench_exchange_rows: gradients of rows that were filled once, nothing computed.
 *
 *   bench_exchange_rows_worker SERVER DIM SKIP
 *
 * Each slot touches the same ROWS random rows of a table of TABLE_ROWS x DIM in every step. An epoch is longer than the
 * run: what a report of the whole table costs once an epoch is not measured here. Reports the seconds of a
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

/* Marks ROWS distinct rows, others for another slot. */
static void slot_mark(uint32_t slot, uint8_t *mine, uint8_t *all)
{
    uint64_t state = slot + 1;
    memset(mine, 0, TABLE_ROWS);
    for (uint64_t count = 0; count < ROWS;) {
        uint64_t id = random_next(&state) % TABLE_ROWS;
        count += !mine[id];
        mine[id] = all[id] = 1;
    }
}

/* dp_model.rows. With as many slots as workers, a worker has one once all have joined. */
static dp_err rows(void *arg, const dp_ask *ask, dp_rows *ret_rows, dp_error *err)
{
    static uint8_t mine[TABLE_ROWS], all[TABLE_ROWS];
    static uint64_t ids[TABLE_ROWS], count;
    static uint32_t last_count, last_slots[EXCHANGE_WORKERS_MAX];
    (void)arg;
    if (ask->slot_count > EXCHANGE_WORKERS_MAX)
        return dp_fail(err, DP_USAGE, "%u slots", ask->slot_count);
    if (ask->slot_count != last_count || memcmp(ask->slots, last_slots, last_count * sizeof *last_slots) != 0) {
        last_count = ask->slot_count;
        memcpy(last_slots, ask->slots, last_count * sizeof *last_slots);
        memset(all, 0, sizeof all);
        for (uint32_t i = 0; i < last_count; i++)
            slot_mark(last_slots[i], mine, all);
        count = 0;
        for (uint64_t id = 0; id < TABLE_ROWS; id++)
            if (all[id])
                ids[count++] = id;
    }
    *ret_rows = (dp_rows){ids, count};
    return DP_OK;
}

static void join(dp_client *client, uint64_t dim)
{
    dp_error err;
    const uint64_t shape[] = {TABLE_ROWS, dim};
    const dp_dataset data = {.name = "synthetic", .rows = DATA_ROWS, .features = 1, .fingerprint = 1};
    const dp_tensor tensor = {.name = "w", .rank = 2, .shape = shape, .kind = DP_TABLE, .regularized = 1};
    const dp_model model = {.tensors = &tensor, .tensor_count = 1, .rows = rows};
    if (dp_join(client, &data, NULL, &model, &err))
        die(&err);
}

/* Buffers come back: each is written once, as far as it is used. */
static float *gradient(dp_client *client, uint64_t elems)
{
    static float *seen[8];
    static uint64_t filled[8];
    dp_error err;
    float *grad = dp_gradient(client, &err);
    if (!grad)
        die(&err);
    size_t i = 0;
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
