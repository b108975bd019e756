/* dp-worker with servers that are absent, late, killed, stopped and started anew; and what it says and ends with. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem_room.h"
#include "common/base/util.h"
#include "tests/integration/support/harness.h"

TestSuite(worker, .init = harness_init, .fini = harness_fini, .timeout = 600);

enum { CASE_MS = 90000, UNREACHABLE = 69 };

#define TRAIN "tests/data/digits/train.csv.gz"
#define JOB "--model", "softmax", "--batch", "100", "--lr", "0.002", "--seed", "7"
/* As many epochs as no test waits for. */
#define ENDLESS "--epochs", "100000000"

/* An endpoint of 127.0.0.1 at which nobody listens, as long as the socket is kept. */
static int endpoint_take(char *text, size_t size)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &length), 0);
    snprintf(text, size, "tcp://127.0.0.1:%d", ntohs(at.sin_port));
    return fd;
}

static struct process *worker_start(const char *endpoint, const char *timeout)
{
    return PROCESS("dp-worker", "--server", endpoint, "--data", source_file(TRAIN), "--server-timeout", timeout);
}

/* The number of seconds that is told after `words`. A machine that stands still makes it larger. */
static unsigned seconds_after(const char *text, const char *words)
{
    unsigned seconds = 0;
    const char *at = strstr(text, words);
    cr_assert(at && sscanf(at + strlen(words), "%u s", &seconds) == 1, "no '%s' in: %s", words, text);
    return seconds;
}

static void expect_epochs(struct process *server, int count)
{
    while (count-- > 0)
        process_expect_next(server, OUT, "\"event\":\"epoch\"", CASE_MS);
}

Test(worker, absent_server)
{
    NEED_PROGRAMS("dp-worker");
    char endpoint[64];
    int fd = endpoint_take(endpoint, sizeof endpoint);
    uint64_t begin = mono_ms();
    struct process *worker =
        PROCESS("dp-worker", "--server", endpoint, "--data", source_file(TRAIN), "--connect-timeout", "2");
    const char *line = process_expect(worker, ERR, "cannot reach", CASE_MS);
    cr_assert(strstr(line, "(connection refused), trying for another 2 s") ||
                  strstr(line, "(connection refused), trying for another 1 s"),
              "%s", line);
    cr_assert_eq(process_wait(worker, CASE_MS), UNREACHABLE);
    cr_assert_geq(mono_ms() - begin, 2000);
    cr_assert_lt(mono_ms() - begin, CASE_MS);
    cr_assert_str_empty(process_output(worker, OUT));
    close(fd);
}

Test(worker, late_server)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[64];
    int fd = endpoint_take(endpoint, sizeof endpoint);
    struct process *worker = worker_start(endpoint, "10");
    process_expect(worker, ERR, "cannot reach", CASE_MS);
    close(fd);
    struct process *server = PROCESS("dp-server", JOB, "--epochs", "2", "--listen", endpoint, "--exit-when-done");
    process_expect(worker, ERR, "reached tcp://127.0.0.1:", CASE_MS);
    cr_assert_eq(process_wait(worker, CASE_MS), 0, "%s", process_output(worker, ERR));
    cr_assert_eq(process_wait(server, CASE_MS), 0);
    cr_assert_not_null(
        strstr(process_output(worker, ERR), "the job is done: computed 2.88k samples in 240 slots of 30 steps"), "%s",
        process_output(worker, ERR));
}

Test(worker, signals_end_it_in_order)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const int SIGNALS[] = {SIGTERM, SIGINT};
    char absent[64], endpoint[128];
    int fd = endpoint_take(absent, sizeof absent);
    struct process *server = SERVER(endpoint, JOB, ENDLESS, "--json", "--log-level", "info");
    for (size_t i = 0; i < ARRAY_LEN(SIGNALS); i++) {
        struct process *searching = worker_start(absent, "10"), *working = worker_start(endpoint, "10");
        process_expect(searching, ERR, "cannot reach", CASE_MS);
        process_expect(working, ERR, "joined", CASE_MS);
        expect_epochs(server, 1); /* it may be one that the worker before left to be read */
        process_signal(searching, SIGNALS[i]);
        process_signal(working, SIGNALS[i]);
        cr_assert_eq(process_wait(searching, CASE_MS), 128 + SIGNALS[i]);
        cr_assert_eq(process_wait(working, CASE_MS), 128 + SIGNALS[i]);
        process_expect_next(server, ERR, "it said goodbye", CASE_MS);
    }
    close(fd);
}

