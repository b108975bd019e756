/* Pushes of shared memory by hand, from a session that is in order but for what it says of its slabs: each is answered
 * with an error and counted, nothing is read, and the job goes on to the model that a good worker would have made. */
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/text.h"
#include "common/base/util.h"
#include "common/kernels/numerics.h"
#include "common/net/shm.h"
#include "common/net/shm_wire.h"
#include "proto/frame_rows.h"
#include "tests/integration/support/harness.h"
#include "tests/integration/support/peer.h"

TestSuite(slabs, .init = harness_init, .fini = harness_fini, .timeout = 120);

enum { ROWS = 100, DIM = 3, DENSE = 5, PUSHED = 10, SLAB_FLOATS = DENSE + PUSHED * DIM, WAIT_MS = 20000 };

/* A worker: the only one holds the job's only slot. */
struct worker {
    struct peer head, shard;
    uint64_t session, incarnation, request;
    char door[SHM_NAME_MAX];
    int fd; /* of the door */
    struct shm slab, planes, ring;
    uint32_t slice, part;
};

static Dp__Header header_of(struct worker *w, Dp__Header__BodyCase body, void *message)
{
    Dp__Header header = DP__HEADER__INIT;
    header.session = w->session;
    header.incarnation = w->incarnation;
    header.request = ++w->request;
    header.body_case = body;
    header.push_pull = message;
    return header;
}

static const Dp__Header *ask(struct worker *w, struct peer *peer, Dp__Header__BodyCase body, void *message)
{
    Dp__Header header = header_of(w, body, message);
    return peer_ask(peer, &header, NULL, 0);
}

static void say_hello(struct worker *w, uint64_t id)
{
    Dp__Hello hello = DP__HELLO__INIT;
    hello.magic = FRAME_MAGIC;
    hello.protocol_major = FRAME_MAJOR;
    hello.worker = id;
    hello.name = (char *)"by-hand";
    hello.numerics = (char *)"any";
    hello.features = FRAME_FEATURE_SHM | FRAME_FEATURE_TABLES;
    const Dp__Header *answer = ask(w, &w->head, DP__HEADER__BODY_HELLO, &hello);
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_WELCOME);
    cr_assert(answer->welcome->features & FRAME_FEATURE_SHM);
    w->session = answer->session;
    w->incarnation = answer->incarnation;
}

static void say_join(struct worker *w)
{
    uint64_t dense[] = {DENSE}, table[] = {ROWS, DIM};
    Dp__Tensor a = DP__TENSOR__INIT, b = DP__TENSOR__INIT, *list[] = {&a, &b};
    a.name = (char *)"dense";
    a.n_shape = 1;
    a.shape = dense;
    b.name = (char *)"table";
    b.kind = DP__TENSOR__KIND__TABLE;
    b.n_shape = 2;
    b.shape = table;
    Dp__Dataset train = DP__DATASET__INIT;
    train.rows = 10;
    train.features = 1;
    train.name = (char *)"by-hand";
    Dp__Join join = DP__JOIN__INIT;
    join.train = &train;
    join.n_tensors = 2;
    join.tensors = list;
    const Dp__Header *answer = ask(w, &w->head, DP__HEADER__BODY_JOIN, &join);
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_JOINED);
    const Dp__Shard *shard = answer->joined->job->shards[0];
    (void)str_copy(w->door, sizeof w->door, shard->shm);
    cr_assert(w->door[0], "the shard names no socket for shared memory");
    w->slice = 0;
    w->part = 1;
    peer_connect(&w->shard, shard->endpoint, 0);
}

/* Sends a message by the door and takes the answer with what it passes. */
static struct shm_message door_ask(struct worker *w, struct shm_message message, int pass, int *ret_passed)
{
    struct shm_message answer;
    struct pollfd item = {.fd = w->fd, .events = POLLIN};
    dp_error err;
    cr_assert_eq(shm_send(w->fd, &message, pass), DP_OK);
    cr_assert_eq(poll(&item, 1, WAIT_MS), 1);
    cr_assert_eq(shm_receive(w->fd, &answer, ret_passed, &err), DP_OK, "%s", err.text);
    return answer;
}

