/* A link, whatever its transport; see link.h. Thread: head. */
#include "server/link/link.h"

#include <assert.h>

bool shard_link_send(struct shard_link *link, const struct command *command)
{
    assert(command->kind < COMMAND_KINDS);
    return link->ops->send(link, command);
}

bool shard_link_take(struct shard_link *link, struct event *ret_event)
{
    return link->ops->take(link, ret_event);
}

bool shard_link_take_arrival(struct shard_link *link, struct arrival *ret_arrival)
{
    return link->ops->take_arrival(link, ret_arrival);
}

/* There is always room for levels. */
static void announce(struct shard_link *link)
{
    bool sent = link->ops->send(link, &(struct command){.kind = COMMAND_LEVELS, .levels = link->told});
    assert(sent);
    (void)sent;
}

void shard_link_announce_low(struct shard_link *link, uint64_t low)
{
    assert(low >= link->told.low);
    link->told.low = low;
    announce(link);
}

void shard_link_announce_fences(struct shard_link *link, uint64_t fences)
{
    assert(fences >= link->told.fences);
    link->told.fences = fences;
    announce(link);
}

uint64_t shard_link_fenced(const struct shard_link *link)
{
    return link->ops->fenced(link);
}