/* A pipe that nobody writes to is read for ever. */
Test(worker, a_signal_ends_it_while_it_reads)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server = SERVER(endpoint, JOB, "--log-level", "info");
    const char *pipe = temp_path("pipe");
    cr_assert_eq(mkfifo(pipe, 0600), 0);
    struct process *worker = PROCESS("dp-worker", "--server", endpoint, "--data", pipe);
    process_expect(server, ERR, "worker-hello", CASE_MS);
    int fd = open(pipe, O_WRONLY | O_CLOEXEC); /* returns once the worker has opened it too */
    cr_assert_geq(fd, 0);
    process_signal(worker, SIGTERM);
    cr_assert_eq(process_wait(worker, CASE_MS), 128 + SIGTERM, "%s", process_output(worker, ERR));
    process_expect(server, ERR, "it said goodbye", CASE_MS);
    close(fd);
}

/* The one that asks for too much is told; the server goes on for others. */
Test(worker, a_model_that_no_machine_here_can_hold)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128], wide[128];
    uint64_t features = MIN(mem_limit_bytes() / 8, (uint64_t)UINT32_MAX);
    if (features * 3 * sizeof(float) <= mem_limit_bytes())
        cr_skip_test("this machine can hold every model whose features a file can name");
    snprintf(wide, sizeof wide, "1 %llu:1\n2 1:1\n", (unsigned long long)features);
    struct process *server = SERVER(endpoint, "--model", "linear", "--epochs", "1", "--exit-when-done");
    struct run_result r = RUN(CASE_MS, "dp-worker", "--server", endpoint, "--data", temp_text("wide.libsvm", wide));
    cr_assert_eq(r.status, 1, "%s", r.err);
    cr_assert_not_null(strstr(r.err, "parameters need "), "%s", r.err);
    cr_assert_not_null(strstr(r.err, "and the server's machine has "), "%s", r.err);
    r = RUN(CASE_MS, "dp-worker", "--server", endpoint, "--data", temp_text("good.libsvm", "1 1:1\n2 2:1\n"));
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_assert_eq(process_wait(server, CASE_MS), 0);
}

Test(worker, a_server_that_is_killed)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server = SERVER(endpoint, JOB, ENDLESS, "--json", "--lease", "1");
    struct process *worker = worker_start(endpoint, "2");
    expect_epochs(server, 1);
    process_signal(server, SIGKILL);
    process_expect(worker, ERR, "lost the session", CASE_MS);
    cr_assert_eq(process_wait(worker, CASE_MS), UNREACHABLE);
    cr_assert_not_null(strstr(process_output(worker, ERR), "connection refused (tried for "), "%s",
                       process_output(worker, ERR));
}

Test(worker, a_server_that_is_stopped_and_goes_on)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server = SERVER(endpoint, JOB, ENDLESS, "--json", "--lease", "1");
    struct process *worker = worker_start(endpoint, "60"), *impatient = worker_start(endpoint, "4");
    process_expect(worker, ERR, "joined", CASE_MS);
    process_expect(impatient, ERR, "joined", CASE_MS);
    expect_epochs(server, 1);
    process_signal(server, SIGSTOP);
    cr_assert_geq(seconds_after(process_expect(worker, ERR, "has been silent for ", CASE_MS), "has been silent for "),
                  3);
    cr_assert_eq(process_wait(impatient, CASE_MS), UNREACHABLE);
    cr_assert_geq(seconds_after(process_output(impatient, ERR), "has not been heard of for "), 4);
    process_signal(server, SIGCONT);
    expect_epochs(server, 100);
    cr_assert_not(process_ended(worker, 0));
}

#define WHOLE_JOB JOB, "--epochs", "300", "--optimizer", "momentum", "--json", "--exit-when-done"

/* The server begins anew, on other ports for its shards and with another number of them; the workers come back by
 * themselves, and keep the slots that they are given at once: nothing waits for a stall to be noticed. */
Test(worker, a_server_that_is_killed_and_started_again)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    const char *want = temp_path("want.safetensors"), *got = temp_path("got.safetensors");
    struct run_result r = RUN(2 * CASE_MS, "dp-server", WHOLE_JOB, "--listen", "tcp://127.0.0.1:0", "--local-workers",
                              "1", "--data", source_file(TRAIN), "--export", want);
    cr_assert_eq(r.status, 0, "%s", r.err);
    struct process *server = SERVER(endpoint, WHOLE_JOB, "--shards", "2");
    struct process *workers[] = {worker_start(endpoint, "20"), worker_start(endpoint, "20")};
    process_expect(workers[0], ERR, "joined", CASE_MS);
    process_expect(workers[1], ERR, "joined", CASE_MS);
    expect_epochs(server, 1);
    process_signal(server, SIGKILL);
    cr_assert_eq(process_wait(server, CASE_MS), 128 + SIGKILL);
    server = PROCESS("dp-server", WHOLE_JOB, "--shards", "3", "--stall-timeout", "3600", "--listen", endpoint,
                     "--export", got);
    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        process_expect(workers[i], ERR, " again", CASE_MS);
        cr_assert_eq(process_wait(workers[i], 2 * CASE_MS), 0, "%s", process_output(workers[i], ERR));
    }
    cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
    models_assert_same(want, got);
}

