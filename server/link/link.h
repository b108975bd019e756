/* The link between the head and one shard, as the head has it: commands go to the shard, events come back, both in
 * order and none twice. How they travel is a transport's: local.h within the process; one to another process is a
 * further table of operations, which sends them as server/link/wire writes them.
 *
 * Invariants:
 *   1. Commands that were sent before a level was announced reach the shard before the level does.
 *   2. A command that could not be sent is still the caller's.
 * Thread: head. */
#ifndef DP_SERVER_LINK_LINK_H
#define DP_SERVER_LINK_LINK_H

#include <stdbool.h>

#include "server/link/command.h"
#include "server/link/event.h"

/* How far all shards are. Only the latest counts, so that levels need no room. */
struct link_levels {
    uint64_t low;    /* steps complete on all shards */
    uint64_t fences; /* the latest fence that all shards know */
};

struct link;

struct link_ops {
    bool (*send)(struct link *link, const struct command *command);
    bool (*take)(struct link *link, struct event *event);
    bool (*take_arrival)(struct link *link, struct arrival *arrival);
    void (*announce)(struct link *link, const struct link_levels *levels);
    uint64_t (*fenced)(const struct link *link);
};

struct link {
    const struct link_ops *ops;
    struct link_levels told; /* the levels that were announced last */
};

/* Sends a command and wakes the shard, which owns it from then on. False: the shard has too much to do, and the command
 * is the caller's still. */
bool link_send(struct link *link, const struct command *command);
/* The next event, which is the caller's; false if there is none. */
bool link_take(struct link *link, struct event *ret_event);
bool link_take_arrival(struct link *link, struct arrival *ret_arrival);
/* Tells the shard how far all shards are, and which fence all know; neither goes back while a job lasts. */
void link_announce_low(struct link *link, uint64_t low);
void link_announce_fences(struct link *link, uint64_t fences);
/* The latest fence that this shard knows. */
uint64_t link_fenced(const struct link *link);

#endif
