/* The link between the head and one shard, as the head has it: commands go to the shard, events come back, both in
 * order and none twice. A transport carries them: local.h within the process. One to another process is a further table
 * of operations, which sends them as server/link/wire writes them.
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

struct shard_link;

struct shard_link_ops {
    bool (*send)(struct shard_link *link, const struct command *command);
    bool (*take)(struct shard_link *link, struct event *event);
    bool (*take_arrival)(struct shard_link *link, struct arrival *arrival);
    uint64_t (*fenced)(const struct shard_link *link);
};

struct shard_link {
    const struct shard_link_ops *ops;
    struct command_levels told; /* the levels that were announced last */
};

/* Sends a command and wakes the shard, which owns it from then on. False: the shard has too much to do, and the command
 * is the caller's still. */
bool shard_link_send(struct shard_link *link, const struct command *command);
/* The next event, which is the caller's; false if there is none. */
bool shard_link_take(struct shard_link *link, struct event *ret_event);
bool shard_link_take_arrival(struct shard_link *link, struct arrival *ret_arrival);
/* Tells the shard how far all shards are, and which fence all know; neither goes back while a job lasts. */
void shard_link_announce_low(struct shard_link *link, uint64_t low);
void shard_link_announce_fences(struct shard_link *link, uint64_t fences);
/* The latest fence that this shard knows. */
uint64_t shard_link_fenced(const struct shard_link *link);

#endif
