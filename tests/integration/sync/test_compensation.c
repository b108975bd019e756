/* Late gradients that are compensated for their delay, with real processes: over sockets and in shared memory, with
 * little memory, and not at all. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <string.h>

#include "common/tensor/safetensors.h"
#include "common/tensor/safetensors_read.h"
#include "tests/integration/support/conservation.h"
#include "tests/integration/support/harness.h"

TestSuite(compensation, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { MINUTE_MS = 60000, ATTEMPTS = 50 };

#define TRAIN "tests/data/digits/train.csv.gz"
#define JOB "--model", "softmax", "--batch", "100", "--slots", "6", "--lr", "0.005", "--l2", "1e-2"

static json_int_t number(const json_t *object, const char *key)
{
    cr_assert(json_is_integer(json_object_get(object, key)), "%s", key);
    return json_integer_value(json_object_get(object, key));
}

/* The status once the job is done. */
static json_t *status_at_the_end(struct process *server, const char *endpoint)
{
    process_expect(server, ERR, "still here", 2 * MINUTE_MS);
    struct run_result r = RUN(MINUTE_MS, "dp-ctl", "--server", endpoint, "--json", "status");
    cr_assert_eq(r.status, 0, "%s", r.err);
    return json_loads(r.out, 0, NULL);
}

/* Late gradients of a job, and how many of them were compensated. */
struct late {
    json_int_t compensated, uncompensated;
    double eval_loss;
};

/* Late gradients of a server with -v, once its job is done. */
static struct late late_of(struct process *server, const char *endpoint)
{
    struct late late = {0};
    json_t *status = status_at_the_end(server, endpoint), *update = json_object_get(status, "update"), *shard;
    size_t i;
    cr_assert_eq(json_number_value(json_object_get(update, "delay_compensation")), 0.5);
    late.eval_loss = json_number_value(json_object_get(json_object_get(status, "progress"), "eval_loss"));
    json_array_foreach(json_object_get(status, "shards"), i, shard)
    {
        late.compensated += number(shard, "compensated");
        late.uncompensated += number(shard, "uncompensated");
        cr_assert_leq(number(shard, "past_bytes"), number(update, "delay_memory_mib") << 20);
    }
    json_decref(status);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, MINUTE_MS), 0);
    cr_assert_not_null(strstr(process_output(server, ERR), " late gradients compensated,"));
    return late;
}

static struct late run_digits(const char *shm)
{
    char endpoint[128];
    struct process *server =
        SERVER(endpoint, JOB, "--shards", "2", "--epochs", "20", "--consistency", "ssp:3", "--shm", shm,
               "--delay-compensation", "0.5", "--delay-memory", "1", "--local-workers", "3", "--data",
               source_file(TRAIN), "--eval", source_file("tests/data/digits/test.csv.gz"), "-v");
    return late_of(server, endpoint);
}

static double loss_of_bsp(void)
{
    struct run_result r = RUN(MINUTE_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", JOB, "--epochs", "20",
                              "--local-workers", "2", "--data", source_file(TRAIN), "--eval",
                              source_file("tests/data/digits/test.csv.gz"), "--exit-when-done", "--json");
    json_t *done = done_line(r.out);
    double loss = done_number(done, "eval_loss");
    json_decref(done);
    return loss;
}

/* A retry may make a shard forget what a worker computes on, so that a few are not. */
Test(compensation, late_gradients_are_compensated)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    double bsp = loss_of_bsp();
    for (int i = 0; i < 2; i++) {
        struct late late = run_digits(i ? "on" : "off");
        cr_assert_gt(late.compensated, 100);
        cr_assert_lt(late.uncompensated, late.compensated / 10);
        cr_assert_lt(fabs(late.eval_loss / bsp - 1), 0.05, "%g, bsp %g", late.eval_loss, bsp);
    }
}

#define WIDE(features)                                                                                         \
    "--model", "logistic", "--features", features, "--consistency", "ssp:3", "--steps", "200", "--batch", "4", \
        "--slots", "4", "--delay-compensation", "0.5", "--delay-memory", "1", "-v"

static const char *few_rows(void)
{
    return temp_text("few.libsvm", "1 1:1 7:2\n-1 2:1 9:1\n1 1:2 3:1\n-1 2:2 3:1\n");
}

/* 200 001 parameters: one version of them fits, and no worker computes on one for long. */
Test(compensation, what_does_not_fit_is_taken_as_it_is)
{
    char endpoint[128];
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    struct process *server = SERVER(endpoint, WIDE("200000"), "--local-workers", "3", "--data", few_rows());
    cr_assert_gt(late_of(server, endpoint).uncompensated, 0);
}

/* Nothing at all fits: the worker that says how large the model is is told. */
Test(compensation, memory_for_nothing_is_refused)
{
    char endpoint[128];
    NEED_PROGRAMS("dp-server", "dp-worker");
    struct process *server = SERVER(endpoint, WIDE("400000"));
    struct run_result r = RUN(MINUTE_MS, "dp-worker", "--server", endpoint, "--data", few_rows());
    cr_assert_eq(r.status, 2, "%s", r.err);
    cr_assert_not_null(strstr(r.err, "--delay-memory: 1 MiB hold none of the parameters' versions, which have 2 MiB"),
                       "%s", r.err);
    process_signal(server, SIGTERM);
    (void)process_wait(server, MINUTE_MS);
}

static bool differ(const char *path, const char *other)
{
    struct safetensors a, b;
    dp_error err;
    cr_assert_eq(safetensors_read(path, &a, &err), DP_OK);
    cr_assert_eq(safetensors_read(other, &b, &err), DP_OK);
    bool differs = memcmp(a.theta, b.theta, tensors_total(&a.tensors) * sizeof *a.theta) != 0;
    safetensors_fini(&a);
    safetensors_fini(&b);
    return differs;
}

/* One worker's slots arrive in order, K of them computed on one theta, so that ssp has the same bits each time: unless
 * the worker had to say hello again in between, which its gradients' staleness shows, or pulled a later step before
 * it was dealt its slots, which shows as one pull more than one a step and one at the end. */
static const char *quiet_run(const char *name, const char *compensation)
{
    const char *model = temp_path(name);
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        struct run_result r =
            RUN(MINUTE_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", JOB, "--steps", "60", "--consistency", "ssp:2",
                "--local-workers", "1", "--data", source_file(TRAIN), "--exit-when-done", "--json", "--export", model,
                "-v", compensation ? "--delay-compensation" : NULL, compensation); /* NULL ends the words */
        cr_assert_eq(r.status, 0, "%s", r.err);
        json_t *done = done_line(r.out);
        bool quiet = done_number(done, "staleness_mean") == 2.5 && done_number(done, "staleness_max") == 5 &&
                     strstr(r.err, "; 61 pulls;");
        json_decref(done);
        if (quiet)
            return model;
    }
    cr_assert_fail("the worker had no quiet run");
    return model;
}

/* 0 has the bits of ssp itself. */
Test(compensation, none_has_the_bits_of_ssp)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *plain = quiet_run("plain.safetensors", NULL), *none = quiet_run("none.safetensors", "0");
    const char *half = quiet_run("half.safetensors", "0.5"), *again = quiet_run("again.safetensors", "0.5");
    models_assert_same(plain, none);
    models_assert_same(half, again);
    cr_assert(differ(plain, half), "0.5 changes something");
}
