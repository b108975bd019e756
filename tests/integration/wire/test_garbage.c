/* Peers that say nonsense, at every port of a server with a job under way. The server goes on, and the parameters it
 * ends with are the same bits as those of a run that nobody disturbed.
 *
 * The intruder has what a worker has: a session, gained with a real worker's Hello and Join. While it holds slots of
 * the first step and pushes nothing, the job cannot end, so all of the nonsense falls into it. */
#include "tests/integration/support/harness.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/text.h"
#include "common/base/util.h"
#include "tests/integration/support/nonsense.h"
#include "tests/integration/support/peer.h"
#include "tests/integration/support/play_head.h"
#include "tests/integration/support/raw_peer.h"

TestSuite(garbage, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { SHARDS = 2, SHARDS_MAX = 8, RUN_MS = 120000, READY_MS = 30000 };

/* With one, it shares its port with the head. */
static const char *shards = "2";

#define JOB                                                                                                        \
    "--model", "softmax", "--batch", "64", "--lr", "0.01", "--shards", shards, "--slots", "8", "--exit-when-done", \
        "--stall-timeout", "600", "--lease", "3600", "--speculate", "off"

static bool one_port(void)
{
    return strcmp(shards, "1") == 0;
}

struct intruder {
    struct peer head;
    char head_endpoint[PEER_ENDPOINT_MAX];
    uint64_t session, incarnation, request;
    Dp__Hello *hello;
    Dp__Join *join;
    uint32_t shard_count;
    char shards[SHARDS_MAX][PEER_ENDPOINT_MAX];
    uint32_t first_slice[SHARDS_MAX]; /* the first slice of each shard, and its elements */
    uint64_t elems[SHARDS_MAX];
    uint64_t total_steps;
    struct nonsense nonsense;
};

static struct intruder it;

/* -- getting in -- */

static Dp__Header intruder_header(void)
{
    Dp__Header header = DP__HEADER__INIT;
    header.session = it.session;
    header.incarnation = it.incarnation;
    header.request = ++it.request;
    return header;
}

/* Plays the head for a real worker until it has told what it brings. */
static void learn_from_worker(const char *data)
{
    struct peer head;
    char endpoint[PEER_ENDPOINT_MAX];
    peer_listen(&head, endpoint);
    struct process *worker = PROCESS("dp-worker", "--server", endpoint, "--data", data);
    while (!it.join) {
        const Dp__Header *header = peer_receive(&head, READY_MS);
        cr_assert(header, "no word from the worker:\n%s", process_output(worker, ERR));
        if (header->body_case == DP__HEADER__BODY_HELLO) {
            if (!it.hello)
                it.hello = message_copy(&header->hello->base);
            cr_assert(peer_send(&head, play_welcome(header), NULL, 0));
        } else if (header->body_case == DP__HEADER__BODY_JOIN) {
            it.join = message_copy(&header->join->base);
        }
    }
    process_signal(worker, SIGKILL);
    (void)process_wait(worker, READY_MS);
    peer_close(&head);
}

static void intruder_hello(void)
{
    Dp__Header header = intruder_header();
    it.hello->worker = nonsense_random();
    it.hello->pid = 0;
    header.body_case = DP__HEADER__BODY_HELLO;
    header.hello = it.hello;
    const Dp__Header *answer = peer_ask(&it.head, &header, NULL, 0);
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_WELCOME);
    it.session = it.nonsense.session = answer->session;
    it.incarnation = it.nonsense.incarnation = answer->incarnation;
}

