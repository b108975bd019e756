/* Peers that say hello, and what the head takes them for: dp-ctl, a worker elsewhere with a local worker's number, one
 * that does not read. The peers are driven by hand over the wire. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/clock.h"
#include "common/base/util.h"
#include "tests/integration/support/by_hand.h"
#include "tests/integration/support/harness.h"
#include "tests/integration/support/peer.h"

TestSuite(peers, .init = harness_init, .fini = harness_fini, .timeout = 120);

enum { WAIT_MS = 30000, SLOTS = BY_HAND_ROWS, JOINS_AT_ONCE = 200 };

static void end(struct process *server)
{
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, WAIT_MS), 143, "%s", process_output(server, ERR));
}

/* It asks without a session, and must not take the place of a worker. */
Test(peers, a_hello_of_dp_ctl_is_refused)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    struct who ctl = {0}, worker = {0};
    struct process *server = SERVER(endpoint, "--model", "linear", "--max-workers", "1");
    Dp__Hello hello = hello_of("ctl", 1, 1);
    hello.role = DP__HELLO__ROLE__CTL;
    peer_connect(&ctl.head, endpoint, 0);
    peer_connect(&worker.head, endpoint, 0);
    const Dp__Header *answer = say_hello(&ctl, &hello);
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_ERROR);
    cr_assert_eq(answer->error->code, DP_REFUSED);
    cr_assert_not_null(strstr(answer->error->text, "dp-ctl has no session"), "%s", answer->error->text);
    come(&worker, "worker", 2, 2);
    peer_close(&ctl.head);
    peer_close(&worker.head);
    end(server);
}

/* A server beside which dp-worker is a program that writes its number to `pid_file` and waits. */
static const char *server_with_sleepers(const char *pid_file)
{
    char script[HARNESS_PATH_MAX + 64];
    const char *server = temp_path("dp-server"), *worker;
    snprintf(script, sizeof script, "#!/bin/sh\necho $$ > %s\nexec sleep 600\n", pid_file);
    worker = temp_text("dp-worker", script);
    cr_assert_eq(chmod(worker, 0700), 0);
    cr_assert_eq(RUN(WAIT_MS, "/bin/cp", program_path("dp-server"), server).status, 0);
    return server;
}

/* Numbers of processes are those of one machine. */
Test(peers, a_worker_elsewhere_has_the_number_of_a_local_one)
{
    NEED_PROGRAMS("dp-server");
    const char *pid_file = temp_path("pid"), *port_file = temp_path("port");
    struct who elsewhere = {0}, local = {0};
    struct process *server =
        PROCESS(server_with_sleepers(pid_file), "--model", "linear", "--local-workers", "1", "--data",
                temp_text("a.svm", "1 1:1\n"), "--listen", "tcp://127.0.0.1:0", "--port-file", port_file);
    const char *endpoint = file_expect(port_file, server, WAIT_MS), *line = file_expect(pid_file, server, WAIT_MS);
    cr_assert(endpoint && line, "%s", process_output(server, ERR));
    pid_t pid = (pid_t)strtol(line, NULL, 10);
    peer_connect(&elsewhere.head, endpoint, 0);
    peer_connect(&local.head, endpoint, 0);
    come(&elsewhere, "elsewhere", 1, (uint32_t)pid);
    come(&local, "local-0", 2, (uint32_t)pid);
    cr_assert_eq(kill(pid, SIGKILL), 0);
    process_expect(server, ERR, "local-worker-died", WAIT_MS);
    cr_assert_eq(beat(&elsewhere), DP__HEADER__BODY_HEARTBEAT_ACK, "its process lives");
    cr_assert_eq(beat(&local), DP__HEADER__BODY_ERROR, "it was the one that died");
    peer_close(&elsewhere.head);
    peer_close(&local.head);
    end(server);
}

/* Reads until an assignment has at most `slots` slots. */
static bool hears_of(struct who *who, size_t slots)
{
    uint64_t deadline_ms = mono_ms() + WAIT_MS;
    while (mono_ms() < deadline_ms) {
        const Dp__Header *header = peer_receive(&who->head, (uint32_t)(deadline_ms - MIN(mono_ms(), deadline_ms)));
        if (header && header->body_case == DP__HEADER__BODY_ASSIGN && header->assign->n_slots <= slots)
            return true;
    }
    return false;
}

/* Joins again and again without reading, until messages to it find no room any more. */
static void fill_queue(struct process *server, struct who *busy)
{
    for (uint64_t end_ms = mono_ms() + 2 * WAIT_MS; !strstr(process_output(server, ERR), "assign-lost");) {
        cr_assert_lt(mono_ms(), end_ms, "its queue does not fill");
        for (int i = 0; i < JOINS_AT_ONCE && send_join(busy); i++)
            ;
    }
}

/* Its slots are those that it was told last, and the job would wait for the others. */
static void check_told_later(const char *const *options)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    struct who busy = {0}, guests[2] = {0};
    struct process *server = server_start(endpoint, sizeof endpoint, options);
    peer_connect(&busy.head, endpoint, 1);
    peer_connect(&guests[0].head, endpoint, 0);
    peer_connect(&guests[1].head, endpoint, 0);
    come(&busy, "busy", 1, 1);
    join(&busy);
    fill_queue(server, &busy);
    for (uint64_t i = 0; i < 2; i++) {
        come(&guests[i], i ? "b" : "a", 10 + i, 10 + (uint32_t)i);
        join(&guests[i]);
    }
    cr_assert(hears_of(&busy, SLOTS / 3 + 1), "it does not know that slots of its are others' now");
    peer_close(&busy.head);
    peer_close(&guests[0].head);
    peer_close(&guests[1].head);
    end(server);
}

Test(peers, who_does_not_read_is_told_its_slots_later)
{
    check_told_later((const char *const[]){"--model", "linear", "--slots", "4096", "--batch", "4096", "--lease", "3600",
                                           "--stall-timeout", "3600", "--balance", "off", "--speculate", "off",
                                           "--log-level", "debug", NULL});
}
