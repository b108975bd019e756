/* Users of one host: who may join a job and change it. Two users are root and nobody; where the test is not root, what
 * needs them is skipped, and what one user can show with two secrets is not. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/util.h"
#include "common/net/secret.h"
#include "tests/integration/support/harness.h"
#include "tests/integration/support/peer.h"
#include "worker/client/contact/proof.h"

TestSuite(users, .init = harness_init, .fini = harness_fini, .timeout = 180);

enum { WAIT_MS = 60000, NOBODY = 65534 };

#define JOB "--model", "linear", "--epochs", "2", "--batch", "2"
#define SETPRIV "/usr/bin/setpriv"

/* ---- another user ---- */

/* Skips the test where there can be no other user. */
#define NEED_TWO_USERS()                                                                \
    do {                                                                                \
        if (geteuid() != 0 || access(SETPRIV, X_OK))                                    \
            cr_skip_test("only root with " SETPRIV " can start programs as two users"); \
    } while (0)

/* A file of the test that anybody may read or run; programs too, since nobody may get to the build's folder. */
static const char *for_all(const char *name, const char *from, mode_t mode)
{
    const char *to = temp_path(name);
    cr_assert_eq(chmod(temp_path(""), 0755), 0);
    struct run_result copy = RUN(WAIT_MS, "/bin/cp", from, to);
    cr_assert_eq(copy.status, 0, "%s", copy.err);
    cr_assert_eq(chmod(to, mode), 0);
    return to;
}

/* A program as nobody, with "NAME=value" in its environment, NULL: nothing. */
static struct process *start_as_nobody(const char *env, const char *program, const char *const *args)
{
    const char *copy = for_all(program, program_path(program), 0755);
    const char *argv[64] = {"--reuid=65534", "--regid=65534", "--clear-groups", copy};
    for (size_t n = 4; *args && n < ARRAY_LEN(argv) - 1; args++)
        argv[n++] = *args;
    return process_start_env(SETPRIV, argv, (const char *const[]){env, NULL});
}
#define AS_NOBODY(program, ...) start_as_nobody(NULL, program, (const char *const[]){__VA_ARGS__, NULL})

static const char *data_for_all(void)
{
    return for_all("d.svm", temp_text("own.svm", "1 1:1\n2 1:2\n3 1:3\n4 1:4\n"), 0644);
}

static int ends(struct process *p)
{
    return process_wait(p, WAIT_MS);
}

#define EXPECT(text, part) cr_assert_not_null(strstr(text, part), "no '%s' in: %s", part, text)
#define EXPECT_NOT(text, part) cr_assert_null(strstr(text, part), "'%s' in: %s", part, text)

/* ---- peers by hand ---- */

static Dp__Hello hello_of(uint64_t worker)
{
    Dp__Hello hello = DP__HELLO__INIT;
    hello.magic = FRAME_MAGIC;
    hello.protocol_major = FRAME_MAJOR;
    hello.worker = worker;
    hello.name = (char *)"by-hand";
    hello.numerics = (char *)"any";
    return hello;
}

static Dp__Header header_of(Dp__Header__BodyCase body, void *message)
{
    static uint64_t request;
    Dp__Header header = DP__HEADER__INIT;
    header.request = ++request;
    header.body_case = body;
    header.hello = message;
    return header;
}

/* The challenge that a message without proof is answered with. */
static void get_challenge(struct peer *peer, const Dp__Header *header, struct client_challenge *ret_challenge)
{
    const Dp__Header *answer = peer_ask_unproved(peer, header, NULL, 0);
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_ERROR);
    cr_assert_eq(answer->error->code, DP_REFUSED);
    client_challenge_take(answer->error, ret_challenge);
    cr_assert(ret_challenge->given, "%s", answer->error->text);
}

static void prove(const char *secret_file, const struct client_challenge *challenge, struct proof_claim claim,
                  struct client_proof *proof, Dp__Header *header)
{
    client_proof_make(secret_file, challenge, &claim, proof);
    client_proof_put(proof, header);
}

