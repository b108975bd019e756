/* Nonsense for any port; see nonsense.h. */
#include "tests/integration/support/nonsense.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "tests/integration/support/peer.h"

uint64_t nonsense_random(void)
{
    static uint64_t x = 88172645463325252;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

static void random_fill(uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(nonsense_random() >> 32);
}

/* Keeps a connection open, in the place of the oldest. */
static void idle_add(struct nonsense *nonsense, int fd)
{
    int *place = &nonsense->idle[nonsense->idle_next++ % NONSENSE_IDLE_MAX];
    if (*place > 0)
        close(*place);
    *place = fd;
}

/* A ZMTP 3.0 greeting (rfc.zeromq.org/spec/23) as libzmq sends it without security. */
static const uint8_t GREETING[64] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'N', 'U', 'L', 'L'};

static void tcp_nonsense(struct nonsense *nonsense, const char *endpoint)
{
    static uint8_t noise[1 << 16];
    static const char HTTP[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    static const uint8_t ENDLESS[] = {0x06, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 5, 'R', 'E', 'A', 'D', 'Y'};
    static const uint8_t READY[] = {0x04, 25,  5,   'R', 'E', 'A', 'D', 'Y', 11, 'S', 'o', 'c', 'k',
                                    'e',  't', '-', 'T', 'y', 'p', 'e', 0,   0,  0,   2,   'X', 'X'};
    random_fill(noise, sizeof noise);
    for (int i = 0; i < 12; i++) {
        int fd = tcp_connect(endpoint);
        if (i >= 4) /* the others come after a good beginning */
            tcp_write(fd, GREETING, i % 4 == 3 ? 32 : sizeof GREETING);
        if (i % 4 == 0)
            tcp_write(fd, noise, sizeof noise);
        else if (i % 4 == 1)
            tcp_write(fd, i < 8 ? (const void *)ENDLESS : READY, i < 8 ? sizeof ENDLESS : sizeof READY);
        else if (i % 4 == 2)
            tcp_write(fd, HTTP, sizeof HTTP - 1);
        idle_add(nonsense, fd);
    }
    for (int i = 0; i < 40; i++)
        idle_add(nonsense, tcp_connect(endpoint));
}

/* Messages of 1 to 20 frames of noise, some with the session's tokens at the right place. */
static void frame_nonsense(const struct nonsense *nonsense, struct peer *peer)
{
    uint8_t noise[600];
    for (int i = 0; i < 600; i++) {
        struct bytes frames[20];
        size_t count = 1 + (i % 10 == 0 ? nonsense_random() % 20 : nonsense_random() % 3);
        random_fill(noise, sizeof noise);
        if (i % 2) {
            noise[0] = 0x09; /* session, incarnation, then a body */
            memcpy(noise + 1, &nonsense->session, 8);
            noise[9] = 0x11;
            memcpy(noise + 10, &nonsense->incarnation, 8);
            noise[18] = (uint8_t)(10 << 3 | 2);
            noise[19] = (uint8_t)(nonsense_random() % 64);
        }
        for (size_t f = 0; f < count; f++)
            frames[f] = (struct bytes){noise, nonsense_random() % (f == 0 ? 80 : sizeof noise)};
        (void)peer_send_frames(peer, count, frames);
    }
}

static size_t push_pack(const struct nonsense *nonsense, uint8_t *packed, size_t size)
{
    Dp__PushPull body = DP__PUSH_PULL__INIT;
    Dp__Metrics metrics = DP__METRICS__INIT;
    Dp__Header header = DP__HEADER__INIT;
    header.session = nonsense->session;
    header.incarnation = nonsense->incarnation;
    metrics.count = 8;
    metrics.loss = 1.5;
    body.push = body.pull = true;
    body.pull_step = 1;
    body.metrics = &metrics;
    header.body_case = DP__HEADER__BODY_PUSH_PULL;
    header.push_pull = &body;
    cr_assert_leq(frame_size(&header), size);
    frame_write(&header, packed);
    return frame_size(&header);
}

/* Every beginning of a good header, and the whole with single bits changed but without the payload it needs. */
static void header_nonsense(const struct nonsense *nonsense, struct peer *peer)
{
    uint8_t packed[256];
    size_t n = push_pack(nonsense, packed, sizeof packed);
    for (size_t cut = 0; cut < n; cut++)
        (void)peer_send_frames(peer, 1, &(struct bytes){packed, cut});
    for (size_t bit = 0; bit < 8 * n; bit++) {
        packed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        (void)peer_send_frames(peer, 1, &(struct bytes){packed, n});
        packed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

/* Larger than any frame that is read; libzmq drops the connection. */
static void oversized_nonsense(const char *endpoint)
{
    enum { BYTES = 8 << 20 };
    struct peer peer;
    AUTOFREE uint8_t *big = mem_array_zero(BYTES, 1);
    cr_assert(big);
    peer_connect(&peer, endpoint, 0);
    for (int i = 0; i < 4; i++)
        (void)peer_send_frames(&peer, 1, &(struct bytes){big, BYTES});
    (void)peer_receive(&peer, 50);
    peer_close(&peer);
}

/* The socket lingers for good: libzmq 4.3 aborts the process if a connection breaks just as its socket is closed in the
 * middle of a message of several frames (zeromq/libzmq issue 3442). */
void nonsense_say(struct nonsense *nonsense, const char *endpoint)
{
    const int linger_ms = -1;
    struct peer peer;
    tcp_nonsense(nonsense, endpoint);
    peer_connect(&peer, endpoint, 0);
    zmq_setsockopt(peer.socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    frame_nonsense(nonsense, &peer);
    header_nonsense(nonsense, &peer);
    (void)peer_receive(&peer, 50);
    peer_close(&peer);
    oversized_nonsense(endpoint);
}

void nonsense_end(struct nonsense *nonsense)
{
    for (size_t i = 0; i < NONSENSE_IDLE_MAX; i++)
        if (nonsense->idle[i] > 0)
            close(nonsense->idle[i]);
    *nonsense = (struct nonsense){0};
}
