/* Jobs whose weights are a table (--sparse), through the real programs: the bits of a dense tensor where rows that are
 * left alone stay what they are, the same values to rounding where they are caught up; the same bits for any workers,
 * shards and threads, whoever is killed. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/tensor/safetensors.h"
#include "common/tensor/safetensors_read.h"
#include "tests/integration/support/harness.h"

TestSuite(sparse, .init = harness_init, .fini = harness_fini, .timeout = 400);

enum { TIMEOUT_MS = 120000, ARGS_MAX = 64, ROWS = 900, FEATURES = 2000, ENTRIES = 12, TEXT_MAX = 1 << 20 };

/* Rows of ENTRIES words with three labels, or two; few words are frequent, most are rare. */
static const char *words_file(const char *name, uint64_t classes)
{
    static char text[TEXT_MAX];
    size_t at = 0;
    for (uint64_t r = 0; r < ROWS; r++) {
        uint64_t label = (r * 7919) % classes, column = 1 + label * 3 + r % 3;
        at += (size_t)snprintf(text + at, sizeof text - at, "%d", (int)label);
        for (uint64_t k = 0; k < ENTRIES && column <= FEATURES; k++) {
            at += (size_t)snprintf(text + at, sizeof text - at, " %llu:%g", (unsigned long long)column,
                                   0.25 + (double)((r + k) % 5) / 4);
            column += 1 + (r * 131 + k * k * 57) % (FEATURES / ENTRIES);
        }
        text[at++] = '\n';
    }
    return temp_file(name, text, at);
}

static int add_words(const char **args, int count, const char *text, char *room, size_t size)
{
    char *word;
    snprintf(room, size, "%s", text);
    while ((word = strsep(&room, " ")))
        if (*word)
            args[count++] = word;
    args[count] = NULL;
    return count;
}

/* Trains on the data with local workers; returns the model's path. */
static const char *train(const char *name, const char *data, const char *options, const char *more)
{
    char room[512], room_more[256];
    const char *path = temp_path(name);
    const char *args[ARGS_MAX] = {
        "--listen", "tcp://127.0.0.1:0", "--exit-when-done", "--quiet", "--data", data, "--eval", data, "--export",
        path};
    (void)add_words(args, add_words(args, 10, options, room, sizeof room), more, room_more, sizeof room_more);
    struct run_result r = run_program(TIMEOUT_MS, "dp-server", args);
    cr_assert_eq(r.status, 0, "%s %s: %s", options, more, r.err);
    return path;
}

/* |a - b| / |b| of all parameters, found by their names. */
static double distance(const char *path, const char *other)
{
    struct safetensors a, b;
    dp_error err;
    double difference = 0, norm = 0;
    cr_assert_eq(safetensors_read(path, &a, &err), DP_OK, "%s", err.text);
    cr_assert_eq(safetensors_read(other, &b, &err), DP_OK, "%s", err.text);
    cr_assert_eq(a.tensors.count, b.tensors.count);
    for (uint32_t i = 0; i < a.tensors.count; i++) {
        int at = safetensors_find(&b, a.tensors.list[i].name);
        cr_assert_geq(at, 0);
        const float *x = a.theta + tensors_offset(&a.tensors, i);
        const float *y = b.theta + tensors_offset(&b.tensors, (uint32_t)at);
        cr_assert_eq(a.tensors.list[i].elems, b.tensors.list[at].elems);
        for (uint64_t k = 0; k < a.tensors.list[i].elems; k++) {
            difference += pow((double)x[k] - (double)y[k], 2);
            norm += pow((double)y[k], 2);
        }
    }
    safetensors_fini(&a);
    safetensors_fini(&b);
    cr_assert_gt(norm, 0);
    return sqrt(difference / norm);
}

#define BASE "--batch 100 --epochs 3 --seed 7 --local-workers 2 --shards 2 "

