/* Workers of somebody else's on libdp with tables of both kinds and a dense tensor, against the real server: one worker
 * or three threads of them, one shard or two, the model has the same bits, and rows have the values that they should.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "tests/integration/support/harness.h"
#include "worker/dp.h"

TestSuite(rows, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum {
    TIMEOUT_MS = 60000,
    DATA_ROWS = 240,
    DENSE = 5,
    TABLE_ROWS = 900,
    DIM = 3,
    HASHED_DIM = 2,
    TOUCHED = 3,
    FILE_MAX = 1 << 20
};

static const uint64_t DENSE_SHAPE[] = {DENSE}, TABLE_SHAPE[] = {TABLE_ROWS, DIM}, HASHED_SHAPE[] = {HASHED_DIM};
static const dp_tensor TENSORS[] = {
    {.name = "items", .rank = 2, .shape = TABLE_SHAPE, .init = DP_INIT_NORMAL, .init_arg = 1, .kind = DP_TABLE},
    {.name = "dense", .rank = 1, .shape = DENSE_SHAPE},
    {.name = "words", .rank = 1, .shape = HASHED_SHAPE, .kind = DP_HASHED, .regularized = 1}};

/* A row of the data touches TOUCHED rows of each table. */
static uint64_t item_of(uint64_t row, uint32_t k)
{
    return (row * 37 + k * 311) % TABLE_ROWS;
}

static uint64_t word_of(uint64_t row, uint32_t k)
{
    return (row % 50 + k * 1000) * UINT64_C(0x9e3779b97f4a7c15);
}

static int id_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* A worker: its client, and room for the answer to a question. */
struct worker {
    const char *endpoint;
    pthread_barrier_t *joined; /* none works before all have joined */
    dp_client *client;
    uint64_t ids[2][DATA_ROWS * TOUCHED];
    dp_error err;
    dp_err end;
};

/* Sorts and drops what stands twice; returns how many are left. */
static uint64_t ids_settle(uint64_t *ids, uint64_t count)
{
    uint64_t kept = 0;
    qsort(ids, (size_t)count, sizeof *ids, id_compare);
    for (uint64_t i = 0; i < count; i++)
        if (kept == 0 || ids[kept - 1] != ids[i])
            ids[kept++] = ids[i];
    return kept;
}

static dp_err rows_of(void *arg, const dp_ask *ask, dp_rows *rows, dp_error *err)
{
    struct worker *w = arg;
    uint64_t of_slot[DATA_ROWS], count = 0;
    (void)err;
    for (uint32_t s = 0; s < ask->slot_count; s++) {
        uint64_t n = dp_step_rows(w->client, ask->step, ask->slots[s], of_slot, DATA_ROWS);
        for (uint64_t i = 0; i < n * TOUCHED; i++, count++) {
            w->ids[0][count] = item_of(of_slot[i / TOUCHED], (uint32_t)(i % TOUCHED));
            w->ids[1][count] = word_of(of_slot[i / TOUCHED], (uint32_t)(i % TOUCHED));
        }
    }
    for (size_t t = 0; t < 2; t++)
        rows[t] = (dp_rows){w->ids[t], ids_settle(w->ids[t], count)};
    return DP_OK;
}

/* The place of a row of a table in the task. */
static size_t place_of(const dp_rows *rows, uint64_t id)
{
    const uint64_t *at = bsearch(&id, rows->ids, (size_t)rows->count, sizeof id, id_compare);
    cr_assert_not_null(at);
    return (size_t)(at - rows->ids);
}

/* Gradients that depend on theta, so that what is wrong once stays wrong: theta/8 + 1 of what a row touches. */
static dp_metrics slot_gradient(const struct worker *w, const dp_task *task, uint32_t slot, float *grad)
{
    uint64_t rows[DATA_ROWS];
    const size_t items = DENSE, words = items + task->rows[0].count * DIM;
    dp_metrics m = {.count = dp_slot_rows(w->client, slot, rows, DATA_ROWS)};
    memset(grad, 0, task->theta_elems * sizeof *grad);
    for (uint64_t i = 0; i < m.count; i++) {
        for (size_t c = 0; c < DENSE; c++)
            grad[c] += task->theta[c] / 8 + (float)(rows[i] % 3);
        for (uint32_t k = 0; k < TOUCHED; k++) {
            size_t item = items + place_of(&task->rows[0], item_of(rows[i], k)) * DIM;
            size_t word = words + place_of(&task->rows[1], word_of(rows[i], k)) * HASHED_DIM;
            for (size_t c = 0; c < DIM; c++)
                grad[item + c] += task->theta[item + c] / 8 + 1;
            for (size_t c = 0; c < HASHED_DIM; c++)
                grad[word + c] += task->theta[word + c] / 8 + (float)c;
        }
    }
    return m;
}