static Dp__Header__BodyCase kind(struct peer *peer, const Dp__Header *header)
{
    return peer_ask_unproved(peer, header, NULL, 0)->body_case;
}

/* Refused, and whether the peer may try again. */
static bool refused_for_good(struct peer *peer, const Dp__Header *header)
{
    struct client_challenge challenge;
    const Dp__Header *answer = peer_ask_unproved(peer, header, NULL, 0);
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_ERROR, "taken as %d", (int)answer->body_case);
    cr_assert_eq(answer->error->code, DP_REFUSED);
    client_challenge_take(answer->error, &challenge);
    return !challenge.given;
}

Test(users, a_hello_must_be_proved_anew_each_time)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[PEER_ENDPOINT_MAX];
    struct peer one, other;
    struct client_challenge challenge;
    struct client_proof proof;
    Dp__Hello hello = hello_of(7), stranger = hello_of(8);
    (void)SERVER(endpoint, JOB);
    peer_connect(&one, endpoint, 0);
    peer_connect(&other, endpoint, 0);
    Dp__Header header = header_of(DP__HEADER__BODY_HELLO, &hello);
    get_challenge(&one, &header, &challenge);
    prove(NULL, &challenge, (struct proof_claim){DP__HEADER__BODY_HELLO, 7}, &proof, &header);

    cr_assert_not(refused_for_good(&other, &header), "overheard, from another connection");
    Dp__Header changed = header;
    changed.hello = &stranger;
    cr_assert_not(refused_for_good(&one, &changed), "for another worker");
    cr_assert_eq(kind(&one, &header), DP__HEADER__BODY_WELCOME);
    cr_assert_not(refused_for_good(&one, &header), "replayed on its own connection");
    cr_assert_not(refused_for_good(&other, &header), "replayed from another one");
    peer_close(&one);
    peer_close(&other);
}

Test(users, another_secret_is_refused_and_named)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[PEER_ENDPOINT_MAX];
    struct peer peer;
    struct client_challenge challenge;
    struct client_proof proof;
    struct secret wrong;
    dp_error err;
    Dp__Hello hello = hello_of(7);
    cr_assert_eq(secret_load(temp_path("wrong"), true, &wrong, &err), DP_OK, "%s", err.text);
    struct process *server = SERVER(endpoint, JOB);
    peer_connect(&peer, endpoint, 0);
    Dp__Header header = header_of(DP__HEADER__BODY_HELLO, &hello);
    get_challenge(&peer, &header, &challenge);
    prove(temp_path("wrong"), &challenge, (struct proof_claim){DP__HEADER__BODY_HELLO, 7}, &proof, &header);
    cr_assert(refused_for_good(&peer, &header));
    const char *line = process_expect(server, ERR, "stranger-refused", WAIT_MS);
    EXPECT(line, "worker 'by-hand'");
    EXPECT(line, "DP_SECRET_FILE");
    peer_close(&peer);
}

Test(users, a_setting_must_be_proved_as_one)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[PEER_ENDPOINT_MAX];
    struct peer peer;
    struct client_challenge challenge;
    struct client_proof proof;
    Dp__Set set = DP__SET__INIT;
    (void)SERVER(endpoint, JOB);
    peer_connect(&peer, endpoint, 0);
    set.name = (char *)"lr";
    set.value = 0.5;
    Dp__Header header = header_of(DP__HEADER__BODY_SET, &set);
    get_challenge(&peer, &header, &challenge);
    prove(NULL, &challenge, (struct proof_claim){DP__HEADER__BODY_HELLO, 0}, &proof, &header);
    cr_assert(refused_for_good(&peer, &header), "the proof of a hello");
    get_challenge(
        &peer,
        &(Dp__Header){.base = header.base, .request = header.request, .body_case = DP__HEADER__BODY_SET, .set = &set},
        &challenge);
    prove(NULL, &challenge, (struct proof_claim){DP__HEADER__BODY_SET, 0}, &proof, &header);
    const Dp__Header *answer = peer_ask_unproved(&peer, &header, NULL, 0);
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_ERROR);
    EXPECT(answer->error->text, "the job is not running"); /* it was listened to */
    cr_assert_not(refused_for_good(&peer, &header), "replayed");
    peer_close(&peer);
}

