/* Workers with data of their own: slot = rank. Clients of the library that know no plan, of uneven lengths, killed and
 * replaced; and dp-worker on partitions. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "common/base/util.h"
#include "common/tensor/safetensors_peek.h"
#include "tests/integration/support/harness.h"

TestSuite(local, .init = harness_init, .fini = harness_fini, .timeout = 600);

enum { CASE_MS = 180000, CLIENTS = 3 };

/* The data of client i: samples a minibatch, and the gradient of each. */
static const char *const SAMPLES[CLIENTS] = {"1", "2", "3"}, *const VALUES[CLIENTS] = {"1", "2", "4"};
static const double RATE = 0.01;

#define FREE_JOB "--model", "free", "--slots", "3", "--lr", "0.01", "--log-level", "info", "--exit-when-done"

static struct process *client_start(const char *endpoint, int i, const char *minibatches)
{
    static const char *const NAMES[CLIENTS] = {"one", "two", "three"};
    return PROCESS(FREE_CLIENT, endpoint, NAMES[i], minibatches, SAMPLES[i], VALUES[i]);
}

/* Mean gradient of a step over the samples of these clients. */
static double mean_of(bool one, bool two, bool three)
{
    const bool there[CLIENTS] = {one, two, three};
    double sum = 0, samples = 0;
    for (int i = 0; i < CLIENTS; i++) {
        double n = there[i] ? atof(SAMPLES[i]) : 0;
        sum += n * atof(VALUES[i]);
        samples += n;
    }
    return sum / samples;
}

/* The last line of a client's: theta's first and last element, after its step. */
static void assert_theta(struct process *client, uint64_t step, double want)
{
    char text[64];
    double first, last;
    snprintf(text, sizeof text, "step %llu theta ", (unsigned long long)step);
    const char *line = process_expect(client, OUT, text, CASE_MS);
    char *after;
    first = strtod(line + strlen(text), &after);
    last = strtod(after, NULL);
    cr_assert_float_eq(first, want, 1e-4, "%s, want %f", line, want);
    cr_assert_eq(first, last, "the shards do not agree: %s", line);
}

/* Nobody waits for a client that has finished, and it is not missed; a step's mean is over the samples that came. */
static void uneven(const char *const *optimizer)
{
    NEED_PROGRAMS("dp-server");
    static const char *const LENGTHS[CLIENTS] = {"5", "10", "20"};
    char endpoint[128];
    struct process *clients[CLIENTS];
    struct process *server =
        SERVER(endpoint, FREE_JOB, "--shards", "2", "--min-workers", "3", optimizer[0], optimizer[1]);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = client_start(endpoint, i, LENGTHS[i]);
    for (int i = 0; i < CLIENTS; i++)
        cr_assert_eq(process_wait(clients[i], CASE_MS), 0, "%s", process_output(clients[i], ERR));
    cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
    const double all = mean_of(1, 1, 1), two = mean_of(0, 1, 1), alone = mean_of(0, 0, 1);
    assert_theta(clients[0], 4, -RATE * 5 * all);
    assert_theta(clients[1], 9, -RATE * (5 * all + 5 * two));
    assert_theta(clients[2], 19, -RATE * (5 * all + 5 * two + 10 * alone));
    cr_assert_null(strstr(process_output(server, ERR), "ranks-missing"), "%s", process_output(server, ERR));
}

Test(local, uneven_numbers_of_minibatches)
{
    uneven((const char *const[]){"--optimizer", "sgd"});
}

/* A rule that commits in passes over all shards. */
Test(local, uneven_numbers_of_minibatches_with_a_global_rule)
{
    uneven((const char *const[]){"--clip-norm", "1e9"});
}

static void expect_lost(struct process *server, struct process *client)
{
    process_expect(client, OUT, "step 3 ", CASE_MS);
    process_signal(client, SIGKILL);
    const char *line = process_expect_next(server, ERR, "worker-lost", CASE_MS);
    cr_assert_not_null(strstr(line, "nobody else has its data"), "%s", line);
    process_expect_next(server, ERR, "rank-void", CASE_MS);
}

