/* Data that are larger than memory: the order by blocks gives the same bits for any number of workers and shards, and
 * whether the data are held whole or by blocks; and a worker that holds a part of them stays small. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "tests/integration/support/harness.h"

TestSuite(blocks, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { CASE_MS = 120000 };

#define JOB                                                                                                  \
    "--model", "softmax", "--batch", "100", "--slots", "5", "--epochs", "3", "--lr", "0.002", "--optimizer", \
        "momentum", "--shuffle", "block", "--block-rows", "60", "--window-blocks", "4", "--exit-when-done", "--quiet"

/* The digits, unpacked. */
static const char *digits(void)
{
    const char *path = temp_path("digits.csv");
    char line[4096];
    gzFile in = gzopen(source_file("tests/data/digits/train.csv.gz"), "rb");
    FILE *out = fopen(path, "w");
    cr_assert(in && out);
    while (gzgets(in, line, sizeof line))
        fputs(line, out);
    gzclose(in);
    fclose(out);
    return path;
}

static const char *train(const char *name, const char *data, const char *workers, const char *shards, const char *limit,
                         const char *threads)
{
    const char *path = temp_path(name);
    struct run_result r =
        RUN(CASE_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", JOB, "--local-workers", workers, "--shards", shards,
            "--data", data, "--memory-limit", limit, "--threads", threads, "--export", path);
    cr_assert_eq(r.status, 0, "dp-server ended with %d: %s", r.status, r.err);
    return path;
}

Test(blocks, same_bits_however_the_data_are_held)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = digits();
    const char *want = train("want.safetensors", data, "1", "1", "0", "1");
    models_assert_same(want, train("held.safetensors", data, "3", "2", "0", "1"));
    models_assert_same(want, train("blocks.safetensors", data, "1", "1", "1", "1"));
    models_assert_same(want, train("more.safetensors", data, "3", "2", "1", "2"));
}

/* The same job by one that holds all and one that holds a part: their data are the same to the server. */
Test(blocks, workers_of_both_kinds)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    const char *data = digits(), *got = temp_path("got.safetensors");
    const char *want = train("want.safetensors", data, "1", "1", "0", "1");
    struct process *server = SERVER(endpoint, JOB, "--min-workers", "2", "--export", got);
    struct process *whole = PROCESS("dp-worker", "--server", endpoint, "--data", data);
    struct process *part = PROCESS("dp-worker", "--server", endpoint, "--data", data, "--memory-limit", "1");
    cr_assert_eq(process_wait(whole, CASE_MS), 0, "%s", process_output(whole, ERR));
    cr_assert_eq(process_wait(part, CASE_MS), 0, "%s", process_output(part, ERR));
    cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
    models_assert_same(want, got);
}

Test(blocks, a_job_whose_order_is_of_all_rows)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server = SERVER(endpoint, "--model", "softmax");
    struct run_result r = RUN(CASE_MS, "dp-worker", "--server", endpoint, "--data", digits(), "--memory-limit", "1");
    cr_assert_eq(r.status, 2, "%s", r.err);
    cr_assert_not_null(strstr(r.err, "is for jobs of dp-server --shuffle block"), "%s", r.err);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, CASE_MS), 128 + SIGTERM);
}

enum { WIDE_ROWS = 150000, WIDE_FEATURES = 60, MIB = 1 << 20 }; /* some 70 MB of text, 36 MB of floats */

static const char *wide(int rows, int features)
{
    const char *path = temp_path("wide.csv");
    FILE *file = fopen(path, "w");
    uint32_t x = 1;
    cr_assert_not_null(file);
    for (int r = 0; r < rows; r++) {
        fprintf(file, "%d", r % 2);
        for (int k = 0; k < features; k++) {
            x = x * 1664525u + 1013904223u;
            fprintf(file, ",0.%05u", x >> 16);
        }
        fputc('\n', file);
    }
    fclose(file);
    return path;
}

/* Other numbers of the same lengths, written into the same file while it is being trained on. */
Test(blocks, a_file_that_is_overwritten)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = wide(20000, 20);
    struct process *server =
        PROCESS("dp-server", "--listen", "tcp://127.0.0.1:0", "--model", "logistic", "--batch", "512", "--epochs",
                "1000000", "--lr", "0.01", "--shuffle", "block", "--block-rows", "512", "--window-blocks", "4",
                "--local-workers", "1", "--data", data, "--memory-limit", "1", "--emulate-slot-ms", "1",
                "--exit-when-done", "--json", "--export", temp_path("m.safetensors"));
    process_expect(server, OUT, "\"epoch\"", CASE_MS);
    FILE *file = fopen(data, "r+");
    cr_assert_not_null(file);
    for (int c; (c = fgetc(file)) != EOF;) {
        if (c != '7')
            continue;
        cr_assert_eq(fseek(file, -1, SEEK_CUR), 0);
        fputc('9', file);
        cr_assert_eq(fseek(file, 0, SEEK_CUR), 0);
    }
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(process_wait(server, CASE_MS), 1, "%s", process_output(server, ERR));
    cr_assert_not_null(strstr(process_output(server, ERR), "wide.csv: has changed while it was being read"), "%s",
                       process_output(server, ERR));
}

static uint64_t peak_bytes(pid_t pid)
{
    char path[64], line[256];
    unsigned long long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    while (fgets(line, sizeof line, file))
        if (strncmp(line, "VmHWM:", 6) == 0)
            kib = strtoull(line + 6, NULL, 10);
    fclose(file);
    return kib * 1024;
}

/* Peak of a worker that has been through all of its data; `limit` as an option of its own. */
static uint64_t peak_of(const char *data, const char *limit)
{
    char endpoint[128];
    struct process *server =
        SERVER(endpoint, "--model", "logistic", "--batch", "2000", "--lr", "0.01", "--epochs", "1000000", "--shuffle",
               "block", "--block-rows", "1000", "--window-blocks", "8", "--json");
    /* AddressSanitizer would keep what is freed. */
    struct process *worker = process_start_env(
        "dp-worker",
        (const char *const[]){"--server", endpoint, "--data", data, "--label-column", "0", "--memory-limit", limit,
                              NULL},
        (const char *const[]){"ASAN_OPTIONS=quarantine_size_mb=1:thread_local_quarantine_size_kb=16", NULL});
    process_expect(server, OUT, "\"event\":\"epoch\"", CASE_MS);
    uint64_t peak = peak_bytes(process_pid(worker));
    process_signal(worker, SIGTERM);
    process_signal(server, SIGTERM);
    (void)process_wait(worker, CASE_MS);
    (void)process_wait(server, CASE_MS);
    return peak;
}

/* The file is many times the budget; what is beyond the budget is the program, buffers and one block. */
Test(blocks, a_worker_that_holds_a_part_stays_small)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = wide(WIDE_ROWS, WIDE_FEATURES);
    uint64_t whole = peak_of(data, "0"), part = peak_of(data, "3");
    cr_log_info("%llu MiB by blocks, %llu MiB as a whole", (unsigned long long)part / MIB,
                (unsigned long long)whole / MIB);
    cr_assert_gt(whole, (uint64_t)100 * MIB, "%llu", (unsigned long long)whole);
    cr_assert_lt(part, whole - (uint64_t)60 * MIB, "%llu bytes by blocks, %llu as a whole", (unsigned long long)part,
                 (unsigned long long)whole);
}