static void intruder_join(void)
{
    Dp__Header header = intruder_header();
    header.body_case = DP__HEADER__BODY_JOIN;
    header.join = it.join;
    const Dp__Header *answer = peer_ask(&it.head, &header, NULL, 0);
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_JOINED, "%s",
                 answer->body_case == DP__HEADER__BODY_ERROR ? answer->error->text : "");
    const Dp__Job *job = answer->joined->job;
    cr_assert_leq(job->n_shards, SHARDS_MAX);
    it.total_steps = job->train_steps;
    uint32_t slice = 0;
    for (it.shard_count = 0; it.shard_count < job->n_shards; it.shard_count++) {
        const Dp__Shard *shard = job->shards[it.shard_count];
        cr_assert_gt(shard->n_slices, 0);
        (void)str_copy(it.shards[it.shard_count], PEER_ENDPOINT_MAX, shard->endpoint);
        it.first_slice[it.shard_count] = slice;
        it.elems[it.shard_count] = shard->slices[0];
        slice += (uint32_t)shard->n_slices;
    }
}

static void intruder_leave(void)
{
    Dp__Bye bye = DP__BYE__INIT;
    Dp__Header header = intruder_header();
    header.body_case = DP__HEADER__BODY_BYE;
    header.bye = &bye;
    cr_assert(peer_send(&it.head, &header, NULL, 0));
}

/* -- is it still there? -- */

static void head_answers(void)
{
    struct peer peer;
    Dp__StatusRequest request = DP__STATUS_REQUEST__INIT;
    Dp__Header header = intruder_header();
    header.session = 0;
    header.body_case = DP__HEADER__BODY_STATUS_REQUEST;
    header.status_request = &request;
    peer_connect(&peer, it.head_endpoint, 0);
    cr_assert_eq(peer_ask(&peer, &header, NULL, 0)->body_case, DP__HEADER__BODY_STATUS);
    peer_close(&peer);
}

/* A valid pull of the first step's parameters, on the connection that said the nonsense or on a new one. */
static void shard_answers(uint32_t shard, struct peer *peer)
{
    Dp__PushPull pull = DP__PUSH_PULL__INIT;
    Dp__Header header = intruder_header();
    pull.slice = it.first_slice[shard];
    pull.pull = true;
    header.body_case = DP__HEADER__BODY_PUSH_PULL;
    header.push_pull = &pull;
    const Dp__Header *answer = peer_ask(peer, &header, NULL, 0);
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_PARAMS);
    cr_assert_eq(zmq_msg_size(&peer->frames[1]), it.elems[shard] * sizeof(float));
}

static void shard_answers_anew(uint32_t shard)
{
    struct peer peer;
    peer_connect(&peer, it.shards[shard], 0);
    shard_answers(shard, &peer);
    peer_close(&peer);
}

static void all_answer(void)
{
    head_answers();
    for (uint32_t s = 0; s < it.shard_count; s++)
        shard_answers_anew(s);
}

/* -- nonsense that parses: each is answered with an error that names it -- */

struct lie {
    const char *what;
    dp_err code;
    uint64_t session, incarnation; /* xor */
    Dp__PushPull body;
    uint32_t slice_off;   /* added to the shard's first slice */
    size_t payload_bytes; /* SIZE_MAX: none; 0 .. : wrong; RIGHT: the slice's */
};

#define RIGHT (SIZE_MAX - 1)
#define BODY(...)                                                        \
    {                                                                    \
        PROTOBUF_C_MESSAGE_INIT(&dp__push_pull__descriptor), __VA_ARGS__ \
    }

static void tell(struct peer *peer, uint32_t shard, const struct lie *lie, const float *zeros)
{
    Dp__PushPull body = lie->body;
    Dp__Header header = intruder_header();
    header.session ^= lie->session;
    header.incarnation ^= lie->incarnation;
    body.slice = it.first_slice[shard] + lie->slice_off;
    header.body_case = DP__HEADER__BODY_PUSH_PULL;
    header.push_pull = &body;
    size_t bytes = lie->payload_bytes == RIGHT ? it.elems[shard] * sizeof(float) : lie->payload_bytes;
    const Dp__Header *answer = peer_ask(peer, &header, bytes == SIZE_MAX ? NULL : zeros, bytes);
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_ERROR, "%s was taken", lie->what);
    cr_expect_eq(answer->error->code, (uint32_t)lie->code, "%s: %s instead of %s", lie->what,
                 dp_err_name(dp_err_from_wire(answer->error->code)), dp_err_name(lie->code));
    cr_expect_neq(answer->error->text[0], '\0');
}

