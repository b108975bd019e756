/* The head speaks to the shards: commands that must arrive, sessions that begin and end, pins. Thread: head. */
#ifndef DP_SERVER_TALK_SHARDS_H
#define DP_SERVER_TALK_SHARDS_H

#include <stdbool.h>
#include <stdint.h>

struct head;
struct member;
struct command;

/* Whether the shard holds a part of theta. */
bool head_has_parameters(const struct head *head, uint32_t port);
/* Sends a command that must arrive, else the job fails; what it carries is freed then. */
void head_command(struct head *head, uint32_t port, struct command *command);
/* Whether all shards know the session; else none does. Before this, head_grant_forget makes void what its number was
 * granted. */
bool head_open_session(struct head *head, const struct member *member);
/* Ends a session on the first `ports` shards, by the latest fence. */
void head_close_session(struct head *head, uint64_t token, uint32_t ports);
/* Tells the shards of the sessions whose end all of them know. */
void head_see_fences(struct head *head);
/* Asks all shards for theta at a step; the events have the number that is returned, 0 where one has too much to do. */
uint64_t head_pin(struct head *head, uint64_t step);

#endif
