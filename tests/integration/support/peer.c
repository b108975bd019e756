/* A peer under the test's control. */
#include "tests/integration/support/peer.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "worker/client/contact/proof.h"

enum { ANSWER_MS = 60000, WRITE_MS = 2000 };

static void *context;

static void socket_open(struct peer *peer, int type)
{
    int linger_ms = 0;
    *peer = (struct peer){0};
    if (!context)
        context = zmq_ctx_new();
    peer->socket = zmq_socket(context, type);
    cr_assert(peer->socket);
    zmq_setsockopt(peer->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
}

/* The host * becomes 127.0.0.1. */
static void endpoint_local(const char *endpoint, char *text, size_t size)
{
    const char *star = strstr(endpoint, "//*:");
    if (star)
        snprintf(text, size, "tcp://127.0.0.1:%s", star + 4);
    else
        (void)str_copy(text, size, endpoint);
}

void peer_connect(struct peer *peer, const char *endpoint, int receive_limit)
{
    char local[PEER_ENDPOINT_MAX];
    endpoint_local(endpoint, local, sizeof local);
    socket_open(peer, ZMQ_DEALER);
    if (receive_limit) {
        int buffer = 4096;
        zmq_setsockopt(peer->socket, ZMQ_RCVHWM, &receive_limit, sizeof receive_limit);
        zmq_setsockopt(peer->socket, ZMQ_RCVBUF, &buffer, sizeof buffer);
    }
    cr_assert_eq(zmq_connect(peer->socket, local), 0, "%s", local);
}

void peer_listen(struct peer *peer, char *endpoint)
{
    size_t size = PEER_ENDPOINT_MAX;
    socket_open(peer, ZMQ_ROUTER);
    cr_assert_eq(zmq_bind(peer->socket, "tcp://127.0.0.1:*"), 0);
    cr_assert_eq(zmq_getsockopt(peer->socket, ZMQ_LAST_ENDPOINT, endpoint, &size), 0);
}

static void frames_drop(struct peer *peer)
{
    while (peer->frame_count > 0)
        zmq_msg_close(&peer->frames[--peer->frame_count]);
}

void peer_close(struct peer *peer)
{
    frames_drop(peer);
    arena_fini(&peer->arena);
    zmq_close(peer->socket);
    *peer = (struct peer){0};
}

bool peer_send_frames(struct peer *peer, size_t count, const struct bytes *frames)
{
    for (size_t i = 0; i < count; i++) {
        int flags = ZMQ_DONTWAIT | (i + 1 < count ? ZMQ_SNDMORE : 0);
        if (zmq_send(peer->socket, frames[i].data, frames[i].size, flags) < 0)
            return false;
    }
    return true;
}

bool peer_send(struct peer *peer, const Dp__Header *header, const void *payload, size_t bytes)
{
    size_t n = frame_size(header), count = 0;
    AUTOFREE void *packed = mem_array(n, 1);
    cr_assert(packed);
    frame_write(header, packed);
    struct bytes frames[3];
    int type;
    size_t size = sizeof type;
    zmq_getsockopt(peer->socket, ZMQ_TYPE, &type, &size);
    if (type == ZMQ_ROUTER)
        frames[count++] = (struct bytes){zmq_msg_data(&peer->frames[0]), zmq_msg_size(&peer->frames[0])};
    frames[count++] = (struct bytes){packed, n};
    if (payload)
        frames[count++] = (struct bytes){payload, bytes};
    return peer_send_frames(peer, count, frames);
}

/* One whole message to frames; false after the deadline. */
static bool frames_receive(struct peer *peer, uint64_t deadline_ms)
{
    uint64_t now_ms = mono_ms();
    zmq_pollitem_t item = {.socket = peer->socket, .events = ZMQ_POLLIN};
    frames_drop(peer);
    if (zmq_poll(&item, 1, now_ms < deadline_ms ? (long)(deadline_ms - now_ms) : 0) <= 0)
        return false;
    do {
        cr_assert_lt(peer->frame_count, PEER_FRAMES_MAX);
        zmq_msg_t *frame = &peer->frames[peer->frame_count++];
        zmq_msg_init(frame);
        cr_assert_geq(zmq_msg_recv(frame, peer->socket, 0), 0);
    } while (zmq_msg_more(&peer->frames[peer->frame_count - 1]));
    return true;
}

const Dp__Header *peer_receive(struct peer *peer, uint32_t timeout_ms)
{
    uint64_t deadline_ms = mono_ms() + timeout_ms;
    int type;
    size_t size = sizeof type;
    zmq_getsockopt(peer->socket, ZMQ_TYPE, &type, &size);
    size_t at = type == ZMQ_ROUTER;
    while (frames_receive(peer, deadline_ms)) {
        const Dp__Header *header;
        dp_error err;
        if (peer->frame_count > at &&
            frame_parse(&peer->arena, zmq_msg_data(&peer->frames[at]), zmq_msg_size(&peer->frames[at]),
                        peer->frame_count - at - 1, &header, &err) == DP_OK)
            return header;
    }
    return NULL;
}

const Dp__Header *peer_ask_unproved(struct peer *peer, const Dp__Header *header, const void *payload, size_t bytes)
{
    uint64_t deadline_ms = mono_ms() + ANSWER_MS;
    cr_assert(peer_send(peer, header, payload, bytes), "the question cannot be sent");
    while (mono_ms() < deadline_ms) {
        const Dp__Header *answer = peer_receive(peer, (uint32_t)(deadline_ms - MIN(mono_ms(), deadline_ms)));
        if (answer && answer->request == header->request)
            return answer;
    }
    cr_assert_fail("no answer to request %llu in %d s", (unsigned long long)header->request, ANSWER_MS / 1000);
    return NULL;
}

const Dp__Header *peer_ask(struct peer *peer, const Dp__Header *header, const void *payload, size_t bytes)
{
    const Dp__Header *answer = peer_ask_unproved(peer, header, payload, bytes);
    struct client_challenge challenge = {.given = false};
    if (answer->body_case == DP__HEADER__BODY_ERROR)
        client_challenge_take(answer->error, &challenge);
    if (!challenge.given)
        return answer;
    bool hello = header->body_case == DP__HEADER__BODY_HELLO;
    const struct proof_claim claim = {(uint32_t)header->body_case, hello ? header->hello->worker : 0};
    struct client_proof proof;
    Dp__Header proved = *header;
    client_proof_make(NULL, &challenge, &claim, &proof);
    client_proof_put(&proof, &proved);
    return peer_ask_unproved(peer, &proved, payload, bytes);
}

void peer_await_slots(struct peer *peer, size_t count)
{
    uint64_t deadline_ms = mono_ms() + ANSWER_MS;
    const Dp__Header *said;
    do {
        said = peer_receive(peer, (uint32_t)(deadline_ms - MIN(mono_ms(), deadline_ms)));
        cr_assert_not_null(said, "%zu slots are not dealt in %d s", count, ANSWER_MS / 1000);
    } while (said->body_case != DP__HEADER__BODY_ASSIGN || said->assign->n_slots != count);
}

int tcp_connect(const char *endpoint)
{
    const char *colon = strrchr(endpoint, ':');
    cr_assert(colon);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    struct timeval patience = {.tv_sec = WRITE_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    close(fd);
    return -1;
}

void tcp_write(int fd, const void *data, size_t bytes)
{
    const char *at = data;
    while (bytes > 0) {
        ssize_t n = send(fd, at, bytes, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        at += n;
        bytes -= (size_t)n;
    }
}
