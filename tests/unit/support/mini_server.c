/* A small dp-server for tests of the client. */
#include "tests/unit/support/mini_server.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "common/base/clock.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "common/net/secret.h"
#include "tests/unit/support/mini_impl.h"
#include "tests/unit/support/mini_rows.h"

enum { SLOTS = 8, ROWS = 16, EVAL_ROWS = 5, BEAT_MS = 20 };

void mini_send(const struct mini *m, struct mini_peer to, uint64_t session, uint64_t request, Dp__Header *header,
               const void *payload, size_t bytes)
{
    uint8_t buf[4096];
    if (atomic_load(&m->opts.mute))
        return;
    header->session = session;
    header->incarnation = m->incarnation;
    header->request = request;
    size_t size = frame_size(header);
    cr_assert_leq(size, sizeof buf);
    frame_write(header, buf);
    zmq_send(to.socket, to.id, to.id_size, ZMQ_SNDMORE);
    zmq_send(to.socket, buf, size, payload ? ZMQ_SNDMORE : 0);
    if (payload)
        zmq_send(to.socket, payload, bytes, 0);
}

static void send_error_body(const struct mini *m, struct mini_peer to, const Dp__Header *answered, dp_err code,
                            Dp__Error *body)
{
    Dp__Header header = DP__HEADER__INIT;
    char text[64];
    snprintf(text, sizeof text, "mini says %s", dp_err_name(code));
    body->code = code;
    body->text = text;
    header.body_case = DP__HEADER__BODY_ERROR;
    header.error = body;
    mini_send(m, to, answered->session, answered->request, &header, NULL, 0);
}

void send_error(const struct mini *m, struct mini_peer to, const Dp__Header *answered, dp_err code, uint64_t step)
{
    Dp__Error body = DP__ERROR__INIT;
    body.step = step;
    send_error_body(m, to, answered, code, &body);
}

void send_keys_unknown(const struct mini *m, struct mini_peer to, const Dp__Header *answered, uint64_t hash)
{
    Dp__Error body = DP__ERROR__INIT;
    body.slice = answered->rows_push_pull->part;
    body.keys = hash;
    send_error_body(m, to, answered, DP_KEYS_UNKNOWN, &body);
}

static void send_not_dealt(const struct mini *m, struct mini_peer to, const Dp__Header *answered, uint64_t step)
{
    Dp__Error body = DP__ERROR__INIT;
    body.step = step;
    body.not_dealt = true;
    send_error_body(m, to, answered, DP_REFUSED, &body);
}

static bool session_known(const struct mini *m, uint64_t session)
{
    for (size_t i = 0; i < m->session_count; i++)
        if (m->sessions[i] == session)
            return true;
    return false;
}

static void job_fill(const struct mini *m, Dp__Job *job)
{
    dp__job__init(job);
    job->model = "mini";
    job->features = 5;
    job->batch = m->plan.batch;
    job->slots = SLOTS;
    job->seed = atomic_load(&m->opts.other_seed) ? 8 : 7;
    job->train_steps = m->plan.train_steps;
    job->train_rows = m->plan.train_rows;
    job->eval_rows = m->plan.eval_rows;
    job->evaluate = m->plan.eval_rows > 0;
}

/* Counts what is proved; whether the hello was answered with another challenge. */
static bool hello_challenged(struct mini *m, struct mini_peer to, const Dp__Header *asked)
{
    const struct proof_claim claim = {DP__HEADER__BODY_HELLO, asked->hello->worker};
    struct secret secret;
    dp_error err;
    Dp__Error body = DP__ERROR__INIT;
    if (asked->proof.len && memcmp(asked->proof.data, m->challenge, sizeof m->challenge) == 0 &&
        secret_load(NULL, true, &secret, &err) == DP_OK && proof_holds(secret.key, &claim, asked->proof.data))
        atomic_fetch_add(&m->proofs, 1);
    if (!use_up(&m->opts.challenges))
        return false;
    proof_random(m->challenge, sizeof m->challenge);
    body.challenge = (ProtobufCBinaryData){.len = sizeof m->challenge, .data = m->challenge};
    body.door = (char *)"dp-door-that-is-none";
    send_error_body(m, to, asked, DP_REFUSED, &body);
    return true;
}

