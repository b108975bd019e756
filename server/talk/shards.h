/* The head speaks to the shards: commands that must arrive, sessions that begin and end, pins. Thread: head. */
#ifndef DP_SERVER_TALK_SHARDS_H
#define DP_SERVER_TALK_SHARDS_H

#include <stdbool.h>
#include <stdint.h>

struct head;
struct member;
struct command;

/* Whether the shard holds a part of theta. */
bool head_has_parameters(const struct head *head, uint32_t shard);
/* Sends a command that must arrive, else the job fails; what it carries is freed then. */
void head_command(struct head *head, uint32_t shard, struct command *command);
/* The same to each shard that holds a part of theta, of a command that carries nothing. */
void head_command_all(struct head *head, const struct command *command);
/* The least of a number that each shard with a part of theta has: values[shard]. */
uint64_t head_least(const struct head *head, const uint64_t *values);
/* Whether all shards know the session; else none does. Before this, head_grant_forget makes void what its number was
 * granted. */
bool head_open_session(struct head *head, const struct member *member);
/* Ends a session on all shards, with a fence of its own. */
void head_close_session(struct head *head, uint64_t token);

#endif
