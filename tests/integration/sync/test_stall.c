/* Nothing waits in silence: each party is frozen in turn, and the report names it. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tests/integration/support/harness.h"

TestSuite(stall, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { MINUTE_MS = 60000 };

#define DATA "tests/data/digits/train.csv.gz"
/* 90 steps of at least 10 ms a slot, four slots a worker: long enough for something to happen in the middle. */
#define JOB_OF(workers)                                                                                       \
    "--model", "softmax", "--batch", "320", "--slots", "8", "--epochs", "18", "--lr", "0.002", "--seed", "7", \
        "--exit-when-done", "--json", "--min-workers", workers, "--speculate", "off"
#define JOB JOB_OF("2")

static struct process *worker(const char *endpoint, const char *name)
{
    return PROCESS("dp-worker", "--server", endpoint, "--data", source_file(DATA), "--name", name, "--emulate-slot-ms",
                   "10");
}

/* A server and two workers in the middle of a job. */
static struct process *start_patient(char *endpoint, size_t size, const char *on_stall, const char *timeout,
                                     const char *lease, struct process **ret_workers)
{
    const char *options[] = {JOB,       "--shards", "2", "--stall-timeout", timeout, "--on-stall", on_stall,
                             "--lease", lease,      NULL};
    struct process *server = server_start(endpoint, size, options);
    ret_workers[0] = worker(endpoint, "alpha");
    ret_workers[1] = worker(endpoint, "beta");
    process_expect(server, OUT, "\"event\":\"epoch\"", MINUTE_MS);
    return server;
}

static struct process *start(char *endpoint, size_t size, const char *on_stall, const char *lease,
                             struct process **ret_workers)
{
    return start_patient(endpoint, size, on_stall, "5", lease, ret_workers);
}

/* Both shards are owed what a worker has not pushed: the report is one, and names nobody who has just been given it. */
static void assert_none_but_alpha(const char *report, const char *log)
{
    char step[32], for_s[32];
    cr_assert_eq(sscanf(strstr(report, "step="), "%30s", step), 1);
    cr_assert_eq(sscanf(strstr(report, "for_s="), "%30s", for_s), 1);
    strcat(step, " ");
    strcat(for_s, " ");
    for (const char *line = log; (line = strstr(line, "stall step="));) {
        char text[256];
        cr_assert_eq(sscanf(line, "%255[^\n]", text), 1);
        if (strstr(text, step) && strstr(text, for_s))
            cr_assert_not_null(strstr(text, "owed_by=\"alpha\""), "%s", text);
        line += strlen(text);
    }
}

Test(stall, a_frozen_worker_is_named_to_all_and_its_slots_are_given_away)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128];
    struct process *workers[2], *server = start(endpoint, sizeof endpoint, "wait", "3600", workers);
    process_signal(workers[0], SIGSTOP);
    char line[256];
    (void)snprintf(line, sizeof line, "%s", process_expect(server, ERR, "stall step=", MINUTE_MS));
    cr_assert_not_null(strstr(line, "owed_by=\"alpha\""), "%s", line);
    cr_assert_not_null(strstr(line, "slots="), "%s", line);
    cr_assert_not_null(strstr(line, "for_s="), "%s", line);
    process_expect(workers[1], ERR, "of alpha, last heard of", MINUTE_MS);
    process_expect(server, ERR, "stall-over step=", MINUTE_MS);
    assert_none_but_alpha(line, process_output(server, ERR));
    struct run_result status = RUN(MINUTE_MS, "dp-ctl", "--server", endpoint, "status", "--json");
    cr_assert_not_null(strstr(status.out, "\"waits\""), "%s", status.out);
    process_signal(workers[0], SIGCONT);
    cr_assert_eq(process_wait(server, MINUTE_MS), 0, "%s", process_output(server, ERR));
}

/* Others who come and go meanwhile get no slot of the step, and do not put off that its owner is missed. */
Test(stall, a_frozen_worker_is_named_while_others_come_and_go)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    enum { COMERS = 12, STAY_MS = 800 };
    char endpoint[128];
    struct process *workers[2], *server = start_patient(endpoint, sizeof endpoint, "wait", "3", "3600", workers);
    process_signal(workers[0], SIGSTOP);
    for (int i = 0; i < COMERS && !strstr(process_output(server, ERR), "stall step="); i++) {
        struct process *comer = worker(endpoint, "comer");
        cr_assert_not(process_ended(server, STAY_MS));
        process_signal(comer, SIGKILL);
        cr_assert_eq(process_wait(comer, MINUTE_MS), 128 + SIGKILL);
    }
    const char *line = strstr(process_output(server, ERR), "stall step=");
    cr_assert_not_null(line, "%s", process_output(server, ERR));
    cr_assert_not_null(strstr(line, "owed_by=\"alpha\""), "%s", line);
    process_signal(workers[0], SIGCONT);
    cr_assert_eq(process_wait(server, MINUTE_MS), 0, "%s", process_output(server, ERR));
}

Test(stall, the_only_worker_is_not_taken_for_another)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server = SERVER(endpoint, JOB_OF("1"), "--stall-timeout", "1", "--lease", "3600");
    struct process *alpha = worker(endpoint, "alpha");
    process_expect(server, OUT, "\"event\":\"epoch\"", MINUTE_MS);
    process_signal(alpha, SIGSTOP);
    const char *line = process_expect(server, ERR, "stall step=", MINUTE_MS);
    cr_assert_not_null(strstr(line, "asked for again: there is no other worker"), "%s", line);
    process_signal(alpha, SIGCONT);
    cr_assert_eq(process_wait(server, MINUTE_MS), 0, "%s", process_output(server, ERR));
}