static void send_welcome(struct mini *m, struct mini_peer to, const Dp__Header *asked)
{
    Dp__Header header = DP__HEADER__INIT;
    Dp__Welcome body = DP__WELCOME__INIT;
    Dp__Job job;
    job_fill(m, &job);
    body.version = "mini";
    body.features = (m->tables ? FRAME_FEATURE_TABLES : 0) | (atomic_load(&m->opts.asks) ? FRAME_FEATURE_ASK : 0);
    body.heartbeat_ms = BEAT_MS;
    body.lease_ms = 100 * BEAT_MS;
    body.job = &job;
    header.body_case = DP__HEADER__BODY_WELCOME;
    header.welcome = &body;
    cr_assert_lt(m->session_count, MINI_SESSIONS);
    uint64_t session = 1000 + atomic_fetch_add(&m->hellos, 1);
    m->sessions[m->session_count++] = session;
    mini_send(m, to, session, asked->request, &header, NULL, 0);
}

static void send_joined(struct mini *m, struct mini_peer to, const Dp__Header *asked)
{
    Dp__Header header = DP__HEADER__INIT;
    Dp__Joined body = DP__JOINED__INIT;
    Dp__Job job;
    Dp__Tensor tensor = DP__TENSOR__INIT, table = DP__TENSOR__INIT, *tensors[] = {&tensor, &table};
    Dp__Part parts[MINI_SHARDS], *part_list[MINI_SHARDS];
    uint64_t table_shape[] = {MINI_SHARDS * MINI_PART_ROWS, MINI_DIM};
    Dp__Shard shards[MINI_SHARDS + 1], *list[MINI_SHARDS + 1];
    uint64_t shape[] = {(uint64_t)MINI_ALL * MINI_ELEMS}, slices[MINI_SLICES] = {MINI_ELEMS, MINI_ELEMS, MINI_ELEMS};
    double labels[] = {-1, atomic_load(&m->opts.other_labels) ? 3 : 1};
    job_fill(m, &job);
    tensor.name = "weight";
    tensor.n_shape = 1;
    tensor.shape = shape;
    table.name = "table";
    table.kind = DP__TENSOR__KIND__TABLE;
    table.n_shape = 2;
    table.shape = table_shape;
    job.n_tensors = m->tables ? 2 : 1;
    job.tensors = tensors;
    job.n_labels = ARRAY_LEN(labels);
    job.labels = labels;
    /* The last one has no parameters. */
    for (size_t i = 0; i <= MINI_SHARDS; i++) {
        dp__shard__init(&shards[i]);
        shards[i].endpoint = i < MINI_SHARDS ? m->shard_endpoints[i] : "tcp://*:1";
        shards[i].first = i * MINI_SLICES * MINI_ELEMS;
        shards[i].n_slices = i < MINI_SHARDS ? MINI_SLICES : 0;
        shards[i].slices = slices;
        list[i] = &shards[i];
        if (!m->tables || i == MINI_SHARDS)
            continue;
        dp__part__init(&parts[i]);
        parts[i].tensor = 1;
        parts[i].first = i * MINI_PART_ROWS;
        parts[i].last = parts[i].first + MINI_PART_ROWS - 1;
        part_list[i] = &parts[i];
        shards[i].n_parts = 1;
        shards[i].parts = &part_list[i];
    }
    job.n_shards = MINI_SHARDS + 1;
    job.shards = list;
    body.job = &job;
    body.train_step = atomic_load(&m->opts.train_step);
    header.body_case = DP__HEADER__BODY_JOINED;
    header.joined = &body;
    mini_send(m, to, asked->session, asked->request, &header, NULL, 0);
}

static size_t bits_list(uint64_t bits, uint32_t *list)
{
    size_t count = 0;
    for (uint32_t i = 0; i < SLOTS; i++)
        if (bits >> i & 1)
            list[count++] = i;
    return count;
}

static void send_assign(struct mini *m, uint64_t slots, uint64_t extra_step, uint64_t extra)
{
    Dp__Header header = DP__HEADER__INIT;
    Dp__Assign body = DP__ASSIGN__INIT;
    uint32_t list[SLOTS], extra_list[SLOTS];
    body.slots = list;
    body.n_slots = bits_list(slots, list);
    body.extra_step = extra_step;
    body.extra_slots = extra_list;
    body.n_extra_slots = bits_list(extra, extra_list);
    header.body_case = DP__HEADER__BODY_ASSIGN;
    header.assign = &body;
    mini_send(m, (struct mini_peer){m->head, m->worker_id, m->worker_id_size}, m->worker_session, 0, &header, NULL, 0);
}

