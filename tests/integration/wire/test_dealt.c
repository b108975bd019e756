/* Pushes that are allowed: sessions by hand push slots that were dealt to them, to others and to nobody; theta and the
 * model are those of the ones that were allowed. The job has 4 slots of one sample each, a dense tensor and, where a
 * test wants it, a table; gradients are whole numbers, so that sums are exact. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "proto/frame_rows.h"
#include "tests/integration/support/by_hand.h"
#include "tests/integration/support/harness.h"

TestSuite(dealt, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { SLOTS = 4, LEVEL = 2, ELEMS = 5, DIM = 2, WAIT_MS = 20000, ALL = 0xf };

#define JOB "--model", "linear", "--slots", "4", "--batch", "4", "--lr", "1", "--exit-when-done"

/* A session. */
struct hand {
    struct who who;
    struct peer shard;
    uint64_t worker;
    uint32_t slots; /* bitmap of the last Assign */
    bool table;
};

/* One that comes again says hello until the server has seen the end of its connection of before. */
static void greet(struct hand *hand, const char *name)
{
    Dp__Hello hello = hello_of(name, hand->worker, 0);
    hello.features = FRAME_FEATURE_TABLES;
    const Dp__Header *answer = say_hello(&hand->who, &hello);
    for (uint64_t until_ms = mono_ms() + WAIT_MS; mono_ms() < until_ms;) {
        if (answer->body_case != DP__HEADER__BODY_ERROR || answer->error->code != DP_BUSY)
            break;
        answer = say_hello(&hand->who, &hello);
    }
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_WELCOME, "%s",
                 answer->body_case == DP__HEADER__BODY_ERROR ? answer->error->text : "");
}

/* `rows` 0: a client with data of its own. */
static void take_part(struct hand *hand, uint64_t rows)
{
    uint64_t dense[] = {ELEMS}, rows_of[] = {10, DIM};
    Dp__Tensor w = DP__TENSOR__INIT, t = DP__TENSOR__INIT, *list[] = {&w, &t};
    Dp__Dataset train = DP__DATASET__INIT;
    Dp__Join join = DP__JOIN__INIT;
    w.name = (char *)"w";
    w.n_shape = 1;
    w.shape = dense;
    t.name = (char *)"t";
    t.kind = DP__TENSOR__KIND__TABLE;
    t.n_shape = 2;
    t.shape = rows_of;
    train.rows = rows;
    train.features = 1;
    train.name = (char *)"by hand";
    join.train = rows ? &train : NULL;
    join.n_tensors = hand->table ? 2 : 1;
    join.tensors = list;
    Dp__Header header = header_of(&hand->who, DP__HEADER__BODY_JOIN, &join);
    const Dp__Header *answer = peer_ask(&hand->who.head, &header, NULL, 0);
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_JOINED, "%s",
                 answer->body_case == DP__HEADER__BODY_ERROR ? answer->error->text : "");
    const Dp__Job *job = answer->joined->job;
    size_t shard = 0;
    while (job->shards[shard]->n_slices == 0)
        shard++;
    peer_connect(&hand->shard, job->shards[shard]->endpoint, 0);
}

/* Reads what the head says until it has dealt these slots. */
static void expect_slots(struct hand *hand, uint32_t slots)
{
    while (hand->slots != slots) {
        const Dp__Header *header = peer_receive(&hand->who.head, WAIT_MS);
        cr_assert(header, "slots %#x are not dealt, but %#x", slots, hand->slots);
        if (header->body_case != DP__HEADER__BODY_ASSIGN)
            continue;
        hand->slots = 0;
        for (size_t i = 0; i < header->assign->n_slots; i++)
            hand->slots |= 1u << header->assign->slots[i];
    }
}

static void enter(struct hand *hand, const char *endpoint, const char *name, uint64_t rows)
{
    static uint64_t workers = 4711;
    hand->worker = ++workers;
    peer_connect(&hand->who.head, endpoint, 0);
    greet(hand, name);
    take_part(hand, rows);
}

static void go(struct hand *hand)
{
    peer_close(&hand->shard);
    peer_close(&hand->who.head);
}

/* The first is dealt all slots, then each half of them. */
static void enter_both(struct hand *first, struct hand *second, const char *endpoint)
{
    enter(first, endpoint, "first", SLOTS);
    expect_slots(first, ALL);
    enter(second, endpoint, "second", SLOTS);
    expect_slots(first, 0x3);
    expect_slots(second, 0xc);
}

/* A push of a node with `count` samples and a gradient of `value` everywhere, and where that is wanted a pull of the
 * next step: its answer. */
