/* A first worker with a wrong file settles the job by it. Once it has left, before a step is complete, the job is
 * settled anew by the next one: theta has the bits of a run without the first, whatever kind of job it is, and the
 * memory for the wrong one is given back. One that comes back with the same data goes on. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/clock.h"
#include "common/base/util.h"
#include "tests/integration/support/harness.h"

TestSuite(reopen, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { MINUTE_MS = 60000, ROWS = 200, ARGS_MAX = 40 };

/* LIBSVM rows of `features` features with labels 0 .. classes - 1, a function of `seed`. */
static const char *rows_file(const char *name, unsigned features, unsigned classes, unsigned seed)
{
    static char text[1 << 16];
    size_t at = 0;
    for (unsigned r = 0; r < ROWS; r++) {
        unsigned x = r * 2654435761U + seed;
        at += (size_t)snprintf(text + at, sizeof text - at, "%u", r % classes);
        for (unsigned f = 1; f <= features; f += 1 + (x = x * 1103515245U + 12345U) / 65536 % 3)
            at += (size_t)snprintf(text + at, sizeof text - at, " %u:%g", f, (double)(x / 65536 % 200) / 100 - 1);
        text[at++] = '\n';
    }
    return temp_file(name, text, at);
}

#define COMMON "--epochs", "3", "--batch", "64", "--seed", "7", "--exit-when-done"

static const char *const JOBS[][10] = {
    {"--model", "softmax", "--shards", "2"},
    {"--model", "softmax", "--shards", "2", "--shm", "off"},
    {"--model", "softmax", "--sparse", "--optimizer", "ftrl", "--l1", "1e-3"},
    {"--model", "softmax", "--shards", "2", "--clip-norm", "0.5", "--optimizer", "adam"},
    {"--model", "softmax", "--consistency", "ssp:2", "--slots", "1"},
    {"--model", "softmax", "--on-stall", "drop"},
};

static int add(const char **args, int count, const char *const *more)
{
    while (*more)
        args[count++] = *more++;
    args[count] = NULL;
    return count;
}

static struct process *serve(char *endpoint, size_t size, const char *const *job, const char *const *more)
{
    static const char *const BASE[] = {COMMON, "--log-level", "info", NULL};
    const char *args[ARGS_MAX];
    (void)add(args, add(args, add(args, 0, BASE), job), more);
    return server_start(endpoint, size, args);
}

static struct process *worker(const char *endpoint, const char *data)
{
    return PROCESS("dp-worker", "--server", endpoint, "--data", data);
}

static const char *quiet_model(const char *const *job, const char *data)
{
    static const char *const BASE[] = {COMMON, "--listen", "tcp://127.0.0.1:0", "--local-workers", "1", "--data", NULL};
    const char *args[ARGS_MAX], *path = temp_path("quiet.safetensors"), *rest[] = {data, "--export", path, NULL};
    (void)add(args, add(args, add(args, 0, BASE), rest), job);
    struct run_result r = run_program(MINUTE_MS, "dp-server", args);
    cr_assert_eq(r.status, 0, "%s", r.err);
    return path;
}

static void expect_done(struct process *process)
{
    cr_assert_eq(process_wait(process, MINUTE_MS), 0, "%s", process_output(process, ERR));
}

/* Killed, and at once, before the server can have missed it, two others with the right file. */
Test(reopen, a_first_worker_with_a_wrong_file_is_killed)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *wrong = rows_file("wrong.svm", 40, 4, 1), *right = rows_file("right.svm", 25, 3, 2);
    for (size_t j = 0; j < ARRAY_LEN(JOBS); j++) {
        char endpoint[128];
        const char *path = temp_path("m.safetensors");
        struct process *server =
            serve(endpoint, sizeof endpoint, JOBS[j], (const char *[]){"--min-workers", "2", "--export", path, NULL});
        struct process *first = worker(endpoint, wrong);
        process_expect(server, ERR, "worker-joined", MINUTE_MS);
        process_signal(first, SIGKILL);
        cr_assert_eq(process_wait(first, MINUTE_MS), 128 + SIGKILL);
        struct process *one = worker(endpoint, right), *two = worker(endpoint, right);
        process_expect(server, ERR, "job-settled-anew", MINUTE_MS);
        expect_done(server);
        expect_done(one);
        expect_done(two);
        if (!strstr(JOBS[j][3] ? JOBS[j][3] : "", "ssp"))
            models_assert_same(quiet_model(JOBS[j], right), path);
    }
}