static void send_notice(struct mini *m, dp_err code)
{
    Dp__Header header = DP__HEADER__INIT;
    Dp__Notice body = DP__NOTICE__INIT;
    body.code = code;
    body.text = "maintenance tonight";
    header.body_case = DP__HEADER__BODY_NOTICE;
    header.notice = &body;
    mini_send(m, (struct mini_peer){m->head, m->worker_id, m->worker_id_size}, m->worker_session, 0, &header, NULL, 0);
}

static uint64_t global_low(const struct mini *m)
{
    uint64_t low = UINT64_MAX;
    for (size_t i = 0; i < MINI_ALL; i++)
        low = MIN(low, m->slices[i].open);
    for (size_t i = 0; m->tables && i < MINI_SHARDS; i++)
        low = MIN(low, m->parts[i].open);
    return low + (uint64_t)atomic_load(&m->opts.low);
}

static void take_join(struct mini *m, struct mini_peer from, const Dp__Header *header)
{
    atomic_fetch_add(&m->joins, 1);
    if (atomic_load(&m->opts.refuse_join)) {
        send_error(m, from, header, DP_REFUSED, 0);
        return;
    }
    memcpy(m->worker_id, from.id, from.id_size);
    m->worker_id_size = from.id_size;
    m->worker_session = header->session;
    send_joined(m, from, header);
    send_assign(m, atomic_load(&m->opts.first_slots), 0, 0);
}

static void take_head(struct mini *m, struct mini_peer from, const Dp__Header *header)
{
    Dp__Header answer = DP__HEADER__INIT;
    Dp__HeartbeatAck ack = DP__HEARTBEAT_ACK__INIT;
    if (header->body_case == DP__HEADER__BODY_HELLO) {
        if (hello_challenged(m, from, header))
            return;
        send_welcome(m, from, header);
        return;
    }
    if (!session_known(m, header->session)) {
        send_error(m, from, header, DP_HELLO_REQUIRED, 0);
        return;
    }
    switch (header->body_case) {
    case DP__HEADER__BODY_JOIN:
        take_join(m, from, header);
        break;
    case DP__HEADER__BODY_HEARTBEAT:
        atomic_fetch_add(&m->beats, 1);
        ack.global_low = global_low(m);
        answer.body_case = DP__HEADER__BODY_HEARTBEAT_ACK;
        answer.heartbeat_ack = &ack;
        mini_send(m, from, header->session, header->request, &answer, NULL, 0);
        break;
    case DP__HEADER__BODY_BYE:
        atomic_store(&m->bye, (int)header->bye->code);
        break;
    default:
        cr_assert_fail("head got message kind %d", (int)header->body_case);
    }
}

static void answer_pull(struct mini *m, struct mini_peer to, uint32_t slice, uint64_t step, uint64_t have)
{
    struct mini_slice *s = &m->slices[slice];
    Dp__Header header = DP__HEADER__INIT;
    Dp__Params body = DP__PARAMS__INIT;
    if (use_up(&m->opts.drop_params))
        return;
    body.slice = slice;
    body.step = step;
    body.version = s->version;
    body.last = step == plan_total(&m->plan);
    body.unchanged = !body.last && have == s->version + 1;
    header.body_case = DP__HEADER__BODY_PARAMS;
    header.params = &body;
    uint8_t accepted = (uint8_t)s->ahead[step % MINI_STEPS];
    if (m->staleness && !body.last) {
        body.staleness = m->staleness;
        body.accepted = (ProtobufCBinaryData){sizeof accepted, &accepted};
    }
    bool empty = body.last || body.unchanged;
    size_t bytes = sizeof s->theta - (atomic_load(&m->opts.wrong_size) ? sizeof(float) : 0);
    mini_send(m, to, m->worker_session, 0, &header, empty ? NULL : s->theta, bytes);
    if (use_up(&m->opts.double_params))
        mini_send(m, to, m->worker_session, 0, &header, empty ? NULL : s->theta, bytes);
}

static bool pull_ready(const struct mini *m, const struct mini_slice *s, uint64_t step)
{
    return step == s->open || (step <= s->open + m->staleness && step < plan_total(&m->plan));
}