static const Dp__Header *push_pull(struct hand *hand, uint64_t step, uint32_t level, uint32_t index, uint64_t count,
                                   float value, bool pull)
{
    float gradient[ELEMS];
    Dp__Metrics metrics = DP__METRICS__INIT;
    Dp__PushPull body = DP__PUSH_PULL__INIT;
    for (int i = 0; i < ELEMS; i++)
        gradient[i] = value;
    metrics.count = count;
    metrics.loss = (double)count;
    body.push = true;
    body.pull = pull;
    body.step = step;
    body.level = level;
    body.index = index;
    body.metrics = &metrics;
    body.pull_step = step + 1;
    Dp__Header header = header_of(&hand->who, DP__HEADER__BODY_PUSH_PULL, &body);
    if (pull)
        return peer_ask(&hand->shard, &header, gradient, sizeof gradient);
    cr_assert(peer_send(&hand->shard, &header, gradient, sizeof gradient));
    return NULL;
}

static const Dp__Header *push_count(struct hand *hand, uint64_t step, uint32_t level, uint32_t index, uint64_t count,
                                    float value)
{
    return push_pull(hand, step, level, index, count, value, true);
}

static const Dp__Header *push(struct hand *hand, uint64_t step, uint32_t level, uint32_t index, float value)
{
    return push_count(hand, step, level, index, UINT64_C(1) << level, value);
}

static void expect_theta(const struct hand *hand, const Dp__Header *answer, float theta)
{
    float got[ELEMS];
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_PARAMS, "%s",
                 answer->body_case == DP__HEADER__BODY_ERROR ? answer->error->text : "no parameters");
    if (answer->params->last)
        return;
    cr_assert_eq(zmq_msg_size(&hand->shard.frames[1]), sizeof got);
    memcpy(got, zmq_msg_data((zmq_msg_t *)&hand->shard.frames[1]), sizeof got);
    for (int i = 0; i < ELEMS; i++)
        cr_assert_eq(got[i], theta, "%g instead of %g", (double)got[i], (double)theta);
}

static void expect_not_dealt(const Dp__Header *answer, const char *text)
{
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_ERROR, "it was taken");
    cr_assert_eq(answer->error->code, DP_REFUSED, "%s", answer->error->text);
    cr_assert(answer->error->not_dealt);
    cr_assert_not_null(strstr(answer->error->text, text), "%s", answer->error->text);
}

/* ---- */

/* The root has slots of both; each of them may push it while it held all of them lately. */
static void root_by_others(const char *shards)
{
    NEED_PROGRAMS("dp-server", "dp-ctl");
    char endpoint[128];
    struct process *server = SERVER(endpoint, JOB, "--steps", "3", "--shards", shards);
    struct hand first = {0}, liar = {0};
    enter_both(&first, &liar, endpoint);
    expect_not_dealt(push(&liar, 0, LEVEL, 0, -5), "slot 0 of step 0 is not dealt to this session");
    expect_not_dealt(push(&liar, 0, 0, 1, -5), "slot 1 of step 0 ");
    expect_not_dealt(push(&liar, 0, 1, 0, -5), "slot 0 of step 0 ");
    expect_theta(&first, push(&first, 0, LEVEL, 0, 4), -4 / 4); /* it holds all slots of step 0 */
    expect_theta(&first, push(&first, 1, LEVEL, 0, 8), -1 - 2); /* and may not have heard that it lost some */
    expect_not_dealt(push(&liar, 2, LEVEL, 0, -5), "slot 0 of step 2 is not dealt");
    const char *line = process_expect(server, ERR, "push-not-dealt", WAIT_MS);
    cr_assert_not_null(strstr(line, "worker=\"second\" step=0 slot=0"), "%s", line);
    struct run_result status = RUN(WAIT_MS, "dp-ctl", "--server", endpoint, "status", "--json");
    cr_assert_not_null(strstr(status.out, "\"not_dealt\":4"), "%s", status.out);
    expect_theta(&first, push(&first, 2, LEVEL, 0, 4), 0);
    go(&first);
    go(&liar);
    cr_assert_eq(process_wait(server, WAIT_MS), 0, "%s", process_output(server, ERR));
}

Test(dealt, a_member_does_not_decide_for_others)
{
    root_by_others("2");
}

Test(dealt, a_member_does_not_decide_for_others_by_one_port)
{
    root_by_others("1");
}

/* A slot that was lost is good for some steps only, else the first worker of a job could push all of them for ever.
 * They are counted from when the shard hears of the loss, which may be after some steps. The other one delivers as
 * well, or its slots would be the first one's again. */