/* While it is there, another file is refused, which is said with both; the right one comes again when it has left. */
Test(reopen, a_worker_that_was_refused_comes_again)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *wrong = rows_file("wrong.svm", 40, 3, 1), *right = rows_file("right.svm", 40, 3, 2);
    char endpoint[128];
    const char *path = temp_path("m.safetensors");
    struct process *server =
        serve(endpoint, sizeof endpoint, JOBS[0], (const char *[]){"--min-workers", "2", "--export", path, NULL});
    struct process *first = worker(endpoint, wrong);
    process_expect(server, ERR, "worker-joined", MINUTE_MS);
    struct run_result refused = RUN(MINUTE_MS, "dp-worker", "--server", endpoint, "--data", right);
    cr_assert_eq(refused.status, 1, "%s", refused.err);
    cr_assert_not_null(strstr(refused.err, "give every worker the same file"), "%s", refused.err);
    process_signal(first, SIGTERM);
    cr_assert_eq(process_wait(first, MINUTE_MS), 128 + SIGTERM);
    struct process *one = worker(endpoint, right), *two = worker(endpoint, right);
    expect_done(server);
    expect_done(one);
    expect_done(two);
    models_assert_same(quiet_model(JOBS[0], right), path);
}

/* It was told of the wrong job before it read its data, here from a pipe: it reads them again by what holds then. */
Test(reopen, a_worker_that_was_reading_meanwhile_reads_again)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *wrong = rows_file("wrong.svm", 40, 3, 1), *right = rows_file("right.svm", 25, 3, 2);
    const char *pipe = temp_path("pipe"), *path = temp_path("m.safetensors");
    char endpoint[128];
    cr_assert_eq(mkfifo(pipe, 0600), 0);
    struct process *server =
        serve(endpoint, sizeof endpoint, JOBS[0], (const char *[]){"--export", path, "--min-workers", "2", NULL});
    struct process *first = worker(endpoint, wrong);
    process_expect_next(server, ERR, "worker-joined", MINUTE_MS);
    struct process *reader = worker(endpoint, pipe);
    process_expect_next(server, ERR, "worker-hello", MINUTE_MS);
    process_signal(first, SIGTERM);
    process_expect_next(server, ERR, "worker-gone", MINUTE_MS);
    for (int times = 0; times < 2; times++) {
        struct run_result written = RUN(MINUTE_MS, "/bin/cp", right, pipe);
        cr_assert_eq(written.status, 0, "%s", written.err);
        if (times == 0)
            process_expect(reader, ERR, "settled anew, reading the data again", MINUTE_MS);
    }
    struct process *other = worker(endpoint, right);
    expect_done(server);
    expect_done(reader);
    expect_done(other);
    models_assert_same(quiet_model(JOBS[0], right), path);
}

/* The same data: nothing is settled anew. */
Test(reopen, one_that_comes_back_goes_on)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *right = rows_file("right.svm", 25, 3, 2), *path = temp_path("m.safetensors");
    char endpoint[128];
    struct process *server =
        serve(endpoint, sizeof endpoint, JOBS[0], (const char *[]){"--min-workers", "2", "--export", path, NULL});
    struct process *first = worker(endpoint, right);
    process_expect(server, ERR, "worker-joined", MINUTE_MS);
    process_signal(first, SIGKILL);
    struct process *one = worker(endpoint, right), *two = worker(endpoint, right);
    expect_done(server);
    expect_done(one);
    expect_done(two);
    cr_assert_null(strstr(process_output(server, ERR), "job-settled-anew"), "%s", process_output(server, ERR));
    models_assert_same(quiet_model(JOBS[0], right), path);
}

/* So is what the first one computed by other kernels, whose bits are others. */
Test(reopen, numerics_of_one_that_has_left_bind_nobody)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *right = rows_file("right.svm", 25, 3, 2), *path = temp_path("m.safetensors");
    char endpoint[128];
    struct process *server =
        serve(endpoint, sizeof endpoint, JOBS[0], (const char *[]){"--min-workers", "2", "--export", path, NULL});
    struct process *first = PROCESS("dp-worker", "--server", endpoint, "--data", right, "--kernels", "ref");
    process_expect(server, ERR, "worker-joined", MINUTE_MS);
    process_signal(first, SIGKILL);
    cr_assert_eq(process_wait(first, MINUTE_MS), 128 + SIGKILL);
    struct process *one = worker(endpoint, right), *two = worker(endpoint, right);
    expect_done(server);
    expect_done(one);
    expect_done(two);
    models_assert_same(quiet_model(JOBS[0], right), path);
}

/* A first client that declares another model than those that come later. */
Test(reopen, data_of_their_own)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char *const LOCAL[] = {"--model", "linear", "--data-mode", "local", "--slots", "2", "--features"};
    const char *right = rows_file("right.svm", 25, 3, 2), *other = rows_file("other.svm", 25, 3, 5);
    const char *job[12] = {0};
    char endpoint[128];
    memcpy(job, LOCAL, sizeof LOCAL);
    job[ARRAY_LEN(LOCAL)] = "25";
    struct process *server = serve(endpoint, sizeof endpoint, job, (const char *[]){NULL});
    struct process *first = worker(endpoint, other);
    process_expect(server, ERR, "worker-joined", MINUTE_MS);
    process_signal(first, SIGKILL);
    cr_assert_eq(process_wait(first, MINUTE_MS), 128 + SIGKILL);
    struct process *one = worker(endpoint, right), *two = worker(endpoint, other);
    expect_done(server);
    expect_done(one);
    expect_done(two);
}