static void take_pull(struct mini *m, struct mini_peer from, const Dp__Header *header, const Dp__PushPull *msg)
{
    struct mini_slice *s = &m->slices[msg->slice];
    atomic_fetch_add(&m->pulls, 1);
    /* On arrival theta is what it is now: a step is past once it is complete on all slices. */
    uint64_t first = m->staleness ? global_low(m) : s->open;
    if (msg->pull_step < first) {
        send_error(m, from, header, DP_STEP_DONE, first);
    } else if (pull_ready(m, s, msg->pull_step)) {
        answer_pull(m, from, msg->slice, msg->pull_step, msg->have);
    } else {
        s->parked = true;
        s->parked_step = msg->pull_step;
        s->parked_have = msg->have;
        memcpy(s->parked_id, from.id, from.id_size);
        s->parked_id_size = from.id_size;
    }
}

uint64_t slots_with_rows(const struct mini *m, uint64_t step)
{
    struct plan_step at = plan_at(&m->plan, step);
    uint64_t bits = 0;
    for (uint32_t k = 0; k < SLOTS; k++)
        bits |= (uint64_t)!plan_slot_empty(&m->plan, &at, k) << k;
    return bits;
}

uint64_t node_slots(const struct mini *m, uint64_t step, uint32_t level, uint32_t index)
{
    uint64_t node = 0;
    for (uint32_t k = index << level; k < MIN((index + 1) << level, (uint32_t)SLOTS); k++)
        node |= UINT64_C(1) << k;
    node &= slots_with_rows(m, step);
    cr_assert_neq(node, 0);
    return node;
}

/* Answers the sessions that wait for the step. */
static void unpark(struct mini *m, uint32_t slice, void *socket)
{
    struct mini_slice *s = &m->slices[slice];
    if (!s->parked || !pull_ready(m, s, s->parked_step))
        return;
    s->parked = false;
    answer_pull(m, (struct mini_peer){socket, s->parked_id, s->parked_id_size}, slice, s->parked_step, s->parked_have);
}

static void slice_commit(struct mini *m, uint32_t slice, void *socket)
{
    struct mini_slice *s = &m->slices[slice];
    bool train = plan_at(&m->plan, s->open).asks->commits;
    for (size_t i = 0; train && i < MINI_ELEMS; i++)
        s->theta[i] += s->sum[i];
    memset(s->sum, 0, sizeof s->sum);
    s->version += train;
    s->covered = 0;
    s->open++;
    unpark(m, slice, socket);
}

/* A loop over what a worker may have been told beforehand: extra slots once the first ones are there. */
static void maybe_extra(struct mini *m, const struct mini_slice *s)
{
    uint64_t first = atomic_load(&m->opts.first_slots), extra = atomic_load(&m->opts.extra_slots);
    if (extra && !m->extra_sent && (s->covered & first) == first) {
        m->extra_sent = true;
        send_assign(m, first, s->open, extra);
    }
}

static void add(float *to, const float *values)
{
    for (size_t i = 0; i < MINI_ELEMS; i++) {
        float value;
        memcpy(&value, values + i, sizeof value);
        to[i] += value;
    }
}

/* A slot that commits on arrival. */
static void take_arrival(struct mini *m, void *socket, const Dp__PushPull *msg, const float *values)
{
    struct mini_slice *s = &m->slices[msg->slice];
    uint64_t *covered = &s->ahead[msg->step % MINI_STEPS], slot = UINT64_C(1) << msg->index;
    cr_assert(msg->level == 0 && msg->step <= s->open + m->staleness);
    if (msg->step < s->open || (*covered & slot)) {
        atomic_fetch_add(&m->duplicates, 1);
        return;
    }
    add(s->theta, values);
    s->version++;
    *covered |= slot;
    atomic_fetch_add(&m->pushes, 1);
    while (s->open < plan_total(&m->plan) && s->ahead[s->open % MINI_STEPS] == slots_with_rows(m, s->open))
        s->open++;
    unpark(m, msg->slice, socket);
}

static void take_push(struct mini *m, void *socket, const Dp__PushPull *msg, const float *values, size_t bytes)
{
    struct mini_slice *s = &m->slices[msg->slice];
    uint64_t node = node_slots(m, msg->step, msg->level, msg->index);
    if (msg->step != s->open || (s->covered & node)) {
        atomic_fetch_add(&m->duplicates, 1);
        return;
    }
    bool train = plan_at(&m->plan, s->open).asks->commits;
    cr_assert_eq(bytes, train ? sizeof s->sum : 0);
    if (train)
        add(s->sum, values);
    s->loss += msg->metrics->loss;
    s->count += msg->metrics->count;
    s->covered |= node;
    atomic_fetch_add(&m->pushes, 1);
    maybe_extra(m, s);
    if (s->covered == slots_with_rows(m, s->open))
        slice_commit(m, msg->slice, socket);
}

