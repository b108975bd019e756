/* Many strangers, or one that asks without end: a server keeps room for workers, answers in bounded memory, has a
 * worker told no more than it needs, and takes as many settings as are asked for. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/base/clock.h"
#include "common/base/util.h"
#include "tests/integration/support/by_hand.h"
#include "tests/integration/support/harness.h"
#include "tests/integration/support/raw_peer.h"

TestSuite(crowds, .init = harness_init, .fini = harness_fini, .timeout = 240);

enum { WAIT_MS = 30000, CROWD = 1040, GREETED_MAX = 1024, SETS = 600 };

#define ANYBODY "--model", "linear", "--allow-users", "all", "--stall-timeout", "3600", "--log-level", "info"

static void end(struct process *server)
{
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, WAIT_MS), 143, "%s", process_output(server, ERR));
}

/* ---- a crowd ---- */

static void raise_limit(void)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max < 4 * CROWD)
        cr_skip_test("at most %llu files can be open", (unsigned long long)limit.rlim_max);
    limit.rlim_cur = MAX(limit.rlim_cur, (rlim_t)4 * CROWD);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* Strangers that say hello with long names; each is answered, with a session in *ret_sessions (NULL: forgotten). */
static void crowd_say_hello(struct raw_peer *crowd, const char *endpoint, uint64_t *ret_sessions)
{
    char name[FRAME_NAME_MAX + 1];
    for (uint64_t i = 0; i < CROWD; i++) {
        snprintf(name, sizeof name, "%0150d", (int)i);
        Dp__Hello hello = hello_of(name, 1000 + i, 1);
        Dp__Header header = DP__HEADER__INIT;
        header.request = 1;
        header.body_case = DP__HEADER__BODY_HELLO;
        header.hello = &hello;
        cr_assert(raw_connect(&crowd[i], endpoint, NULL, 0));
        cr_assert(raw_send(&crowd[i], &header, NULL, 0));
        const Dp__Header *answer = raw_receive(&crowd[i], WAIT_MS);
        cr_assert(answer && answer->body_case == DP__HEADER__BODY_WELCOME, "stranger %d", (int)i);
        if (ret_sessions)
            ret_sessions[i] = answer->session;
    }
}

static bool raw_ask_status(struct raw_peer *peer)
{
    Dp__StatusRequest body = DP__STATUS_REQUEST__INIT;
    Dp__Header header = DP__HEADER__INIT;
    header.body_case = DP__HEADER__BODY_STATUS_REQUEST;
    header.status_request = &body;
    return raw_send(peer, &header, NULL, 0);
}

/* The status and its bytes. */
static json_t *status_of(const char *endpoint, size_t *ret_bytes)
{
    struct raw_peer peer;
    cr_assert(raw_connect(&peer, endpoint, NULL, 0));
    cr_assert(raw_ask_status(&peer));
    const Dp__Header *answer = raw_receive(&peer, WAIT_MS);
    cr_assert(answer && answer->body_case == DP__HEADER__BODY_STATUS);
    *ret_bytes = peer.payload_bytes;
    json_t *status = json_loadb((const char *)peer.payload, peer.payload_bytes, 0, NULL);
    cr_assert_not_null(status);
    raw_close(&peer);
    return status;
}

/* 1024 strangers may have said hello; the one that says nothing for longest makes room. A worker that reads its data,
 * which its heartbeats say, stays, and so may others come. The status lists those that train first. */
