/* Jobs that begin with a model or a checkpoint of another job (--init-from): theta is that of the model, to the bit,
 * whatever the shards, the rule and the workers are; what does not fit is refused; a job that goes on does not read it.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/support/durable.h"
#include "tests/integration/support/harness.h"

TestSuite(warm, .init = harness_init, .fini = harness_fini, .timeout = 240);

enum { ARGS = 80 };

/* A job with these options, of local workers unless they say otherwise. */
static struct run_result job(const char *const *options)
{
    const char *args[ARGS] = {"--listen", "tcp://127.0.0.1:0", "--exit-when-done"};
    size_t n = 3;
    for (; *options; options++)
        args[n++] = *options;
    return run_program(DURABLE_MS, "dp-server", args);
}
#define JOB(...) job((const char *const[]){"--local-workers", "2", __VA_ARGS__, NULL})
#define DIGITS "--model", "softmax", "--batch", "100", "--data", durable_data()
/* A step that leaves theta as it is: a rate that no weight feels. */
#define STILL "--steps", "1", "--lr", "1e-30"

static void expect_well(struct run_result r)
{
    cr_assert_eq(r.status, 0, "%s", r.err);
}

static void expect_refused(struct run_result r, int status, const char *says)
{
    cr_assert_eq(r.status, status, "%s", r.err);
    cr_assert_not_null(strstr(r.err, says), "'%s' is not in: %s", says, r.err);
}

/* The probabilities that a model predicts for the rows of a file. */
static const char *predict(const char *model, const char *data)
{
    struct run_result r = RUN(DURABLE_MS, "dp-worker", "predict", "--scores", "--model", model, "--data", data);
    cr_assert_eq(r.status, 0, "%s", r.err);
    return r.out;
}

/* A trained model, and the checkpoints of its job. */
struct donor {
    const char *model, *dir;
};

static struct donor donor(void)
{
    struct donor donor = {temp_path("donor.safetensors"), temp_path("donor")};
    expect_well(JOB(DIGITS, "--epochs", "3", "--optimizer", "adam", "--shards", "3", "--min-shard-kib", "0", "--export",
                    donor.model, "--checkpoint-dir", donor.dir, "--checkpoint-every", "10"));
    return donor;
}

Test(warm, theta_is_that_of_the_model_whatever_the_shards)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char *const SHARDS[] = {"1", "2", "5"}, *const RULES[] = {"sgd", "momentum", "adam"};
    const struct donor from = donor();
    const char *want = predict(from.model, durable_data());
    for (size_t i = 0; i < 3; i++) {
        const char *model = temp_path(RULES[i]), *source = i == 1 ? from.model : from.dir;
        struct run_result r = JOB(DIGITS, STILL, "--optimizer", RULES[i], "--shards", SHARDS[i], "--min-shard-kib", "0",
                                  "--init-from", source, "--export", model);
        expect_well(r);
        cr_assert_not_null(strstr(r.err, "begins with the"), "%s", r.err);
        cr_assert_str_eq(predict(model, durable_data()), want);
    }
}

/* A commit makes theta of the state, which must be that of the model's theta. */
Test(warm, the_state_of_ftrl_is_that_of_theta)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const struct donor from = donor();
    const char *still = temp_path("still");
    expect_well(JOB(DIGITS, "--steps", "1", "--optimizer", "ftrl", "--lr", "1e-20", "--init-from", from.model,
                    "--export", still));
    cr_assert_str_eq(predict(still, durable_data()), predict(from.model, durable_data()));
}

static const char *sparse_data(void)
{
    static char text[1 << 16];
    size_t at = 0;
    for (int i = 0; i < 400; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%d %d:1 %d:0.5 %d:%d.25\n", i % 3 == 0 ? 1 : -1, 1 + i % 7,
                               8 + i % 31, 40 + i * 13 % 200, i % 5);
    return temp_text("words.libsvm", text);
}