/* A client that is killed delays the others until it is missed, and no longer; who comes later takes its rank. */
Test(local, a_client_that_is_killed)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    struct process *clients[CLIENTS];
    struct process *server = SERVER(endpoint, FREE_JOB, "--shards", "3", "--lease", "1", "--stall-timeout", "1");
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = client_start(endpoint, i, i == 2 ? "1000000" : "100");
    expect_lost(server, clients[2]);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(process_wait(clients[i], CASE_MS), 0, "%s", process_output(clients[i], ERR));
    process_expect(server, ERR, "ranks-missing finished=2 of=3", CASE_MS);
    cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
}

static json_int_t steps_of(const char *endpoint)
{
    struct run_result r = RUN(CASE_MS, "dp-ctl", "--server", endpoint, "--json", "status");
    json_t *status = json_loads(r.out, 0, NULL);
    json_int_t steps = json_integer_value(json_object_get(json_object_get(status, "progress"), "step"));
    cr_assert_not_null(strstr(r.out, "1 of the 2 of --min-workers are here"), "%s", r.out);
    json_decref(status);
    return steps;
}

/* Two are enough of three, and one is not: neither to begin with nor to go on. */
Test(local, fewer_than_the_job_must_have)
{
    NEED_PROGRAMS("dp-server", "dp-ctl");
    char endpoint[128];
    struct process *server = SERVER(endpoint, FREE_JOB, "--min-workers", "2", "--shards", "2", "--steps", "3000",
                                    "--lease", "1", "--stall-timeout", "1");
    struct process *stays = client_start(endpoint, 0, "1000000");
    process_expect(server, ERR, "too-few-workers step=0 joined=1", CASE_MS);
    cr_assert_eq(steps_of(endpoint), 0);
    struct process *dies = client_start(endpoint, 1, "1000000");
    process_expect(server, ERR, "ranks-missing joined=2 of=3", CASE_MS);
    expect_lost(server, dies);
    process_expect_next(server, ERR, "too-few-workers step=", CASE_MS);
    json_int_t steps = steps_of(endpoint);
    cr_assert_gt(steps, 0);
    cr_assert_not(process_ended(stays, 300));
    cr_assert_eq(steps_of(endpoint), steps, "no step is begun");
    struct process *late = client_start(endpoint, 2, "1000000");
    cr_assert_eq(process_wait(late, CASE_MS), 0, "%s", process_output(late, ERR));
    cr_assert_eq(process_wait(stays, CASE_MS), 0, "%s", process_output(stays, ERR));
    cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
}

Test(local, a_client_that_takes_the_rank_of_a_killed_one)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    struct process *clients[CLIENTS];
    struct process *server = SERVER(endpoint, FREE_JOB, "--steps", "1000", "--lease", "1");
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = client_start(endpoint, i, "1000000");
    expect_lost(server, clients[0]);
    struct process *late = client_start(endpoint, 0, "3");
    cr_assert_eq(process_wait(late, CASE_MS), 0, "%s", process_output(late, ERR));
    for (int i = 1; i < CLIENTS; i++) /* until the job has made its steps */
        cr_assert_eq(process_wait(clients[i], CASE_MS), 0, "%s", process_output(clients[i], ERR));
    cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
}

/* A client that comes when all ranks are taken waits for one; dp-worker, which knows models only, is refused. */
Test(local, more_clients_than_ranks)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server = SERVER(endpoint, "--model", "free", "--slots", "1", "--lease", "1", "--mixed-numerics");
    struct process *first = client_start(endpoint, 0, "1000000");
    process_expect(first, OUT, "step 0 ", CASE_MS);
    const char *data = temp_text("t.csv", "label,a\n1,2\n2,3\n");
    struct run_result r = RUN(CASE_MS, "dp-worker", "--server", endpoint, "--data", data);
    cr_assert_eq(r.status, 1, "%s", r.err);
    cr_assert_not_null(strstr(r.err, "of model 'free'"), "%s", r.err);
    r = RUN(CASE_MS, "dp-ctl", "--server", endpoint, "status");
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_assert_not_null(strstr(r.out, ", until all ranks have finished"), "%s", r.out);
    struct process *second = client_start(endpoint, 1, "1000000");
    process_expect(second, ERR, "all 1 ranks are taken", CASE_MS);
    process_signal(first, SIGKILL);
    process_expect(second, OUT, "step ", CASE_MS);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, CASE_MS), 128 + SIGTERM);
}

