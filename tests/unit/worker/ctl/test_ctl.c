/* dp-ctl: the table for people from any document, and the request against servers that answer well, badly or not. */
#include <criterion/criterion.h>

#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include "common/base/clock.h"
#include "proto/frame.h"
#include "tests/unit/support/leaks.h"
#include "worker/ctl/ask_status.h"
#include "worker/ctl/status.h"

/* --- the table --- */

enum { WIDE = 200 };

static void assert_printed(const char *document, const char *want)
{
    char *text = NULL;
    size_t bytes = 0;
    json_error_t why;
    json_t *status = json_loads(document, 0, &why);
    cr_assert_not_null(status, "%s", why.text);
    FILE *out = open_memstream(&text, &bytes);
    ctl_status_print(status, "tcp://head:7700", WIDE, out);
    fclose(out);
    cr_assert_str_eq(text, want);
    free(text);
    json_decref(status);
    ASSERT_NO_LEAKS();
}

/* Workers with data of their own: facts that are not known are not shown. */
Test(ctl, a_local_job)
{
    assert_printed(
        "{\"version\":\"0.1.0\",\"state\":\"running\",\"model\":\"softmax\",\"uptime_s\":1,\"job\":{\"local\":true,"
        "\"features\":null,\"classes\":10,\"batch\":null,\"slots\":2,\"seed\":1,\"train_steps\":40,"
        "\"train_rows\":null,\"eval_rows\":0,\"theta_elems\":650,\"optimizer\":\"sgd\",\"lr\":0.5,\"l2\":0},\"update\":"
        "{\"lr\":0.5},"
        "\"progress\":{\"step\":10,\"total_steps\":40,\"epoch\":null,\"epochs\":null,\"loss\":0.5}}",
        "dp-server 0.1.0 at tcp://head:7700: running, up 0:01\n"
        "model      softmax, 10 classes, 650 parameters\n"
        "data       each worker's own, batch -, 2 slots, seed 1\n"
        "update     sgd, lr 0.5, l2 0\n"
        "progress   step 10 of 40 (25%)\n"
        "loss       0.50000, evaluation -, accuracy -\n"
        "speed      - samples/s, elapsed -, ETA -\n"
        "\nworkers: 0\n"
        "\nshards: 0\n");
}

