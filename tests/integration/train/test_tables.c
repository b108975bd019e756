/* A job with tables, driven by hand over the wire: a dense tensor, a dense-range table and a hashed one on one or more
 * shards, lists named by their hash, until the model file is written. The bits are those of any number of shards. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "common/kernels/numerics.h"
#include "proto/frame_rows.h"
#include "tests/integration/support/harness.h"
#include "tests/integration/support/peer.h"

TestSuite(tables, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { ROWS = 3000, DIM = 3, SLOTS = 4, STEPS = 6, PARTS_MAX = 8, SHARDS_MAX = 3, WAIT_MS = 20000 };

/* The worker: it holds all slots. */
static struct {
    struct peer head, shards[SHARDS_MAX];
    uint64_t session, incarnation, request;
    uint32_t shard_count, part_count, slice_count;
    struct part {
        uint32_t shard, id, tensor;
        uint64_t first, last;
    } parts[PARTS_MAX];
    struct slice {
        uint32_t shard, id;
        uint64_t elems;
    } slices[PARTS_MAX];
} me;

static Dp__Header header_of(Dp__Header__BodyCase body, void *message)
{
    Dp__Header header = DP__HEADER__INIT;
    header.session = me.session;
    header.incarnation = me.incarnation;
    header.request = ++me.request;
    header.body_case = body;
    header.push_pull = message;
    return header;
}

static void say_hello(void)
{
    Dp__Hello hello = DP__HELLO__INIT;
    hello.magic = FRAME_MAGIC;
    hello.protocol_major = FRAME_MAJOR;
    hello.worker = 4711;
    hello.name = (char *)"by-hand";
    hello.numerics = (char *)"any";
    hello.features = FRAME_FEATURE_TABLES;
    Dp__Header header = header_of(DP__HEADER__BODY_HELLO, &hello);
    const Dp__Header *answer = peer_ask(&me.head, &header, NULL, 0);
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_WELCOME);
    cr_assert(answer->welcome->features & FRAME_FEATURE_TABLES);
    me.session = answer->session;
    me.incarnation = answer->incarnation;
}

static void tensor(Dp__Tensor *t, const char *name, Dp__Tensor__Kind kind, size_t rank, uint64_t *shape)
{
    dp__tensor__init(t);
    t->name = (char *)name;
    t->kind = kind;
    t->n_shape = rank;
    t->shape = shape;
    t->init = 2; /* normal */
    t->init_arg = 0.5f;
    t->regularized = true;
}

static const Dp__Header *ask_to_join(void)
{
    static uint64_t five[] = {5}, table[] = {ROWS, DIM}, row[] = {DIM};
    static Dp__Tensor tensors[3], *list[] = {&tensors[0], &tensors[1], &tensors[2]};
    tensor(&tensors[0], "bias", DP__TENSOR__KIND__DENSE, 1, five);
    tensor(&tensors[1], "table", DP__TENSOR__KIND__TABLE, 2, table);
    tensor(&tensors[2], "words", DP__TENSOR__KIND__HASHED, 1, row);
    Dp__Dataset train = DP__DATASET__INIT;
    train.rows = 100;
    train.features = ROWS;
    train.name = (char *)"by-hand";
    Dp__Join join = DP__JOIN__INIT;
    join.train = &train;
    join.n_tensors = 3;
    join.tensors = list;
    Dp__Header header = header_of(DP__HEADER__BODY_JOIN, &join);
    return peer_ask(&me.head, &header, NULL, 0);
}

static void join(void)
{
    const Dp__Header *answer = ask_to_join();
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_JOINED, "%s",
                 answer->body_case == DP__HEADER__BODY_ERROR ? answer->error->text : "");
    const Dp__Job *job = answer->joined->job;
    me.shard_count = (uint32_t)job->n_shards;
    for (uint32_t s = 0; s < job->n_shards; s++) {
        peer_connect(&me.shards[s], job->shards[s]->endpoint, 0);
        for (uint32_t i = 0; i < job->shards[s]->n_slices; i++, me.slice_count++)
            me.slices[me.slice_count] = (struct slice){s, me.slice_count, job->shards[s]->slices[i]};
    }
    for (uint32_t s = 0; s < job->n_shards; s++)
        for (uint32_t i = 0; i < job->shards[s]->n_parts; i++, me.part_count++) {
            const Dp__Part *part = job->shards[s]->parts[i];
            me.parts[me.part_count] =
                (struct part){s, me.slice_count + me.part_count, part->tensor, part->first, part->last};
        }
    cr_assert_eq(me.part_count, 2 * me.shard_count);
}

/* The k-th row of all that are ever touched; those of the hashed table are anywhere. */
static uint64_t id_of(uint32_t tensor, uint64_t k)
{
    return tensor == 1 ? k : k * UINT64_C(6148914691236517);
}