static void share(struct worker *w)
{
    int passed;
    dp_error err;
    cr_assert_eq(shm_connect(w->door, &w->fd, &err), DP_OK, "%s", err.text);
    struct shm_message answer = door_ask(
        w, (struct shm_message){.kind = SHM_HELLO, .session = w->session, .incarnation = w->incarnation}, -1, &passed);
    cr_assert_eq(answer.kind, SHM_WELCOME, "%s", answer.text);
    cr_assert_eq(shm_map(passed, answer.planes * answer.stride_bytes, &w->planes, &err), DP_OK, "%s", err.text);
    close(passed);
    struct shm_message begin = {.kind = SHM_BEGIN};
    cr_assert_eq(shm_send(w->fd, &begin, -1), DP_OK);
    cr_assert_eq(shm_new(SLAB_FLOATS * sizeof(float), SHM_WRITERS, &w->slab, &err), DP_OK, "%s", err.text);
    for (uint32_t i = 0; i < SLAB_FLOATS; i++)
        ((float *)w->slab.base)[i] = -1;
}

static void pass_slab(struct worker *w, uint32_t number, enum shm_kind want)
{
    int passed;
    const struct shm_message slab = {.kind = SHM_SLAB, .slab = number, .bytes = SLAB_FLOATS * sizeof(float)};
    struct shm_message answer = door_ask(w, slab, w->slab.fd, &passed);
    cr_assert_eq((int)answer.kind, (int)want, "%s", answer.text);
}

static void worker_begin(struct worker *w, const char *endpoint, uint64_t id)
{
    *w = (struct worker){0};
    peer_connect(&w->head, endpoint, 0);
    say_hello(w, id);
    say_join(w);
    share(w);
}

/* The same of the worker that the slot is dealt to. */
static void holder_begin(struct worker *w, const char *endpoint)
{
    worker_begin(w, endpoint, 4711);
    peer_await_slots(&w->head, 1);
}

static void worker_end(struct worker *w)
{
    peer_close(&w->head);
    peer_close(&w->shard);
    close(w->fd);
    shm_fini(&w->slab);
    shm_fini(&w->planes);
    shm_fini(&w->ring);
}

static Dp__Metrics metrics_of(void)
{
    Dp__Metrics metrics = DP__METRICS__INIT;
    metrics.count = 10;
    metrics.loss = 1;
    return metrics;
}

/* The answer to a push of a slab's floats for the slice; it pulls what follows. */
static const Dp__Header *push_slice(struct worker *w, uint32_t slab, uint64_t step)
{
    Dp__Metrics metrics = metrics_of();
    Dp__PushPull msg = DP__PUSH_PULL__INIT;
    msg.slice = w->slice;
    msg.push = msg.pull = true;
    msg.step = step;
    msg.pull_step = step + 1;
    msg.have = step + 1; /* its version is the step: it reads none before */
    msg.metrics = &metrics;
    msg.slab = slab;
    return ask(w, &w->shard, DP__HEADER__BODY_PUSH_PULL, &msg);
}

/* The same of the part's first PUSHED rows. */
static const Dp__Header *push_rows(struct worker *w, uint32_t slab, uint64_t at, uint64_t step)
{
    uint64_t ids[PUSHED];
    for (uint32_t i = 0; i < PUSHED; i++)
        ids[i] = i;
    Dp__Metrics metrics = metrics_of();
    Dp__Keys keys = DP__KEYS__INIT;
    Dp__RowsPushPull msg = DP__ROWS_PUSH_PULL__INIT;
    keys.hash = frame_keys_hash(ids, PUSHED);
    keys.count = PUSHED;
    keys.sent = true;
    msg.part = w->part;
    msg.push = msg.pull = true;
    msg.step = step;
    msg.pull_step = step + 1;
    msg.metrics = &metrics;
    msg.push_keys = &keys;
    msg.slab = slab;
    msg.slab_at = at;
    Dp__Header header = header_of(w, DP__HEADER__BODY_ROWS_PUSH_PULL, &msg);
    return peer_ask(&w->shard, &header, ids, sizeof ids);
}

static void assert_refused(const Dp__Header *answer, const char *what)
{
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_ERROR, "%s was taken", what);
    cr_assert(answer->error->code == DP_PROTO && strstr(answer->error->text, "slab"), "%s: %u %s", what,
              answer->error->code, answer->error->text);
}

