/* A link within the process; see local.h.
 *
 * Invariant: a value is in one queue, or one thread has it: it is freed once. Thread: as stated. */
#include "server/link/local.h"

#include <assert.h>

static struct link_local *local_of(struct shard_link *link)
{
    return (struct link_local *)(void *)link;
}

static void wake(const struct link_waker *waker)
{
    waker->wake(waker->arg);
}

static bool local_send(struct shard_link *link, const struct command *command)
{
    struct link_local *local = local_of(link);
    if (command->kind == COMMAND_LEVELS) {
        atomic_store_explicit(&local->low, command->levels.low, memory_order_release);
        atomic_store_explicit(&local->fences, command->levels.fences, memory_order_release);
    } else if (!queue_put(&local->commands, command)) {
        return false;
    }
    wake(&local->shard);
    return true;
}

static bool local_take(struct shard_link *link, struct event *ret_event)
{
    return queue_take(&local_of(link)->events, ret_event);
}

static bool local_take_arrival(struct shard_link *link, struct arrival *ret_arrival)
{
    return queue_take(&local_of(link)->arrivals, ret_arrival);
}

static uint64_t local_fenced(const struct shard_link *link)
{
    const struct link_local *local = (const struct link_local *)(const void *)link;
    return atomic_load_explicit(&local->fenced, memory_order_acquire);
}

static const struct shard_link_ops LOCAL = {local_send, local_take, local_take_arrival, local_fenced};

_Static_assert(offsetof(struct link_local, link) == 0, "a link is cast to its transport");

dp_err link_local_init(struct link_local *local, const struct link_rooms *rooms, struct link_waker shard,
                       struct link_waker head)
{
    *local = (struct link_local){.link = {.ops = &LOCAL}, .shard = shard, .head = head};
    if (queue_init(&local->commands, rooms->commands, sizeof(struct command)) ||
        queue_init(&local->events, rooms->events, sizeof(struct event)) ||
        queue_init(&local->arrivals, rooms->arrivals, sizeof(struct arrival)))
        return DP_NOMEM;
    return DP_OK;
}

void link_local_fini(struct link_local *local)
{
    struct command command;
    struct event event;
    while (local->commands.items && queue_take(&local->commands, &command))
        command_fini(&command);
    while (local->events.items && queue_take(&local->events, &event))
        event_fini(&event);
    queue_fini(&local->commands);
    queue_fini(&local->events);
    queue_fini(&local->arrivals);
}

struct command_levels link_local_levels(const struct link_local *local)
{
    return (struct command_levels){atomic_load_explicit(&local->low, memory_order_acquire),
                                   atomic_load_explicit(&local->fences, memory_order_acquire)};
}

bool link_local_take(struct link_local *local, struct command *ret_command)
{
    return queue_take(&local->commands, ret_command);
}

void link_local_put(struct link_local *local, const struct event *event)
{
    bool sent = queue_put(&local->events, event);
    assert(sent);
    (void)sent;
}

bool link_local_arrived(struct link_local *local, const struct arrival *arrival)
{
    return queue_put(&local->arrivals, arrival);
}

void link_local_fenced(struct link_local *local, uint64_t fence)
{
    atomic_store_explicit(&local->fenced, fence, memory_order_release);
    link_local_wake_head(local);
}

void link_local_wake_head(const struct link_local *local)
{
    wake(&local->head);
}
