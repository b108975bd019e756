/* A client that asks and never reads: the server's memory stays within its budget, others are served meanwhile, and so
 * is this one once it reads. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "common/base/clock.h"
#include "proto/frame.h"
#include "tests/integration/support/harness.h"
#include "tests/integration/support/wire_session.h"

TestSuite(unread, .init = harness_init, .fini = harness_fini, .timeout = 300);

#define NO_ANSWER SIZE_MAX

enum { MINUTE_MS = 60000, ELEMS = 200000, ASKED = 400000, GROWTH_MAX_KIB = 64 << 10, HEADER_MAX = 64 };

/* Sanitizers keep what is freed. */
#ifdef __SANITIZE_ADDRESS__
static const bool SANITIZED = true;
#else
static const bool SANITIZED = false;
#endif

/* The number behind "NAME:" in /proc/PID/status, in KiB. */
static long memory_kib(pid_t pid, const char *name)
{
    char path[64], line[256];
    long kib = -1;
    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0)
            kib = strtol(line + strlen(name) + 1, NULL, 10);
    if (file)
        fclose(file);
    cr_assert_gt(kib, 0, "%s has no %s", path, name);
    return kib;
}

/* A DEALER to the shard; `reads`: as fast as it comes. */
static void *shard_socket(void *zmq, const struct wire_session *session, bool reads)
{
    void *socket = zmq_socket(zmq, ZMQ_DEALER);
    int one = 1, small = 4096, none = 0, patience_ms = MINUTE_MS;
    zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &patience_ms, sizeof patience_ms);
    zmq_setsockopt(socket, ZMQ_SNDTIMEO, &patience_ms, sizeof patience_ms);
    if (!reads) {
        zmq_setsockopt(socket, ZMQ_RCVHWM, &one, sizeof one);
        zmq_setsockopt(socket, ZMQ_RCVBUF, &small, sizeof small);
    }
    cr_assert_eq(zmq_connect(socket, session->shard), 0);
    return socket;
}

static void ask(void *socket, const struct wire_session *session, uint64_t have)
{
    char header[HEADER_MAX];
    size_t bytes = wire_header(session, 0, -1, 0, have, header);
    cr_assert_geq(zmq_send(socket, header, bytes, 0), 0, "the server does not read");
}

/* Bytes of the payload of the next answer, 0 for one without; NO_ANSWER where none came in time. */
static size_t answer(void *socket)
{
    zmq_msg_t msg;
    zmq_msg_init(&msg);
    if (zmq_msg_recv(&msg, socket, 0) < 0)
        return NO_ANSWER;
    size_t bytes = 0;
    while (zmq_msg_more(&msg)) {
        cr_assert_geq(zmq_msg_recv(&msg, socket, 0), 0);
        bytes = zmq_msg_size(&msg);
    }
    zmq_msg_close(&msg);
    return bytes;
}

/* The same after asking, again and again as clients do: what waits for a connection that has ended counts against its
 * session until it is given back. */
static size_t answer_asked(void *socket, const struct wire_session *session)
{
    int patience_ms = 1000;
    size_t bytes = NO_ANSWER;
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &patience_ms, sizeof patience_ms);
    for (uint64_t end_ms = mono_ms() + MINUTE_MS; bytes == NO_ANSWER && mono_ms() < end_ms;) {
        ask(socket, session, 0);
        bytes = answer(socket);
    }
    return bytes;
}

/* A counter of the only shard, by the status document. */
static long counter(void *head, const char *name)
{
    char buf[HEADER_MAX], quoted[32], text[1 << 14] = "";
    Dp__StatusRequest request = DP__STATUS_REQUEST__INIT;
    Dp__Header header = DP__HEADER__INIT;
    header.body_case = DP__HEADER__BODY_STATUS_REQUEST;
    header.status_request = &request;
    frame_write(&header, buf);
    cr_assert_geq(zmq_send(head, buf, frame_size(&header), 0), 0);
    while (!text[0]) { /* other messages of the head have no payload */
        int more = 0;
        size_t size = sizeof more;
        cr_assert_geq(zmq_recv(head, buf, sizeof buf, 0), 0, "no status");
        zmq_getsockopt(head, ZMQ_RCVMORE, &more, &size);
        if (more)
            cr_assert_geq(zmq_recv(head, text, sizeof text - 1, 0), 0);
    }
    snprintf(quoted, sizeof quoted, "\"%s\"", name);
    const char *at = strstr(text, quoted);
    cr_assert_not_null(at, "%s", text);
    return strtol(strpbrk(at + strlen(quoted), "0123456789"), NULL, 10);
}

Test(unread, a_client_that_never_reads_is_cut_off)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    struct wire_session deaf, good;
    void *zmq = zmq_ctx_new();
    struct process *server = SERVER(endpoint, "--model", "linear", "--slots", "1", "--batch", "1", "--lease", "3600");
    cr_assert(wire_session_open(&deaf, zmq, endpoint, 1, ELEMS));
    cr_assert(wire_session_open(&good, zmq, endpoint, 1, ELEMS));
    void *deaf_socket = shard_socket(zmq, &deaf, false), *good_socket = shard_socket(zmq, &good, true);
    ask(good_socket, &good, 0);
    cr_assert_eq(answer(good_socket), good.slice_elems * sizeof(float));
    long before_kib = memory_kib(process_pid(server), "VmRSS");

    /* theta_0 over and over, which takes the budget of bytes, and answers that theta_0 has not changed, which take that
     * of messages. */
    for (uint32_t i = 0; i < ASKED; i++)
        ask(deaf_socket, &deaf, i % 100 == 0 ? 0 : 1);
    for (uint64_t end_ms = mono_ms() + MINUTE_MS; counter(good.head, "pulls") < ASKED + 1;)
        cr_assert_lt(mono_ms(), end_ms, "not all pulls were looked at");
    cr_assert_gt(counter(good.head, "unread"), ASKED / 2);
    long peak_kib = memory_kib(process_pid(server), "VmHWM");
    if (!SANITIZED)
        cr_expect_lt(peak_kib - before_kib, GROWTH_MAX_KIB, "it grew from %ld to %ld KiB", before_kib, peak_kib);
    ask(good_socket, &good, 0);
    cr_assert_eq(answer(good_socket), good.slice_elems * sizeof(float), "others are served");

    /* It was not served beyond the budget; now it reads what there is, and asks again. */
    zmq_close(deaf_socket);
    deaf_socket = shard_socket(zmq, &deaf, true);
    cr_assert_eq(answer_asked(deaf_socket, &deaf), deaf.slice_elems * sizeof(float));
    zmq_close(deaf_socket);
    zmq_close(good_socket);
    wire_session_close(&deaf);
    wire_session_close(&good);
    zmq_ctx_term(zmq);
}