Test(crowds, that_only_say_hello_keep_no_worker_out)
{
    NEED_PROGRAMS("dp-server");
    static struct raw_peer crowd[CROWD];
    char endpoint[128];
    struct who member = {0}, reader = {0}, late = {0};
    size_t bytes;
    raise_limit();
    struct process *server = SERVER(endpoint, ANYBODY, "--lease", "3600", "--shm", "off");
    meet(endpoint, &member, &reader);
    peer_connect(&late.head, endpoint, 0);
    come(&member, "member", 7, 1);
    join(&member);
    come(&reader, "reader", 8, 1);
    cr_assert_eq(beat(&reader), DP__HEADER__BODY_HEARTBEAT_ACK);
    crowd_say_hello(crowd, endpoint, NULL);
    cr_assert_eq(beat(&reader), DP__HEADER__BODY_HEARTBEAT_ACK, "it reads its data, and lost its place to strangers");
    come(&late, "late", 9, 1);
    join(&late);
    join(&reader);

    json_t *status = status_of(endpoint, &bytes), *workers = json_object_get(status, "workers");
    cr_assert_leq(bytes, 256 << 10);
    const size_t listed = json_array_size(workers);
    cr_assert_gt(listed, 3);
    /* The reader and the late one each left a place, which is empty. */
    cr_assert_eq(listed + (size_t)json_integer_value(json_object_get(status, "workers_left_out")), 3 + GREETED_MAX - 2);
    for (size_t i = 0; i < listed; i++)
        cr_assert_str_eq(json_string_value(json_object_get(json_array_get(workers, i), "state")),
                         i < 3 ? "training" : "reading data");
    json_decref(status);
    cr_assert_null(strstr(process_output(server, ERR), "WARN"), "%s", process_output(server, ERR));
    for (int i = 0; i < CROWD; i++)
        raw_close(&crowd[i]);
    part(&member, &reader);
    peer_close(&late.head);
    end(server);
}

/* Each of the crowd sends a heartbeat; those that have lost their place are told so. */
static void crowd_beats(struct raw_peer *crowd, const uint64_t *sessions)
{
    Dp__Heartbeat body = DP__HEARTBEAT__INIT;
    Dp__Header header = DP__HEADER__INIT;
    header.body_case = DP__HEADER__BODY_HEARTBEAT;
    header.heartbeat = &body;
    for (int i = 0; i < CROWD; i++) {
        header.session = sessions[i];
        cr_assert(raw_send(&crowd[i], &header, NULL, 0));
    }
    for (int i = 0; i < CROWD; i++)
        cr_assert_not_null(raw_receive(&crowd[i], WAIT_MS));
}

/* Strangers that fill all places, and say that they live: a worker that loses its place while it reads its data takes
 * it again when it has read them. It is stopped meanwhile, so that its heartbeats are the oldest. */
Test(crowds, that_fill_all_places_keep_no_worker_out)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    enum { ROUNDS = 10 };
    static struct raw_peer crowd[CROWD];
    static uint64_t sessions[CROWD];
    char endpoint[128];
    struct who newcomer = {0};
    const char *fifo = temp_path("data");
    raise_limit();
    cr_assert_eq(mkfifo(fifo, 0600), 0);
    struct process *server = SERVER(endpoint, ANYBODY, "--lease", "60", "--shm", "off", "--mixed-numerics", "--batch",
                                    "4", "--steps", "10", "--exit-when-done");
    struct process *worker = PROCESS("dp-worker", "--server", endpoint, "--data", fifo, "--name", "reader");
    process_expect(server, ERR, "worker-hello worker=\"reader\"", WAIT_MS);
    crowd_say_hello(crowd, endpoint, sessions);
    peer_connect(&newcomer.head, endpoint, 0);
    process_signal(worker, SIGSTOP);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        crowd_beats(crowd, sessions);
        come(&newcomer, "newcomer", 1 + i, 1);
        cr_assert_eq(beat(&newcomer), DP__HEADER__BODY_HEARTBEAT_ACK);
    }
    process_signal(worker, SIGCONT);
    FILE *data = fopen(fifo, "we");
    cr_assert_not_null(data);
    fputs("1 1:1 2:0.5\n2 2:1\n3 1:0.25\n4 1:1 2:1\n", data);
    fclose(data);
    process_expect(worker, ERR, "lost the session", WAIT_MS);
    cr_assert_eq(process_wait(worker, WAIT_MS), 0, "%s", process_output(worker, ERR));
    for (int i = 0; i < CROWD; i++)
        raw_close(&crowd[i]);
    peer_close(&newcomer.head);
    cr_assert_eq(process_wait(server, WAIT_MS), 0, "%s", process_output(server, ERR));
}

static long rss_kib(pid_t pid)
{
    char path[64], line[256];
    long kib = 0;
    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    FILE *file = fopen(path, "re");
    cr_assert_not_null(file);
    while (fgets(line, sizeof line, file))
        if (strncmp(line, "VmRSS:", 6) == 0)
            kib = strtol(line + 6, NULL, 10);
    fclose(file);
    return kib;
}