Test(ctl, a_running_job)
{
    assert_printed(
        "{\"version\":\"0.1.0\",\"incarnation\":\"00ff\",\"state\":\"running\",\"endpoint\":\"tcp://0.0.0.0:7700\","
        "\"model\":\"softmax\",\"uptime_s\":3723.4,\"job\":{\"features\":64,\"classes\":10,\"labels\":[\"-1\",\"no\","
        "\"a "
        "word of many characters, of which some are left out\",\"x\",\"y\"],\"intercept\":true,"
        "\"batch\":128,\"slots\":8,\"seed\":1,\"train_steps\":240,\"train_rows\":1437,\"eval_rows\":360,"
        "\"theta_elems\":650,\"optimizer\":\"momentum\",\"lr\":0.5,\"momentum\":0.9,\"l2\":3.071158748195694e-05},"
        "\"update\":{\"schedule\":\"cosine\",\"base_lr\":0.4,\"lr\":0.25},"
        "\"progress\":{\"step\":60,\"total_steps\":260,\"train_step\":56,\"epoch\":5,\"epochs\":20,\"loss\":0.345678,"
        "\"eval_loss\":0.4,\"eval_accuracy\":0.9611,\"samples_per_s\":123456.7,\"elapsed_s\":7.2,\"eta_s\":63.0,"
        "\"waiting_for\":null},\"balance\":{\"mode\":\"speed\",\"moves\":2,\"given\":7,\"won\":4,\"lost\":3},"
        "\"waits\":{\"step\":60,\"for_ms\":31000,\"stalled\":true,\"owed\":[{\"worker\":0,\"name\":\"alpha:4711\","
        "\"last_heard_ms\":12000,\"slots\":[5,7]}]},"
        "\"workers\":[{\"id\":0,\"name\":\"alpha:4711\",\"slots\":[0,1,2,5,7],\"step\":60,\"samples\":12345678,"
        "\"samples_per_s\":61728.3,\"slots_per_s\":48.1,\"threads\":4,\"last_heartbeat_ms\":120,\"state\":\"training\"}"
        ","
        "{\"id\":11,\"name\":\"b\\u00fccher:1\",\"slots\":[],\"step\":0,\"samples\":0,\"samples_per_s\":0,\"threads\":"
        "1,"
        "\"last_heartbeat_ms\":2500,\"state\":\"reading data\"}],"
        "\"shards\":[{\"id\":0,\"endpoint\":\"tcp://*:40001\",\"first\":0,\"count\":336,\"slices\":1,\"low\":60,"
        "\"pushes\":1234567,\"duplicates\":0,\"bytes_in\":123456789,\"bytes_out\":999},"
        "{\"id\":1,\"endpoint\":\"tcp://*:40002\",\"first\":336,\"count\":0,\"slices\":0,\"low\":60,\"pushes\":0,"
        "\"duplicates\":3,\"bytes_in\":0,\"bytes_out\":0}]}",
        "dp-server 0.1.0 at tcp://head:7700: running, up 1:02:03\n"
        "model      softmax, 64 features, 10 classes, intercept, 650 parameters\n"
        "labels     -1, no, ...\n"
        "data       1437 rows, 360 to evaluate on, batch 128, 8 slots, seed 1\n"
        "update     momentum, lr 0.25 (cosine, of 0.4), momentum 0.9, l2 3.071159e-05\n"
        "progress   epoch 5 of 20, training step 56 of 240, with evaluations step 60 of 260 (23%)\n"
        "loss       0.34568, evaluation 0.40000, accuracy 96.11%\n"
        "speed      123k samples/s, elapsed 0:07, ETA 1:03\n"
        "waiting    for slots 5,7 of alpha:4711 (last heard of 12.0 s ago) since 31.0 s: a stall\n"
        "balance    slots moved 2 times by speed; late slots copied: 7, the copy was first 4 times, late 3 times\n"
        "\n"
        "workers: 2\n"
        "  id  name        state         slots    step  samples  samples/s  slots/s  threads  last seen\n"
        "   0  alpha:4711  training      0-2,5,7    60    12.3M      61.7k     48.1        4     0.12 s\n"
        "  11  b\xc3\xbc"
        "cher:1    reading data  none        0        0          0        -        1      2.5 s\n"
        "\n"
        "shards: 2\n"
        "  id  endpoint       elements  slices  done steps  pushes  duplicates     in   out\n"
        "   0  tcp://*:40001  0-335          1          60   1.23M           0  123MB  999B\n"
        "   1  tcp://*:40002  unused         0          60       0           3     0B    0B\n");
}

/* A wide job on a terminal of 80 columns, and on ones that are narrower than anybody's. */
static void assert_fits(int columns, bool cut)
{
    char *text = NULL;
    size_t bytes = 0;
    json_t *status = json_loads(
        "{\"version\":\"0.1.0\",\"state\":\"running\",\"model\":\"softmax\",\"uptime_s\":3723.4,\"job\":{\"features\":"
        "64,"
        "\"classes\":10,\"intercept\":true,\"batch\":128,\"slots\":8,\"seed\":\"18446744073709551615\",\"train_steps\":"
        "240,"
        "\"train_rows\":1437123123,\"eval_rows\":3601231,\"theta_elems\":650,\"optimizer\":\"momentum\",\"lr\":0.5,"
        "\"momentum\":0.9,\"l2\":3.071158748195694e-05},\"update\":{\"schedule\":\"cosine\",\"base_lr\":0.4,\"lr\":0."
        "25},"
        "\"progress\":{\"step\":60,\"total_steps\":260,\"train_step\":56,\"epoch\":5,\"epochs\":20,\"loss\":0.345678},"
        "\"balance\":{\"mode\":\"speed\",\"moves\":2,\"given\":7,\"won\":4,\"lost\":3},"
        "\"workers\":[{\"id\":0,\"name\":\"a-very-long-host-name.of.some-cluster.example:4711\",\"slots\":[0,2,4,6,8,"
        "10],"
        "\"step\":60,\"samples\":12345678,\"samples_per_s\":61728.3,\"slots_per_s\":48.1,\"threads\":4,"
        "\"last_heartbeat_ms\":120,\"state\":\"training\"}],"
        "\"shards\":[{\"id\":0,\"endpoint\":\"tcp://a-very-long-host-name.of.some-cluster.example:40001\",\"first\":0,"
        "\"count\":336,\"slices\":1,\"low\":60,\"pushes\":1234567,\"duplicates\":0,\"bytes_in\":123456789,"
        "\"bytes_out\":999}]}",
        0, NULL);
    cr_assert_not_null(status);
    FILE *out = open_memstream(&text, &bytes);
    ctl_status_print(status, "tcp://head:7700", columns, out);
    fclose(out);
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
        cr_assert_leq((int)strcspn(line, "\n"), columns, "'%s'", line);
    cr_assert_not_null(strstr(text, "the copy was first"), "%s", text);
    cr_assert_eq(strstr(text, "not shown: samples, slots/s, threads (a wider") != NULL, cut, "%s", text);
    cr_assert_eq(strstr(text, "a-very-long-host-name.of.some-cluster.example:4711") == NULL, cut, "%s", text);
    free(text);
    json_decref(status);
    ASSERT_NO_LEAKS();
}

