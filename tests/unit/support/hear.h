/* Events of a shard, as calls of a function for each kind. */
#ifndef DP_TESTS_UNIT_SUPPORT_HEAR_H
#define DP_TESTS_UNIT_SUPPORT_HEAR_H

#include <stdlib.h>

#include "server/link/event.h"

/* NULL: this kind is not heard. `failed` is always there. */
struct hearing {
    void (*completed)(void *arg, uint64_t step, const struct metrics *metrics);
    void (*failed)(void *arg, const dp_error *err);
    void (*sums)(void *arg, uint64_t step, uint32_t phase, uint32_t values, double *sums); /* takes them */
    void (*ready)(void *arg, uint64_t ready, uint64_t roster);
    void (*few)(void *arg, uint64_t step);
};

static inline void hear_event(const struct hearing *hearing, void *arg, const struct event *event)
{
    switch (event->kind) {
    case EVENT_COMPLETED:
        if (hearing->completed)
            hearing->completed(arg, event->completed.step, &event->completed.metrics);
        break;
    case EVENT_FAILED:
        hearing->failed(arg, event->failed);
        free(event->failed);
        break;
    case EVENT_SUMS:
        if (hearing->sums)
            hearing->sums(arg, event->sums.step, event->sums.phase, event->sums.values, event->sums.sums);
        else
            free(event->sums.sums);
        break;
    case EVENT_READY:
        if (hearing->ready)
            hearing->ready(arg, event->ready.step, event->ready.roster);
        break;
    case EVENT_FEW:
        if (hearing->few)
            hearing->few(arg, event->few.step);
        break;
    default:
        break;
    }
}

#endif