static void lies_for_shard(uint32_t shard)
{
    const struct lie lies[] = {
        {"session", DP_HELLO_REQUIRED, .session = 1ull << 40, .body = BODY(.pull = true), .payload_bytes = SIZE_MAX},
        {"no session", DP_HELLO_REQUIRED, .session = it.session, .body = BODY(.pull = true), .payload_bytes = SIZE_MAX},
        {"incarnation", DP_INCARNATION, .incarnation = 1, .body = BODY(.pull = true), .payload_bytes = SIZE_MAX},
        {"slice", DP_RANGE, .slice_off = 1000, .body = BODY(.pull = true), .payload_bytes = SIZE_MAX},
        {"slice before", DP_RANGE, .slice_off = UINT32_MAX, .body = BODY(.pull = true), .payload_bytes = SIZE_MAX},
        {"pull ahead", DP_RANGE, .body = BODY(.pull = true, .pull_step = 2), .payload_bytes = SIZE_MAX},
        {"pull beyond", DP_RANGE, .body = BODY(.pull = true, .pull_step = 1ull << 60), .payload_bytes = SIZE_MAX},
        {"held", DP_RANGE, .body = BODY(.pull = true, .have = 1ull << 60), .payload_bytes = SIZE_MAX},
        {"step ahead", DP_RANGE, .body = BODY(.push = true, .step = 5), .payload_bytes = RIGHT},
        {"step beyond", DP_RANGE, .body = BODY(.push = true, .step = it.total_steps), .payload_bytes = RIGHT},
        {"last step", DP_RANGE, .body = BODY(.push = true, .step = UINT64_MAX), .payload_bytes = RIGHT},
        {"slot", DP_RANGE, .body = BODY(.push = true, .index = 8), .payload_bytes = RIGHT},
        {"node", DP_RANGE, .body = BODY(.push = true, .level = 2, .index = 2), .payload_bytes = RIGHT},
        {"above the root", DP_RANGE, .body = BODY(.push = true, .level = 4), .payload_bytes = RIGHT},
        {"short", DP_PROTO, .body = BODY(.push = true), .payload_bytes = 4},
        {"empty", DP_PROTO, .body = BODY(.push = true), .payload_bytes = 0},
        {"long", DP_PROTO, .body = BODY(.push = true), .payload_bytes = 1 << 16},
        {"nothing", DP_PROTO, .body = BODY(.push = true), .payload_bytes = SIZE_MAX},
    };
    static const float zeros[1 << 14];
    struct peer peer;
    peer_connect(&peer, it.shards[shard], 0);
    shard_answers(shard, &peer);
    for (size_t i = 0; i < ARRAY_LEN(lies); i++)
        tell(&peer, shard, &lies[i], zeros);
    Dp__Heartbeat beat = DP__HEARTBEAT__INIT;
    Dp__Header header = intruder_header();
    header.body_case = DP__HEADER__BODY_HEARTBEAT;
    header.heartbeat = &beat;
    const Dp__Header *answer = peer_ask(&peer, &header, NULL, 0);
    if (one_port())
        cr_assert_eq(answer->body_case, DP__HEADER__BODY_HEARTBEAT_ACK);
    else
        cr_assert_eq(answer->error->code, DP_PROTO);
    shard_answers(shard, &peer);
    peer_close(&peer);
}

static dp_err head_refuses(struct peer *peer, Dp__Header header)
{
    const Dp__Header *answer = peer_ask(peer, &header, NULL, 0);
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_ERROR, "taken as %d", (int)answer->body_case);
    return dp_err_from_wire(answer->error->code);
}