Test(sparse, bits_of_a_dense_tensor_where_rows_left_alone_stay)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char *const JOBS[] = {
        BASE "--model linear --lr 0.01",
        BASE "--model logistic --lr 0.3 --intercept off",
        BASE "--model softmax --lr 0.3",
        BASE "--model logistic --optimizer adagrad --lr 0.1 --lr-schedule cosine",
        BASE "--model softmax --optimizer ftrl --l1 1e-3 --l2 1e-3",
    };
    const char *two = words_file("two", 2), *three = words_file("three", 3);
    for (size_t j = 0; j < sizeof JOBS / sizeof JOBS[0]; j++) {
        const char *data = strstr(JOBS[j], "softmax") ? three : two;
        const char *dense = train("dense.safetensors", data, JOBS[j], "");
        cr_assert_eq(distance(train("sparse.safetensors", data, JOBS[j], "--sparse"), dense), 0, "%s", JOBS[j]);
    }
}

Test(sparse, rows_are_caught_up_as_if_they_had_been_there)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char *const JOBS[] = {
        BASE "--model logistic --lr 0.3 --l2 0.01",
        BASE "--model logistic --lr 0.3 --l1 1e-3 --lr-schedule inv-time --lr-decay 0.1",
        BASE "--model softmax --lr 0.1 --optimizer momentum --l2 0.01",
        BASE "--model softmax --lr 0.1 --optimizer nesterov --l1 1e-4",
        BASE "--model logistic --lr 0.01 --optimizer momentum --decay decoupled --l2 0.1",
        BASE "--model logistic --optimizer ftrl --l1 1e-3 --l2 1e-3",
    };
    const char *two = words_file("two", 2), *three = words_file("three", 3);
    for (size_t j = 0; j < sizeof JOBS / sizeof JOBS[0]; j++) {
        const char *data = strstr(JOBS[j], "softmax") ? three : two;
        const char *dense = train("dense.safetensors", data, JOBS[j], "");
        double away = distance(train("sparse.safetensors", data, JOBS[j], "--sparse"), dense);
        cr_assert_leq(away, 2e-6, "%s: %g", JOBS[j], away);
    }
}

Test(sparse, same_bits_for_any_workers_shards_and_threads)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char *const JOB = "--sparse --model softmax --batch 100 --epochs 3 --seed 7 --lr 0.1 --optimizer "
                                   "momentum --l2 0.01 --slots 7";
    static const char *const CLUSTERS[] = {"--local-workers 2 --shards 1",
                                           "--local-workers 3 --shards 2",
                                           "--local-workers 1 --shards 5 --threads 3",
                                           "--local-workers 5 --shards 3",
                                           "--local-workers 2 --shards 2 --threads 2",
                                           "--local-workers 2 --shards 3 --min-shard-kib 256"};
    const char *data = words_file("words", 3);
    const char *want = train("want.safetensors", data, JOB, "--local-workers 1 --shards 1");
    for (size_t c = 0; c < sizeof CLUSTERS / sizeof CLUSTERS[0]; c++)
        models_assert_same(want, train("other.safetensors", data, JOB, CLUSTERS[c]));
}

#define LONG_JOB                                                                                          \
    "--sparse", "--model", "softmax", "--batch", "100", "--slots", "8", "--epochs", "80", "--lr", "0.05", \
        "--optimizer", "momentum", "--l2", "0.001", "--seed", "7", "--exit-when-done", "--json"

/* After each of `kills` epochs a worker is killed and another started. */
static const char *train_killing(const char *name, const char *data, const char *shards, int workers, int kills)
{
    char endpoint[128];
    const char *path = temp_path(name);
    struct process *live[4];
    struct process *server = SERVER(endpoint, LONG_JOB, "--shards", shards, "--export", path);
    for (int i = 0; i < workers; i++)
        live[i] = PROCESS("dp-worker", "--server", endpoint, "--data", data, "--eval", data);
    for (int k = 0; k < kills; k++) {
        process_expect_next(server, OUT, "\"event\":\"epoch\"", TIMEOUT_MS);
        process_signal(live[k % workers], SIGKILL);
        cr_assert_eq(process_wait(live[k % workers], TIMEOUT_MS), 128 + SIGKILL);
        live[k % workers] = PROCESS("dp-worker", "--server", endpoint, "--data", data, "--eval", data);
    }
    cr_assert_eq(process_wait(server, 2 * TIMEOUT_MS), 0, "%s", process_output(server, ERR));
    return path;
}