/* Strangers cost a challenge each, and leave nothing behind: afterwards a worker comes in as before. */
Test(users, a_crowd_without_proofs_keeps_nobody_out)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    enum { HELLOS = 3000 };
    char endpoint[PEER_ENDPOINT_MAX];
    struct peer peer;
    Dp__Hello hello = hello_of(7);
    struct process *server = SERVER(endpoint, JOB, "--exit-when-done");
    peer_connect(&peer, endpoint, 0);
    for (int i = 0; i < HELLOS; i++) {
        hello.worker = (uint64_t)i;
        Dp__Header header = header_of(DP__HEADER__BODY_HELLO, &hello);
        (void)peer_ask_unproved(&peer, &header, NULL, 0);
    }
    struct run_result status = RUN(WAIT_MS, "dp-ctl", "--server", endpoint, "--json", "status");
    EXPECT(status.out, "\"workers\":[]");
    struct run_result worker = RUN(WAIT_MS, "dp-worker", "--server", endpoint, "--data", data_for_all());
    cr_assert_eq(worker.status, 0, "%s", worker.err);
    cr_assert_eq(ends(server), 0);
    peer_close(&peer);
}

/* ---- one user, two secrets: as in two containers ---- */

static struct run_result run_with(const char *env, const char *program, const char *const *args)
{
    struct process *p = process_start_env(program, args, (const char *const[]){env, NULL});
    int status = process_wait(p, WAIT_MS);
    return (struct run_result){status, process_output(p, OUT), process_output(p, ERR)};
}
#define RUN_WITH(env, program, ...) run_with(env, program, (const char *const[]){__VA_ARGS__, NULL})

static const char *variable(const char *name, const char *value)
{
    char text[HARNESS_PATH_MAX];
    snprintf(text, sizeof text, "%s=%s", name, value);
    return temp_path(text) + strlen(temp_path("")); /* kept by the harness */
}

Test(users, of_one_user_with_another_home_are_told_what_to_do)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[PEER_ENDPOINT_MAX];
    const char *home = temp_path("home"), *data = data_for_all();
    cr_assert_eq(mkdir(home, 0700), 0);
    struct process *server = SERVER(endpoint, JOB, "--exit-when-done");
    uint64_t begin_ms = mono_ms();
    struct run_result worker = RUN_WITH(variable("HOME", home), "dp-worker", "--server", endpoint, "--data", data,
                                        "--connect-timeout", "3600");
    cr_assert_lt(mono_ms() - begin_ms, WAIT_MS / 2, "a refusal is not tried again");
    cr_assert_eq(worker.status, 1, "%s", worker.err);
    EXPECT(worker.err, home);
    EXPECT(worker.err, "there is no secret");
    EXPECT(worker.err, "DP_SECRET_FILE");
    struct run_result set = RUN_WITH(variable("HOME", home), "dp-ctl", "--server", endpoint, "set", "lr", "1");
    cr_assert_eq(set.status, 1, "%s", set.err);
    EXPECT(set.err, "is refused");
    struct run_result status = RUN_WITH(variable("HOME", home), "dp-ctl", "--server", endpoint, "status");
    cr_assert_eq(status.status, 0, "status is for all: %s", status.err);
    cr_assert_not(process_ended(server, 0));
}