bool use_up(atomic_int *left)
{
    if (atomic_load(left) <= 0)
        return false;
    atomic_fetch_sub(left, 1);
    return true;
}

static void note_sender(struct mini_slice *s, struct mini_peer from)
{
    bool same = s->from_id_size == from.id_size && memcmp(s->from_id, from.id, from.id_size) == 0;
    cr_assert_leq(from.id_size, sizeof s->from_id);
    s->from_changes += s->from_id_size > 0 && !same;
    memcpy(s->from_id, from.id, from.id_size);
    s->from_id_size = from.id_size;
}

static void take_slice(struct mini *m, struct mini_peer from, const Dp__Header *header, const void *values,
                       size_t bytes)
{
    const Dp__PushPull *msg = header->push_pull;
    cr_assert_eq(header->body_case, DP__HEADER__BODY_PUSH_PULL);
    cr_assert_lt(msg->slice, MINI_ALL);
    note_sender(&m->slices[msg->slice], from);
    if (msg->push && m->staleness)
        take_arrival(m, from.socket, msg, values);
    else if (msg->push)
        take_push(m, from.socket, msg, values, bytes);
    if (msg->pull)
        take_pull(m, from, header, msg);
}

/* Jobs of one step at a time, without a table. */
static void take_ask(struct mini *m, struct mini_peer from, const Dp__Header *asked)
{
    Dp__Header header = DP__HEADER__INIT;
    Dp__Held body = DP__HELD__INIT;
    const struct mini_slice *s = &m->slices[asked->ask->piece];
    uint64_t covered = asked->ask->step < s->open ? UINT64_MAX : asked->ask->step == s->open ? s->covered : 0;
    uint8_t bits = (uint8_t)covered;
    body.piece = asked->ask->piece;
    body.step = asked->ask->step;
    body.accepted = (ProtobufCBinaryData){.len = sizeof bits, .data = &bits};
    body.pull_step = asked->ask->pull_step;
    body.waits = s->parked && s->parked_step == body.pull_step;
    header.body_case = DP__HEADER__BODY_HELD;
    header.held = &body;
    atomic_fetch_add(&m->questions, asked->request > 0); /* 0: a greeting */
    mini_send(m, from, asked->session, asked->request, &header, NULL, 0);
}

static void take_shard(struct mini *m, struct mini_peer from, const Dp__Header *header, const void *const *payload,
                       size_t bytes)
{
    if (use_up(&m->opts.drop_pushes))
        return;
    if (!session_known(m, header->session) || header->incarnation != m->incarnation) {
        send_error(m, from, header, DP_HELLO_REQUIRED, 0);
        return;
    }
    if (use_up(&m->opts.busy)) {
        send_error(m, from, header, DP_BUSY, 0);
        return;
    }
    bool rows = header->body_case == DP__HEADER__BODY_ROWS_PUSH_PULL;
    if ((rows ? header->rows_push_pull->push : header->push_pull->push) && use_up(&m->opts.not_dealt)) {
        send_not_dealt(m, from, header, rows ? header->rows_push_pull->step : header->push_pull->step);
        return;
    }
    if (rows)
        mini_rows_take(m, from, header, payload);
    else if (header->body_case == DP__HEADER__BODY_ASK)
        take_ask(m, from, header);
    else
        take_slice(m, from, header, payload[0], bytes);
}

static void receive(struct mini *m, void *socket, struct arena *arena)
{
    zmq_msg_t frames[5];
    const void *payload[3] = {NULL};
    size_t count = 0;
    const Dp__Header *header;
    dp_error err;
    do {
        cr_assert_lt(count, ARRAY_LEN(frames));
        zmq_msg_init(&frames[count]);
        cr_assert_geq(zmq_msg_recv(&frames[count], socket, 0), 0);
    } while (zmq_msg_more(&frames[count++]));
    cr_assert_geq(count, 2);
    cr_assert_eq(frame_parse(arena, zmq_msg_data(&frames[1]), zmq_msg_size(&frames[1]), count - 2, &header, &err),
                 DP_OK, "%s", err.text);
    for (size_t i = 2; i < count; i++)
        payload[i - 2] = zmq_msg_data(&frames[i]);
    struct mini_peer from = {socket, zmq_msg_data(&frames[0]), zmq_msg_size(&frames[0])};
    if (atomic_load(&m->opts.mute))
        ;
    else if (socket == m->head)
        take_head(m, from, header);
    else
        take_shard(m, from, header, payload, count > 2 ? zmq_msg_size(&frames[2]) : 0);
    while (count > 0)
        zmq_msg_close(&frames[--count]);
}

