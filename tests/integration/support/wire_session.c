/* A session by hand; see wire_session.h. */
#include "tests/integration/support/wire_session.h"

#include <stdio.h>
#include <string.h>
#include <zmq.h>

#include "common/base/entropy.h"
#include "common/base/mem.h"
#include "common/base/text.h"
#include "proto/frame.h"
#include "worker/client/contact/proof.h"

enum { ANSWER_MS = 10000 };

/* A server that wants to know whose we are is told, once, and asked again. */
static bool prove(struct wire_session *s, Dp__Header *header, const Dp__Error *refusal)
{
    struct client_challenge challenge;
    struct client_proof proof;
    client_challenge_take(refusal, &challenge);
    if (!challenge.given || header->proof.len || header->body_case != DP__HEADER__BODY_HELLO)
        return false;
    client_proof_make(NULL, &challenge, &(struct proof_claim){DP__HEADER__BODY_HELLO, header->hello->worker}, &proof);
    client_proof_put(&proof, header);
    size_t bytes = frame_size(header);
    AUTOFREE void *buf = mem_array(bytes, 1);
    frame_write(header, buf);
    return zmq_send(s->head, buf, bytes, 0) >= 0;
}

static bool ask(struct wire_session *s, Dp__Header *header, struct arena *arena, Dp__Header__BodyCase want,
                const Dp__Header **ret_answer)
{
    dp_error err = {.text = "no answer"};
    header->session = s->session;
    header->incarnation = s->incarnation;
    header->request = 1;
    size_t bytes = frame_size(header);
    AUTOFREE void *buf = mem_array(bytes, 1);
    frame_write(header, buf);
    if (zmq_send(s->head, buf, bytes, 0) < 0)
        return false;
    for (bool got = true; got;) {
        zmq_msg_t msg;
        zmq_msg_init(&msg);
        got = zmq_msg_recv(&msg, s->head, 0) >= 0 &&
              frame_parse(arena, zmq_msg_data(&msg), zmq_msg_size(&msg), 0, ret_answer, &err) == DP_OK;
        zmq_msg_close(&msg);
        if (got && (*ret_answer)->body_case == want)
            return true;
        if (got && (*ret_answer)->body_case == DP__HEADER__BODY_ERROR)
            got = prove(s, header, (*ret_answer)->error) ||
                  !str_copy(err.text, sizeof err.text, (*ret_answer)->error->text);
    }
    fprintf(stderr, "wire_session: %s\n", err.text);
    return false;
}

static bool hello(struct wire_session *s, struct arena *arena)
{
    Dp__Hello body = DP__HELLO__INIT;
    Dp__Header header = DP__HEADER__INIT;
    const Dp__Header *answer;
    body.magic = FRAME_MAGIC;
    body.protocol_major = FRAME_MAJOR;
    body.protocol_minor = FRAME_MINOR;
    body.worker = entropy_u64();
    body.name = (char *)"by hand";
    body.numerics = (char *)"by hand";
    body.threads = 1;
    header.body_case = DP__HEADER__BODY_HELLO;
    header.hello = &body;
    if (!ask(s, &header, arena, DP__HEADER__BODY_WELCOME, &answer))
        return false;
    s->session = answer->session;
    s->incarnation = answer->incarnation;
    return true;
}

static bool join(struct wire_session *s, struct arena *arena, uint64_t rows, uint64_t elems)
{
    Dp__Dataset train = DP__DATASET__INIT;
    Dp__Tensor tensor = DP__TENSOR__INIT, *tensors[] = {&tensor};
    Dp__Join body = DP__JOIN__INIT;
    Dp__Header header = DP__HEADER__INIT;
    const Dp__Header *answer;
    train.rows = rows;
    train.features = train.fingerprint = 1;
    train.name = (char *)"by hand";
    tensor.name = (char *)"w";
    tensor.n_shape = 1;
    tensor.shape = &elems;
    body.train = &train;
    body.n_tensors = 1;
    body.tensors = tensors;
    header.body_case = DP__HEADER__BODY_JOIN;
    header.join = &body;
    if (!ask(s, &header, arena, DP__HEADER__BODY_JOINED, &answer))
        return false;
    const Dp__Shard *shard = answer->joined->job->shards[0];
    const char *star = strstr(shard->endpoint, "//*:");
    s->slice_elems = shard->slices[0];
    if (star)
        snprintf(s->shard, sizeof s->shard, "tcp://127.0.0.1%.200s", star + 3);
    else
        (void)str_copy(s->shard, sizeof s->shard, shard->endpoint);
    return true;
}

bool wire_session_open(struct wire_session *s, void *zmq, const char *server, uint64_t rows, uint64_t elems)
{
    struct arena arena = {0};
    int linger_ms = 0, patience_ms = ANSWER_MS;
    *s = (struct wire_session){.head = zmq_socket(zmq, ZMQ_DEALER)};
    zmq_setsockopt(s->head, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_setsockopt(s->head, ZMQ_RCVTIMEO, &patience_ms, sizeof patience_ms);
    bool good = s->head && zmq_connect(s->head, server) == 0 && hello(s, &arena) && join(s, &arena, rows, elems);
    arena_fini(&arena);
    return good;
}

bool wire_session_slot(struct wire_session *s, uint32_t *ret_slot)
{
    struct arena arena = {0};
    const Dp__Header *header;
    dp_error err = {.text = "it is dealt no slots"};
    bool got = true, dealt = false;
    while (got && !dealt) {
        zmq_msg_t msg;
        zmq_msg_init(&msg);
        got = zmq_msg_recv(&msg, s->head, 0) >= 0 &&
              frame_parse(&arena, zmq_msg_data(&msg), zmq_msg_size(&msg), 0, &header, &err) == DP_OK;
        zmq_msg_close(&msg);
        dealt = got && header->body_case == DP__HEADER__BODY_ASSIGN && header->assign->n_slots > 0;
        if (dealt)
            *ret_slot = header->assign->slots[0];
    }
    arena_fini(&arena);
    if (!dealt)
        fprintf(stderr, "wire_session: %s\n", err.text);
    return dealt;
}

void wire_session_close(struct wire_session *s)
{
    if (s->head)
        zmq_close(s->head);
    s->head = NULL;
}

size_t wire_header(const struct wire_session *s, uint64_t step, int64_t slot, uint64_t pull_step, uint64_t have,
                   void *buf)
{
    Dp__Metrics metrics = DP__METRICS__INIT;
    Dp__PushPull body = DP__PUSH_PULL__INIT;
    Dp__Header header = DP__HEADER__INIT;
    header.session = s->session;
    header.incarnation = s->incarnation;
    header.body_case = DP__HEADER__BODY_PUSH_PULL;
    header.push_pull = &body;
    metrics.count = 1;
    body.pull = true;
    body.pull_step = pull_step;
    body.have = have;
    if (slot >= 0) {
        body.push = true;
        body.step = step;
        body.index = (uint32_t)slot;
        body.metrics = &metrics;
    }
    size_t bytes = frame_size(&header);
    frame_write(&header, buf);
    return bytes;
}