Test(dealt, slots_lost_long_ago_are_not_its_own)
{
    enum { GRACE = 128, HEARD_AFTER_MAX = 250 };
    NEED_PROGRAMS("dp-server");
    char endpoint[128], refused[32];
    (void)SERVER(endpoint, JOB, "--steps", "500", "--speculate", "off", "--balance", "off");
    struct hand first = {0}, second = {0};
    enter_both(&first, &second, endpoint);
    uint64_t step = 0;
    const Dp__Header *answer = push(&first, step, LEVEL, 0, 4);
    for (float theta = -1; answer->body_case == DP__HEADER__BODY_PARAMS; theta -= 1) {
        expect_theta(&first, answer, theta);
        step++;
        (void)push_pull(&second, step, LEVEL - 1, 1, 2, 2, false);
        answer = push(&first, step, LEVEL, 0, 4);
    }
    cr_assert(step > GRACE && step <= GRACE + HEARD_AFTER_MAX, "step %d was refused", (int)step);
    snprintf(refused, sizeof refused, "slot 2 of step %d", (int)step);
    expect_not_dealt(answer, refused);
    go(&first);
    go(&second);
}

/* After a cut a worker says hello again and sends what had no answer, in its new session. */
Test(dealt, a_worker_that_comes_again_sends_again)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    struct process *server = SERVER(endpoint, JOB, "--steps", "2");
    struct hand first = {0}, second = {0};
    enter_both(&first, &second, endpoint);
    go(&first);
    first.slots = 0;
    peer_connect(&first.who.head, endpoint, 0);
    greet(&first, "first");
    take_part(&first, SLOTS);
    expect_theta(&first, push(&first, 0, LEVEL, 0, 4), -1);
    expect_theta(&first, push(&first, 1, LEVEL, 0, 4), 0);
    go(&first);
    go(&second);
    cr_assert_eq(process_wait(server, WAIT_MS), 0, "%s", process_output(server, ERR));
}

/* Another process does not, though it has the name and the number of one that left. */
Test(dealt, another_worker_does_not_inherit)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    (void)SERVER(endpoint, JOB, "--steps", "2");
    struct hand first = {0}, second = {0}, other = {0};
    enter_both(&first, &second, endpoint);
    go(&first);
    enter(&other, endpoint, "first", SLOTS);
    expect_slots(&other, 0x3);
    expect_not_dealt(push(&other, 0, 0, 2, 4), "slot 2 of step 0");
    go(&other);
    go(&second);
}

Test(dealt, on_arrival)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    (void)SERVER(endpoint, JOB, "--steps", "20", "--consistency", "ssp:3");
    struct hand first = {0}, liar = {0};
    enter_both(&first, &liar, endpoint);
    for (uint64_t step = 0; step < 4; step++)
        expect_not_dealt(push(&liar, step, 0, 1, -5), "slot 1 of step ");
    expect_theta(&first, push(&first, 0, 0, 0, 4), -1); /* a fraction of 1/4 of a mean gradient of 4 */
    expect_theta(&first, push(&first, 0, 0, 1, 4), -2);
    expect_theta(&liar, push(&liar, 0, 0, 2, 4), -3);
    go(&first);
    go(&liar);
}

/* Clients with data of their own have one slot each. */
Test(dealt, the_rank_of_another)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    (void)SERVER(endpoint, "--model", "free", "--slots", "2", "--lr", "1", "--steps", "5");
    struct hand one = {0}, two = {0};
    enter(&one, endpoint, "one", 0);
    enter(&two, endpoint, "two", 0);
    expect_slots(&one, 1);
    expect_slots(&two, 2);
    expect_not_dealt(push(&two, 0, 0, 0, 1), "slot 0 of step 0");
    expect_not_dealt(push(&two, 0, 1, 0, 1), "slot 0 of step 0");
    go(&one);
    go(&two);
}

/* ---- tables ---- */