/* Rows that were left alone have moved: the model has them as they would be. */
Test(warm, tables_and_dense_weights_begin_with_each_other)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = sparse_data(), *model = temp_path("m"), *dir = temp_path("ck");
    expect_well(JOB("--model", "logistic", "--sparse", "--data", data, "--batch", "20", "--epochs", "3", "--optimizer",
                    "adam", "--l2", "0.01", "--shards", "2", "--export", model, "--checkpoint-dir", dir));
    const char *want = predict(model, data);
    cr_assert_str_eq(predict(dir, data), want);
    const char *const sources[] = {model, dir, dir}, *const sparse[] = {"on", "on", "off"};
    for (size_t i = 0; i < 3; i++) {
        char option[32];
        const char *again = temp_path("again");
        (void)!snprintf(option, sizeof option, "--sparse=%s", sparse[i]);
        (void)unlink(again);
        expect_well(JOB("--model", "logistic", option, "--data", data, STILL, "--optimizer", "sgd", "--shards", "3",
                        "--init-from", sources[i], "--export", again));
        cr_assert_str_eq(predict(again, data), want, "%zu", i);
    }
}

#define WORDS(data) "--model", "logistic", "--data", data, "--batch", "20", "--epochs", "2"

Test(warm, shapes_and_hashed_features_must_be_the_same)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = sparse_data(), *model = temp_path("m"), *hashed = temp_path("hashed"), *dir = temp_path("ck");
    expect_well(JOB(WORDS(data), "--export", model));
    expect_refused(JOB(WORDS(data), "--features", "1000", "--init-from", model), 1,
                   "its tensor 'weight' is [239], that of the job is [1000]");
    expect_well(JOB(WORDS(data), "--sparse", "--hash-bits", "10", "--optimizer", "adam", "--l1", "0.001", "--export",
                    hashed, "--checkpoint-dir", dir));
    cr_assert_str_eq(predict(dir, data), predict(hashed, data));
    expect_refused(JOB(WORDS(data), "--sparse", "--hash-bits", "11", "--init-from", dir), 1,
                   "with --hash-bits 10, those of the job with 11");
    expect_refused(JOB(WORDS(data), "--sparse", "--hash-bits", "10", "--seed", "2", "--init-from", hashed), 1,
                   "with --seed 1, those of the job with 2");
    expect_refused(JOB(WORDS(data), "--init-from", hashed), 1, "with --hash-bits 10, those of the job with 0");
    expect_well(JOB(WORDS(data), "--sparse", "--hash-bits", "10", "--init-from", dir));
}

/* A warm start has the bits of any other job: of any number of workers, local ones or not. */
Test(warm, the_bits_do_not_depend_on_workers_and_shards)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const struct donor from = donor();
    const char *one = temp_path("one"), *many = temp_path("many"), *port = temp_path("port");
    expect_well(job((const char *const[]){"--local-workers", "1", DIGITS, "--epochs", "2", "--init-from", from.dir,
                                          "--export", one, NULL}));
    struct process *server = process_start("dp-server", (const char *const[]){"--listen",
                                                                              "tcp://127.0.0.1:0",
                                                                              "--port-file",
                                                                              port,
                                                                              "--exit-when-done",
                                                                              "--model",
                                                                              "softmax",
                                                                              "--batch",
                                                                              "100",
                                                                              "--epochs",
                                                                              "2",
                                                                              "--shards",
                                                                              "4",
                                                                              "--min-shard-kib",
                                                                              "0",
                                                                              "--init-from",
                                                                              from.model,
                                                                              "--min-workers",
                                                                              "2",
                                                                              "--export",
                                                                              many,
                                                                              NULL});
    const char *endpoint = file_expect(port, server, DURABLE_MS);
    struct process *workers[2];
    for (int i = 0; i < 2; i++)
        workers[i] =
            process_start("dp-worker", (const char *const[]){"--server", endpoint, "--data", durable_data(), NULL});
    cr_assert_eq(process_wait(server, DURABLE_MS), 0, "%s", process_output(server, ERR));
    for (int i = 0; i < 2; i++)
        cr_assert_eq(process_wait(workers[i], DURABLE_MS), 0);
    models_assert_same(one, many);
}