static void *router(void *zmq, const char *listen, char *endpoint, size_t size)
{
    int linger = 0;
    void *socket = zmq_socket(zmq, ZMQ_ROUTER);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    /* A socket that was closed gives its port back a moment later. */
    uint64_t deadline_ms = mono_ms() + 10000;
    while (zmq_bind(socket, listen)) {
        cr_assert(zmq_errno() == EADDRINUSE && mono_ms() < deadline_ms, "%s: %s", listen, zmq_strerror(zmq_errno()));
        zmq_poll(NULL, 0, 5);
    }
    cr_assert_eq(zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size), 0);
    return socket;
}

static void slices_start(struct mini *m)
{
    mini_rows_start(m);
    for (uint32_t i = 0; i < MINI_ALL; i++) {
        m->slices[i] = (struct mini_slice){.open = atomic_load(&m->opts.start_step)};
        m->slices[i].version = m->slices[i].open;
        for (size_t e = 0; e < MINI_ELEMS; e++)
            m->slices[i].theta[e] = (float)(i * 1000 + e);
    }
}

static void obey(struct mini *m)
{
    if (use_up(&m->opts.forget_sessions))
        m->session_count = 0;
    if (use_up(&m->opts.restart)) {
        m->session_count = 0;
        m->incarnation++;
        slices_start(m);
    }
    if (use_up(&m->opts.rebind_shards))
        for (size_t i = 0; i < MINI_SHARDS; i++) {
            char copy[64];
            str_copy(copy, sizeof copy, m->shard_endpoints[i]);
            zmq_unbind(m->shards[i], copy);
            zmq_close(m->shards[i]);
            m->shards[i] = router(m->zmq, copy, m->shard_endpoints[i], sizeof m->shard_endpoints[i]);
        }
    int notice = atomic_exchange(&m->opts.notice, 0);
    if (notice)
        send_notice(m, (dp_err)notice);
}

static void *mini_run(void *arg)
{
    struct mini *m = arg;
    struct arena arena = {0};
    slices_start(m);
    while (!atomic_load(&m->stop)) {
        obey(m);
        zmq_pollitem_t items[1 + MINI_SHARDS] = {{.socket = m->head, .events = ZMQ_POLLIN}};
        for (size_t i = 0; i < MINI_SHARDS; i++)
            items[1 + i] = (zmq_pollitem_t){.socket = m->shards[i], .events = ZMQ_POLLIN};
        zmq_poll(items, ARRAY_LEN(items), 5);
        for (size_t i = 0; i < ARRAY_LEN(items); i++)
            if (items[i].revents)
                receive(m, items[i].socket, &arena);
    }
    arena_fini(&arena);
    return NULL;
}

struct mini *mini_new(uint64_t steps, bool evaluate)
{
    struct mini *m = calloc(1, sizeof *m);
    m->plan = (struct plan){.seed = 7,
                            .train_rows = ROWS,
                            .eval_rows = evaluate ? EVAL_ROWS : 0,
                            .batch = ROWS,
                            .train_steps = steps,
                            .slots = SLOTS};
    m->incarnation = 1;
    atomic_store(&m->bye, -1);
    atomic_store(&m->opts.first_slots, 0xff);
    m->zmq = zmq_ctx_new();
    m->head = router(m->zmq, "tcp://127.0.0.1:*", m->endpoint, sizeof m->endpoint);
    for (size_t i = 0; i < MINI_SHARDS; i++)
        m->shards[i] = router(m->zmq, "tcp://0.0.0.0:*", m->shard_endpoints[i], sizeof m->shard_endpoints[i]);
    return m;
}

void mini_start(struct mini *m)
{
    cr_assert_eq(pthread_create(&m->thread, NULL, mini_run, m), 0);
}

void mini_free(struct mini **ref)
{
    struct mini *m = *ref;
    atomic_store(&m->stop, true);
    pthread_join(m->thread, NULL);
    zmq_close(m->head);
    for (size_t i = 0; i < MINI_SHARDS; i++)
        zmq_close(m->shards[i]);
    zmq_ctx_term(m->zmq);
    mini_rows_free(m);
    free(m);
    *ref = NULL;
}