/* ---- dp-worker on partitions ---- */

/* Every `parts`-th row of the digits, from `part` on, and the header. */
static const char *partition(const char *name, int part, int parts)
{
    const char *path = temp_path(name);
    char line[4096];
    gzFile in = gzopen(source_file("tests/data/digits/train.csv.gz"), "rb");
    FILE *out = fopen(path, "w");
    cr_assert(in && out);
    for (int i = 0; gzgets(in, line, sizeof line); i++)
        if (i == 0 || i % parts == part)
            fputs(line, out);
    gzclose(in);
    fclose(out);
    return path;
}

#define DIGITS_OF(slots)                                                                                              \
    "--model", "softmax", "--data-mode", "local", "--features", "64", "--classes", "10", "--slots", slots, "--batch", \
        "100", "--lr", "0.002", "--optimizer", "momentum", "--exit-when-done"
#define DIGITS DIGITS_OF("2")

/* Two runs have the same bits, whoever gets which rank: of two slots the sum is the same either way. */
Test(local, workers_on_partitions)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *parts[] = {partition("even.csv", 0, 2), partition("odd.csv", 1, 2)};
    const char *models[] = {temp_path("a.safetensors"), temp_path("b.safetensors")};
    for (int run = 0; run < 2; run++) {
        char endpoint[128];
        struct process *server = SERVER(endpoint, DIGITS, "--epochs", "20", "--export", models[run]);
        struct process *workers[2];
        for (int i = 0; i < 2; i++)
            workers[i] = PROCESS("dp-worker", "--server", endpoint, "--data", parts[(i + run) % 2]);
        for (int i = 0; i < 2; i++)
            cr_assert_eq(process_wait(workers[i], CASE_MS), 0, "%s", process_output(workers[i], ERR));
        cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
    }
    models_assert_same(models[0], models[1]);
    struct run_result r = RUN(CASE_MS, "dp-worker", "eval", "--model", models[0], "--data",
                              source_file("tests/data/digits/test.csv.gz"), "--json");
    cr_assert_eq(r.status, 0, "%s", r.err);
    const char *accuracy = strstr(r.out, "\"accuracy\":");
    cr_assert(accuracy && atof(accuracy + strlen("\"accuracy\":")) > 0.85, "%s", r.out);
}

/* The data of one that died are left out, and said to be; it goes on when it comes back. */
Test(local, a_worker_on_a_partition_that_is_killed)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *parts[] = {partition("even.csv", 0, 2), partition("odd.csv", 1, 2)};
    char endpoint[128];
    struct process *server =
        SERVER(endpoint, DIGITS, "--steps", "5000", "--lease", "1", "--json", "--log-level", "info");
    struct process *stays = PROCESS("dp-worker", "--server", endpoint, "--data", parts[0], "--emulate-slot-ms", "1");
    struct process *dies = PROCESS("dp-worker", "--server", endpoint, "--data", parts[1]);
    process_expect(server, OUT, "\"event\":\"epoch\"", CASE_MS);
    process_signal(dies, SIGKILL);
    const char *line = process_expect(server, ERR, "rank-void", CASE_MS);
    cr_assert_not_null(strstr(line, "its data are left out until"), "%s", line);
    struct process *back = PROCESS("dp-worker", "--server", endpoint, "--data", parts[1]);
    cr_assert_eq(process_wait(stays, CASE_MS), 0, "%s", process_output(stays, ERR));
    cr_assert_eq(process_wait(back, CASE_MS), 0, "%s", process_output(back, ERR));
    cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
}