/* Slots of the dead are computed by workers that have to ask for their rows in the middle of a step. */
Test(sparse, workers_killed_and_others_started)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = words_file("words", 3);
    const char *want = train_killing("quiet.safetensors", data, "1", 1, 0);
    models_assert_same(want, train_killing("killed2.safetensors", data, "2", 2, 4));
    models_assert_same(want, train_killing("killed3.safetensors", data, "3", 3, 6));
}

static json_t *eval_json(const char *model, const char *data, const char *option, const char *value)
{
    struct run_result r =
        RUN(TIMEOUT_MS, "dp-worker", "eval", "--model", model, "--data", data, "--json", option, value);
    cr_assert_eq(r.status, 0, "%s", r.err);
    json_t *object = json_loads(r.out, 0, NULL);
    cr_assert_not_null(object, "%s", r.out);
    return object;
}

#define LAMBDA "3.071158748195694e-05" /* 1 / (C n) for C = 1 and n = 32561 rows */

Test(sparse, l1_reaches_the_certified_optimum_with_exact_zeros)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = shared_file("data/a9a"), *model = temp_path("m.safetensors");
    if (!data)
        cr_skip_test("the shared data (a9a) are absent: there is no certified optimum to compare with");
    struct run_result r =
        RUN(TIMEOUT_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", "--model", "logistic", "--sparse", "--features",
            "123", "--intercept", "off", "--optimizer", "momentum", "--momentum", "0.99", "--lr", "0.5", "--batch",
            "32561", "--steps", "2000", "--l1", LAMBDA, "--local-workers", "2", "--shards", "2", "--data", data,
            "--exit-when-done", "--quiet", "--export", model);
    cr_assert_eq(r.status, 0, "%s", r.err);
    json_t *eval = eval_json(model, data, "--l1", LAMBDA);
    double objective = json_number_value(json_object_get(eval, "objective"));
    cr_assert(fabs(objective / 0.324275156495 - 1) <= 1e-4, "objective %.12g", objective);
    cr_assert_geq(json_number_value(json_object_get(eval, "sparsity")), 0.05);
    json_decref(eval);
}

/* With hashed features the table is much larger than the data. */
Test(sparse, a_hashed_model_is_what_a_dense_one_would_be)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = words_file("words", 2);
    static const char *const JOB = BASE "--model logistic --lr 0.3 --hash-bits 16";
    const char *dense = train("dense.safetensors", data, JOB, "");
    const char *sparse = train("sparse.safetensors", data, JOB, "--sparse");
    cr_assert_eq(distance(sparse, dense), 0);
    json_t *a = eval_json(dense, data, "--l2", "0.01"), *b = eval_json(sparse, data, "--l2", "0.01");
    cr_assert_eq(json_equal(a, b), 1);
    json_decref(a);
    json_decref(b);
    struct run_result p = RUN(TIMEOUT_MS, "dp-worker", "predict", "--model", sparse, "--data", data);
    struct run_result q = RUN(TIMEOUT_MS, "dp-worker", "predict", "--model", dense, "--data", data);
    cr_assert_eq(p.status, 0, "%s", p.err);
    cr_assert_str_eq(p.out, q.out);
}

Test(sparse, what_a_table_is_not_for_is_refused)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    struct run_result r =
        RUN(TIMEOUT_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", "--model", "softmax", "--sparse",
            "--local-workers", "1", "--data", source_file("tests/data/digits/train.csv.gz"), "--exit-when-done");
    cr_assert_neq(r.status, 0);
    cr_assert_not_null(strstr(r.err, "is dense, and this job is --sparse"), "%s", r.err);
    r = RUN(TIMEOUT_MS, "dp-server", "--model", "logistic", "--sparse", "--data-mode", "local", "--features", "9");
    cr_assert_eq(r.status, 2);
    cr_assert_not_null(strstr(r.err, "--sparse and --data-mode local exclude each other"), "%s", r.err);
}
