/* Checkpoints in place of models: predictions, evaluation and what is shown of them are those of the exported model,
 * and a damaged one is named and not used. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/integration/support/durable.h"
#include "tests/integration/support/harness.h"

TestSuite(saved, .init = harness_init, .fini = harness_fini, .timeout = 240);

#define WORKER(...) RUN(DURABLE_MS, "dp-worker", __VA_ARGS__)

static const char *digits(void)
{
    return source_file("tests/data/digits/test.csv.gz");
}

/* A job with a checkpoint at its end, whose model is exported, too. */
static void train(const char *dir, const char *model, const char *data, const char *const *more)
{
    const char *args[64] = {"--listen",
                            "tcp://127.0.0.1:0",
                            "--data",
                            data,
                            "--local-workers",
                            "2",
                            "--exit-when-done",
                            "--checkpoint-dir",
                            dir,
                            "--export",
                            model,
                            "--checkpoint-every",
                            "10"};
    size_t n = 0;
    while (args[n])
        n++;
    for (; *more; more++)
        args[n++] = *more;
    args[n] = NULL;
    struct run_result r = run_program(DURABLE_MS, "dp-server", args);
    cr_assert_eq(r.status, 0, "%s", r.err);
}
#define TRAIN(dir, model, data, ...) train(dir, model, data, (const char *const[]){__VA_ARGS__, NULL})

/* Both give the same lines. */
static void expect_same(const char *command, const char *dir, const char *model, const char *data)
{
    const char *options = strcmp(command, "predict") == 0 ? "--scores" : "--json";
    struct run_result a = WORKER(command, "--model", model, "--data", data, options);
    struct run_result b = WORKER(command, "--model", dir, "--data", data, options);
    cr_assert_eq(a.status, 0, "%s", a.err);
    cr_assert_eq(b.status, 0, "%s", b.err);
    cr_assert(a.out[0]);
    cr_assert_str_eq(a.out, b.out);
}

Test(saved, a_checkpoint_predicts_as_the_exported_model)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char *const SHARDS[] = {"1", "3"};
    for (size_t i = 0; i < 2; i++) {
        const char *dir = temp_path(SHARDS[i]), *model = temp_path("model");
        TRAIN(dir, model, durable_data(), "--model", "softmax", "--epochs", "3", "--optimizer", "ftrl", "--lr", "0.1",
              "--l1", "0.001", "--shards", SHARDS[i], "--min-shard-kib", "0");
        expect_same("predict", dir, model, digits());
        expect_same("eval", dir, model, digits());
        struct durable_folder list = durable_list(dir);
        const char *folder = durable_file(dir, list.steps[list.count - 1], "");
        expect_same("predict", folder, model, digits());
    }
}

Test(saved, a_checkpoint_on_the_way_says_that_it_is_not_finished)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *dir = durable_half_done();
    struct run_result r = WORKER("eval", "--model", dir, "--data", digits());
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_assert_not_null(strstr(r.err, "this model is not finished"), "%s", r.err);
}

static json_t *inspect(const char *path)
{
    struct run_result r = WORKER("inspect", "--model", path, "--json");
    cr_assert_eq(r.status, 0, "%s", r.err);
    json_t *document = json_loads(r.out, JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(document, "%s", r.out);
    return document;
}

Test(saved, inspect_shows_the_same_tensors_of_both)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *dir = temp_path("ck"), *model = temp_path("model");
    TRAIN(dir, model, durable_data(), "--model", "softmax", "--epochs", "2", "--shards", "3", "--min-shard-kib", "0");
    json_t *a = inspect(model), *b = inspect(dir);
    static const char *const SAME[] = {"model",   "features", "classes",      "intercept", "labels",  "data_format",
                                       "columns", "step",     "label_column", "complete",  "tensors", "parameters"};
    for (size_t i = 0; i < sizeof SAME / sizeof *SAME; i++)
        cr_assert(json_equal(json_object_get(a, SAME[i]), json_object_get(b, SAME[i])), "%s", SAME[i]);
    cr_assert_str_eq(json_string_value(json_object_get(a, "kind")), "model");
    cr_assert_str_eq(json_string_value(json_object_get(b, "kind")), "checkpoint");
    const json_t *checkpoint = json_object_get(b, "checkpoint"), *spec = json_object_get(checkpoint, "spec");
    cr_assert_str_eq(json_string_value(json_object_get(spec, "model")), "softmax");
    cr_assert_eq(json_array_size(json_object_get(checkpoint, "files")), 3);
    json_decref(a);
    json_decref(b);
    struct run_result r = WORKER("inspect", "--model", dir);
    cr_assert_not_null(strstr(r.out, "weight dense  F32   64x10"), "%s", r.out);
    cr_assert_not_null(strstr(r.out, "softmax, 64 features, 10 classes, with intercept"), "%s", r.out);
}

Test(saved, a_damaged_checkpoint_is_named)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *dir = durable_half_done();
    struct durable_folder list = durable_list(dir);
    cr_assert_geq(list.count, 2);
    const char *damaged = durable_file(dir, list.steps[list.count - 1], "shard-0.safetensors");
    char before[64];
    durable_flip(damaged, 3000);
    snprintf(before, sizeof before, "step-%012" PRIu64, list.steps[list.count - 2]);
    struct run_result r = WORKER("inspect", "--model", dir);
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_assert_not_null(strstr(r.err, damaged), "%s", r.err);
    cr_assert_not_null(strstr(r.out, before), "%s", r.out);
    r = WORKER("inspect", "--model", durable_file(dir, list.steps[list.count - 1], ""));
    cr_assert_eq(r.status, 1);
    cr_assert_not_null(strstr(r.err, damaged), "%s", r.err);
    for (size_t i = 0; i < list.count; i++)
        durable_flip(durable_file(dir, list.steps[i], "manifest.json"), 100);
    r = WORKER("predict", "--model", dir, "--data", digits());
    cr_assert_eq(r.status, 1);
    cr_assert_not_null(strstr(r.err, "none of them is whole"), "%s", r.err);
    const char *empty = temp_path("empty");
    cr_assert_eq(mkdir(empty, 0700), 0);
    r = WORKER("predict", "--model", empty, "--data", digits());
    cr_assert_eq(r.status, 1);
    cr_assert_not_null(strstr(r.err, "is a folder without a checkpoint"), "%s", r.err);
}
