/* Strangers say hello: a server that takes anybody (--allow-users all) tells them no more than they need, and loses no
 * member and no job to them. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/clock.h"
#include "tests/integration/support/by_hand.h"
#include "tests/integration/support/harness.h"

TestSuite(strangers, .init = harness_init, .fini = harness_fini, .timeout = 240);

enum { WAIT_MS = 30000 };

static void end(struct process *server)
{
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, WAIT_MS), 143, "%s", process_output(server, ERR));
}

static const char *error_text(const Dp__Header *answer, dp_err code)
{
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_ERROR);
    cr_assert_eq(answer->error->code, (uint32_t)code, "%s", answer->error->text);
    return answer->error->text;
}

#define ANYBODY "--model", "linear", "--allow-users", "all", "--stall-timeout", "3600", "--log-level", "info"

/* ---- owners of sessions ---- */

/* Asks until it is welcome: a connection's end is seen when it is. */
static void come_in_time(struct who *who, Dp__Hello *hello)
{
    for (uint64_t end_ms = mono_ms() + WAIT_MS; mono_ms() < end_ms;)
        if (say_hello(who, hello)->body_case == DP__HEADER__BODY_WELCOME)
            return;
    cr_assert_fail("it was not taken back");
}

static void check_overheard(const char *shards)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    struct who member = {0}, stranger = {0}, again = {0};
    struct process *server = SERVER(endpoint, ANYBODY, "--shards", shards, "--lease", "3600");
    Dp__Hello hello = hello_of("member", 7, 1);
    meet(endpoint, &member, &stranger);
    peer_connect(&again.head, endpoint, 0);
    come(&member, "member", 7, 1);
    join(&member);
    const char *text = error_text(say_hello(&stranger, &hello), DP_BUSY);
    cr_assert_not_null(strstr(text, "worker 'member' has a session by another connection"), "%s", text);
    stranger.session = member.session ^ 1 << 20;
    (void)error_text(say_hello_again(&stranger, &hello), DP_BUSY);
    cr_assert_eq(beat(&member), DP__HEADER__BODY_HEARTBEAT_ACK, "its session was ended by who overheard its hello");

    /* The worker itself knows its session, and comes back at once by another connection. */
    again.session = member.session;
    cr_assert_eq(say_hello_again(&again, &hello)->body_case, DP__HEADER__BODY_WELCOME);
    cr_assert_eq(beat(&again), DP__HEADER__BODY_HEARTBEAT_ACK);
    cr_assert_eq(beat(&member), DP__HEADER__BODY_ERROR, "the session before is over");
    join(&again);

    /* One whose connection is gone loses nothing to who comes for it. */
    peer_close(&again.head);
    come_in_time(&stranger, &hello);
    part(&member, &stranger);
    end(server);
}

Test(strangers, that_overheard_a_hello_do_not_end_its_session)
{
    check_overheard("1");
}

Test(strangers, that_overheard_a_hello_do_not_end_its_session_with_two_sockets)
{
    check_overheard("2");
}

/* Before it joins as well, once it was heard of; until then there is nothing to lose. */
Test(strangers, that_overheard_a_hello_do_not_end_a_session_that_reads_its_data)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    struct who reader = {0}, stranger = {0};
    struct process *server = SERVER(endpoint, ANYBODY, "--lease", "3600");
    Dp__Hello hello = hello_of("reader", 7, 1);
    meet(endpoint, &reader, &stranger);
    come(&stranger, "reader", 7, 1);
    come(&reader, "reader", 7, 1);
    cr_assert_eq(beat(&stranger), DP__HEADER__BODY_ERROR);
    cr_assert_eq(beat(&reader), DP__HEADER__BODY_HEARTBEAT_ACK);
    (void)error_text(say_hello(&stranger, &hello), DP_BUSY);
    cr_assert_eq(beat(&reader), DP__HEADER__BODY_HEARTBEAT_ACK);
    join(&reader);
    part(&reader, &stranger);
    end(server);
}

/* ---- texts of refusals ---- */

Test(strangers, are_told_what_differs_and_not_what_the_job_has)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    struct who member = {0}, stranger = {0};
    struct process *server = SERVER(endpoint, ANYBODY, "--lease", "3600");
    Dp__Hello other = hello_of("stranger", 8, 2);
    meet(endpoint, &member, &stranger);
    come(&member, "member", 7, 1);
    join(&member);
    other.numerics = (char *)"guessed";
    const char *text = error_text(say_hello(&stranger, &other), DP_REFUSED);
    cr_assert(strstr(text, "other bits than the job's workers") && strstr(text, "dp-server's log") &&
                  strstr(text, "--mixed-numerics") && !strstr(text, "any"),
              "%s", text);
    process_expect(server, ERR, "computes other bits (guessed) than the job's workers (any)", WAIT_MS);
    come(&stranger, "stranger", 8, 2);
    text = error_text(ask_to_join(&stranger, 17), DP_REFUSED);
    cr_assert(strstr(text, "training data are not the job's") && strstr(text, "dp-server's log") &&
                  strstr(text, "--data") && !strstr(text, "4096") && !strstr(text, "content"),
              "%s", text);
    process_expect_next(server, ERR, "by-hand: 4096 rows, 4 features, content 0000000000000000", WAIT_MS);
    part(&member, &stranger);
    end(server);
}