static uint64_t resident_kib(pid_t pid)
{
    char path[64], line[256];
    unsigned long long kib = 0;
    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "VmRSS: %llu kB", &kib) == 1)
            break;
    fclose(file);
    return kib;
}

/* 30 million features instead of 3. */
Test(reopen, memory_is_given_back)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    const char *wrong = temp_text("wrong.svm", "0 1:1 30000000:1\n1 2:1\n");
    const char *right = temp_text("right.svm", "0 1:1 3:1\n1 2:1\n0 1:2\n1 2:1 3:-1\n");
    char endpoint[128];
    struct process *server = SERVER(endpoint, "--model", "logistic", "--min-workers", "2", "--log-level", "info",
                                    "--epochs", "3", "--exit-when-done");
    struct process *first = worker(endpoint, wrong);
    process_expect(server, ERR, "worker-joined", MINUTE_MS);
    uint64_t before = 0;
    for (uint64_t end_ms = mono_ms() + MINUTE_MS; before < 110000 && mono_ms() < end_ms;)
        before = resident_kib(process_pid(server));
    cr_assert_geq(before, 110000, "theta of 30 million floats is there");
    process_signal(first, SIGTERM);
    cr_assert_eq(process_wait(first, MINUTE_MS), 128 + SIGTERM);
    struct process *one = worker(endpoint, right);
    process_expect(server, ERR, "job-settled-anew", MINUTE_MS);
    uint64_t after = before;
    for (uint64_t end_ms = mono_ms() + MINUTE_MS; after > 60000 && mono_ms() < end_ms;)
        after = resident_kib(process_pid(server));
#if !defined(__SANITIZE_ADDRESS__) /* it keeps freed memory for a while */
    cr_assert_leq(after, 60000);
#endif
    struct process *two = worker(endpoint, right);
    expect_done(server);
    expect_done(one);
    expect_done(two);
}

/* A job that has begun is what it is: a worker with another file is refused, also when nobody else is there. */
Test(reopen, a_job_that_has_begun_is_not_settled_anew)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *wrong = rows_file("wrong.svm", 25, 3, 1), *right = rows_file("right.svm", 25, 3, 2);
    char endpoint[128];
    struct process *server =
        SERVER(endpoint, "--model", "softmax", "--log-level", "info", "--epochs", "1000000", "--json");
    struct process *first = worker(endpoint, right);
    process_expect(server, OUT, "\"event\":\"epoch\"", MINUTE_MS);
    process_signal(first, SIGTERM);
    process_expect(server, ERR, "worker-gone", MINUTE_MS);
    struct run_result refused = RUN(MINUTE_MS, "dp-worker", "--server", endpoint, "--data", wrong);
    cr_assert_eq(refused.status, 1, "%s", refused.err);
    cr_assert_not_null(strstr(refused.err, "give every worker the same file"), "%s", refused.err);
}

/* A model that is too large for the disk binds nobody, and does not end the server: here in a file system of 64 KiB. */
Test(reopen, a_first_model_too_large_for_the_disk_is_refused)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char MOUNT[] = "mount -t tmpfs -o size=64k none /mnt";
    static const char SCRIPT[] =
        "mount -t tmpfs -o size=64k none /mnt && exec \"$0\" --model softmax --listen tcp://127.0.0.1:0 --port-file "
        "\"$1\" --epochs 3 --exit-when-done --export /mnt/m.st";
    if (RUN(MINUTE_MS, "/usr/bin/unshare", "-rm", "/bin/sh", "-c", MOUNT).status != 0)
        cr_skip_test("no file system can be mounted here");
    const char *port_file = temp_path("port");
    struct process *server =
        PROCESS("/usr/bin/unshare", "-rm", "/bin/sh", "-c", SCRIPT, program_path("dp-server"), port_file);
    const char *endpoint = file_expect(port_file, server, MINUTE_MS);
    cr_assert_not_null(endpoint);
    static const char WIDE[] = "0 100000:1\n1 1:1\n";
    const char *wide = temp_file("wide.svm", WIDE, sizeof WIDE - 1);
    struct run_result r = RUN(MINUTE_MS, "dp-worker", "--server", endpoint, "--data", wide);
    cr_assert_eq(r.status, 1, "%s", r.err);
    cr_assert_not_null(strstr(r.err, "option --export: /mnt/m.st: the model takes"), "%s", r.err);
    r = RUN(MINUTE_MS, "dp-worker", "--server", endpoint, "--data", rows_file("narrow.svm", 20, 3, 1));
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_assert_eq(process_wait(server, MINUTE_MS), 0, "%s", process_output(server, ERR));
    cr_assert_not_null(strstr(process_output(server, ERR), "model written to /mnt/m.st"));
}