Test(warm, what_does_not_fit_is_refused_with_both_sides)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const struct donor from = donor();
    const char *without = temp_path("without");
    expect_well(JOB(DIGITS, "--epochs", "1", "--intercept", "off", "--export", without));
    expect_refused(JOB(DIGITS, "--init-from", without), 1, "has no tensor 'bias', which the job has; it has weight");
    expect_refused(JOB(DIGITS, "--init-from", from.model, "--ignore-columns", "p3"), 1,
                   "was trained on 64 columns, the job on 63");
    expect_refused(JOB("--model", "linear", "--data", durable_data(), "--init-from", from.dir), 1,
                   "is a softmax model, and the job's is linear");
    expect_refused(JOB(DIGITS, "--init-from", from.model, "--label-names", "0,1,2,3,4,5,6,7,8,9,10"), 1,
                   "labels are 0");
    expect_refused(JOB(DIGITS, "--init-from", temp_path("none")), 1, "option --init-from");
    expect_refused(JOB(DIGITS, "--init-from", durable_data()), 1, "is no safetensors file");
    struct durable_folder list = durable_list(from.dir);
    const char *damaged = durable_file(from.dir, list.steps[list.count - 1], "");
    durable_flip(durable_file(from.dir, list.steps[list.count - 1], "shard-1.safetensors"), 1000);
    expect_refused(JOB(DIGITS, "--init-from", damaged), 1, "shard-1.safetensors");
    struct run_result r = JOB(DIGITS, STILL, "--init-from", from.dir);
    expect_well(r);
    cr_assert_not_null(strstr(r.err, "a checkpoint is not used"), "%s", r.err);
}

/* Another worker may bring what the model was trained on. The status names the model. */
Test(warm, a_worker_with_other_columns_is_refused_and_the_next_may_join)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    const struct donor from = donor();
    const char *port = temp_path("port");
    struct process *server = process_start(
        "dp-server", (const char *const[]){"--listen", "tcp://127.0.0.1:0", "--port-file", port, "--exit-when-done",
                                           "--model", "softmax", "--epochs", "1", "--init-from", from.dir, NULL});
    const char *endpoint = file_expect(port, server, DURABLE_MS);
    expect_refused(
        RUN(DURABLE_MS, "dp-worker", "--server", endpoint, "--data", durable_data(), "--ignore-columns", "p3"), 1,
        "was trained on 64 columns, the job on 63");
    struct run_result r = RUN(DURABLE_MS, "dp-ctl", "--server", endpoint, "status", "--json");
    cr_assert_not_null(strstr(r.out, "\"init_from\":\""), "%s", r.out);
    expect_well(RUN(DURABLE_MS, "dp-worker", "--server", endpoint, "--data", durable_data()));
    cr_assert_eq(process_wait(server, DURABLE_MS), 0, "%s", process_output(server, ERR));
}

static bool log_has(const char *dir, const char *text)
{
    char path[HARNESS_PATH_MAX];
    (void)!snprintf(path, sizeof path, "%s/log.jsonl", dir);
    FILE *file = fopen(path, "r");
    static char all[1 << 16];
    cr_assert_not_null(file);
    all[fread(all, 1, sizeof all - 1, file)] = '\0';
    fclose(file);
    return strstr(all, text) != NULL;
}

/* The checkpoints of the job itself come first, and the model may be gone by then. */
Test(warm, a_job_that_goes_on_does_not_read_it_again)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const struct donor from = donor();
    const char *dir = temp_path("job"), *quiet = temp_path("quiet"), *model = temp_path("model");
    expect_well(JOB(DIGITS, "--epochs", "4", "--init-from", from.model, "--export", quiet));
    expect_well(JOB(DIGITS, "--epochs", "2", "--init-from", from.model, "--checkpoint-dir", dir));
    cr_assert(log_has(dir, "\"init_from\":\""));
    cr_assert_eq(unlink(from.model), 0);
    expect_well(JOB(DIGITS, "--epochs", "4", "--init-from", from.model, "--checkpoint-dir", dir, "--export", model));
    models_assert_same(quiet, model);
    expect_refused(JOB(DIGITS, "--epochs", "5", "--init-from", from.dir, "--checkpoint-dir", dir), 2,
                   "option --init-from: the job in");
    expect_refused(JOB(DIGITS, "--epochs", "5", "--checkpoint-dir", dir), 2, "option --init-from: the job in");
    expect_refused(
        JOB(DIGITS, "--epochs", "5", "--init-from", from.model, "--checkpoint-dir", dir, "--resume", "never"), 1,
        "cannot be opened");
}