Test(users, with_one_secret_file_are_one_whatever_their_homes)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = data_for_all(), *home = temp_path("home"), *file = temp_path("secret");
    cr_assert_eq(mkdir(home, 0700), 0);
    for (int by_option = 0; by_option < 2; by_option++) {
        char endpoint[PEER_ENDPOINT_MAX];
        struct process *server = SERVER(endpoint, JOB, "--exit-when-done", "--secret-file", file);
        struct run_result without = RUN(WAIT_MS, "dp-worker", "--server", endpoint, "--data", data);
        cr_assert_eq(without.status, 1, "the usual secret is not that of this server: %s", without.err);
        struct run_result with =
            by_option ? RUN_WITH(variable("HOME", home), "dp-worker", "--server", endpoint, "--data", data,
                                 "--secret-file", file)
                      : RUN_WITH(variable("DP_SECRET_FILE", file), "dp-worker", "--server", endpoint, "--data", data);
        cr_assert_eq(with.status, 0, "%s", with.err);
        cr_assert_eq(ends(server), 0);
    }
}

Test(users, local_workers_are_the_servers_own)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[PEER_ENDPOINT_MAX];
    struct process *server = SERVER(endpoint, JOB, "--exit-when-done", "--local-workers", "2", "--data", data_for_all(),
                                    "--secret-file", temp_path("secret"));
    cr_assert_eq(ends(server), 0, "%s", process_output(server, ERR));
}

/* ipc by path and by name; what a worker reads of the server's state is the same on loopback. */
Test(users, come_by_a_unix_socket_too)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = data_for_all(), *home = temp_path("home");
    cr_assert_eq(mkdir(home, 0700), 0);
    for (int abstract = 0; abstract < 2; abstract++) {
        char listen[HARNESS_PATH_MAX], name[64];
        snprintf(name, sizeof name, "@dp-test-users-%ld", (long)getpid());
        snprintf(listen, sizeof listen, "ipc://%s", abstract ? name : temp_path("socket"));
        struct process *server =
            PROCESS("dp-server", JOB, "--listen", listen, "--exit-when-done", "--log-level", "info");
        process_expect(server, ERR, " listening endpoint=", WAIT_MS);
        struct run_result other = RUN_WITH(variable("HOME", home), "dp-worker", "--server", listen, "--data", data);
        cr_assert_eq(other.status, 1, "%s", other.err);
        EXPECT(other.err, "is refused");
        struct run_result own = RUN(WAIT_MS, "dp-worker", "--server", listen, "--data", data);
        cr_assert_eq(own.status, 0, "%s", own.err);
        cr_assert_eq(ends(server), 0);
    }
}

Test(users, a_secret_that_others_can_read_serves_nobody)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[PEER_ENDPOINT_MAX];
    const char *file = temp_path("secret"), *data = data_for_all();
    struct process *server = SERVER(endpoint, JOB, "--secret-file", file);
    cr_assert_eq(chmod(file, 0644), 0);
    struct run_result worker = RUN(WAIT_MS, "dp-worker", "--server", endpoint, "--data", data, "--secret-file", file);
    cr_assert_eq(worker.status, 1, "%s", worker.err);
    EXPECT(worker.err, file);
    EXPECT(worker.err, "mode 0644");
    process_signal(server, SIGTERM);
    (void)ends(server);
    struct run_result again = RUN(WAIT_MS, "dp-server", JOB, "--listen", "tcp://127.0.0.1:0", "--secret-file", file);
    cr_assert_eq(again.status, 1, "%s", again.err);
    EXPECT(again.err, file);
    EXPECT(again.err, "mode 0644");
    cr_assert_eq(chmod(file, 0600), 0);
    if (geteuid() == 0) {
        const char *other = for_all("other", file, 0600);
        cr_assert_eq(chown(other, 1, 1), 0);
        struct process *p = AS_NOBODY("dp-server", JOB, "--listen", "tcp://127.0.0.1:0", "--secret-file", other);
        cr_assert_eq(ends(p), 1);
        EXPECT(process_output(p, ERR), other);
    }
}