Test(ctl, lines_fit_the_terminal)
{
    assert_fits(80, true);
    assert_fits(200, false);
}

Test(ctl, nothing_is_known)
{
    const char *want = "dp-server - at tcp://head:7700: -, up -\n"
                       "model      -\n"
                       "\n"
                       "workers: 0\n"
                       "\n"
                       "shards: 0\n";
    assert_printed("{}", want);
    assert_printed(
        "{\"version\":7,\"state\":null,\"job\":[],\"progress\":\"x\",\"workers\":{},\"shards\":3,\"uptime_s\":-1}",
        want);
}

/* The server lists some workers of many. */
Test(ctl, lists_that_are_cut)
{
    assert_printed("{\"workers_left_out\":637,\"shards_left_out\":0}", "dp-server - at tcp://head:7700: -, up -\n"
                                                                       "model      -\n"
                                                                       "\n"
                                                                       "workers: 0\n"
                                                                       "... and 637 more workers\n"
                                                                       "\n"
                                                                       "shards: 0\n");
}

/* A document of which a part is missing. */
Test(ctl, a_job_of_which_little_is_known)
{
    assert_printed("{\"job\":{},\"update\":{\"lr\":\"x\"},\"progress\":{\"total_steps\":4,\"step\":1}}",
                   "dp-server - at tcp://head:7700: -, up -\n"
                   "model      -, - features, - parameters\n"
                   "data       - rows, - to evaluate on, batch -, - slots, seed -\n"
                   "update     -, lr -, l2 -\n"
                   "progress   epoch - of -, step 1 of 4 (25%)\n"
                   "loss       -, evaluation -, accuracy -\n"
                   "speed      - samples/s, elapsed -, ETA -\n"
                   "\n"
                   "workers: 0\n"
                   "\n"
                   "shards: 0\n");
}

Test(ctl, a_mode_to_come)
{
    assert_printed("{\"job\":{\"consistency\":\"ssp:3\",\"consistency_next\":{\"mode\":\"bsp\",\"step\":41}},"
                   "\"staleness\":{\"commits\":12,\"mean\":0,\"max\":0,\"buckets\":[12]}}",
                   "dp-server - at tcp://head:7700: -, up -\n"
                   "model      -, - features, - parameters\n"
                   "data       - rows, - to evaluate on, batch -, - slots, seed -\n"
                   "update     -, lr -, l2 -\n"
                   "commits    ssp:3, bsp from step 41 on, 12 gradients, staleness 0 commits on average, 0 at most\n"
                   "\n"
                   "workers: 0\n"
                   "\n"
                   "shards: 0\n");
}

Test(ctl, how_stale_gradients_were)
{
    assert_printed("{\"job\":{\"consistency\":\"ssp:3\"},\"staleness\":{\"commits\":12,\"mean\":1.5,\"max\":9,"
                   "\"buckets\":[4,5,0,2,1]}}",
                   "dp-server - at tcp://head:7700: -, up -\n"
                   "model      -, - features, - parameters\n"
                   "data       - rows, - to evaluate on, batch -, - slots, seed -\n"
                   "update     -, lr -, l2 -\n"
                   "commits    ssp:3, 12 gradients, staleness 1.5 commits on average, 9 at most\n"
                   "staleness  0: 4, 1: 5, 2+: 0, 4+: 2, 8+: 1\n"
                   "\n"
                   "workers: 0\n"
                   "\n"
                   "shards: 0\n");
}