static void lies_for_head(void)
{
    struct peer peer;
    peer_connect(&peer, it.head_endpoint, 0);
    Dp__Header header = intruder_header();
    Dp__Heartbeat beat = DP__HEARTBEAT__INIT;
    header.session ^= 1ull << 40;
    header.body_case = DP__HEADER__BODY_HEARTBEAT;
    header.heartbeat = &beat;
    cr_expect_eq(head_refuses(&peer, header), DP_HELLO_REQUIRED);

    Dp__PushPull pull = DP__PUSH_PULL__INIT;
    header = intruder_header();
    pull.pull = true;
    header.body_case = DP__HEADER__BODY_PUSH_PULL;
    header.push_pull = &pull;
    if (!one_port())
        cr_expect_eq(head_refuses(&peer, header), DP_PROTO);

    Dp__Params params = DP__PARAMS__INIT; /* nobody says that to a server */
    params.unchanged = true;
    header = intruder_header();
    header.body_case = DP__HEADER__BODY_PARAMS;
    header.params = &params;
    cr_expect_eq(head_refuses(&peer, header), DP_PROTO);

    Dp__Hello hello = *it.hello;
    header = intruder_header();
    header.session = 0;
    hello.protocol_major = FRAME_MAJOR + 1;
    header.body_case = DP__HEADER__BODY_HELLO;
    header.hello = &hello;
    cr_expect_eq(head_refuses(&peer, header), DP_VERSION);

    hello.protocol_major = FRAME_MAJOR;
    hello.numerics = (char *)"another machine";
    header.request = ++it.request;
    cr_expect_eq(head_refuses(&peer, header), DP_REFUSED);
    peer_close(&peer);
}

/* Workers that say hello and are not heard of again. */
static void many_hellos(void)
{
    for (int i = 0; i < 50; i++) {
        struct peer peer;
        Dp__Hello hello = *it.hello;
        Dp__Header header = intruder_header();
        peer_connect(&peer, it.head_endpoint, 0);
        hello.worker = nonsense_random();
        header.session = 0;
        header.body_case = DP__HEADER__BODY_HELLO;
        header.hello = &hello;
        cr_assert_eq(peer_ask(&peer, &header, NULL, 0)->body_case, DP__HEADER__BODY_WELCOME);
        peer_close(&peer);
    }
}

/* Asks for parameters again and again and reads none of them. */
static void never_reads(uint32_t shard, struct peer *peer)
{
    Dp__PushPull pull = DP__PUSH_PULL__INIT;
    Dp__Header header = intruder_header();
    pull.slice = it.first_slice[shard];
    pull.pull = true;
    header.body_case = DP__HEADER__BODY_PUSH_PULL;
    header.push_pull = &pull;
    peer_connect(peer, it.shards[shard], 1);
    for (int i = 0; i < 20000; i++)
        (void)peer_send(peer, &header, NULL, 0);
}

static void disturb(void)
{
    struct peer silent[SHARDS_MAX];
    nonsense_say(&it.nonsense, it.head_endpoint);
    head_answers();
    for (uint32_t s = 0; s < it.shard_count; s++) {
        nonsense_say(&it.nonsense, it.shards[s]);
        shard_answers_anew(s);
        lies_for_shard(s);
    }
    lies_for_head();
    many_hellos();
    for (uint32_t s = 0; s < it.shard_count; s++)
        never_reads(s, &silent[s]);
    all_answer();
    for (uint32_t s = 0; s < it.shard_count; s++)
        peer_close(&silent[s]);
}

static void intruder_fini(void)
{
    nonsense_end(&it.nonsense);
    dp__hello__free_unpacked(it.hello, NULL);
    dp__join__free_unpacked(it.join, NULL);
    peer_close(&it.head);
}

/* The model of a run that nobody disturbs. */
static void run_alone(const char *data, const char *epochs, const char *model)
{
    struct run_result r = RUN(RUN_MS, "dp-server", JOB, "--epochs", epochs, "--listen", "tcp://127.0.0.1:0",
                              "--local-workers", "1", "--data", data, "--export", model);
    cr_assert_eq(r.status, 0, "%s", r.err);
}