/* Another job at the same place is not gone along with. */
Test(worker, a_server_that_comes_back_with_another_job)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server = SERVER(endpoint, JOB, ENDLESS, "--json");
    struct process *worker = worker_start(endpoint, "20");
    expect_epochs(server, 1);
    process_signal(server, SIGKILL);
    cr_assert_eq(process_wait(server, CASE_MS), 128 + SIGKILL);
    server = PROCESS("dp-server", JOB, ENDLESS, "--slots", "5", "--listen", endpoint);
    cr_assert_eq(process_wait(worker, CASE_MS), 1);
    cr_assert_not_null(strstr(process_output(worker, ERR), "another job: slots is 5, was 8"), "%s",
                       process_output(worker, ERR));
}

/* Nor is it settled by the data and the model of workers that it is not of: its own are taken when they come. */
Test(worker, a_job_after_another_is_for_its_own_workers)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char DATA[] = "y,x\n1,0.5\n0,-0.5\n1,0.25\n0,-1\n";
    char endpoint[128];
    struct process *server = SERVER(endpoint, JOB, ENDLESS, "--json");
    struct process *stale = worker_start(endpoint, "20");
    expect_epochs(server, 1);
    process_signal(server, SIGKILL);
    cr_assert_eq(process_wait(server, CASE_MS), 128 + SIGKILL);
    server = PROCESS("dp-server", "--model", "logistic", "--epochs", "2", "--exit-when-done", "--listen", endpoint);
    cr_assert_eq(process_wait(stale, CASE_MS), 1);
    cr_assert_not_null(strstr(process_output(stale, ERR), "another job: model is logistic, was softmax"), "%s",
                       process_output(stale, ERR));
    struct process *own =
        PROCESS("dp-worker", "--server", endpoint, "--data", temp_file("own.csv", DATA, sizeof DATA - 1));
    cr_assert_eq(process_wait(own, CASE_MS), 0, "%s", process_output(own, ERR));
    cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
}

/* A worker that slept past its lease comes back to a job that went on, with no harm to it. */
Test(worker, a_worker_that_slept)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server = SERVER(endpoint, JOB, ENDLESS, "--json", "--lease", "1", "--log-level", "info");
    struct process *sleeper = worker_start(endpoint, "20"), *other = worker_start(endpoint, "20");
    process_expect(sleeper, ERR, "joined", CASE_MS);
    process_expect(other, ERR, "joined", CASE_MS);
    expect_epochs(server, 1);
    process_signal(sleeper, SIGSTOP);
    process_expect(server, ERR, "worker-lost", CASE_MS);
    expect_epochs(server, 10);
    cr_assert_null(strstr(process_output(server, ERR), "stall"), "%s", process_output(server, ERR));
    process_signal(sleeper, SIGCONT);
    process_expect(sleeper, ERR, " again", CASE_MS);
    process_signal(other, SIGKILL);
    expect_epochs(server, 50);
    cr_assert_not(process_ended(sleeper, 0));
}

Test(worker, what_it_tells)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server = SERVER(endpoint, JOB, "--epochs", "2", "--exit-when-done", "--quiet");
    struct process *json = PROCESS("dp-worker", "train", "--server", endpoint, "--data", source_file(TRAIN), "--json",
                                   "--threads", "2", "--quiet");
    cr_assert_eq(process_wait(json, CASE_MS), 0);
    cr_assert_eq(process_wait(server, CASE_MS), 0);
    cr_assert_str_empty(process_output(json, ERR));
    static const char *const EVENTS[] = {"{\"event\":\"data\",\"role\":\"train\",", "{\"event\":\"joined\",",
                                         "{\"event\":\"done\",\"steps\":30,\"slots\":240,\"samples\":2876,"};
    for (size_t i = 0; i < ARRAY_LEN(EVENTS); i++)
        cr_assert_not_null(strstr(process_output(json, OUT), EVENTS[i]), "%s", process_output(json, OUT));
}

Test(worker, it_ends_with_its_parent)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128], command[1024];
    struct process *server = SERVER(endpoint, JOB, ENDLESS, "--json", "--log-level", "info");
    snprintf(command, sizeof command, "%s --server %s --data %s --die-with-parent $$ & wait", program_path("dp-worker"),
             endpoint, source_file(TRAIN));
    struct process *shell = PROCESS("/bin/sh", "-c", command);
    expect_epochs(server, 1);
    cr_assert_eq(kill(process_pid(shell), SIGKILL), 0);
    process_expect(server, ERR, "it said goodbye", CASE_MS);
    cr_assert_eq(process_wait(shell, CASE_MS), 128 + SIGKILL);
}
