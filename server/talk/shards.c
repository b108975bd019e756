/* The head speaks to the shards: commands that must arrive, sessions that begin and end, pins. Thread: head. */
#include "server/talk/shards.h"

#include <string.h>

#include "server/talk/news.h"
#include "server/talk/shared.h"

bool head_has_parameters(const struct head *head, uint32_t port)
{
    return head->job.shards[port].slice_count > 0;
}

void head_command(struct head *head, uint32_t port, struct command *command)
{
    dp_error err;
    if (port_send(&head->ports[port], command))
        return;
    command_fini(command);
    (void)dp_fail(&err, DP_BUSY, "shard %u has too much to do for the slots of the job", port);
    head_fail(head, &err);
}

void head_close_session(struct head *head, uint64_t token, uint32_t ports)
{
    for (uint32_t p = 0; p < ports; p++)
        head_command(head, p, &(struct command){.kind = COMMAND_CLOSE, .close = {token, head->fences}});
}

/* Nobody knows the token yet: what is taken back needs no fence of its own. */
bool head_open_session(struct head *head, const struct member *member)
{
    for (uint32_t p = 0; p < head->port_count; p++) {
        struct command open = {.kind = COMMAND_OPEN, .open = {member->token, member->worker, strdup(member->name)}};
        if (open.open.name && port_send(&head->ports[p], &open))
            continue;
        command_fini(&open); // NOLINT(clang-analyzer-unix.Malloc): it frees the name
        head_close_session(head, member->token, p);
        return false;
    }
    return true;
}

void head_see_fences(struct head *head)
{
    uint64_t known = head->fences;
    for (uint32_t p = 0; p < head->port_count; p++)
        known = MIN(known, shard_link_fenced(head->ports[p].link));
    if (known == head->all_fenced)
        return;
    head->all_fenced = known;
    for (uint32_t p = 0; p < head->port_count; p++)
        shard_link_announce_fences(head->ports[p].link, known);
}

uint64_t head_pin(struct head *head, uint64_t step)
{
    head->pins++;
    for (uint32_t p = 0; p < head->port_count; p++)
        if (!port_send(&head->ports[p], &(struct command){.kind = COMMAND_PIN, .pin = {step, head->pins}}))
            return 0;
    return head->pins;
}
