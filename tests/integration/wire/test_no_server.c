/* Ports behind which no dp-server is, but something that speaks ZMTP as far as it likes: programs say so, and end
 * within the time that they were given. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "tests/integration/support/harness.h"
#include "tests/integration/support/raw_peer.h"

TestSuite(no_server, .init = harness_init, .fini = harness_fini, .timeout = 240);

enum { RUN_MS = 30000, FRAMES = 100, SPEAK_MS = 60000, ENDPOINT_BYTES = 64, CTL_RUNS = 3 };

/* Speaks after the handshake. False: the connection has ended. */
typedef bool speak_fn(struct raw_peer *peer);

static bool empty_frames(struct raw_peer *peer)
{
    bool well = true;
    for (int i = 0; well && i < FRAMES; i++)
        well = raw_frame(peer, 0, "", 0);
    return well;
}

static bool endless_frame(struct raw_peer *peer)
{
    return raw_frame_head(peer, 0, (uint64_t)1 << 62);
}

/* Good messages, one after the other, none of which answers what was asked. */
static bool other_answers(struct raw_peer *peer)
{
    Dp__Error error = DP__ERROR__INIT;
    Dp__Header header = DP__HEADER__INIT;
    error.code = DP_REFUSED;
    error.text = (char *)"of another question";
    header.session = header.incarnation = 1;
    header.request = 1;
    header.body_case = DP__HEADER__BODY_ERROR;
    header.error = &error;
    bool well = true;
    for (uint64_t until_ms = mono_ms() + SPEAK_MS; well && mono_ms() < until_ms;)
        well = raw_send(peer, &header, NULL, 0);
    return well;
}

static void talk(int fd, speak_fn *speak)
{
    struct raw_peer peer = {.fd = fd};
    uint8_t greeting[RAW_GREETING_BYTES], ready[RAW_COMMAND_MAX + 16];
    raw_greeting(greeting);
    size_t bytes = raw_ready(ready, "ROUTER", "", 0);
    if (raw_write(&peer, greeting, sizeof greeting) && raw_write(&peer, ready, bytes) && speak(&peer))
        (void)raw_closed(&peer, SPEAK_MS);
    raw_close(&peer);
}

/* A process that takes one connection after the other until it is killed. */
static pid_t stranger_start(speak_fn *speak, char endpoint[ENDPOINT_BYTES])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(listen(listener, 16), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    snprintf(endpoint, ENDPOINT_BYTES, "tcp://127.0.0.1:%d", ntohs(address.sin_port));
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            talk(accept4(listener, NULL, NULL, SOCK_CLOEXEC), speak);
    }
    close(listener);
    return pid;
}

/* Each program has a second or so to find out. Status 69: nobody answered. 1: what came is no answer. */
static void assert_programs_end(speak_fn *speak)
{
    char endpoint[ENDPOINT_BYTES];
    const char *model = temp_path("m.st"), *data = temp_separable();
    pid_t stranger = stranger_start(speak, endpoint);
    struct run_result runs[] = {
        RUN(RUN_MS, "dp-ctl", "--server", endpoint, "--timeout-ms", "1000", "status"),
        RUN(RUN_MS, "dp-ctl", "--server", endpoint, "--timeout-ms", "1000", "set", "lr", "1"),
        RUN(RUN_MS, "dp-ctl", "--server", endpoint, "--timeout-ms", "1000", "export", model),
        RUN(RUN_MS, "dp-worker", "--server", endpoint, "--data", data, "--connect-timeout", "1", "--quiet"),
    };
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        cr_assert(runs[i].status == 69 || runs[i].status == 1, "%zu: %d, %s", i, runs[i].status, runs[i].err);
        if (i < CTL_RUNS) /* dp-worker repeats what the other side says */
            cr_assert_not_null(strstr(runs[i].err, endpoint), "%zu: %s", i, runs[i].err);
    }
    kill(stranger, SIGKILL);
    cr_assert_eq(waitpid(stranger, NULL, 0), stranger);
}

Test(no_server, empty_frames)
{
    NEED_PROGRAMS("dp-worker", "dp-ctl");
    assert_programs_end(empty_frames);
}

Test(no_server, a_frame_without_an_end)
{
    NEED_PROGRAMS("dp-worker", "dp-ctl");
    assert_programs_end(endless_frame);
}

Test(no_server, answers_to_other_questions)
{
    NEED_PROGRAMS("dp-worker", "dp-ctl");
    assert_programs_end(other_answers);
}