/* A push of one row of the table; every part is told of each node. */
static const Dp__Header *push_row(struct hand *hand, uint64_t step, uint32_t level, uint32_t index, uint64_t count,
                                  float value)
{
    const uint64_t ids[] = {3};
    const float values[DIM] = {value, value};
    Dp__Metrics metrics = DP__METRICS__INIT;
    Dp__Keys keys = DP__KEYS__INIT;
    Dp__RowsPushPull body = DP__ROWS_PUSH_PULL__INIT;
    keys.hash = frame_keys_hash(ids, 1);
    keys.count = 1;
    keys.sent = true;
    metrics.count = count;
    body.part = 1; /* behind the one slice */
    body.push = true;
    body.step = step;
    body.level = level;
    body.index = index;
    body.metrics = &metrics;
    body.push_keys = &keys;
    body.pull = true;
    body.pull_step = step;
    Dp__Header header = header_of(&hand->who, DP__HEADER__BODY_ROWS_PUSH_PULL, &body);
    size_t bytes = frame_size(&header);
    AUTOFREE void *buf = mem_array(bytes, 1);
    frame_write(&header, buf);
    const struct bytes frames[] = {{buf, bytes}, {ids, sizeof ids}, {values, sizeof values}};
    cr_assert(peer_send_frames(&hand->shard, 3, frames));
    for (;;) {
        const Dp__Header *answer = peer_receive(&hand->shard, WAIT_MS);
        cr_assert(answer, "no answer to a push of a row");
        if (answer->request == header.request)
            return answer;
    }
}

Test(dealt, rows_of_tables)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    (void)SERVER(endpoint, JOB, "--steps", "3");
    struct hand first = {.table = true}, liar = {.table = true};
    enter_both(&first, &liar, endpoint);
    expect_not_dealt(push_row(&liar, 0, LEVEL, 0, SLOTS, -5), "slot 0 of step 0");
    const Dp__Header *answer = push_row(&first, 0, LEVEL, 0, SLOTS - 1, 4);
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_ERROR);
    cr_assert_not_null(strstr(answer->error->text, "says 3 samples, its slots have 4"), "%s", answer->error->text);
    answer = push_row(&first, 0, LEVEL, 0, SLOTS, 4);
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_ROWS, "%s",
                 answer->body_case == DP__HEADER__BODY_ERROR ? answer->error->text : "");
    go(&first);
    go(&liar);
}

/* ---- numbers ---- */

static void expect_refused(const Dp__Header *answer, dp_err code, const char *text)
{
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_ERROR, "it was taken");
    cr_assert_eq(answer->error->code, (uint32_t)code, "%s", answer->error->text);
    cr_assert_not(answer->error->not_dealt);
    cr_assert_not_null(strstr(answer->error->text, text), "%s", answer->error->text);
}

/* The samples of a slot are known here: a push that says more would weigh more. */
Test(dealt, samples_are_those_of_the_slots)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    struct process *server = SERVER(endpoint, JOB, "--steps", "2");
    struct hand hand = {0};
    enter(&hand, endpoint, "hand", SLOTS + 1); /* the second step has one sample, in the last slot */
    expect_slots(&hand, ALL);
    expect_refused(push_count(&hand, 0, LEVEL, 0, 3, 4), DP_PROTO, "says 3 samples, its slots have 4");
    expect_refused(push_count(&hand, 0, 0, 0, 2, 4), DP_PROTO, "says 2 samples, its slots have 1");
    expect_refused(push_count(&hand, 0, 0, 0, 0, 4), DP_PROTO, "says 0 samples, its slots have 1");
    expect_theta(&hand, push(&hand, 0, LEVEL, 0, 4), -1);
    expect_refused(push_count(&hand, 1, LEVEL, 0, 4, 4), DP_PROTO, "says 4 samples, its slots have 1");
    expect_theta(&hand, push_count(&hand, 1, 0, 3, 1, 4), 0);
    go(&hand);
    cr_assert_eq(process_wait(server, WAIT_MS), 0, "%s", process_output(server, ERR));
}

/* The samples of clients with data of their own are not known; numbers that would not add up are no message at all. */
static void push_malformed(uint64_t count, double loss)
{
    char endpoint[128];
    struct process *server = SERVER(endpoint, "--model", "free", "--slots", "1", "--lr", "1", "--steps", "1");
    struct hand hand = {0};
    Dp__Metrics metrics = DP__METRICS__INIT;
    Dp__PushPull body = DP__PUSH_PULL__INIT;
    const float gradient[ELEMS] = {0};
    enter(&hand, endpoint, "hand", 0);
    expect_slots(&hand, 1);
    metrics.count = count;
    metrics.loss = loss;
    body.push = true;
    body.metrics = &metrics;
    Dp__Header header = header_of(&hand.who, DP__HEADER__BODY_PUSH_PULL, &body);
    cr_assert(peer_send(&hand.shard, &header, gradient, sizeof gradient));
    (void)process_expect(server, ERR, "malformed-message", WAIT_MS);
    go(&hand);
}

Test(dealt, samples_that_would_not_add_up)
{
    NEED_PROGRAMS("dp-server");
    push_malformed(UINT64_MAX, 1);
    push_malformed(FRAME_SAMPLES_MAX + 1, 1);
    push_malformed(0, 1);
}