/* Not in what programs say, not in what they were called with, not in the status. */
Test(users, secrets_are_told_to_nobody)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[PEER_ENDPOINT_MAX], hex[65] = "", cmdline[64];
    const char *file = temp_path("secret"), *data = data_for_all();
    struct process *server =
        SERVER(endpoint, JOB, "--secret-file", file, "--log-level", "debug", "--local-workers", "1", "--data", data);
    FILE *f = fopen(file, "r");
    cr_assert(f && fgets(hex, sizeof hex, f) && strlen(hex) == 64);
    fclose(f);
    process_expect(server, ERR, "done in", WAIT_MS);
    struct run_result status = RUN(WAIT_MS, "dp-ctl", "--server", endpoint, "--json", "status");
    struct run_result set = RUN(WAIT_MS, "dp-ctl", "--server", endpoint, "--secret-file", file, "set", "lr", "1");
    hex[16] = '\0'; /* not even a part */
    EXPECT_NOT(status.out, hex);
    EXPECT_NOT(status.err, hex);
    EXPECT_NOT(set.err, hex);
    snprintf(cmdline, sizeof cmdline, "/proc/%d/cmdline", (int)process_pid(server));
    cr_assert_eq(RUN(WAIT_MS, "/bin/grep", "-c", "secret-file", cmdline).status, 0);
    cr_assert_eq(RUN(WAIT_MS, "/bin/grep", "-c", hex, cmdline).status, 1);
    process_signal(server, SIGTERM);
    (void)ends(server);
    EXPECT_NOT(process_output(server, ERR), hex);
    EXPECT_NOT(process_output(server, OUT), hex);
}

/* ---- two users ---- */

static void expect_stranger(const char *endpoint, const char *data)
{
    struct process *worker = AS_NOBODY("dp-worker", "--server", endpoint, "--data", data);
    cr_assert_eq(ends(worker), 1, "%s", process_output(worker, ERR));
    EXPECT(process_output(worker, ERR), "uid 65534 is refused");
    EXPECT(process_output(worker, ERR), "--allow-users 65534");
    EXPECT(process_output(worker, ERR), "(uid 0)");
    struct process *set = AS_NOBODY("dp-ctl", "--server", endpoint, "set", "lr", "0.5");
    cr_assert_eq(ends(set), 1, "%s", process_output(set, ERR));
    EXPECT(process_output(set, ERR), "uid 65534 is refused");
    struct process *status = AS_NOBODY("dp-ctl", "--server", endpoint, "status");
    cr_assert_eq(ends(status), 0, "%s", process_output(status, ERR));
}

Test(users, another_user_is_refused)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    NEED_TWO_USERS();
    char endpoint[PEER_ENDPOINT_MAX];
    const char *data = data_for_all();
    struct process *server = SERVER(endpoint, JOB, "--exit-when-done", "--insecure");
    expect_stranger(endpoint, data);
    EXPECT(process_expect(server, ERR, "stranger-refused", WAIT_MS), "uid=65534");
    struct run_result own = RUN(WAIT_MS, "dp-worker", "--server", endpoint, "--data", data);
    cr_assert_eq(own.status, 0, "%s", own.err);
    cr_assert_eq(ends(server), 0);
}

/* Starts a long job that root works for, and has nobody change its rate. */
static void expect_allowed(const char *who)
{
    char endpoint[PEER_ENDPOINT_MAX];
    const char *data = data_for_all();
    struct process *server =
        SERVER(endpoint, "--model", "linear", "--steps", "1000000000", "--batch", "2", "--allow-users", who);
    struct process *worker = AS_NOBODY("dp-worker", "--server", endpoint, "--data", data);
    process_expect(worker, ERR, "joined", WAIT_MS);
    struct process *set = AS_NOBODY("dp-ctl", "--server", endpoint, "set", "lr", "0.001");
    cr_assert_eq(ends(set), 0, "%s: %s", who, process_output(set, ERR));
    EXPECT(process_output(set, OUT), "lr is 0.001");
    struct run_result own = RUN(WAIT_MS, "dp-ctl", "--server", endpoint, "set", "lr", "0.002");
    cr_assert_eq(own.status, 0, "%s: %s", who, own.err);
    process_signal(server, SIGTERM);
    cr_assert_eq(ends(server), 143);
}

Test(users, that_are_allowed_join_and_change_the_job)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    NEED_TWO_USERS();
    expect_allowed("nobody");
    expect_allowed("65534");
    expect_allowed("daemon,nobody");
    expect_allowed("all");
}