/* Numbers that are unknown with data of their own are null. */
Test(local, what_is_not_known_is_not_shown)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128];
    const char *part = partition("even.csv", 0, 2);
    struct process *server = SERVER(endpoint, DIGITS, "--epochs", "1000000", "--json", "--stall-timeout", "1");
    struct process *worker = PROCESS("dp-worker", "--server", endpoint, "--data", part, "--json");
    process_expect(server, OUT, "{\"event\":\"epoch\",\"epoch\":null,\"step\":100,", CASE_MS);
    process_expect(worker, OUT, "\"batch\":50,\"slots\":2,\"steps\":null", CASE_MS);
    process_expect(worker, ERR, "minibatches of 50 rows of its own as one of 2 slots, 1000000 times through", CASE_MS);
    struct run_result r = RUN(CASE_MS, "dp-ctl", "--server", endpoint, "--json", "status");
    static const char *const WANT[] = {"\"local\":true",      "\"batch\":100,",       "\"train_steps\":null",
                                       "\"train_rows\":null", "\"total_steps\":null", "\"epoch\":null",
                                       "\"epochs\":null",     "\"eta_s\":null"};
    for (size_t i = 0; i < ARRAY_LEN(WANT); i++)
        cr_assert_not_null(strstr(r.out, WANT[i]), "%s: %s", WANT[i], r.out);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, CASE_MS), 128 + SIGTERM);
    cr_assert_null(strstr(process_output(server, ERR), "epoch"), "%s", process_output(server, ERR));
}

/* Three on partitions, each under its name. */
static struct process *named(const char *endpoint, const char *name, int part)
{
    return PROCESS("dp-worker", "--server", endpoint, "--name", name, "--data", partition(name, part, 3),
                   "--emulate-slot-ms", "1");
}

/* The rank that a worker was given. */
static int rank_of(struct process *server, const char *name)
{
    char text[64];
    snprintf(text, sizeof text, "rank worker=\"%s\" rank=", name);
    const char *line = process_expect(server, ERR, text, CASE_MS);
    return atoi(strstr(line, " rank=") + strlen(" rank="));
}

/* A client whose gradient is not finite, though its loss is, hears it and leaves; the others' model stays whole. */
Test(local, a_client_with_an_infinite_gradient)
{
    NEED_PROGRAMS("dp-server");
    static const char *const VALUE[] = {"nan", "inf", "-inf"};
    for (size_t i = 0; i < ARRAY_LEN(VALUE); i++) {
        char endpoint[128];
        struct process *server = SERVER(endpoint, "--model", "free", "--slots", "2", "--lr", "0.01", "--log-level",
                                        "info", "--exit-when-done", "--stall-timeout", "1");
        struct process *good = client_start(endpoint, 0, "10");
        struct process *bad = PROCESS(FREE_CLIENT, endpoint, "bad", "10", "8", VALUE[i]);
        cr_assert_eq(process_wait(bad, CASE_MS), 1, "%s", process_output(bad, ERR));
        const char *said = process_output(bad, ERR);
        cr_assert_not_null(strstr(said, "slot"), "%s", said);
        cr_assert_not_null(strstr(said, "the gradient is not finite (element 0 of tensor 'w' is "), "%s", said);
        process_expect(server, ERR, "worker-gave-up worker=\"bad\" reason=\"step 0, slot ", CASE_MS);
        cr_assert_eq(process_wait(good, CASE_MS), 0, "%s", process_output(good, ERR));
        assert_theta(good, 9, -RATE * 10 * atof(VALUES[0]));
        cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
    }
}

/* In a gradient that does not fit in cache, the shard with that part of theta finds it. */
Test(local, a_client_with_a_large_infinite_gradient)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    struct process *server = SERVER(endpoint, "--model", "free", "--slots", "1", "--lr", "0.01", "--exit-when-done",
                                    "--shards", "2", "--steps", "100");
    struct process *bad = PROCESS(FREE_CLIENT, endpoint, "bad", "10", "8", "inf", "2000000");
    cr_assert_eq(process_wait(bad, CASE_MS), 1, "%s", process_output(bad, ERR));
    const char *said = process_output(bad, ERR);
    cr_assert_not_null(strstr(said, "bad: training diverged: "), "%s", said);
    cr_assert_eq(process_wait(server, CASE_MS), 1);
    said = process_output(server, ERR);
    cr_assert_not_null(strstr(said, "or its parameters are not"), "%s", said);
    cr_assert_not_null(strstr(said, "of slot 0, from worker 'bad')"), "%s", said);
}

