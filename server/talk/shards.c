/* The head speaks to the shards: commands that must arrive, sessions that begin and end. Thread: head. */
#include "server/talk/shards.h"

#include <string.h>

#include "common/base/util.h"
#include "server/talk/news.h"
#include "server/talk/shared.h"

bool head_has_parameters(const struct head *head, uint32_t shard)
{
    return head->job.shards[shard].slice_count > 0;
}

void head_command(struct head *head, uint32_t shard, struct command *command)
{
    dp_error err;
    if (seats_send(&head->seats, shard, command))
        return;
    command_fini(command);
    (void)dp_fail(&err, DP_BUSY, "shard %u has too much to do for the slots of the job", shard);
    head_fail(head, &err);
}

void head_command_all(struct head *head, const struct command *command)
{
    for (uint32_t s = 0; s < head->job.shard_count; s++) {
        struct command copy = *command;
        if (head_has_parameters(head, s))
            head_command(head, s, &copy);
    }
}

uint64_t head_least(const struct head *head, const uint64_t *values)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t s = 0; s < head->job.shard_count; s++)
        if (head_has_parameters(head, s))
            least = MIN(least, values[s]);
    return least;
}

/* On the first `shards` shards. */
static void close_session(struct head *head, uint64_t token, uint64_t fence, uint32_t shards)
{
    for (uint32_t s = 0; s < shards; s++)
        head_command(head, s, &(struct command){.kind = COMMAND_CLOSE, .close = {token, fence}});
}

void head_close_session(struct head *head, uint64_t token)
{
    close_session(head, token, seats_fence(&head->seats), head->seats.count);
}

/* Nobody knows the token yet: what is taken back needs no fence of its own. */
bool head_open_session(struct head *head, const struct member *member)
{
    for (uint32_t s = 0; s < head->seats.count; s++) {
        struct command open = {.kind = COMMAND_OPEN, .open = {member->token, member->worker, strdup(member->name)}};
        if (open.open.name && seats_send(&head->seats, s, &open))
            continue;
        command_fini(&open); // NOLINT(clang-analyzer-unix.Malloc): it frees the name
        close_session(head, member->token, head->seats.fences, s);
        return false;
    }
    return true;
}
