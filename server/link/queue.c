/* A bounded single-sender single-receiver queue of values. Invariant: head <= tail <= head + size. */
#include "server/link/queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

dp_err queue_init(struct queue *queue, size_t room, size_t item_bytes)
{
    size_t size = 1;
    while (size < room)
        size *= 2;
    queue->items = mem_array_zero(size, item_bytes);
    queue->mask = size - 1;
    queue->item_bytes = item_bytes;
    atomic_init(&queue->head, 0);
    atomic_init(&queue->tail, 0);
    return queue->items ? DP_OK : DP_NOMEM;
}

void queue_fini(struct queue *queue)
{
    free(queue->items);
    queue->items = NULL;
}

bool queue_put(struct queue *queue, const void *item)
{
    size_t tail = atomic_load_explicit(&queue->tail, memory_order_relaxed);
    if (tail - atomic_load_explicit(&queue->head, memory_order_acquire) > queue->mask)
        return false;
    memcpy(queue->items + (tail & queue->mask) * queue->item_bytes, item, queue->item_bytes);
    atomic_store_explicit(&queue->tail, tail + 1, memory_order_release);
    return true;
}

bool queue_take(struct queue *queue, void *item)
{
    size_t head = atomic_load_explicit(&queue->head, memory_order_relaxed);
    assert(atomic_load_explicit(&queue->tail, memory_order_relaxed) - head <= queue->mask + 1);
    if (head == atomic_load_explicit(&queue->tail, memory_order_acquire))
        return false;
    memcpy(item, queue->items + (head & queue->mask) * queue->item_bytes, queue->item_bytes);
    atomic_store_explicit(&queue->head, head + 1, memory_order_release);
    return true;
}
