/* A client's words to its user, its headers, and its search for a server. */
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/deadline.h"
#include "worker/client/contact/header.h"
#include "worker/client/contact/reach.h"

static char told[4][640];
static size_t told_count;

static void on_notice(void *arg, const char *text)
{
    cr_assert_eq(arg, &told_count);
    snprintf(told[told_count++ % 4], sizeof told[0], "%s", text);
}

static struct tell teller(const volatile int *stop)
{
    return (struct tell){.stop = stop, .notice = on_notice, .arg = &told_count};
}

Test(client_tell, a_notice_is_cut_to_what_an_error_holds)
{
    struct tell tell = teller(NULL), silent = {.notice = NULL};
    char text[900];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    tell_notice(&silent, "%s", text);
    cr_assert_eq(told_count, 0);
    tell_notice(&tell, "step %d: %s", 7, text);
    cr_assert_eq(told_count, 1);
    cr_assert_eq(strncmp(told[0], "step 7: xxx", 11), 0);
    cr_assert_eq(strlen(told[0]), sizeof((dp_error *)NULL)->text - 1);
}

Test(client_tell, the_first_reason_stays)
{
    struct tell tell = teller(NULL);
    dp_error err = {.code = DP_OK};
    cr_assert_eq(tell_check_end(&tell, &err), DP_OK);
    tell_end(&tell, DP_SHUTDOWN, "");
    tell_end(&tell, DP_JOB_DONE, "the job is done");
    cr_assert_eq(tell_check_end(&tell, &err), DP_SHUTDOWN);
    cr_assert_str_eq(err.text, dp_err_text(DP_SHUTDOWN), "a code without a text has its own");
}

Test(client_tell, the_stop_flag_may_be_set_at_any_time)
{
    volatile int stop = 0;
    struct tell tell = teller(&stop), none = {.stop = NULL};
    dp_error err;
    cr_assert_eq(tell_check_stop(&tell, &err), DP_OK);
    stop = 1;
    cr_assert(tell_stopped(&tell));
    cr_assert_eq(tell_check_stop(&tell, &err), DP_STOPPED);
    cr_assert_str_eq(err.text, "stopped by a signal");
    cr_assert_not(tell_stopped(&none));
}

Test(client_header, requests_are_numbered_across_sessions)
{
    struct session session = {.id = 5, .incarnation = 9};
    Dp__Header first = session_header(&session);
    session.id = 6;
    session.incarnation = 10;
    Dp__Header second = session_header(&session);
    cr_assert(first.session == 5 && first.incarnation == 9 && first.request == 1);
    cr_assert(second.session == 6 && second.incarnation == 10 && second.request == 2);
    cr_assert_not(session_owns(&session, &first), "an answer of the job's incarnation before");
    cr_assert(session_owns(&session, &second));
}

Test(client_header, a_head_is_silent_after_three_beats_and_three_seconds)
{
    struct session session = {.heartbeat_ms = 500};
    cr_assert_eq(session_patience_ms(&session), 3000);
    session.heartbeat_ms = 1500;
    cr_assert_eq(session_patience_ms(&session), 4500);
}

Test(client_deadline, what_is_left_ends_at_zero)
{
    uint64_t now = mono_ms(), left = deadline_left_ms(now + 100000);
    cr_assert(left > 0 && left <= 100000);
    cr_assert_eq(deadline_left_ms(now > 0 ? now - 1 : 0), 0);
    cr_assert(deadline_seconds(1499) == 1 && deadline_seconds(1500) == 2 && deadline_seconds(0) == 0);
}

static const struct client_timing TIMING = {.poll = 10, .retry = 5, .retry_max = 20, .notice = 100000};

Test(client_reach, workers_try_at_different_times)
{
    struct tell tell = teller(NULL);
    bool differ = false;
    for (uint64_t worker = 0; worker < 300; worker++) {
        const struct reach_way way = {&TIMING, &tell, worker};
        uint64_t wait_ms = reach_jitter(&way, 100);
        cr_assert(wait_ms >= 75 && wait_ms <= 100, "%lu", (unsigned long)wait_ms);
        differ |= wait_ms != 100;
    }
    const struct reach_way way = {&TIMING, &tell, 77};
    cr_assert(differ && reach_jitter(&way, 0) == 0);
}

Test(client_reach, a_pause_ends_with_the_stop_flag)
{
    volatile int stop = 1;
    struct tell tell = teller(&stop);
    const struct reach_way way = {&TIMING, &tell, 0};
    dp_error err;
    uint64_t begin_ms = mono_ms();
    cr_assert_eq(reach_pause(&way, 100000, &err), DP_STOPPED);
    cr_assert_lt(mono_ms() - begin_ms, 50000);
    stop = 0;
    cr_assert_eq(reach_pause(&way, 1, &err), DP_OK);
}

/* A port of this host at which nobody listens: it is bound while the test runs. */
static int port_taken(uint16_t *ret_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&at, size) == 0, "%s", strerror(errno));
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

Test(client_reach, a_server_that_is_not_there_is_tried_until_the_deadline)
{
    struct tell tell = teller(NULL);
    const struct reach_way way = {&TIMING, &tell, 1};
    struct endpoint endpoint, address;
    char text[64];
    uint16_t port;
    dp_error err;
    int fd = port_taken(&port);
    snprintf(text, sizeof text, "tcp://127.0.0.1:%u", port);
    cr_assert_eq(endpoint_parse(text, &endpoint, &err), DP_OK, "%s", err.text);
    cr_assert_eq(reach_server(&way, &endpoint, "is it running?", mono_ms() + 60, &address, &err), DP_UNREACHABLE);
    cr_assert_not_null(strstr(err.text, text), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "; is it running?"), "%s", err.text);
    cr_assert_eq(told_count, 1, "one notice, and not one for each attempt");
    cr_assert_eq(listen(fd, 1), 0);
    cr_assert_eq(reach_server(&way, &endpoint, "is it running?", mono_ms() + 5000, &address, &err), DP_OK, "%s",
                 err.text);
    cr_assert_eq(address.port, port);
    close(fd);
}