/* Answers of a peer that does not read are bounded in bytes, and cost others nothing. */
static void check_unread_status(const char *shards)
{
    NEED_PROGRAMS("dp-server");
    enum { DEAF = 20, ASKED = 2000, GROWTH_MAX_KIB = 96 << 10 };
    static struct raw_peer crowd[CROWD], deaf[DEAF];
    char endpoint[128];
    size_t bytes;
    raise_limit();
    struct process *server = SERVER(endpoint, ANYBODY, "--lease", "3600", "--shards", shards);
    crowd_say_hello(crowd, endpoint, NULL);
    json_decref(status_of(endpoint, &bytes));
    cr_assert_gt(bytes, 64 << 10, "what is asked for is large");
    long before_kib = rss_kib(process_pid(server));
    for (int i = 0; i < DEAF; i++)
        cr_assert(raw_connect(&deaf[i], endpoint, NULL, 0));
    for (int n = 0; n < ASKED; n++)
        for (int i = 0; i < DEAF; i++)
            if (deaf[i].fd >= 0 && !raw_ask_status(&deaf[i]))
                raw_close(&deaf[i]);
    json_decref(status_of(endpoint, &bytes));
    long growth_kib = rss_kib(process_pid(server)) - before_kib;
    cr_assert_lt(growth_kib, GROWTH_MAX_KIB, "%ld KiB more", growth_kib);
    for (int i = 0; i < CROWD; i++)
        raw_close(&crowd[i]);
    for (int i = 0; i < DEAF; i++)
        raw_close(&deaf[i]);
    end(server);
}

Test(crowds, that_do_not_read_the_status_take_little_memory)
{
    check_unread_status("1");
}

Test(crowds, that_do_not_read_the_status_take_little_memory_with_two_sockets)
{
    check_unread_status("2");
}

/* ---- many joins ---- */

/* Number of assignments that have come by the time that the head answers a heartbeat. */
static int assigns_heard(struct who *who)
{
    Dp__Heartbeat body = DP__HEARTBEAT__INIT;
    Dp__Header header = header_of(who, DP__HEADER__BODY_HEARTBEAT, &body);
    int count = 0;
    cr_assert(peer_send(&who->head, &header, NULL, 0));
    for (;;) {
        const Dp__Header *heard = peer_receive(&who->head, WAIT_MS);
        cr_assert_not_null(heard);
        count += heard->body_case == DP__HEADER__BODY_ASSIGN;
        if (heard->body_case == DP__HEADER__BODY_HEARTBEAT_ACK && heard->request == header.request)
            return count;
    }
}

/* The only slot stays where it is, whoever comes and goes. */
Test(crowds, that_come_and_go_do_not_have_a_worker_told_what_it_knows)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    struct who member = {0}, guest = {0};
    struct process *server = SERVER(endpoint, ANYBODY, "--slots", "1", "--batch", "1", "--lease", "3600", "--speculate",
                                    "off", "--balance", "off");
    meet(endpoint, &member, &guest);
    come(&member, "member", 7, 1);
    join(&member);
    cr_assert_eq(assigns_heard(&member), 1);
    for (uint64_t i = 0; i < 100; i++) {
        come(&guest, "guest", 100 + i, 1);
        join(&guest);
        leave(&guest);
    }
    cr_assert_eq(assigns_heard(&member), 0);
    part(&member, &guest);
    end(server);
}

/* Waits until an assignment has fewer slots than these. */
static bool shares(struct who *who, size_t slots)
{
    for (uint64_t end_ms = mono_ms() + WAIT_MS; mono_ms() < end_ms;) {
        const Dp__Header *heard = peer_receive(&who->head, 1000);
        if (heard && heard->body_case == DP__HEADER__BODY_ASSIGN && heard->assign->n_slots < slots)
            return true;
    }
    return false;
}

/* Joins and leaves, `count` times; false if that took longer than a storm does. */
static bool come_and_go(struct who *guest, uint64_t count)
{
    uint64_t begin_ms = mono_ms(), twenty_ms = begin_ms;
    for (uint64_t i = 0; i < count; i++) {
        come(guest, "guest", 100 + i, 1);
        join(guest);
        leave(guest);
        if (i % 20 != 19)
            continue;
        if (mono_ms() - twenty_ms > 500)
            return false;
        twenty_ms = mono_ms();
    }
    return true;
}

