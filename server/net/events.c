/* News of a shard for the head, and the times at which it wakes the head; see events.h.
 *
 * A completed step is news that lets shards go of old versions; until those run out nobody but the end of the job waits
 * for it, and waking another thread costs as much as a small step. So the head is woken for completed steps, and for
 * what arrives of the open one, at most once in 4 ms (little beside the 20 ms by which a slot must be late before the
 * head has it computed twice, much beside a small step), or when half of a slice's versions (or a part's undo logs) are
 * in use. Any other event wakes it at once.
 *
 * Invariant: an event that is in the queue has woken the head, or `later` runs, or it is a report, which its step
 * follows. Thread: shard. */
#include "server/net/events.h"

#include "common/base/clock.h"

enum { TELL_GAP_MS = 4, TELL_GAP_NS = TELL_GAP_MS * 1000000 };

static void wake_head(struct port_state *port)
{
    uv_timer_stop(&port->telling.later);
    port->telling.told_ns = mono_ns();
    link_local_wake_head(port->link);
}

static void on_tell_later(uv_timer_t *timer)
{
    wake_head(timer->data);
}

static bool versions_run_out(const struct shard *shard, uint64_t step)
{
    const struct piece *first = &shard->pieces[0];
    uint64_t most = first->ops->steps_max(first);
    return step + 1 - shard->global_low >= most / 2;
}

static void wake_head_soon(struct port_state *port, uint64_t now_ns)
{
    const uint64_t since_ns = now_ns - port->telling.told_ns;
    if (since_ns >= TELL_GAP_NS)
        wake_head(port);
    else if (!uv_is_active((uv_handle_t *)&port->telling.later))
        uv_timer_start(&port->telling.later, on_tell_later, TELL_GAP_MS - since_ns / 1000000, 0);
}

void port_emit(void *arg, const struct event *event)
{
    struct port_state *port = arg;
    struct event told = *event;
    told.incarnation = port->incarnation;
    link_local_put(port->link, &told);
    switch (event_wakes(event)) {
    case EVENT_NOW:
        wake_head(port);
        break;
    case EVENT_SOON:
        if (versions_run_out(&port->shard, event->completed.step))
            wake_head(port);
        else
            wake_head_soon(port, mono_ns());
        break;
    case EVENT_LATER:
        break;
    }
}

void port_arrived(void *arg, uint32_t session, uint64_t step, uint32_t node)
{
    struct port_state *port = arg;
    uint64_t now_ns = mono_ns();
    if (link_local_arrived(port->link, &(struct arrival){session, node, step, now_ns / 1000}))
        wake_head_soon(port, now_ns);
}
