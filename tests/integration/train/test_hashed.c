/* Hashed features through the real programs: training on them and using the model that comes of it. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/support/harness.h"

TestSuite(hashed, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { TIMEOUT_MS = 60000, ROWS = 400, TEXT_MAX = ROWS * 64 };

/* Rows whose class is that of one of eight words; words are 64-bit numbers in no order. */
static const char *words_file(const char *name, uint64_t offset)
{
    static char text[TEXT_MAX];
    size_t at = 0;
    for (uint64_t r = 0; r < ROWS; r++) {
        uint64_t word = (r * 5) % 8, noise = 1000 + r % 3;
        at += (size_t)snprintf(text + at, sizeof text - at, "%d %llu:1 %llu:0.5\n", word % 2 ? 1 : -1,
                               (unsigned long long)(UINT64_MAX - word * 0x123456789abcdef + offset),
                               (unsigned long long)noise);
    }
    return temp_file(name, text, at);
}

static struct run_result train(const char *data, const char *bits, const char *model, const char *workers)
{
    return RUN(TIMEOUT_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", "--model", "logistic", "--hash-bits", bits,
               "--lr", "1", "--batch", "100", "--epochs", "20", "--seed", "11", "--local-workers", workers, "--data",
               data, "--eval", data, "--exit-when-done", "--quiet", "--export", model);
}

Test(hashed, a_model_is_trained_and_evaluated_on_hashed_words)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = words_file("words", 0), *model = temp_path("m.safetensors"), *twin = temp_path("t.safetensors");
    struct run_result r = train(data, "18", model, "2");
    cr_assert_eq(r.status, 0, "%s", r.err);
    r = train(data, "18", twin, "1");
    cr_assert_eq(r.status, 0, "%s", r.err);
    models_assert_same(model, twin);
    r = RUN(TIMEOUT_MS, "dp-worker", "eval", "--model", model, "--data", data, "--json");
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_assert_not_null(strstr(r.out, "\"accuracy\":1}"), "%s", r.out);
    r = RUN(TIMEOUT_MS, "dp-worker", "predict", "--model", model, "--data", data);
    cr_assert_eq(strncmp(r.out, "-1\n1\n-1\n1\n", 8), 0, "%.40s", r.out);
    /* Other words have other columns: all that the model knows of them is its bias. */
    r = RUN(TIMEOUT_MS, "dp-worker", "eval", "--model", model, "--data", words_file("others", 7), "--json");
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_assert_null(strstr(r.out, "\"accuracy\":1}"), "%s", r.out);
}

/* A table of the hashed columns is a model like any other: what reads it finds what the job found at its end. */
Test(hashed, a_table_is_read_back)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = words_file("words", 0), *model = temp_path("m.safetensors");
    double loss = 0, accuracy = 0, again = 0;
    struct run_result r = RUN(TIMEOUT_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", "--model", "logistic",
                              "--sparse", "--hash-bits", "12", "--lr", "0.5", "--batch", "100", "--epochs", "2",
                              "--optimizer", "adam", "--l2", "0.01", "--shards", "2", "--local-workers", "2", "--data",
                              data, "--eval", data, "--exit-when-done", "--json", "--export", model);
    cr_assert_eq(r.status, 0, "%s", r.err);
    const char *done = strstr(r.out, "{\"event\":\"done\"");
    cr_assert_not_null(done, "%s", r.out);
    cr_assert_eq(sscanf(strstr(done, "\"eval_loss\":"), "\"eval_loss\":%lf,\"eval_accuracy\":%lf", &loss, &accuracy),
                 2);
    r = RUN(TIMEOUT_MS, "dp-worker", "eval", "--model", model, "--data", data, "--json");
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_assert_eq(sscanf(strstr(r.out, "\"loss\":"), "\"loss\":%lf", &again), 1, "%s", r.out);
    cr_assert_lt(fabs(again / loss - 1), 1e-9, "%.17g and %.17g", again, loss);
    cr_assert_eq(sscanf(strstr(r.out, "\"accuracy\":"), "\"accuracy\":%lf", &again), 1, "%s", r.out);
    cr_assert_eq(again, accuracy);
    r = RUN(TIMEOUT_MS, "dp-worker", "predict", "--model", model, "--data", data, "--json", "--scores");
    static const char FIRST[] = "{\"label\":-1,\"scores\":{\"-1\":0.";
    cr_assert_eq(strncmp(r.out, FIRST, strlen(FIRST)), 0, "%.60s", r.out);
}

Test(hashed, what_cannot_be_hashed_is_refused)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    struct run_result r = train(temp_text("d.csv", "label,a\n1,2\n-1,3\n"), "10", temp_path("m.safetensors"), "1");
    cr_assert_neq(r.status, 0);
    cr_assert_not_null(strstr(r.err, "features are hashed, which is for LIBSVM files"), "%s", r.err);
    r = RUN(TIMEOUT_MS, "dp-server", "--model", "logistic", "--hash-bits", "4", "--features", "16");
    cr_assert_eq(r.status, 2);
    cr_assert_not_null(strstr(r.err, "--features and --hash-bits exclude each other"), "%s", r.err);
    r = RUN(TIMEOUT_MS, "dp-server", "--model", "logistic", "--hash-bits", "32");
    cr_assert_eq(r.status, 2, "%s", r.err);
}