/* The intruder joins a server that waits for workers. */
static void intruder_begin(const char *data)
{
    learn_from_worker(data);
    peer_connect(&it.head, it.head_endpoint, 0);
    intruder_hello();
    intruder_join();
}

static void job_must_end(struct process *server, struct process *worker)
{
    cr_assert_eq(process_wait(server, RUN_MS), 0, "%s", process_output(server, ERR));
    cr_assert_eq(process_wait(worker, READY_MS), 0, "%s", process_output(worker, ERR));
}

static void changes_no_bit(void)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = source_file("tests/data/digits/train.csv.gz");
    const char *alone = temp_path("alone.safetensors"), *disturbed = temp_path("disturbed.safetensors");
    run_alone(data, "3", alone);
    struct process *server = SERVER(it.head_endpoint, JOB, "--epochs", "3", "--export", disturbed);
    intruder_begin(data);
    struct process *worker = PROCESS("dp-worker", "--server", it.head_endpoint, "--data", data);
    disturb();
    cr_assert_not(process_ended(server, 0), "%s", process_output(server, ERR));
    process_expect(server, ERR, "malformed-message", READY_MS);
    intruder_leave();
    job_must_end(server, worker);
    models_assert_same(alone, disturbed);
    intruder_fini();
}

Test(garbage, changes_no_bit)
{
    changes_no_bit();
}

Test(garbage, changes_no_bit_by_one_port)
{
    shards = "1";
    changes_no_bit();
}

/* The same while steps go on: the intruder has left its slots to the worker and talks on. */
static void while_it_computes(void)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = source_file("tests/data/digits/train.csv.gz");
    const char *alone = temp_path("alone.safetensors"), *disturbed = temp_path("disturbed.safetensors");
    run_alone(data, "100", alone);
    struct process *server = SERVER(it.head_endpoint, JOB, "--epochs", "100", "--export", disturbed);
    intruder_begin(data);
    intruder_leave();
    struct process *worker = PROCESS("dp-worker", "--server", it.head_endpoint, "--data", data);
    for (uint32_t i = 0; !process_ended(worker, 0); i++)
        nonsense_say(&it.nonsense, i % 2 ? it.shards[i / 2 % it.shard_count] : it.head_endpoint);
    job_must_end(server, worker);
    models_assert_same(alone, disturbed);
    intruder_fini();
}

Test(garbage, while_it_computes)
{
    while_it_computes();
}

Test(garbage, while_it_computes_by_one_port)
{
    shards = "1";
    while_it_computes();
}

/* The first hello does not decide for good which machines a job takes. */
Test(garbage, numerics_of_a_worker_that_left_bind_nobody)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = source_file("tests/data/digits/train.csv.gz");
    struct process *server = SERVER(it.head_endpoint, JOB, "--epochs", "1");
    learn_from_worker(data);
    peer_connect(&it.head, it.head_endpoint, 0);
    char *numerics = it.hello->numerics;
    it.hello->numerics = (char *)"another machine";
    intruder_hello();
    it.hello->numerics = numerics;
    intruder_leave();
    struct process *worker = PROCESS("dp-worker", "--server", it.head_endpoint, "--data", data);
    job_must_end(server, worker);
    intruder_fini();
}

/* A second hello of the only worker ends its first session, so that for a moment there is no worker. Joining binds;
 * a hello alone decides nothing. */
