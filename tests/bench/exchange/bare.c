/* The exchange by ZeroMQ alone: what is left when there are no sessions, checks, retries or versions.
 *
 * One process is the server, with a thread and a ROUTER socket for each shard; a step's gradients of a slice are added
 * up and applied by plain loops, and all workers are answered from one buffer. Two buffers take turns: a worker pushes
 * step t+1 only after it has all of the answers of step t. Thread: main; serve: a shard's. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "tests/bench/exchange/bench.h"

enum { BLOCK = 1024, ADDRESS_MAX = 128 };

struct bare_header {
    uint32_t slice;
    uint32_t step;
    uint64_t rest[5]; /* as long as a real one */
};

struct bare_shard {
    const struct exchange *x;
    void *socket;
    uint64_t first, elems;
    uint32_t slices;
    pthread_t thread;
};

static uint64_t shard_first(const struct exchange *x, uint32_t shard)
{
    return part_bound(x->elems, shard, x->shards);
}

static uint32_t slices_of(const struct exchange *x, uint64_t elems)
{
    uint64_t per = x->slice_bytes / sizeof(float);
    return (uint32_t)((elems + per - 1) / per);
}

static void send_frame(void *socket, const void *data, size_t bytes, int flags)
{
    zmq_msg_t msg;
    zmq_msg_init_data(&msg, (void *)data, bytes, NULL, NULL);
    if (zmq_msg_send(&msg, socket, flags) < 0)
        abort();
}

/* w -= 0.1 * sum of g, block by block in cache. */
static void apply(uint32_t count, const float **g, const float *w, float *out, uint64_t elems)
{
    float sum[BLOCK];
    for (uint64_t at = 0; at < elems; at += BLOCK) {
        size_t n = (size_t)MIN((uint64_t)BLOCK, elems - at);
        const float *first = g[0] + at;
        for (uint32_t k = 1; k < count; k++) {
            const float *more = g[k] + at;
            for (size_t i = 0; i < n; i++)
                sum[i] = first[i] + more[i];
            first = sum;
        }
        for (size_t i = 0; i < n; i++)
            out[at + i] = w[at + i] - 0.1F * first[i];
    }
}

struct bare_slice {
    uint32_t count;
    zmq_msg_t ids[EXCHANGE_WORKERS_MAX], gradients[EXCHANGE_WORKERS_MAX];
};

static void answer(struct bare_shard *shard, struct bare_slice *slice, uint32_t number, uint32_t step, float *theta[2])
{
    const struct exchange *x = shard->x;
    const float *g[EXCHANGE_WORKERS_MAX];
    uint64_t from = part_bound(shard->elems, number, shard->slices);
    uint64_t elems = part_bound(shard->elems, number + 1, shard->slices) - from;
    for (uint32_t i = 0; i < x->workers; i++)
        g[i] = zmq_msg_data(&slice->gradients[i]);
    float *out = theta[(step + 1) % 2] + from;
    apply(x->workers, g, theta[step % 2] + from, out, elems);
    for (uint32_t i = 0; i < x->workers; i++) {
        struct bare_header header = {.slice = number, .step = step};
        zmq_msg_close(&slice->gradients[i]);
        zmq_msg_send(&slice->ids[i], shard->socket, ZMQ_SNDMORE);
        zmq_send(shard->socket, &header, sizeof header, ZMQ_SNDMORE);
        send_frame(shard->socket, out, elems * sizeof(float), 0);
    }
    slice->count = 0;
}

static void *serve(void *arg)
{
    struct bare_shard *shard = arg;
    const struct exchange *x = shard->x;
    float *theta[2] = {mem_array_zero(shard->elems, sizeof(float)), mem_array_zero(shard->elems, sizeof(float))};
    struct bare_slice *slices = mem_array_zero(shard->slices, sizeof *slices);
    uint64_t messages = (uint64_t)x->workers * shard->slices * (x->skip + x->steps);
    for (uint64_t m = 0; m < messages; m++) {
        zmq_msg_t id, payload;
        struct bare_header header;
        zmq_msg_init(&id);
        zmq_msg_init(&payload);
        if (zmq_msg_recv(&id, shard->socket, 0) < 0 || zmq_recv(shard->socket, &header, sizeof header, 0) < 0 ||
            zmq_msg_recv(&payload, shard->socket, 0) < 0)
            abort();
        struct bare_slice *slice = &slices[header.slice];
        slice->ids[slice->count] = id;
        slice->gradients[slice->count++] = payload;
        if (slice->count == x->workers)
            answer(shard, slice, header.slice, header.step, theta);
    }
    return NULL;
}

