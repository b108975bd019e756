/* The members of a job. Invariant: a token is never used again, though its number is. Thread: head. */
#include "members.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

dp_err members_init(struct members *members)
{
    *members = (struct members){.list = mem_array_zero(PORT_SESSIONS_MAX, sizeof *members->list)};
    return members->list ? DP_OK : DP_NOMEM;
}

void members_fini(struct members *members)
{
    free(members->list);
    *members = (struct members){0};
}

/* Of those who have left: this process, else the last one of its name. */
static struct member *left_before(struct members *members, uint64_t worker, const char *name)
{
    struct member *namesake = NULL;
    for (uint32_t i = 0; i < members->used; i++) {
        struct member *member = &members->list[i];
        if (member->state != MEMBER_NONE)
            continue;
        if (member->worker == worker)
            return member;
        if (name[0] && strcmp(member->name, name) == 0 && (!namesake || member->left > namesake->left))
            namesake = member;
    }
    return namesake;
}

/* One that nobody had, else that of who left first; NULL if none is free. */
static struct member *free_number(struct members *members)
{
    struct member *oldest = NULL;
    if (members->used < PORT_SESSIONS_MAX)
        return &members->list[members->used++];
    for (uint32_t i = 0; i < members->used; i++) {
        struct member *member = &members->list[i];
        if (member->state == MEMBER_NONE && (!oldest || member->left < oldest->left))
            oldest = member;
    }
    return oldest;
}

struct member *members_add(struct members *members, uint64_t worker, const char *name)
{
    struct member *again = left_before(members, worker, name), *member = again ? again : free_number(members);
    if (!member)
        return NULL;
    uint64_t token = 0;
    while (token / PORT_SESSIONS_MAX == 0)
        token = entropy_u64() / PORT_SESSIONS_MAX * PORT_SESSIONS_MAX + members_number(members, member);
    uint32_t attempt = again ? again->attempt + 1 : 1;
    *member = (struct member){
        .state = MEMBER_GREETED, .token = token, .worker = worker, .attempt = attempt, .samples_per_s = NAN};
    (void)str_copy(member->name, sizeof member->name, name);
    members->count++;
    return member;
}

bool members_may_greet(const struct members *members)
{
    return members->count - members->joined < MEMBERS_GREETED_MAX;
}

struct member *members_find(struct members *members, uint64_t token)
{
    struct member *member = &members->list[session_number(token)];
    return member->state != MEMBER_NONE && member->token == token ? member : NULL;
}

struct member *members_by_worker(struct members *members, uint64_t worker)
{
    for (uint32_t i = 0; i < members->used; i++)
        if (members->list[i].state != MEMBER_NONE && members->list[i].worker == worker)
            return &members->list[i];
    return NULL;
}

struct member *members_by_name(struct members *members, const char *name)
{
    for (uint32_t i = 0; i < members->used; i++)
        if (members->list[i].state != MEMBER_NONE && strcmp(members->list[i].name, name) == 0)
            return &members->list[i];
    return NULL;
}

struct member *members_by_route(struct members *members, const struct routing_id *route)
{
    for (uint32_t i = 0; i < members->used; i++) {
        struct member *member = &members->list[i];
        if (member->state != MEMBER_NONE && member->route.bytes == route->bytes &&
            memcmp(member->route.id, route->id, route->bytes) == 0)
            return member;
    }
    return NULL;
}

struct member *members_by_process(struct members *members, const char *name, uint32_t pid)
{
    for (uint32_t i = 0; i < members->used; i++) {
        struct member *member = &members->list[i];
        if (member->state != MEMBER_NONE && member->pid == pid && strcmp(member->name, name) == 0)
            return member;
    }
    return NULL;
}

void members_join(struct members *members, struct member *member, uint64_t now_ms)
{
    if (member->state == MEMBER_GREETED)
        members->joined++;
    member->state = MEMBER_JOINED;
    member->joined_ms = now_ms;
}

void members_hear(struct member *member, uint64_t samples, uint64_t now_ms)
{
    /* Two that arrive together, as after a stall, make no rate: the next one counts for both. */
    samples = MIN(samples, (uint64_t)INT64_MAX); /* it may say anything; the status has signed numbers */
    if (member->heard_ms > 0 && (now_ms <= member->heard_ms || samples < member->samples))
        return;
    if (member->heard_ms > 0) {
        double rate = (double)(samples - member->samples) * 1000.0 / (double)(now_ms - member->heard_ms);
        member->samples_per_s = isnan(member->samples_per_s) ? rate : 0.5 * (member->samples_per_s + rate);
    }
    member->samples = samples;
    member->heard_ms = now_ms;
}

void members_remove(struct members *members, struct member *member)
{
    if (member->state == MEMBER_JOINED)
        members->joined--;
    members->count--;
    struct member left = {.worker = member->worker, .attempt = member->attempt, .left = ++members->leavings};
    (void)str_copy(left.name, sizeof left.name, member->name);
    *member = left;
}

uint32_t members_number(const struct members *members, const struct member *member)
{
    return (uint32_t)(member - members->list);
}

uint32_t members_list(const struct members *members, uint32_t *numbers)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < members->used; i++)
        if (members->list[i].state == MEMBER_JOINED)
            numbers[count++] = i;
    return count;
}
