/* A peer that has got in; see insider.h. */
#include "tests/fault/insider.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "common/base/clock.h"
#include "common/base/entropy.h"
#include "common/base/text.h"
#include "tests/integration/support/play_head.h"

enum { ANSWER_MS = 5000, LEARN_MS = 20000 };

/* ---- messages of a worker ---- */

static void send_welcome(void *socket, zmq_msg_t *id, const Dp__Header *request)
{
    const Dp__Header *header = play_welcome(request);
    uint8_t packed[1024];
    if (frame_size(header) > sizeof packed)
        return;
    frame_write(header, packed);
    zmq_msg_send(id, socket, ZMQ_SNDMORE);
    zmq_send(socket, packed, frame_size(header), 0);
}

/* One message of the worker; false at the deadline. */
static bool hear_worker(struct facts *facts, void *socket, struct arena *arena)
{
    zmq_msg_t id, frame;
    const Dp__Header *header;
    dp_error err;
    zmq_msg_init(&id);
    zmq_msg_init(&frame);
    bool heard = zmq_msg_recv(&id, socket, 0) >= 0 && zmq_msg_recv(&frame, socket, 0) >= 0;
    if (heard && frame_parse(arena, zmq_msg_data(&frame), zmq_msg_size(&frame), 0, &header, &err) == DP_OK) {
        if (header->body_case == DP__HEADER__BODY_HELLO && !facts->hello)
            facts->hello = message_copy(&header->hello->base);
        if (header->body_case == DP__HEADER__BODY_HELLO)
            send_welcome(socket, &id, header);
        if (header->body_case == DP__HEADER__BODY_JOIN && !facts->join)
            facts->join = message_copy(&header->join->base);
    }
    zmq_msg_close(&id);
    zmq_msg_close(&frame);
    return heard;
}

static pid_t start_worker(const struct job_config *config, const char *endpoint)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/worker/dp-worker", config->build);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl(path, path, "--server", endpoint, "--data", config->data, "--quiet", (char *)NULL);
        _exit(127);
    }
    return pid;
}

bool facts_learn(struct facts *facts, const struct job_config *config, struct why *why)
{
    char endpoint[JOB_ENDPOINT_MAX];
    size_t size = sizeof endpoint;
    int timeout_ms = LEARN_MS, linger_ms = 0;
    struct arena arena = {0};
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_ROUTER);
    *facts = (struct facts){0};
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    if (zmq_bind(socket, "tcp://127.0.0.1:*") == 0 && zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0) {
        pid_t pid = start_worker(config, endpoint);
        while (!facts->join && hear_worker(facts, socket, &arena))
            ;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    arena_fini(&arena);
    zmq_close(socket);
    zmq_ctx_term(context);
    return facts->hello && facts->join ? true : why_not(why, "a real worker did not tell what it says");
}

void facts_free(struct facts *facts)
{
    if (facts->hello)
        dp__hello__free_unpacked(facts->hello, NULL);
    if (facts->join)
        dp__join__free_unpacked(facts->join, NULL);
    *facts = (struct facts){0};
}

/* ---- a session ---- */

Dp__Header insider_header(struct insider *insider)
{
    Dp__Header header = DP__HEADER__INIT;
    header.session = insider->session;
    header.incarnation = insider->incarnation;
    header.request = ++insider->request;
    return header;
}

const Dp__Header *insider_ask(struct raw_peer *peer, Dp__Header *header)
{
    uint64_t deadline_ms = mono_ms() + ANSWER_MS;
    if (!raw_send(peer, header, NULL, 0))
        return NULL;
    for (uint64_t now_ms; (now_ms = mono_ms()) < deadline_ms;) {
        const Dp__Header *answer = raw_receive(peer, (int64_t)(deadline_ms - now_ms));
        if (!answer || answer->request == header->request)
            return answer;
    }
    return NULL;
}