static void server_main(const struct exchange *x, int endpoints)
{
    void *context = zmq_ctx_new();
    static struct bare_shard shards[EXCHANGE_SHARDS_MAX];
    mem_keep();
    for (uint32_t s = 0; s < x->shards; s++) {
        struct bare_shard *shard = &shards[s];
        char address[ADDRESS_MAX] = "";
        size_t size = sizeof address;
        int none = 0;
        uint64_t first = shard_first(x, s);
        *shard = (struct bare_shard){x, zmq_socket(context, ZMQ_ROUTER), first, shard_first(x, s + 1) - first, 0, 0};
        shard->slices = slices_of(x, shard->elems);
        zmq_setsockopt(shard->socket, ZMQ_SNDHWM, &none, sizeof none);
        zmq_setsockopt(shard->socket, ZMQ_RCVHWM, &none, sizeof none);
        if (zmq_bind(shard->socket, x->transport == TRANSPORT_IPC ? "ipc://*" : "tcp://127.0.0.1:*"))
            abort();
        zmq_getsockopt(shard->socket, ZMQ_LAST_ENDPOINT, address, &size);
        if (write(endpoints, address, sizeof address) != sizeof address)
            abort();
        pthread_create(&shard->thread, NULL, serve, shard);
    }
    for (uint32_t s = 0; s < x->shards; s++) {
        pthread_join(shards[s].thread, NULL);
        zmq_close(shards[s].socket);
    }
    zmq_ctx_term(context);
}

static void push_all(const struct exchange *x, void **sockets, const float *gradient, uint32_t step)
{
    for (uint32_t s = 0; s < x->shards; s++) {
        uint64_t first = shard_first(x, s), elems = shard_first(x, s + 1) - first;
        uint32_t slices = slices_of(x, elems);
        for (uint32_t i = 0; i < slices; i++) {
            struct bare_header header = {.slice = i, .step = step};
            uint64_t from = part_bound(elems, i, slices), to = part_bound(elems, i + 1, slices);
            zmq_send(sockets[s], &header, sizeof header, ZMQ_SNDMORE);
            send_frame(sockets[s], gradient + first + from, (to - from) * sizeof(float), 0);
        }
    }
}

static void pull_all(const struct exchange *x, void **sockets)
{
    for (uint32_t s = 0; s < x->shards; s++) {
        uint32_t slices = slices_of(x, shard_first(x, s + 1) - shard_first(x, s));
        for (uint32_t i = 0; i < slices; i++) {
            struct bare_header header;
            zmq_msg_t payload;
            zmq_msg_init(&payload);
            if (zmq_recv(sockets[s], &header, sizeof header, 0) < 0 || zmq_msg_recv(&payload, sockets[s], 0) < 0)
                abort();
            zmq_msg_close(&payload);
        }
    }
}

static void worker_main(const struct exchange *x, char (*endpoints)[ADDRESS_MAX])
{
    void *context = zmq_ctx_new(), *sockets[EXCHANGE_SHARDS_MAX];
    float *gradient = mem_array(x->elems, sizeof *gradient);
    mem_keep();
    for (uint64_t i = 0; i < x->elems; i++)
        gradient[i] = 1e-6F;
    for (uint32_t s = 0; s < x->shards; s++) {
        int none = 0;
        sockets[s] = zmq_socket(context, ZMQ_DEALER);
        zmq_setsockopt(sockets[s], ZMQ_SNDHWM, &none, sizeof none);
        zmq_setsockopt(sockets[s], ZMQ_RCVHWM, &none, sizeof none);
        if (zmq_connect(sockets[s], endpoints[s]))
            abort();
    }
    if (!crew_ready())
        abort();
    double start = 0;
    for (uint32_t step = 0; step < x->skip + x->steps; step++) {
        if (step == x->skip)
            start = seconds_now();
        push_all(x, sockets, gradient, step);
        pull_all(x, sockets);
    }
    crew_report((seconds_now() - start) / x->steps);
    for (uint32_t s = 0; s < x->shards; s++)
        zmq_close(sockets[s]);
    zmq_ctx_term(context);
}

double bare_run(const struct exchange *x)
{
    struct crew server, workers;
    char endpoints[EXCHANGE_SHARDS_MAX][ADDRESS_MAX];
    if (!crew_init(&server))
        return -1;
    int rc = crew_fork(&server);
    if (rc == 0) {
        server_main(x, STDOUT_FILENO);
        _exit(0);
    }
    if (!crew_init(&workers)) /* after the server's fork: it must not hold the gate open */
        return -1;
    for (uint32_t s = 0; rc > 0 && s < x->shards; s++)
        if (read(server.outs[0], endpoints[s], ADDRESS_MAX) != ADDRESS_MAX)
            rc = -1;
    for (uint32_t i = 0; rc > 0 && i < x->workers; i++) {
        rc = crew_fork(&workers);
        if (rc == 0) {
            worker_main(x, endpoints);
            _exit(0);
        }
    }
    double seconds = rc > 0 && crew_start(&workers) ? crew_result(&workers) : -1;
    close(server.gate[0]);
    close(server.gate[1]);
    (void)crew_result(&server);
    return seconds;
}