/* Before the stall time-out, dp-ctl says whom the step waits for. */
Test(stall, dp_ctl_names_who_owes)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128];
    struct process *workers[2];
    struct process *server = SERVER(endpoint, JOB, "--stall-timeout", "3600", "--lease", "3600");
    workers[0] = worker(endpoint, "alpha");
    workers[1] = worker(endpoint, "beta");
    process_expect(server, OUT, "\"event\":\"epoch\"", MINUTE_MS);
    process_signal(workers[1], SIGSTOP);
    for (bool named = false; !named;) {
        cr_assert_not(process_ended(server, 500));
        struct run_result status = RUN(MINUTE_MS, "dp-ctl", "--server", endpoint, "status");
        cr_assert_eq(status.status, 0, "%s", status.err);
        named = strstr(status.out, " of beta (last heard of") != NULL;
    }
    process_signal(workers[1], SIGCONT);
    cr_assert_eq(process_wait(server, MINUTE_MS), 0);
}

/* The reason names the step, the slots and the worker. */
static void check_failed(const char *line)
{
    cr_assert_not_null(strstr(line, ": step "), "%s", line);
    cr_assert_not_null(strstr(line, " s for slots "), "%s", line);
    cr_assert_not_null(strstr(line, " of alpha, last heard of "), "%s", line);
}

Test(stall, a_job_may_be_told_to_fail)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *workers[2], *server = start(endpoint, sizeof endpoint, "fail", "3600", workers);
    process_signal(workers[0], SIGSTOP);
    check_failed(process_expect(server, ERR, "dp-server: the job failed, as --on-stall fail has it: ", MINUTE_MS));
    check_failed(process_expect(workers[1], ERR, "dp-worker: the job failed, as --on-stall fail has it: ", MINUTE_MS));
    cr_assert_eq(process_wait(server, MINUTE_MS), 1, "to try again would not help");
    cr_assert_eq(process_wait(workers[1], MINUTE_MS), 1);
    const char *said = process_output(server, ERR);
    cr_assert_null(strstr(said, "stall-over"), "%s", said);
    cr_assert_null(strstr(said, "worker-gave-up"), "%s", said);
}

Test(stall, a_frozen_server_is_named_by_its_workers)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *workers[2], *server = start(endpoint, sizeof endpoint, "wait", "10", workers);
    process_signal(server, SIGSTOP);
    const char *line = process_expect(workers[0], ERR, "has been silent for", 2 * MINUTE_MS);
    cr_assert_not_null(strstr(line, endpoint), "%s", line);
    process_signal(server, SIGCONT);
    process_expect(workers[0], ERR, "answers again", MINUTE_MS);
    cr_assert_eq(process_wait(server, MINUTE_MS), 0, "%s", process_output(server, ERR));
}

/* It was not listening: its workers were neither silent nor slow. */
Test(stall, a_server_that_was_frozen_blames_nobody)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    enum { FROZEN_MS = 8000 };
    char endpoint[128];
    struct process *workers[2], *server = start_patient(endpoint, sizeof endpoint, "fail", "4", "4", workers);
    process_signal(server, SIGSTOP);
    cr_assert_not(process_ended(server, FROZEN_MS));
    process_signal(server, SIGCONT);
    cr_assert_eq(process_wait(server, MINUTE_MS), 0, "%s", process_output(server, ERR));
    const char *said = process_output(server, ERR);
    cr_assert_not_null(strstr(said, "server-slept for_ms="), "%s", said);
    cr_assert_null(strstr(said, "worker-lost"), "%s", said);
}

/* Nor was it before its first tick: frozen as soon as it can be known by its port file, which it writes before. */
Test(stall, a_server_that_was_frozen_at_its_start_blames_nobody)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    enum { FROZEN_MS = 6000 };
    char endpoint[128];
    struct process *server = SERVER(endpoint, JOB, "--stall-timeout", "4", "--on-stall", "fail", "--lease", "4");
    process_signal(server, SIGSTOP);
    (void)worker(endpoint, "alpha");
    (void)worker(endpoint, "beta");
    cr_assert_not(process_ended(server, FROZEN_MS));
    process_signal(server, SIGCONT);
    cr_assert_eq(process_wait(server, MINUTE_MS), 0, "%s", process_output(server, ERR));
    const char *said = process_output(server, ERR);
    cr_assert_not_null(strstr(said, "server-slept for_ms="), "%s", said);
    cr_assert_null(strstr(said, "worker-lost"), "%s", said);
}

Test(stall, a_server_without_workers_says_so_and_goes_on_when_they_come)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128];
    struct process *workers[2], *server = start(endpoint, sizeof endpoint, "wait", "3600", workers);
    for (int i = 0; i < 2; i++) {
        process_signal(workers[i], SIGKILL);
        cr_assert_eq(process_wait(workers[i], MINUTE_MS), 128 + SIGKILL);
    }
    process_expect(server, ERR, "too-few-workers step=", MINUTE_MS);
    for (bool said = false; !said;) { /* the log may have said it of the start, too */
        struct run_result status = RUN(MINUTE_MS, "dp-ctl", "--server", endpoint, "status");
        said = strstr(status.out, "waiting    for ") != NULL;
        cr_assert_not(process_ended(server, said ? 0 : 100));
    }
    (void)worker(endpoint, "gamma");
    (void)worker(endpoint, "delta");
    cr_assert_eq(process_wait(server, MINUTE_MS), 0, "%s", process_output(server, ERR));
}