static void assert_params(const Dp__Header *answer, uint64_t step)
{
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_PARAMS, "%s",
                 answer->body_case == DP__HEADER__BODY_ERROR ? answer->error->text : "");
    cr_assert(answer->params->step == step && answer->params->plane > 0 && answer->params->done == step);
}

/* Rows of a step lie in a ring, which has come by the door. */
static void assert_rows(struct worker *w, const Dp__Header *answer, uint64_t step, float want)
{
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_ROWS, "%s",
                 answer->body_case == DP__HEADER__BODY_ERROR ? answer->error->text : "");
    const Dp__Rows *rows = answer->rows;
    cr_assert(rows->step == step && rows->ring == 1 && rows->count == PUSHED && rows->done == step);
    if (!w->ring.base) {
        struct shm_message message;
        int passed;
        dp_error err;
        cr_assert_eq(shm_receive(w->fd, &message, &passed, &err), DP_OK, "%s", err.text);
        cr_assert(message.kind == SHM_RING && message.ring == 1);
        cr_assert_eq(shm_map(passed, message.bytes, &w->ring, &err), DP_OK, "%s", err.text);
        close(passed);
    }
    const float *values = (const float *)w->ring.base + rows->ring_at % w->ring.bytes / sizeof(float);
    for (uint32_t i = 0; i < PUSHED * DIM; i++)
        cr_assert_float_eq(values[i], want, 1e-6F, "value %u is %g", i, (double)values[i]);
}

static struct process *serve(char *endpoint)
{
    return server_start(endpoint, PEER_ENDPOINT_MAX,
                        (const char *const[]){"--model", "linear", "--batch", "10", "--slots", "1", "--steps", "1000",
                                              "--lr", "1", "--lease", "3600", "--shm", "on", NULL});
}

static uint64_t malformed(const char *endpoint)
{
    struct run_result r = RUN(WAIT_MS, "dp-ctl", "--server", endpoint, "status", "--json");
    const char *at = strstr(strstr(r.out, "\"shards\""), "\"malformed\":");
    cr_assert_not_null(at, "%s", r.out);
    return strtoull(at + 12, NULL, 10);
}

Test(slabs, what_is_not_in_a_slab_of_the_session_is_not_read)
{
    NEED_PROGRAMS("dp-server", "dp-ctl");
    char endpoint[PEER_ENDPOINT_MAX];
    struct process *server = serve(endpoint);
    struct worker me, other;
    holder_begin(&me, endpoint);
    worker_begin(&other, endpoint, 4712);
    pass_slab(&other, 5, SHM_TAKEN);
    const uint64_t end = me.slab.bytes / sizeof(float);
    assert_refused(push_slice(&me, 1, 0), "a slab before any was passed");
    assert_refused(push_rows(&me, 1, DENSE, 0), "a slab of rows before any was passed");
    pass_slab(&me, 0, SHM_TAKEN);
    assert_refused(push_slice(&me, 2, 0), "a slab that was not passed");
    assert_refused(push_slice(&me, 6, 0), "a slab of another session");
    assert_refused(push_rows(&me, 6, DENSE, 0), "a slab of rows of another session");
    assert_refused(push_slice(&me, UINT32_MAX, 0), "a slab beyond all");
    assert_refused(push_rows(&me, 1, SLAB_FLOATS - PUSHED * DIM + 1, 0), "rows that end behind what was passed");
    assert_refused(push_rows(&me, 1, end, 0), "rows behind the slab");
    assert_refused(push_rows(&me, 1, UINT64_MAX, 0), "rows beyond all");
    assert_refused(push_rows(&me, 1, UINT64_MAX / sizeof(float) + 1, 0), "rows whose byte is 0 again");
    cr_assert_eq(malformed(endpoint), 10);
    assert_params(push_slice(&me, 1, 0), 1);
    assert_rows(&me, push_rows(&me, 1, DENSE, 0), 1, 0.1F);
    worker_end(&other);
    worker_end(&me);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, WAIT_MS), 143, "%s", process_output(server, ERR));
}