/* The document of a job that is not told of otherwise, with one thing in it. */
static void assert_line(const char *members, const char *line)
{
    char document[512], want[1024];
    snprintf(document, sizeof document, "{\"job\":{\"local\":true,\"consistency\":\"ssp:3\"},%s}", members);
    snprintf(want, sizeof want,
             "dp-server - at tcp://head:7700: -, up -\n"
             "model      -, - features, - parameters\n"
             "data       each worker's own, batch -, - slots, seed -\n"
             "update     -, lr -, l2 -\n"
             "%s\nworkers: 0\n\nshards: 0\n",
             line);
    assert_printed(document, want);
}

#define MEAN(mean) "\"staleness\":{\"commits\":1,\"mean\":" mean ",\"max\":3,\"buckets\":[1]}"
#define COMMITS(mean) "commits    ssp:3, 1 gradients, staleness " mean " commits on average, 3 at most\n"

Test(ctl, a_mean_has_the_digits_that_mean_something)
{
    assert_line(MEAN("2.0283333"), COMMITS("2.03"));
    assert_line(MEAN("0.000123456"), COMMITS("0.000123"));
    assert_line(MEAN("999.4"), COMMITS("999"));
    assert_line(MEAN("999.7"), COMMITS("1.00k"));
    assert_line(MEAN("123456.7"), COMMITS("123k"));
    assert_line(MEAN("null"), COMMITS("-"));
}

Test(ctl, what_was_dropped)
{
    assert_line(MEAN("0") ",\"dropped\":{\"steps\":0,\"slots\":0,\"samples\":0}", COMMITS("0"));
    assert_line(MEAN("0") ",\"dropped\":{\"steps\":12,\"slots\":15,\"samples\":1920}",
                COMMITS("0") "dropped    15 slots of 12 steps, 1.92k samples; the result depends on which\n");
}

Test(ctl, what_the_gate_closed)
{
    assert_line(MEAN("0") ",\"gate\":{\"strangers\":3,\"closed\":{\"greeting\":1,\"ready\":0,\"idle\":12345}}",
                COMMITS("0") "closed     connections, by the gate: greeting 1, idle 12.3k\n");
    assert_line(MEAN("0") ",\"gate\":{\"strangers\":3,\"closed\":{\"greeting\":0}}", COMMITS("0"));
}

Test(ctl, what_was_compensated)
{
    static const char *const WANT =
        "late       14 gradients compensated by 0.04, 2 taken as they were; 2.60kB of parameters kept for that\n";
    char *text = NULL;
    size_t bytes = 0;
    json_t *status = json_loads("{\"job\":{},\"update\":{\"delay_compensation\":0.04},\"shards\":["
                                "{\"compensated\":10,\"uncompensated\":0,\"past_bytes\":1300},"
                                "{\"compensated\":4,\"uncompensated\":2,\"past_bytes\":1300}]}",
                                0, NULL);
    FILE *out = open_memstream(&text, &bytes);
    ctl_status_print(status, "tcp://head:7700", WIDE, out);
    fflush(out);
    cr_assert_not_null(strstr(text, WANT), "%s", text);
    json_object_set_new(json_object_get(status, "update"), "delay_compensation", json_integer(0));
    ctl_status_print(status, "tcp://head:7700", WIDE, out);
    fclose(out);
    cr_assert_null(strstr(strstr(text, WANT) + strlen(WANT), "compensated"), "%s", text);
    free(text);
    json_decref(status);
    ASSERT_NO_LEAKS();
}

Test(ctl, what_it_waits_for_and_odd_texts)
{
    assert_printed(
        "{\"version\":\"\\u001b[2J\",\"model\":\"a\\nb\",\"progress\":{\"total_steps\":0,\"waiting_for\":\"the "
        "first worker\"},\"workers\":[null,{\"slots\":[\"x\"],\"step\":-1}]}",
        "dp-server ?[2J at tcp://head:7700: -, up -\n"
        "model      a?b\n"
        "waiting    for the first worker\n"
        "\n"
        "workers: 2\n"
        "  id  name  state  slots  step  samples  samples/s  slots/s  threads  last seen\n"
        "   -  -     -      -         -        -          -        -        -          -\n"
        "   -  -     -      0        -1        -          -        -        -          -\n"
        "\n"
        "shards: 0\n");
}

/* --- the request --- */

/* A head that answers one message in a given way. */
struct fake {
    void *context, *socket;
    char endpoint[64];
    void (*answer)(struct fake *fake, const Dp__Header *question);
    pthread_t thread;
};

