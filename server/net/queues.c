/* What is left in a port's queues when it ends: values own what they point to. Thread: head, once the shard's is over.
 */
#include <stdlib.h>

#include "server/net/thread.h"

static void drop_commands(struct port *port)
{
    struct command command;
    while (port->commands.items && queue_take(&port->commands, &command))
        if (command.kind == COMMAND_START)
            free(command.block);
        else if (command.kind == COMMAND_TOTALS)
            free(command.totals);
        else if (command.kind == COMMAND_ROSTER || command.kind == COMMAND_DROP)
            free(command.live);
        else if (command.kind == COMMAND_OPEN)
            free(command.name);
        else if (command.kind == COMMAND_GRANT)
            free(command.deal);
}

/* By the event's own counts: the shard may be about to have another job. */
void port_drop_pinned(struct event *event)
{
    for (uint32_t i = 0; event->pinned && i < event->pinned_count; i++)
        if (event->pinned[i])
            version_release(event->pinned[i]);
    for (uint32_t i = 0; event->copies && i < event->copies_count; i++)
        rows_copy_fini(&event->copies[i]);
    free(event->pinned);
    free(event->copies);
}

void port_drop_event(struct event *event)
{
    port_drop_pinned(event);
    free(event->owed);
    free(event->failed);
    free(event->sums);
}

static void drop_events(struct port *port)
{
    struct event event;
    while (port->events.items && queue_take(&port->events, &event))
        port_drop_event(&event);
}

void port_drop_queues(struct port *port)
{
    drop_commands(port);
    drop_events(port);
}