static dp_err work(struct worker *w)
{
    dp_task task;
    dp_err e;
    while ((e = dp_next(w->client, &task, &w->err)) == DP_OK)
        for (uint32_t i = 0; e == DP_OK && i < task.slot_count; i++) {
            float *grad = dp_gradient(w->client, &w->err);
            cr_assert_not_null(grad);
            dp_metrics m = slot_gradient(w, &task, task.slots[i], grad);
            if ((e = dp_push(w->client, task.slots[i], grad, &m, &w->err)) != DP_OK)
                return e;
        }
    return e;
}

static void *worker_run(void *arg)
{
    struct worker *w = arg;
    const dp_dataset data = {.name = "made up", .rows = DATA_ROWS, .features = 1, .fingerprint = 1};
    const dp_model model = {.tensors = TENSORS, .tensor_count = 3, .rows = rows_of, .rows_arg = w};
    w->end = dp_connect(&(dp_config){.server = w->endpoint}, &w->client, &w->err);
    if (w->end == DP_OK)
        w->end = dp_join(w->client, &data, NULL, &model, &w->err);
    pthread_barrier_wait(w->joined);
    if (w->end == DP_OK)
        w->end = work(w);
    dp_leave(&w->client, w->end, w->err.text);
    return NULL;
}

static const char *train(const char *name, const char *shards, uint32_t count)
{
    char endpoint[128];
    pthread_t threads[4];
    pthread_barrier_t joined;
    struct worker *workers = mem_array_zero(count, sizeof *workers);
    const char *path = temp_path(name);
    struct process *server = SERVER(endpoint, "--model", "linear", "--batch", "50", "--epochs", "6", "--slots", "8",
                                    "--lr", "0.5", "--seed", "3", "--optimizer", "momentum", "--l2", "0.01", "--shards",
                                    shards, "--exit-when-done", "--export", path);
    pthread_barrier_init(&joined, NULL, count);
    for (uint32_t i = 0; i < count; i++) {
        workers[i].endpoint = endpoint;
        workers[i].joined = &joined;
        cr_assert_eq(pthread_create(&threads[i], NULL, worker_run, &workers[i]), 0);
    }
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        cr_assert_eq(workers[i].end, DP_JOB_DONE, "%s", workers[i].err.text);
    }
    cr_assert_eq(process_wait(server, TIMEOUT_MS), 0, "%s", process_output(server, ERR));
    pthread_barrier_destroy(&joined);
    free(workers);
    return path;
}

/* A file's bytes, read whole (heap). */
static char *file_bytes(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "rb");
    char *bytes = mem_array(FILE_MAX, 1);
    cr_assert(file && bytes, "%s", path);
    *ret_size = fread(bytes, 1, FILE_MAX, file);
    fclose(file);
    cr_assert(*ret_size > 0 && *ret_size < FILE_MAX, "%s", path);
    return bytes;
}

/* Byte for byte: ids of a hashed table are no floats. */
static void files_assert_same(const char *path, const char *other)
{
    size_t a_size, b_size;
    char *a = file_bytes(path, &a_size), *b = file_bytes(other, &b_size);
    cr_assert(a_size == b_size && memcmp(a, b, a_size) == 0, "%s and %s differ", path, other);
    free(a);
    free(b);
}

Test(rows, tables_of_both_kinds_have_the_same_bits_for_any_workers_and_shards)
{
    NEED_PROGRAMS("dp-server");
    const char *want = train("one.safetensors", "1", 1);
    files_assert_same(want, train("three.safetensors", "2", 3));
    files_assert_same(want, train("two.safetensors", "3", 2));
}