/* Sends a header frame and, if it is not NULL, a payload frame to whom the routing id frame was sent before. */
static void send_frames(struct fake *fake, const Dp__Header *header, const char *payload)
{
    uint8_t bytes[512];
    size_t size = frame_size(header);
    cr_assert_leq(size, sizeof bytes);
    frame_write(header, bytes);
    cr_assert_geq(zmq_send(fake->socket, bytes, size, payload ? ZMQ_SNDMORE : 0), 0);
    if (payload)
        cr_assert_geq(zmq_send(fake->socket, payload, strlen(payload), 0), 0);
}

static void send_status(struct fake *fake, uint64_t request, const char *payload)
{
    Dp__Status status = DP__STATUS__INIT;
    Dp__Header header = DP__HEADER__INIT;
    header.request = request;
    header.body_case = DP__HEADER__BODY_STATUS;
    header.status = &status;
    send_frames(fake, &header, payload);
}

static void *fake_run(void *arg)
{
    struct fake *fake = arg;
    struct arena arena = {0};
    uint8_t id[64], bytes[512];
    int id_bytes = zmq_recv(fake->socket, id, sizeof id, 0), size = zmq_recv(fake->socket, bytes, sizeof bytes, 0);
    const Dp__Header *header = NULL;
    cr_assert(id_bytes > 0 && size > 0);
    cr_assert_eq(frame_parse(&arena, bytes, (size_t)size, 0, &header, NULL), DP_OK);
    cr_assert(header->body_case == DP__HEADER__BODY_STATUS_REQUEST && header->session == 0);
    if (fake->answer) {
        cr_assert_geq(zmq_send(fake->socket, id, (size_t)id_bytes, ZMQ_SNDMORE), 0);
        fake->answer(fake, header);
    }
    arena_fini(&arena);
    return NULL;
}

static void fake_start(struct fake *fake, void (*answer)(struct fake *fake, const Dp__Header *question))
{
    size_t size = sizeof fake->endpoint;
    *fake = (struct fake){.context = zmq_ctx_new(), .answer = answer};
    fake->socket = zmq_socket(fake->context, ZMQ_ROUTER);
    cr_assert_eq(zmq_bind(fake->socket, "tcp://127.0.0.1:*"), 0);
    cr_assert_eq(zmq_getsockopt(fake->socket, ZMQ_LAST_ENDPOINT, fake->endpoint, &size), 0);
    cr_assert_eq(pthread_create(&fake->thread, NULL, fake_run, fake), 0);
}

static void fake_stop(struct fake *fake)
{
    pthread_join(fake->thread, NULL);
    zmq_close(fake->socket);
    zmq_ctx_term(fake->context);
}

static dp_err ask_at(const char *endpoint, uint64_t timeout_ms, json_t **ret_status, dp_error *err)
{
    struct ctl_connection connection = {.server = endpoint, .timeout_ms = timeout_ms};
    dp_err e = ctl_ask_status(&connection, ret_status, err);
    ctl_connection_close(&connection);
    return e;
}

/* Asks a fake that answers so; the error's text goes to err, the document to *ret_status. */
static dp_err ask(void (*answer)(struct fake *fake, const Dp__Header *question), uint64_t timeout_ms,
                  json_t **ret_status, dp_error *err)
{
    struct fake fake;
    fake_start(&fake, answer);
    dp_err e = ask_at(fake.endpoint, timeout_ms, ret_status, err);
    fake_stop(&fake);
    return e;
}

static void assert_refused(void (*answer)(struct fake *fake, const Dp__Header *question), dp_err code, const char *word)
{
    json_t *status = NULL;
    dp_error err = {0};
    cr_assert_eq(ask(answer, 20000, &status, &err), code, "%s", err.text);
    cr_assert_null(status);
    cr_assert_not_null(strstr(err.text, word), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "tcp://127.0.0.1:"), "%s", err.text);
    ASSERT_NO_LEAKS();
}

static void answer_well(struct fake *fake, const Dp__Header *question)
{
    send_status(fake, question->request, "{\"state\":\"running\"}");
}