/* It is named among others, whatever stands between its gradient and theta, and no finished model is left. */
Test(local, whose_gradient_was_not_finite)
{
    NEED_PROGRAMS("dp-server");
    static const char *const OPTIONS[][2] = {{"--clip-norm", "1"},
                                             {"--clip-value", "1"},
                                             {"--constraint", "box=-1:1"},
                                             {"--constraint", "simplex=1"},
                                             {"--optimizer", "ftrl"},
                                             {"--optimizer", "lamb"},
                                             {"--l1", "0.1"}};
    for (size_t i = 0; i < ARRAY_LEN(OPTIONS); i++) {
        char endpoint[128];
        const char *model = temp_path("m.st");
        struct process *server =
            SERVER(endpoint, "--model", "free", "--slots", "2", "--exit-when-done", "--shards", "2", "--steps", "50",
                   "--lr", "0.01", "--export", model, OPTIONS[i][0], OPTIONS[i][1]);
        (void)PROCESS(FREE_CLIENT, endpoint, "good", "50", "8", "1", "1100000");
        (void)PROCESS(FREE_CLIENT, endpoint, "bad", "50", "8", "nan", "1100000");
        cr_assert_eq(process_wait(server, CASE_MS), 1, "%s", OPTIONS[i][1]);
        const char *said = process_output(server, ERR);
        cr_assert_not_null(strstr(said, ", from worker 'bad')"), "%s: %s", OPTIONS[i][1], said);
        cr_assert_eq(safetensors_peek(model), MODEL_AT_UNFINISHED);
    }
}

/* Its number of samples would be that of all others together: it hears it, and the others' mean is theirs. */
Test(local, a_client_that_says_too_many_samples)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    struct process *server =
        SERVER(endpoint, "--model", "free", "--slots", "2", "--lr", "0.01", "--exit-when-done", "--stall-timeout", "1");
    struct process *good = client_start(endpoint, 0, "10");
    struct process *bad = PROCESS(FREE_CLIENT, endpoint, "bad", "10", "18446744073709551615", "1");
    cr_assert_eq(process_wait(bad, CASE_MS), 2, "%s", process_output(bad, ERR));
    const char *said = process_output(bad, ERR);
    cr_assert_not_null(strstr(said, "more samples than a slot may have, 2^40"), "%s", said);
    cr_assert_eq(process_wait(good, CASE_MS), 0, "%s", process_output(good, ERR));
    assert_theta(good, 9, -RATE * 10 * atof(VALUES[0]));
    cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
}

/* Started again under its name, a worker is the same one, with its own rank and the next attempt. */
Test(local, who_is_started_again_has_its_rank_back)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128];
    struct process *server =
        SERVER(endpoint, DIGITS_OF("3"), "--epochs", "1000000", "--json", "--log-level", "info", "--min-workers", "3");
    struct process *a = named(endpoint, "a", 0), *b = named(endpoint, "b", 1), *c = named(endpoint, "c", 2);
    int ranks[2] = {rank_of(server, "a"), rank_of(server, "b")};
    rank_of(server, "c");
    process_expect(server, OUT, "\"event\":\"epoch\"", CASE_MS);
    process_signal(a, SIGKILL);
    process_signal(b, SIGKILL);
    process_expect(server, ERR, "worker-lost", CASE_MS);
    process_expect_next(server, ERR, "worker-lost", CASE_MS);
    for (int i = 1; i >= 0; i--) {
        char want[64];
        (void)named(endpoint, i ? "b" : "a", i);
        snprintf(want, sizeof want, "rank worker=\"%s\" rank=%d", i ? "b" : "a", ranks[i]);
        process_expect_next(server, ERR, want, CASE_MS);
    }
    struct run_result r = RUN(CASE_MS, "dp-ctl", "--server", endpoint, "--json", "status");
    cr_assert_not_null(strstr(r.out, "\"attempt\":2,\"name\":\"a\""), "%s", r.out);
    cr_assert_not_null(strstr(r.out, "\"attempt\":2,\"name\":\"b\""), "%s", r.out);
    cr_assert_not_null(strstr(r.out, "\"attempt\":1,\"name\":\"c\""), "%s", r.out);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, CASE_MS), 128 + SIGTERM);
    (void)c;
}
