/* Two loops that wake each other: a value that was put into a queue before zuv_wake is seen, however the wake-up
 * coalesces with others. Without the fence of zuv_wake a value now and then lies unseen until the next one. */
#include <pthread.h>
#include <stdint.h>
#include <uv.h>

#include "common/net/zuv.h"
#include "server/link/queue.h"
#include "tests/stress/stress.h"

enum { VALUES = 50000, UNDER_WAY = 1, SPIN = 1023, ROOM = 16, STUCK_MS = 20000 };

/* One end: it answers each value that it takes by one for the other end, up to VALUES of them. */
struct end {
    uv_loop_t loop;
    uv_async_t wake;
    struct queue in;
    struct end *other;
    uint64_t taken, sent;
};

static void send_one(struct end *end)
{
    if (end->sent == VALUES)
        return;
    /* Woken for nothing, the other end looks into the queue at about the time at which the value comes. */
    zuv_wake(&end->other->wake);
    for (volatile uint64_t i = 0; i < end->sent % SPIN; i++)
        ;
    MUST(queue_put(&end->other->in, &end->sent), "the queue is full");
    end->sent++;
    zuv_wake(&end->other->wake);
}

static void on_wake(uv_async_t *wake)
{
    struct end *end = wake->data;
    uint64_t value;
    while (queue_take(&end->in, &value)) {
        MUST(value == end->taken, "value %llu came as %llu", (unsigned long long)end->taken, (unsigned long long)value);
        end->taken++;
        send_one(end);
    }
    if (end->taken == VALUES && end->sent == VALUES)
        uv_stop(&end->loop);
}

static void end_init(struct end *end, struct end *other)
{
    *end = (struct end){.other = other};
    MUST(queue_init(&end->in, ROOM, sizeof(uint64_t)) == DP_OK, "no memory");
    MUST(uv_loop_init(&end->loop) == 0, "no loop");
    MUST(uv_async_init(&end->loop, &end->wake, on_wake) == 0, "no handle");
    end->wake.data = end;
}

static void end_fini(struct end *end)
{
    uv_close((uv_handle_t *)&end->wake, NULL);
    uv_run(&end->loop, UV_RUN_DEFAULT);
    uv_loop_close(&end->loop);
    queue_fini(&end->in);
}

static void *run(void *arg)
{
    struct end *end = arg;
    uv_run(&end->loop, UV_RUN_DEFAULT);
    return NULL;
}

/* Values that lie unseen while nothing else comes stay so for ever: then no value moves between two looks. */
static void on_look(uv_timer_t *look)
{
    static uint64_t before = UINT64_MAX;
    const struct end *end = look->data;
    MUST(end->taken != before, "stuck after %llu values", (unsigned long long)end->taken);
    before = end->taken;
}

int main(void)
{
    struct end a, b;
    pthread_t thread;
    uv_timer_t look;
    end_init(&a, &b);
    end_init(&b, &a);
    uv_timer_init(&a.loop, &look);
    look.data = &a;
    uv_timer_start(&look, on_look, STUCK_MS, STUCK_MS);
    for (int i = 0; i < UNDER_WAY; i++)
        send_one(&a);
    MUST(pthread_create(&thread, NULL, run, &b) == 0, "no thread");
    run(&a);
    pthread_join(thread, NULL);
    uv_close((uv_handle_t *)&look, NULL);
    MUST(a.taken == VALUES && b.taken == VALUES, "values are missing");
    end_fini(&a);
    end_fini(&b);
    PASS("wake");
}
