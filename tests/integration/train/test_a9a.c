/* The main job on real data, against certified optima: UCI Adult (a9a), logistic regression. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "tests/integration/support/harness.h"

TestSuite(a9a, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { TIMEOUT_MS = 120000 };

#define LAMBDA "3.071158748195694e-05" /* 1 / (C n) for C = 1 and n = 32561 rows */

/* The object of `dp-worker eval --json` for a model and a file. */
static double eval(const char *model, const char *data, const char *field)
{
    struct run_result r =
        RUN(TIMEOUT_MS, "dp-worker", "eval", "--model", model, "--data", data, "--l2", LAMBDA, "--json");
    cr_assert_eq(r.status, 0, "%s", r.err);
    json_error_t error;
    json_t *object = json_loads(r.out, 0, &error);
    cr_assert_not_null(object, "%s: %s", error.text, r.out);
    double value = json_number_value(json_object_get(object, field));
    json_decref(object);
    return value;
}

#define NEED_A9A(train, test)                                                       \
    NEED_PROGRAMS("dp-server", "dp-worker");                                        \
    const char *train = shared_file("data/a9a"), *test = shared_file("data/a9a.t"); \
    if (!train || !test)                                                            \
    cr_skip_test("the shared data (a9a, a9a.t) are absent: there is no certified optimum to compare with")

/* F* of LIBLINEAR's problem in the mean form, as far as this recipe gets in exact arithmetic. */
Test(a9a, full_batch_reaches_the_certified_optimum)
{
    NEED_A9A(train, test);
    const char *model = temp_path("m.safetensors");
    struct run_result r =
        RUN(TIMEOUT_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", "--model", "logistic", "--features", "123",
            "--intercept", "off", "--l2", LAMBDA, "--optimizer", "momentum", "--momentum", "0.99", "--lr", "0.5",
            "--batch", "32561", "--steps", "2000", "--local-workers", "2", "--data", train, "--exit-when-done",
            "--quiet", "--export", model);
    cr_assert_eq(r.status, 0, "%s", r.err);
    double objective = eval(model, train, "objective"), accuracy = eval(model, test, "accuracy");
    cr_assert(fabs(objective / 0.323379582465 - 1) <= 1e-6, "objective %.12g", objective);
    cr_assert(fabs(accuracy - 0.8499) <= 0.0005, "accuracy %.6f", accuracy);
}

Test(a9a, minibatches_reach_the_accuracy)
{
    NEED_A9A(train, test);
    const char *model = temp_path("m.safetensors");
    struct run_result r =
        RUN(TIMEOUT_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", "--model", "logistic", "--batch", "1024",
            "--epochs", "10", "--optimizer", "momentum", "--l2", LAMBDA, "--local-workers", "2", "--data", train,
            "--exit-when-done", "--quiet", "--export", model);
    cr_assert_eq(r.status, 0, "%s", r.err);
    double accuracy = eval(model, test, "accuracy");
    cr_assert_geq(accuracy, 0.845, "accuracy %.6f", accuracy);
}
