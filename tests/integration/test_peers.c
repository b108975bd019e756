/* Who says hello, and what the head takes him for: dp-ctl is none. The peers are driven by hand over the wire. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

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
