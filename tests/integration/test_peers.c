/* Who says hello, and what the head takes him for: dp-ctl, a worker elsewhere with a local worker's number.
 * The peers are driven by hand over the wire. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "harness.h"
#include "peer.h"
#include "util.h"

TestSuite(peers, .init = harness_init, .fini = harness_fini, .timeout = 120);

enum { WAIT_MS = 30000 };

/* A worker. */
struct who {
    struct peer head;
    uint64_t session, incarnation, request;
};

static Dp__Header header_of(struct who *who, Dp__Header__BodyCase body, void *message)
{
    Dp__Header header = DP__HEADER__INIT;
    header.session = who->session;
    header.incarnation = who->incarnation;
    header.request = ++who->request;
    header.body_case = body;
    header.hello = message;
    return header;
}

static Dp__Hello hello_of(const char *name, uint64_t worker, uint32_t pid)
{
    Dp__Hello hello = DP__HELLO__INIT;
    hello.magic = FRAME_MAGIC;
    hello.protocol_major = FRAME_MAJOR;
    hello.worker = worker;
    hello.name = (char *)name;
    hello.numerics = (char *)"any";
    hello.pid = pid;
    return hello;
}

static const Dp__Header *say_hello(struct who *who, Dp__Hello *hello)
{
    who->session = who->incarnation = 0;
    Dp__Header header = header_of(who, DP__HEADER__BODY_HELLO, hello);
    const Dp__Header *answer = peer_ask(&who->head, &header, NULL, 0);
    if (answer->body_case == DP__HEADER__BODY_WELCOME) {
        who->session = answer->session;
        who->incarnation = answer->incarnation;
    }
    return answer;
}

static void come(struct who *who, const char *name, uint64_t worker, uint32_t pid)
{
    Dp__Hello hello = hello_of(name, worker, pid);
    cr_assert_eq(say_hello(who, &hello)->body_case, DP__HEADER__BODY_WELCOME);
}

/* What a heartbeat is answered with. */
static Dp__Header__BodyCase beat(struct who *who)
{
    Dp__Heartbeat body = DP__HEARTBEAT__INIT;
    Dp__Header header = header_of(who, DP__HEADER__BODY_HEARTBEAT, &body);
    return peer_ask(&who->head, &header, NULL, 0)->body_case;
}

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