/* Rows of a part that a slot of a step touches; returns how many. */
static uint32_t rows_of(const struct part *part, uint64_t step, uint32_t slot, uint64_t *ids)
{
    uint32_t n = 0;
    for (uint64_t k = 0; k < ROWS; k++) {
        uint64_t id = id_of(part->tensor, k);
        if (id >= part->first && id <= part->last && k % 5 != 0 && (k * 7 + step * 3 + slot) % 11 == 0)
            ids[n++] = id;
    }
    return n;
}

static void send_rows(const struct part *part, Dp__RowsPushPull *msg, size_t count, const struct bytes *payload)
{
    msg->part = part->id;
    Dp__Header header = header_of(DP__HEADER__BODY_ROWS_PUSH_PULL, msg);
    uint8_t packed[256];
    struct bytes frames[4] = {{packed, frame_size(&header)}};
    cr_assert_leq(frames[0].size, sizeof packed);
    frame_write(&header, packed);
    memcpy(frames + 1, payload, count * sizeof *frames);
    cr_assert(peer_send_frames(&me.shards[part->shard], 1 + count, frames));
}

/* Pushes a slot's rows, the list named by its hash unless `send`. */
static void push_rows(const struct part *part, uint64_t step, uint32_t slot, bool send)
{
    static uint64_t ids[ROWS];
    static float values[ROWS * DIM];
    Dp__Metrics metrics = DP__METRICS__INIT;
    Dp__Keys keys = DP__KEYS__INIT;
    Dp__RowsPushPull msg = DP__ROWS_PUSH_PULL__INIT;
    uint32_t n = rows_of(part, step, slot, ids);
    for (uint32_t i = 0; i < n * DIM; i++)
        values[i] = 1.0f / (float)(1 + (ids[i / DIM] + step + slot * 3 + i % DIM) % 97);
    metrics.count = 25;
    metrics.loss = 1;
    keys.count = n;
    keys.hash = frame_keys_hash(ids, n);
    keys.sent = send && n > 0;
    msg.push = true;
    msg.step = step;
    msg.index = slot;
    msg.metrics = &metrics;
    msg.push_keys = &keys;
    struct bytes payload[2];
    size_t count = 0;
    if (keys.sent)
        payload[count++] = (struct bytes){ids, n * sizeof *ids};
    if (n > 0)
        payload[count++] = (struct bytes){values, (size_t)n * DIM * sizeof *values};
    send_rows(part, &msg, count, payload);
}

/* Asks for rows, and waits for the answer about this part and step. */
static const Dp__Header *pull_rows(const struct part *part, uint64_t step, const uint64_t *ids, uint32_t n, bool send)
{
    Dp__Keys keys = DP__KEYS__INIT;
    Dp__RowsPushPull msg = DP__ROWS_PUSH_PULL__INIT;
    const struct bytes payload = {ids, n * sizeof *ids};
    keys.count = n;
    keys.hash = frame_keys_hash(ids, n);
    keys.sent = send;
    msg.pull = true;
    msg.pull_step = step;
    msg.pull_keys = &keys;
    send_rows(part, &msg, send, &payload);
    const Dp__Header *answer = peer_receive(&me.shards[part->shard], WAIT_MS);
    cr_assert_not_null(answer);
    return answer;
}

static void push_slices(uint64_t step, uint32_t slot)
{
    for (uint32_t i = 0; i < me.slice_count; i++) {
        static const float zeros[64];
        Dp__Metrics metrics = DP__METRICS__INIT;
        Dp__PushPull msg = DP__PUSH_PULL__INIT;
        metrics.count = 25;
        metrics.loss = 1;
        msg.slice = me.slices[i].id;
        msg.push = true;
        msg.step = step;
        msg.index = slot;
        msg.metrics = &metrics;
        Dp__Header header = header_of(DP__HEADER__BODY_PUSH_PULL, &msg);
        cr_assert(
            peer_send(&me.shards[me.slices[i].shard], &header, zeros, (size_t)me.slices[i].elems * sizeof *zeros));
    }
}

static void run_step(uint64_t step)
{
    for (uint32_t k = 0; k < SLOTS; k++) {
        uint32_t slot = (k + (uint32_t)step) % SLOTS;
        push_slices(step, slot);
        for (uint32_t i = 0; i < me.part_count; i++)
            push_rows(&me.parts[i], step, slot, true);
    }
    for (uint32_t i = 0; i < me.part_count; i++) {
        const Dp__Header *answer = pull_rows(&me.parts[i], step + 1, NULL, 0, false);
        cr_assert_eq(answer->body_case, DP__HEADER__BODY_ROWS, "%s",
                     answer->body_case == DP__HEADER__BODY_ERROR ? answer->error->text : "");
        cr_assert(answer->rows->step == step + 1 && answer->rows->part == me.parts[i].id);
        cr_assert_eq(answer->rows->last, step + 1 == STEPS);
    }
}