Test(request, gets_the_document)
{
    json_t *status = NULL;
    dp_error err = {0};
    cr_assert_eq(ask(answer_well, 20000, &status, &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(json_string_value(json_object_get(status, "state")), "running");
    json_decref(status);
    ASSERT_NO_LEAKS();
}

static void answer_error(struct fake *fake, const Dp__Header *question)
{
    Dp__Error error = DP__ERROR__INIT;
    Dp__Header header = DP__HEADER__INIT;
    error.code = DP_REFUSED;
    error.text = "not today";
    header.request = question->request;
    header.body_case = DP__HEADER__BODY_ERROR;
    header.error = &error;
    send_frames(fake, &header, NULL);
}

static void answer_no_json(struct fake *fake, const Dp__Header *question)
{
    send_status(fake, question->request, "{\"state\":");
}

static void answer_array(struct fake *fake, const Dp__Header *question)
{
    send_status(fake, question->request, "[1]");
}

static void answer_without_payload(struct fake *fake, const Dp__Header *question)
{
    send_status(fake, question->request, NULL);
}

static void answer_another_kind(struct fake *fake, const Dp__Header *question)
{
    Dp__Bye bye = DP__BYE__INIT;
    Dp__Header header = DP__HEADER__INIT;
    header.request = question->request;
    header.body_case = DP__HEADER__BODY_BYE;
    header.bye = &bye;
    send_frames(fake, &header, NULL);
}

static void answer_garbage(struct fake *fake, const Dp__Header *question)
{
    (void)question;
    cr_assert_geq(zmq_send(fake->socket, "\xff\xff\xff", 3, ZMQ_SNDMORE), 0);
    cr_assert_geq(zmq_send(fake->socket, "x", 1, ZMQ_SNDMORE), 0);
    cr_assert_geq(zmq_send(fake->socket, "y", 1, 0), 0);
}

Test(request, tells_what_the_server_says)
{
    assert_refused(answer_error, DP_REFUSED, "not today");
}

Test(request, refuses_answers_that_are_none)
{
    assert_refused(answer_no_json, DP_PROTO, "no JSON object");
    assert_refused(answer_array, DP_PROTO, "no JSON object");
    assert_refused(answer_another_kind, DP_PROTO, "something else");
    assert_refused(answer_without_payload, DP_PROTO, "answer");
    assert_refused(answer_garbage, DP_PROTO, "malformed");
}

static void answer_something_else(struct fake *fake, const Dp__Header *question)
{
    send_status(fake, question->request + 1, "{}");
}

Test(request, waits_no_longer_than_the_deadline)
{
    json_t *status = NULL;
    dp_error err = {0};
    uint64_t begin_ms = mono_ms();
    cr_assert_eq(ask(NULL, 1000, &status, &err), DP_UNREACHABLE);
    cr_assert_not_null(strstr(err.text, "has not answered within 1 s"), "%s", err.text);
    cr_assert_geq(mono_ms() - begin_ms, 990);
    cr_assert_eq(ask(answer_something_else, 1000, &status, &err), DP_UNREACHABLE);
    ASSERT_NO_LEAKS();
}

/* Takes the connections of one question, and ends without a word. */
static void *take_and_end(void *arg)
{
    int listener = *(int *)arg, taken[2];
    for (int i = 0; i < 2; i++)
        taken[i] = accept(listener, NULL, NULL);
    close(listener);
    for (int i = 0; i < 2; i++)
        close(taken[i]);
    return NULL;
}

Test(request, tells_when_the_server_ends_meanwhile)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    char endpoint[64];
    json_t *status = NULL;
    dp_error err = {0};
    pthread_t thread;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&at, size), 0);
    cr_assert_eq(listen(listener, 8), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&at, &size), 0);
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%d", ntohs(at.sin_port));
    cr_assert_eq(pthread_create(&thread, NULL, take_and_end, &listener), 0);
    uint64_t begin_ms = mono_ms();
    cr_assert_eq(ask_at(endpoint, 60000, &status, &err), DP_UNREACHABLE);
    cr_assert_lt(mono_ms() - begin_ms, 30000);
    cr_assert_not_null(strstr(err.text, "ended before it answered: connection refused"), "%s", err.text);
    pthread_join(thread, NULL);
    ASSERT_NO_LEAKS();
}

Test(request, names_an_endpoint_that_is_not_there)
{
    json_t *status = NULL;
    dp_error err = {0};
    cr_assert_eq(ask_at("tcp://127.0.0.1:1", 5000, &status, &err), DP_UNREACHABLE);
    cr_assert_not_null(strstr(err.text, "cannot reach tcp://127.0.0.1:1: "), "%s", err.text);
    cr_assert_eq(ask_at("127.0.0.1:1", 5000, &status, &err), DP_USAGE);
    cr_assert_eq(strncmp(err.text, "option --server: ", 17), 0, "%s", err.text);
    ASSERT_NO_LEAKS();
}
