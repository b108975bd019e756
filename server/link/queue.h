/* A bounded queue of small values from one thread to one other: what head and shards tell each other. A pointer in a
 * value carries its ownership along. A full queue is the sender's to handle; nothing grows. Waking the receiver is the
 * caller's (uv_async_send coalesces: drain the whole queue per wake-up). Thread: one sender, one receiver. */
#ifndef DP_SERVER_LINK_QUEUE_H
#define DP_SERVER_LINK_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/dp_err.h"

struct queue {
    size_t mask;
    size_t item_bytes;
    char *items;
    _Alignas(64) _Atomic size_t head; /* next to take, written by the receiver */
    _Alignas(64) _Atomic size_t tail; /* next to fill, written by the sender */
};

/* Room for at least `room` values. DP_NOMEM. */
DP_MUST_CHECK dp_err queue_init(struct queue *queue, size_t room, size_t item_bytes);
void queue_fini(struct queue *queue);
/* Copies the value in; false if the queue is full. */
bool queue_put(struct queue *queue, const void *item);
/* Copies the oldest value out; false if the queue is empty. */
bool queue_take(struct queue *queue, void *item);

#endif