static void begin(const char *endpoint)
{
    memset(&me, 0, sizeof me);
    peer_connect(&me.head, endpoint, 0);
    say_hello();
    join();
    peer_await_slots(&me.head, SLOTS);
}

static void end(void)
{
    peer_close(&me.head);
    for (uint32_t s = 0; s < me.shard_count; s++)
        peer_close(&me.shards[s]);
}

static struct process *serve(char *endpoint, const char *shards, const char *file, const char *optimizer)
{
    return server_start(endpoint, PEER_ENDPOINT_MAX,
                        (const char *const[]){"--model",     "linear",  "--batch",  "100",     "--slots",
                                              "4",           "--steps", "6",        "--lease", "3600",
                                              "--shards",    shards,    "--export", file,      "--exit-when-done",
                                              "--optimizer", optimizer, "--l2",     "0.01",    NULL});
}

static void work(const char *endpoint, struct process *server)
{
    begin(endpoint);
    for (uint64_t step = 0; step < STEPS; step++)
        run_step(step);
    Dp__Bye bye = DP__BYE__INIT;
    Dp__Header header = header_of(DP__HEADER__BODY_BYE, &bye);
    cr_assert(peer_send(&me.head, &header, NULL, 0));
    cr_assert_eq(process_wait(server, WAIT_MS), 0, "%s", process_output(server, ERR));
    end();
}

static void train(const char *shards, const char *file, const char *optimizer)
{
    char endpoint[PEER_ENDPOINT_MAX];
    struct process *server = serve(endpoint, shards, file, optimizer);
    work(endpoint, server);
}

/* The same steps with another option, at a rate that no weight feels where it is `still`. */
static void train_with(const char *shards, const char *file, bool still, const char *option, const char *value)
{
    char endpoint[PEER_ENDPOINT_MAX];
    struct process *server = server_start(endpoint, sizeof endpoint,
                                          (const char *const[]){"--model",
                                                                "linear",
                                                                "--batch",
                                                                "100",
                                                                "--slots",
                                                                "4",
                                                                "--steps",
                                                                "6",
                                                                "--lease",
                                                                "3600",
                                                                "--shards",
                                                                shards,
                                                                "--export",
                                                                file,
                                                                "--exit-when-done",
                                                                "--lr",
                                                                still ? "1e-30" : "0.1",
                                                                option,
                                                                value,
                                                                NULL});
    work(endpoint, server);
}

static size_t file_bytes(const char *path, char **ret_bytes)
{
    FILE *file = fopen(path, "rb");
    cr_assert(file, "no %s", path);
    *ret_bytes = calloc(1, 1 << 20);
    size_t n = fread(*ret_bytes, 1, 1 << 20, file);
    fclose(file);
    return n;
}

Test(tables, the_model_has_the_same_bits_for_any_number_of_shards)
{
    static const char *const RULES[] = {"sgd", "adam"};
    for (size_t r = 0; r < ARRAY_LEN(RULES); r++) {
        char *want, *got;
        train("1", temp_path("one"), RULES[r]);
        size_t n = file_bytes(temp_path("one"), &want);
        cr_assert(strstr(want + 8, "\"words.ids\":{\"dtype\":\"U64\"") && strstr(want + 8, "\"words.values\"") &&
                  strstr(want + 8, "\"table\":{\"dtype\":\"F32\",\"shape\":[3000,3]"));
        for (uint32_t shards = 2; shards <= SHARDS_MAX; shards++) {
            char text[] = {(char)('0' + shards), 0};
            train(text, temp_path("more"), RULES[r]);
            cr_assert_eq(file_bytes(temp_path("more"), &got), n);
            cr_assert_eq(memcmp(want, got, n), 0, "%u shards, %s", shards, RULES[r]);
            free(got);
        }
        free(want);
    }
}

static void expect_same_file(const char *a, const char *b)
{
    char *x, *y;
    const size_t n = file_bytes(a, &x);
    cr_assert_eq(file_bytes(b, &y), n, "%s", b);
    cr_assert_eq(memcmp(x, y, n), 0, "%s", b);
    free(x);
    free(y);
}

/* Rows by number and by id, those that were touched and those that were not. */
Test(tables, a_job_begins_with_the_rows_of_a_model_or_a_checkpoint)
{
    const char *moved = temp_path("moved"), *plain = temp_path("plain"), *dir = temp_path("ck");
    train("2", moved, "adam");
    train_with("2", plain, false, "--checkpoint-dir", dir);
    for (uint32_t shards = 1; shards <= SHARDS_MAX; shards++) {
        char text[] = {(char)('0' + shards), 0};
        const char *file = temp_path("again");
        train_with(text, file, true, "--init-from", moved);
        expect_same_file(moved, file);
        train_with(text, file, true, "--init-from", plain);
        expect_same_file(plain, file);
        train_with(text, file, true, "--init-from", dir);
        expect_same_file(plain, file);
    }
}

