/* What a shard tells the head, and when it wakes it.
 *
 * A completed step is news that lets shards go of old versions; until those run out nobody but the end of the job waits
 * for it, and waking another thread costs as much as a small step. So the head is woken for completed steps, and for
 * what arrives of the open one, at most once in 4 ms (little beside the 20 ms by which a slot must be late before the
 * head has it computed twice, much beside a small step), or when half of a slice's versions (or a part's undo logs) are
 * in use. Whatever else it is told of, it is woken for at once.
 *
 * Invariant: an event that is in the queue has woken the head, or tell_later runs, or it is a report, which its step
 * follows. Thread: shard. */
#include <assert.h>
#include <math.h>

#include "server/dense/slice.h"
#include "server/net/thread.h"
#include "server/shard/tell.h"
#include "server/step/block_sums.h"

enum { TELL_GAP_MS = 4, TELL_GAP_NS = TELL_GAP_MS * 1000000 };

static void put(struct port *port, const struct event *event)
{
    struct event told = *event;
    told.incarnation = port->incarnation;
    bool sent = queue_put(&port->events, &told);
    assert(sent);
    (void)sent;
}

static void wake_head(struct port *port)
{
    uv_timer_stop(&port->tell_later);
    port->told_ns = mono_ns();
    zuv_wake(port->wake_head);
}

static void on_tell_later(uv_timer_t *timer)
{
    wake_head(timer->data);
}

static bool versions_run_out(const struct shard *shard, uint64_t step)
{
    uint64_t most = shard->slice_count > 0 ? slice_versions_max(&shard->slices[0]) : PART_STEPS;
    return step + 1 - shard->global_low >= most / 2;
}

void port_tell(struct port *port, const struct event *event)
{
    put(port, event);
    wake_head(port);
}

static void wake_head_soon(struct port *port, uint64_t now_ns)
{
    const uint64_t since_ns = now_ns - port->told_ns;
    if (since_ns >= TELL_GAP_NS)
        wake_head(port);
    else if (!uv_is_active((uv_handle_t *)&port->tell_later))
        uv_timer_start(&port->tell_later, on_tell_later, TELL_GAP_MS - since_ns / 1000000, 0);
}

void port_tell_arrived(void *arg, uint32_t session, uint64_t step, uint32_t node)
{
    struct port *port = arg;
    uint64_t now_ns = mono_ns();
    if (queue_put(&port->arrivals, &(struct arrival){session, node, step, now_ns / 1000}))
        wake_head_soon(port, now_ns);
}

void port_tell_completed(void *arg, uint64_t step, const struct metrics *metrics)
{
    struct port *port = arg;
    struct event event = {.kind = EVENT_COMPLETED, .step = step, .metrics = *metrics};
    if (!isfinite(metrics->loss))
        event.blame = shard_blame(&port->shard);
    put(port, &event);
    if (versions_run_out(&port->shard, step))
        wake_head(port);
    else
        wake_head_soon(port, mono_ns());
}

void port_tell_failed(void *arg, const dp_error *err)
{
    dp_error *copy = mem_array(1, sizeof *copy);
    if (copy)
        *copy = *err;
    port_tell(arg, &(struct event){.kind = EVENT_FAILED, .failed = copy});
}

/* A report's step is told as completed right behind it; other sums are what a commit waits for. */
void port_tell_sums(void *arg, uint64_t step, uint32_t phase, uint32_t values, double *sums)
{
    struct port *port = arg;
    put(port, &(struct event){.kind = EVENT_SUMS, .step = step, .phase = phase, .values = values, .sums = sums});
    if (phase != EXCHANGE_REPORT)
        wake_head(port);
}

void port_tell_ready(void *arg, uint64_t ready, uint64_t roster)
{
    port_tell(arg, &(struct event){.kind = EVENT_READY, .step = ready, .roster = roster});
}

void port_tell_few(void *arg, uint64_t step)
{
    port_tell(arg, &(struct event){.kind = EVENT_FEW, .step = step});
}