/* A node that was pushed before is a duplicate: it is not read again, and may be something else by then. */
Test(slabs, a_slab_that_was_consumed_is_not_read_again)
{
    NEED_PROGRAMS("dp-server", "dp-ctl");
    char endpoint[PEER_ENDPOINT_MAX];
    struct process *server = serve(endpoint);
    struct worker me;
    holder_begin(&me, endpoint);
    pass_slab(&me, 0, SHM_TAKEN);
    assert_params(push_slice(&me, 1, 0), 1);
    assert_rows(&me, push_rows(&me, 1, DENSE, 0), 1, 0.1F);
    for (uint32_t i = 0; i < SLAB_FLOATS; i++)
        ((float *)me.slab.base)[i] = 1000;
    assert_params(push_slice(&me, 1, 0), 1);
    assert_rows(&me, push_rows(&me, 1, DENSE, 0), 1, 0.1F);
    for (uint32_t i = 0; i < SLAB_FLOATS; i++)
        ((float *)me.slab.base)[i] = -2;
    pass_slab(&me, 0, SHM_TAKEN); /* anew, under the same number */
    assert_params(push_slice(&me, 1, 1), 2);
    assert_rows(&me, push_rows(&me, 1, DENSE, 1), 2, 0.3F);
    cr_assert_eq(malformed(endpoint), 0);
    worker_end(&me);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, WAIT_MS), 143, "%s", process_output(server, ERR));
}

struct scribbler {
    pthread_t thread;
    atomic_bool stop;
    volatile uint32_t *bits; /* of the slab */
};

/* Numbers of all sizes below 2: any that are not finite would end the job, as diverged. */
static void *scribble(void *arg)
{
    struct scribbler *s = arg;
    uint64_t seed = 1;
    while (!atomic_load(&s->stop))
        for (uint32_t i = 0; i < SLAB_FLOATS; i++) {
            seed = seed * 6364136223846793005 + 1442695040888963407;
            s->bits[i] = (uint32_t)(seed >> 32) & 0xbfffffff;
        }
    return NULL;
}

/* A worker that writes its slab while the server reads it spoils its numbers and nothing else. */
Test(slabs, a_slab_that_changes_while_it_is_read_does_no_more_harm_than_wrong_numbers)
{
    enum { STEPS = 400 };
    NEED_PROGRAMS("dp-server", "dp-ctl");
    char endpoint[PEER_ENDPOINT_MAX];
    struct process *server = serve(endpoint);
    struct worker me;
    holder_begin(&me, endpoint);
    pass_slab(&me, 0, SHM_TAKEN);
    struct scribbler scribbler = {.bits = me.slab.base};
    cr_assert_eq(pthread_create(&scribbler.thread, NULL, scribble, &scribbler), 0);
    for (uint64_t step = 0; step < STEPS; step++) {
        assert_params(push_slice(&me, 1, step), step + 1);
        const Dp__Header *answer = push_rows(&me, 1, DENSE, step);
        cr_assert(answer->body_case == DP__HEADER__BODY_ROWS && answer->rows->step == step + 1);
    }
    atomic_store(&scribbler.stop, true);
    pthread_join(scribbler.thread, NULL);
    cr_assert_eq(malformed(endpoint), 0);
    worker_end(&me);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, WAIT_MS), 143, "%s", process_output(server, ERR));
}

/* A worker that takes no answers: its ring is full at some time, and rows go by the socket. */
Test(slabs, a_ring_that_is_not_taken_is_not_written_over)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[PEER_ENDPOINT_MAX];
    struct process *server = serve(endpoint);
    struct worker me;
    holder_begin(&me, endpoint);
    pass_slab(&me, 0, SHM_TAKEN);
    assert_params(push_slice(&me, 1, 0), 1);
    const Dp__Header *answer = push_rows(&me, 1, DENSE, 0);
    assert_rows(&me, answer, 1, 0.1F);
    const float *first = (const float *)me.ring.base + answer->rows->ring_at % me.ring.bytes / sizeof(float);
    uint32_t rings = 1;
    for (int i = 0; i < 5000; i++) {
        answer = push_rows(&me, 1, DENSE, 0);
        cr_assert_eq(answer->body_case, DP__HEADER__BODY_ROWS);
        rings = MAX(rings, answer->rows->ring);
    }
    cr_assert_gt(rings, 1, "a larger one was made");
    for (uint32_t i = 0; i < PUSHED * DIM; i++)
        cr_assert_float_eq(first[i], 0.1F, 1e-6F);
    worker_end(&me);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, WAIT_MS), 143, "%s", process_output(server, ERR));
}
