/* A link, whatever its transport; see link.h. Thread: head. */
#include "server/link/link.h"

#include <assert.h>

bool link_send(struct link *link, const struct command *command)
{
    assert(command->kind < COMMAND_KINDS);
    return link->ops->send(link, command);
}

bool link_take(struct link *link, struct event *ret_event)
{
    return link->ops->take(link, ret_event);
}

bool link_take_arrival(struct link *link, struct arrival *ret_arrival)
{
    return link->ops->take_arrival(link, ret_arrival);
}

void link_announce_low(struct link *link, uint64_t low)
{
    link->told.low = low;
    link->ops->announce(link, &link->told);
}

void link_announce_fences(struct link *link, uint64_t fences)
{
    assert(fences >= link->told.fences);
    link->told.fences = fences;
    link->ops->announce(link, &link->told);
}

uint64_t link_fenced(const struct link *link)
{
    return link->ops->fenced(link);
}