bool insider_hello(struct insider *insider, const struct facts *facts, const char *endpoint)
{
    Dp__Hello hello = *facts->hello;
    char name[64];
    *insider = (struct insider){.head.fd = -1};
    if (!raw_connect(&insider->head, endpoint, NULL, 0))
        return false;
    insider->worker = hello.worker = entropy_u64() | 1;
    snprintf(name, sizeof name, "insider:%llx", (unsigned long long)hello.worker);
    hello.name = name;
    hello.pid = 0;
    hello.features = 0; /* no shared memory */
    Dp__Header header = insider_header(insider);
    header.body_case = DP__HEADER__BODY_HELLO;
    header.hello = &hello;
    const Dp__Header *answer = insider_ask(&insider->head, &header);
    if (!answer || answer->body_case != DP__HEADER__BODY_WELCOME)
        return false;
    insider->session = answer->session;
    insider->incarnation = answer->incarnation;
    return true;
}

bool insider_join(struct insider *insider, const struct facts *facts)
{
    Dp__Header header = insider_header(insider);
    header.body_case = DP__HEADER__BODY_JOIN;
    header.join = facts->join;
    const Dp__Header *answer = insider_ask(&insider->head, &header);
    if (!answer || answer->body_case != DP__HEADER__BODY_JOINED)
        return false;
    const Dp__Job *job = answer->joined->job;
    uint32_t slice = 0;
    insider->slots = job->slots;
    for (insider->level = 0; 1u << insider->level < job->slots; insider->level++)
        ;
    for (size_t s = 0; s < job->n_shards && s < JOB_SHARDS_MAX; s++) {
        insider->first_slice[s] = slice;
        insider->first_elems[s] = job->shards[s]->n_slices ? job->shards[s]->slices[0] : 0;
        slice += (uint32_t)job->shards[s]->n_slices;
        (void)str_copy(insider->doors[s], sizeof insider->doors[s], job->shards[s]->shm);
    }
    return true;
}

static uint64_t bitmap(const uint32_t *slots, size_t count)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < count; i++)
        bits |= 1ull << (slots[i] & 63);
    return bits;
}

void insider_listen(struct insider *insider)
{
    const Dp__Header *header;
    while ((header = raw_receive(&insider->head, 0))) {
        if (header->body_case != DP__HEADER__BODY_ASSIGN)
            continue;
        const Dp__Assign *assign = header->assign;
        uint64_t now = bitmap(assign->slots, assign->n_slots) | bitmap(assign->extra_slots, assign->n_extra_slots);
        insider->may_hold = insider->dealt | now;
        insider->dealt = now;
    }
}

bool insider_may_hold(const struct insider *insider, uint32_t level, uint32_t index)
{
    uint32_t slots = 1u << level;
    uint64_t node = (slots < 64 ? (1ull << slots) - 1 : UINT64_MAX) << index * slots;
    return (insider->may_hold & node) == node;
}

bool insider_is_heard(struct insider *insider)
{
    Dp__Heartbeat beat = DP__HEARTBEAT__INIT;
    Dp__Header header = insider_header(insider);
    header.body_case = DP__HEADER__BODY_HEARTBEAT;
    header.heartbeat = &beat;
    const Dp__Header *answer = insider_ask(&insider->head, &header);
    return answer && answer->body_case == DP__HEADER__BODY_HEARTBEAT_ACK;
}

void insider_leave(struct insider *insider, bool goodbye)
{
    Dp__Bye bye = DP__BYE__INIT;
    Dp__Header header = insider_header(insider);
    header.body_case = DP__HEADER__BODY_BYE;
    header.bye = &bye;
    if (goodbye && insider->head.fd >= 0)
        (void)raw_send(&insider->head, &header, NULL, 0);
    /* A close at once would drop it. */
    if (goodbye && insider->head.fd >= 0)
        (void)raw_closed(&insider->head, 50);
    raw_close(&insider->head);
}