/* A user who may change the job may fetch the model, but cannot have a file written as the server's user. */
Test(users, that_are_allowed_fetch_the_model_and_write_nothing_here)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    NEED_TWO_USERS();
    char endpoint[PEER_ENDPOINT_MAX];
    const char *there = temp_path("there.st");
    struct process *server =
        SERVER(endpoint, "--model", "linear", "--steps", "1000000000", "--batch", "2", "--allow-users", "nobody");
    struct process *worker = AS_NOBODY("dp-worker", "--server", endpoint, "--data", data_for_all());
    process_expect(worker, ERR, "joined", WAIT_MS);
    struct process *written = AS_NOBODY("dp-ctl", "--server", endpoint, "export", "--on-server", there);
    cr_assert_eq(ends(written), 1, "%s", process_output(written, ERR));
    EXPECT(process_output(written, ERR), "--on-server is for the user of the server");
    cr_assert_neq(access(there, F_OK), 0);
    struct run_result own = RUN(WAIT_MS, "dp-ctl", "--server", endpoint, "export", "--on-server", there);
    cr_assert_eq(own.status, 0, "%s", own.err);
    cr_assert_eq(access(there, F_OK), 0);
    process_signal(server, SIGTERM);
    cr_assert_eq(ends(server), 143);
}

Test(users, that_are_not_named_are_refused_where_others_are)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    NEED_TWO_USERS();
    char endpoint[PEER_ENDPOINT_MAX];
    (void)SERVER(endpoint, JOB, "--allow-users", "daemon");
    expect_stranger(endpoint, data_for_all());
}

/* Root is a user like others, but may use anybody's secret that it names. */
Test(users, root_is_let_in_by_the_secret_that_it_names)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    NEED_TWO_USERS();
    const char *data = data_for_all(), *home = temp_path("home"), *port = temp_path("home/port");
    cr_assert(mkdir(home, 0755) == 0 && chown(home, NOBODY, NOBODY) == 0);
    struct process *server = start_as_nobody(
        variable("HOME", home), "dp-server",
        (const char *const[]){JOB, "--listen", "tcp://127.0.0.1:0", "--port-file", port, "--exit-when-done", NULL});
    const char *endpoint = file_expect(port, server, WAIT_MS);
    cr_assert_not_null(endpoint, "%s", process_output(server, ERR));
    struct run_result refused = RUN(WAIT_MS, "dp-worker", "--server", endpoint, "--data", data);
    cr_assert_eq(refused.status, 1, "%s", refused.err);
    EXPECT(refused.err, "uid 0 is refused");
    struct run_result taken = RUN(WAIT_MS, "dp-worker", "--server", endpoint, "--data", data, "--secret-file",
                                  temp_path("home/.config/dp/secret"));
    cr_assert_eq(taken.status, 0, "%s", taken.err);
    cr_assert_eq(ends(server), 0);
}

/* ---- beyond loopback ---- */

/* A server on all addresses, with its endpoint at this host. */
static struct process *open_server(char endpoint[PEER_ENDPOINT_MAX], const char *const *args)
{
    static unsigned number;
    char name[32];
    snprintf(name, sizeof name, "open-port-%u", number++);
    const char *argv[32] = {"--listen", "tcp://0.0.0.0:0", "--insecure", "--port-file", temp_path(name)};
    for (size_t n = 5; *args && n < ARRAY_LEN(argv) - 1; args++)
        argv[n++] = *args;
    struct process *server = process_start("dp-server", argv);
    const char *line = file_expect(temp_path(name), server, WAIT_MS);
    cr_assert_not_null(line, "%s", process_output(server, ERR));
    snprintf(endpoint, PEER_ENDPOINT_MAX, "tcp://127.0.0.1%s", strrchr(line, ':'));
    return server;
}
#define OPEN_SERVER(endpoint, ...) open_server(endpoint, (const char *const[]){__VA_ARGS__, NULL})