/* A worker of the server's user has proved it: it reads the whole text. */
Test(strangers, are_not_those_who_have_proved_themselves)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    struct who member = {0}, other = {0};
    struct process *server = SERVER(endpoint, "--model", "linear", "--lease", "3600");
    Dp__Hello hello = hello_of("other", 8, 2);
    meet(endpoint, &member, &other);
    come(&member, "member", 7, 1);
    join(&member);
    hello.numerics = (char *)"guessed";
    const char *text = error_text(say_hello(&other, &hello), DP_REFUSED);
    cr_assert_not_null(strstr(text, "than the job's workers (any)"), "%s", text);
    come(&other, "other", 8, 2);
    text = error_text(ask_to_join(&other, 17), DP_REFUSED);
    cr_assert_not_null(strstr(text, "by-hand: 4096 rows"), "%s", text);
    part(&member, &other);
    end(server);
}

/* The first worker that joins decides, and not the first that says hello. */
Test(strangers, that_say_hello_first_do_not_decide_the_numerics)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    struct who stranger = {0}, member = {0};
    struct process *server = SERVER(endpoint, ANYBODY, "--lease", "3600");
    Dp__Hello hello = hello_of("stranger", 8, 2);
    meet(endpoint, &stranger, &member);
    hello.numerics = (char *)"guessed";
    cr_assert_eq(say_hello(&stranger, &hello)->body_case, DP__HEADER__BODY_WELCOME);
    come(&member, "member", 7, 1);
    join(&member);
    const char *text = error_text(ask_to_join(&stranger, BY_HAND_ROWS), DP_REFUSED);
    cr_assert(strstr(text, "other bits than the job's workers") && !strstr(text, "any"), "%s", text);
    cr_assert_eq(beat(&member), DP__HEADER__BODY_HEARTBEAT_ACK);
    part(&stranger, &member);
    end(server);
}

/* A server with workers of its own: their data are the job's, whoever else is faster. */
Test(strangers, that_join_first_do_not_settle_the_job_of_local_workers)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    struct who stranger = {0};
    const char *port_file = temp_path("port"), *fifo = temp_path("data");
    cr_assert_eq(mkfifo(fifo, 0600), 0);
    struct process *server =
        PROCESS("dp-server", ANYBODY, "--local-workers", "1", "--data", fifo, "--mixed-numerics", "--listen",
                "tcp://127.0.0.1:0", "--port-file", port_file, "--steps", "10", "--batch", "4", "--exit-when-done");
    const char *endpoint = file_expect(port_file, server, WAIT_MS);
    cr_assert_not_null(endpoint);
    peer_connect(&stranger.head, endpoint, 0);
    come(&stranger, "stranger", 8, 2);
    const char *text = error_text(ask_to_join(&stranger, 17), DP_BUSY);
    cr_assert_not_null(strstr(text, "the server's own workers"), "%s", text);
    FILE *data = fopen(fifo, "we");
    cr_assert_not_null(data);
    fputs("1 1:1 2:0.5\n2 2:1\n3 1:0.25\n4 1:1 2:1\n", data);
    fclose(data);
    cr_assert_eq(process_wait(server, WAIT_MS), 0, "%s", process_output(server, ERR));
    peer_close(&stranger.head);
}

/* --max-workers counts workers that have joined: a stranger that never does takes nobody's place. */
Test(strangers, that_never_join_take_no_place_of_max_workers)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    struct who stranger = {0}, member = {0}, late = {0};
    struct process *server = SERVER(endpoint, ANYBODY, "--max-workers", "1", "--lease", "3600");
    Dp__Hello hello = hello_of("late", 9, 3);
    meet(endpoint, &stranger, &member);
    peer_connect(&late.head, endpoint, 0);
    come(&stranger, "stranger", 8, 2);
    cr_assert_eq(beat(&stranger), DP__HEADER__BODY_HEARTBEAT_ACK);
    come(&member, "member", 7, 1);
    join(&member);
    const char *text = error_text(ask_to_join(&stranger, BY_HAND_ROWS), DP_BUSY);
    cr_assert_not_null(strstr(text, "--max-workers 1"), "%s", text);
    text = error_text(say_hello(&late, &hello), DP_BUSY);
    cr_assert_not_null(strstr(text, "--max-workers 1"), "%s", text);
    leave(&member);
    join(&stranger);
    part(&stranger, &member);
    peer_close(&late.head);
    end(server);
}

/* A stranger that only said hello is no worker that is lost. */
Test(strangers, that_never_join_are_not_lost_workers)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    struct who stranger = {0};
    struct process *server = SERVER(endpoint, ANYBODY, "--lease", "1");
    peer_connect(&stranger.head, endpoint, 0);
    come(&stranger, "stranger", 7, 1);
    process_expect(server, ERR, "worker-gone worker=\"stranger\" reason=\"its lease ran out\"", WAIT_MS);
    peer_close(&stranger.head);
    end(server);
    cr_assert_null(strstr(process_output(server, ERR), "worker-lost"), "%s", process_output(server, ERR));
}