/* If many join in a second, each is given slots once it has stayed for half a second. */
Test(crowds, that_come_in_a_storm_are_given_slots_once_they_stay)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    struct who member = {0}, guest = {0};
    int told = -1;
    struct process *server = SERVER(endpoint, ANYBODY, "--slots", "8", "--batch", "8", "--lease", "3600", "--speculate",
                                    "off", "--balance", "off");
    meet(endpoint, &member, &guest);
    come(&member, "member", 7, 1);
    join(&member);
    for (int tries = 0; tries < 20 && told < 0; tries++) { /* a machine may be too slow for a storm */
        bool storm = come_and_go(&guest, 40);
        (void)assigns_heard(&member); /* of those that came before it was one */
        if (storm && come_and_go(&guest, 100))
            told = assigns_heard(&member);
    }
    if (told < 0)
        cr_skip_test("the machine is too slow for a storm");
    cr_assert_eq(told, 0);
    come(&guest, "guest", 1000, 1);
    join(&guest);
    cr_assert(shares(&member, 8), "who stays is given its share");
    part(&member, &guest);
    end(server);
}

/* ---- settings ---- */

static void set(struct who *who, const char *name, double value, const char *text)
{
    Dp__Set body = DP__SET__INIT;
    body.name = (char *)name;
    body.value = value;
    body.text = (char *)text;
    who->session = who->incarnation = 0;
    Dp__Header header = header_of(who, DP__HEADER__BODY_SET, &body);
    const Dp__Header *answer = peer_ask(&who->head, &header, NULL, 0);
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_APPLIED, "set %s %g %s: %s", name, value, text,
                 answer->body_case == DP__HEADER__BODY_ERROR ? answer->error->text : "");
}

/* Whether the open step has these; a setting is of a step to come when it is answered. */
static bool in_force(const json_t *status, const char *mode, double lr)
{
    const char *open = json_string_value(json_object_get(json_object_get(status, "job"), "consistency"));
    double base = json_number_value(json_object_get(json_object_get(status, "update"), "base_lr"));
    return strcmp(open, mode) == 0 && base > lr - 1e-12 && base < lr + 1e-12;
}

/* A job has as many settings as are asked for, 64 at a time or thousands over its life. */
static void check_many_sets(bool consistency, const char *option, const char *value)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct who ctl = {0};
    size_t bytes;
    const char *data = temp_text("a.svm", "1 1:1 2:0.5\n2 2:1\n3 1:0.25\n4 1:1 2:1\n");
    struct process *server = SERVER(endpoint, "--model", "linear", "--steps", "1000000000", "--batch", "4", "--slots",
                                    "2", "--lr", "0.0001", "--shards", "2", option, value);
    struct process *worker = PROCESS("dp-worker", "--server", endpoint, "--data", data);
    process_expect(worker, ERR, "joined", WAIT_MS);
    peer_connect(&ctl.head, endpoint, 0);
    for (int i = 0; i < SETS; i++) {
        set(&ctl, "lr", 1e-6 * (1 + i), "");
        if (consistency)
            set(&ctl, "consistency", 0, i % 2 ? "bsp" : "ssp:3");
    }
    json_t *status = status_of(endpoint, &bytes);
    for (uint64_t end_ms = mono_ms() + WAIT_MS; !in_force(status, "bsp", 1e-6 * SETS);
         status = status_of(endpoint, &bytes)) {
        cr_assert_lt(mono_ms(), end_ms, "the last settings do not come into force");
        json_decref(status);
    }
    cr_assert_eq(json_number_value(json_object_get(json_object_get(status, "job"), "lr")), 0.0001);
    json_decref(status);
    peer_close(&ctl.head);
    end(server);
}

Test(crowds, and_others_may_set_as_often_as_they_like)
{
    check_many_sets(true, "--seed", "1");
}

Test(crowds, and_others_may_set_as_often_as_they_like_where_there_are_tables)
{
    check_many_sets(false, "--sparse", "--quiet");
}