/* A number of a tensor in the document of dp-worker inspect. */
static uint64_t inspected(const char *path, const char *tensor, const char *member)
{
    char name[64], key[64];
    struct run_result r = RUN(WAIT_MS, "dp-worker", "inspect", "--json", "--model", path);
    cr_assert_eq(r.status, 0, "%s", r.err);
    (void)!snprintf(name, sizeof name, "\"name\":\"%s\"", tensor);
    (void)!snprintf(key, sizeof key, "\"%s\":", member);
    const char *at = strstr(r.out, name);
    at = at ? strstr(at, key) : NULL;
    cr_assert_not_null(at, "%s", r.out);
    return strtoull(at + strlen(key), NULL, 10);
}

Test(tables, inspect_counts_the_rows_of_both)
{
    const char *file = temp_path("model"), *dir = temp_path("ck");
    train_with("3", file, false, "--checkpoint-dir", dir);
    cr_assert_gt(inspected(file, "words", "rows"), 0);
    cr_assert_eq(inspected(file, "words", "rows"), inspected(dir, "words", "rows"));
    cr_assert_eq(inspected(file, "words", "nonzeros"), inspected(dir, "words", "nonzeros"));
    cr_assert_eq(inspected(file, "words", "elements"), DIM * inspected(dir, "words", "rows"));
    cr_assert_eq(inspected(file, "table", "elements"), ROWS * DIM);
    cr_assert_eq(inspected(dir, "table", "elements"), ROWS * DIM);
    cr_assert_lt(inspected(dir, "table", "rows"), ROWS);
    struct run_result r = RUN(WAIT_MS, "dp-worker", "predict", "--model", dir, "--data", temp_separable());
    cr_assert_eq(r.status, 1);
    cr_assert_not_null(strstr(r.err, "has rows by id"), "%s", r.err);
}

Test(tables, lists_are_sent_once)
{
    char endpoint[PEER_ENDPOINT_MAX];
    struct process *server = serve(endpoint, "1", temp_path("model"), "sgd");
    begin(endpoint);
    const struct part *part = &me.parts[0];
    const uint64_t ids[] = {1, 5, 2999}, wrong[] = {1, 5, 3000}, falls[] = {5, 1, 2999};
    const Dp__Header *answer = pull_rows(part, 0, ids, 3, false);
    cr_assert(answer->body_case == DP__HEADER__BODY_ERROR && answer->error->code == DP_KEYS_UNKNOWN);
    cr_assert_eq(answer->error->keys, frame_keys_hash(ids, 3));
    cr_assert_eq(answer->error->slice, part->id);
    answer = pull_rows(part, 0, ids, 3, true);
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_ROWS);
    float values[3 * DIM];
    cr_assert_eq(zmq_msg_size(&me.shards[0].frames[1]), sizeof values);
    memcpy(values, zmq_msg_data(&me.shards[0].frames[1]), sizeof values);
    answer = pull_rows(part, 0, ids, 3, false);
    cr_assert(answer->body_case == DP__HEADER__BODY_ROWS && answer->rows->keys == frame_keys_hash(ids, 3));
    cr_assert_arr_eq(zmq_msg_data(&me.shards[0].frames[1]), values, sizeof values);
    answer = pull_rows(part, 0, wrong, 3, true);
    cr_assert(answer->body_case == DP__HEADER__BODY_ERROR && strstr(answer->error->text, "beyond its part"));
    answer = pull_rows(part, 0, falls, 3, true);
    cr_assert(answer->body_case == DP__HEADER__BODY_ERROR && strstr(answer->error->text, "ascending"));
    push_rows(part, 0, 0, false);
    answer = peer_receive(&me.shards[0], WAIT_MS);
    cr_assert(answer && answer->body_case == DP__HEADER__BODY_ERROR && answer->error->code == DP_KEYS_UNKNOWN);
    end();
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, WAIT_MS), 143);
}

Test(tables, what_tables_cannot_have_is_refused_when_they_are_declared)
{
    char endpoint[PEER_ENDPOINT_MAX];
    struct process *server = serve(endpoint, "1", temp_path("model"), "lamb");
    memset(&me, 0, sizeof me);
    peer_connect(&me.head, endpoint, 0);
    say_hello();
    const Dp__Header *answer = ask_to_join();
    cr_assert(answer->body_case == DP__HEADER__BODY_ERROR && strstr(answer->error->text, "norm of the whole"), "%d",
              (int)answer->body_case);
    peer_close(&me.head);
    process_signal(server, SIGTERM);
    (void)process_wait(server, WAIT_MS);
}