Test(garbage, numerics_of_a_second_hello_that_joins_bind)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    (void)SERVER(it.head_endpoint, JOB, "--epochs", "1");
    learn_from_worker(source_file("tests/data/digits/train.csv.gz"));
    peer_connect(&it.head, it.head_endpoint, 0);
    intruder_hello();
    intruder_hello();
    intruder_join();
    struct peer peer;
    peer_connect(&peer, it.head_endpoint, 0);
    Dp__Hello hello = *it.hello;
    Dp__Header header = intruder_header();
    hello.worker = nonsense_random();
    hello.numerics = (char *)"another machine";
    header.session = 0;
    header.body_case = DP__HEADER__BODY_HELLO;
    header.hello = &hello;
    cr_assert_eq(head_refuses(&peer, header), DP_REFUSED);
    peer_close(&peer);
    intruder_fini();
}

/* Longer than what the server keeps of it, which ends amid a character. */
Test(garbage, the_status_shows_a_long_name_of_data)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    (void)SERVER(it.head_endpoint, JOB, "--epochs", "1");
    learn_from_worker(source_file("tests/data/digits/train.csv.gz"));
    peer_connect(&it.head, it.head_endpoint, 0);
    intruder_hello();
    char name[FRAME_NAME_MAX + 64] = "x", *own = it.join->train->name;
    for (size_t at = 1; at + 2 < sizeof name; at += 2)
        memcpy(name + at, "\xc3\xa9", 2);
    it.join->train->name = name;
    intruder_join();
    it.join->train->name = own;
    struct run_result status = RUN(READY_MS, "dp-ctl", "--server", it.head_endpoint, "--json", "status");
    cr_assert_eq(status.status, 0, "%s", status.err);
    cr_assert_not_null(strstr(status.out, "x\xc3\xa9"), "%s", status.out);
    intruder_fini();
}

/* A job's workers go on; who is turned away by the system is not left without a word in the log. */
Test(garbage, a_server_without_descriptors_says_so_and_takes_connections_again)
{
    NEED_PROGRAMS("dp-server", "dp-ctl");
    enum { CROWD = 120 };
    static const char SCRIPT[] =
        "ulimit -n 100; exec \"$0\" --model linear --listen tcp://127.0.0.1:0 --log-level info";
    char endpoint[PEER_ENDPOINT_MAX];
    int crowd[CROWD];
    struct process *server = PROCESS("/bin/sh", "-c", SCRIPT, program_path("dp-server"));
    const char *line = process_expect(server, ERR, " listening endpoint=", READY_MS);
    cr_assert_eq(sscanf(strstr(line, "endpoint="), "endpoint=%127s", endpoint), 1);
    for (int i = 0; i < CROWD; i++)
        crowd[i] = tcp_connect(endpoint);
    process_expect(server, ERR, "descriptors-used-up workers=0", READY_MS);
    for (int i = 0; i < CROWD; i++)
        close(crowd[i]);
    process_expect(server, ERR, "descriptors-left", READY_MS);
    struct run_result status = RUN(READY_MS, "dp-ctl", "--server", endpoint, "status");
    cr_assert_eq(status.status, 0, "%s", status.err);
}

/* The peer that other tests say worse things with. */
Test(garbage, a_peer_of_raw_bytes_is_answered_as_any_other)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[PEER_ENDPOINT_MAX];
    struct raw_peer peer;
    Dp__StatusRequest body = DP__STATUS_REQUEST__INIT;
    Dp__Header request = DP__HEADER__INIT;
    (void)SERVER(endpoint, "--model", "linear");
    request.request = 7;
    request.body_case = DP__HEADER__BODY_STATUS_REQUEST;
    request.status_request = &body;
    cr_assert(raw_connect(&peer, endpoint, NULL, 0));
    for (int i = 0; i < 2; i++) {
        cr_assert(raw_send(&peer, &request, NULL, 0));
        const Dp__Header *answer = raw_receive(&peer, READY_MS);
        cr_assert_not_null(answer);
        cr_assert_eq(answer->body_case, DP__HEADER__BODY_STATUS);
        cr_assert_eq(answer->request, 7);
        cr_assert_gt(peer.payload_bytes, 2);
        cr_assert_eq(peer.payload[0], '{');
    }
    cr_assert_not(raw_closed(&peer, 200));
    raw_close(&peer);
}