Test(users, of_a_network_join_but_change_nothing)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    static const char *const admin[] = {NULL, "--insecure-admin"};
    const char *home = temp_path("home"), *data = data_for_all();
    cr_assert_eq(mkdir(home, 0700), 0);
    const char *stranger = variable("HOME", home);
    for (size_t i = 0; i < ARRAY_LEN(admin); i++) {
        char endpoint[PEER_ENDPOINT_MAX];
        struct process *server =
            OPEN_SERVER(endpoint, "--model", "linear", "--steps", "1000000000", "--batch", "2", admin[i]);
        struct process *worker =
            process_start_env("dp-worker", (const char *const[]){"--server", endpoint, "--data", data, NULL},
                              (const char *const[]){stranger, NULL});
        process_expect(worker, ERR, "joined", WAIT_MS);
        struct run_result set = RUN_WITH(stranger, "dp-ctl", "--server", endpoint, "set", "lr", "0.001");
        cr_assert_eq(set.status, admin[i] ? 0 : 1, "%s", set.err);
        if (!admin[i])
            EXPECT(set.err, "--insecure-admin");
        struct run_result own = RUN(WAIT_MS, "dp-ctl", "--server", endpoint, "set", "lr", "0.002");
        cr_assert_eq(own.status, 0, "a proof is enough: %s", own.err);
        process_signal(server, SIGTERM);
        cr_assert_eq(ends(server), 143);
    }
}

/* It works without one, says so, and then nobody changes its job. */
Test(users, a_server_beyond_loopback_needs_no_secret)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[PEER_ENDPOINT_MAX];
    const char *none = temp_path("no/such/folder/secret");
    struct process *server = OPEN_SERVER(endpoint, JOB, "--secret-file", none, "--exit-when-done");
    EXPECT(process_expect(server, ERR, "no-secret", WAIT_MS), "no/such/folder");
    struct run_result set = RUN(WAIT_MS, "dp-ctl", "--server", endpoint, "set", "lr", "0.001");
    cr_assert_eq(set.status, 1, "%s", set.err);
    EXPECT(set.err, "--insecure-admin");
    struct run_result worker = RUN(WAIT_MS, "dp-worker", "--server", endpoint, "--data", data_for_all());
    cr_assert_eq(worker.status, 0, "%s", worker.err);
    cr_assert_eq(ends(server), 0);
    struct run_result loopback = RUN(WAIT_MS, "dp-server", JOB, "--listen", "tcp://127.0.0.1:0", "--secret-file", none);
    cr_assert_eq(loopback.status, 1, "%s", loopback.err);
    EXPECT(loopback.err, "no/such/folder");
}

/* A proof is used up by each answer that says to come again later. */
Test(users, that_wait_for_a_place_get_it)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[PEER_ENDPOINT_MAX];
    const char *data = data_for_all();
    struct process *server =
        SERVER(endpoint, "--model", "linear", "--steps", "1000000000", "--batch", "2", "--max-workers", "1");
    struct process *first = PROCESS("dp-worker", "--server", endpoint, "--data", data);
    process_expect(first, ERR, "joined", WAIT_MS);
    struct run_result late = RUN(WAIT_MS, "dp-worker", "--server", endpoint, "--data", data, "--connect-timeout", "2");
    cr_assert_eq(late.status, 69, "%s", late.err);
    EXPECT(late.err, "--max-workers 1: the server has as many workers as it takes (waited 2 s)");
    EXPECT_NOT(late.err, "is it the port");
    struct process *second = PROCESS("dp-worker", "--server", endpoint, "--data", data, "--connect-timeout", "60");
    process_expect(second, ERR, "trying again", WAIT_MS);
    cr_assert_not(process_ended(second, 11000), "%s", process_output(second, ERR));
    process_signal(first, SIGTERM);
    process_expect(second, ERR, "joined", WAIT_MS);
    EXPECT_NOT(strstr(process_output(second, ERR), "trying again") + 1, "trying again");
    process_signal(server, SIGTERM);
    (void)ends(server);
}
