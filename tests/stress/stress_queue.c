/* Values pass a small queue between two threads in order, none lost, none twice. */
#include <pthread.h>
#include <stdint.h>

#include "server/link/queue.h"
#include "tests/stress/stress.h"

enum { VALUES = 200000, ROOM = 16 };

struct value {
    uint64_t number;
    uint64_t square;
};

static void *send_all(void *arg)
{
    for (uint64_t i = 0; i < VALUES;)
        i += queue_put(arg, &(struct value){i, i * i});
    return NULL;
}

int main(void)
{
    struct queue queue;
    pthread_t sender;
    struct value v;
    MUST(queue_init(&queue, ROOM, sizeof v) == DP_OK, "no memory");
    MUST(pthread_create(&sender, NULL, send_all, &queue) == 0, "no thread");
    for (uint64_t i = 0; i < VALUES;)
        if (queue_take(&queue, &v)) {
            MUST(v.number == i && v.square == i * i, "value %llu came as %llu", (unsigned long long)i,
                 (unsigned long long)v.number);
            i++;
        }
    pthread_join(sender, NULL);
    MUST(!queue_take(&queue, &v), "something is left");
    queue_fini(&queue);
    PASS("queue");
}
