/* The members of a job. Invariant: a token is never used again, though its number is. Thread: head. */
#include "server/members/members.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/entropy.h"
#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"

enum { BEATS_MS = 3000 /* heartbeats are at most two seconds apart: after longer, none come */ };

dp_err members_init(struct members *members)
{
    *members = (struct members){.list = mem_array_zero(SESSIONS_MAX, sizeof *members->list),
                                .keys = mem_array_zero(SESSIONS_MAX, sizeof *members->keys)};
    for (int i = 0; i < MEMBER_ROWS; i++)
        members->rows[i].first = members->rows[i].last = MEMBERS_NOBODY;
    if (members->list && members->keys)
        return DP_OK;
    members_fini(members);
    return DP_NOMEM;
}

void members_fini(struct members *members)
{
    free(members->list);
    free(members->keys);
    *members = (struct members){0};
}

/* ---- rows of greeted members ---- */

static void row_leave(struct members *members, struct member *member)
{
    uint32_t *first = &members->rows[member->row].first, *last = &members->rows[member->row].last;
    *(member->before == MEMBERS_NOBODY ? first : &members->list[member->before].after) = member->after;
    *(member->after == MEMBERS_NOBODY ? last : &members->list[member->after].before) = member->before;
}

static void row_enter(struct members *members, struct member *member, enum member_row row)
{
    uint32_t number = members_number(members, member), *last = &members->rows[row].last;
    member->row = row;
    member->before = *last;
    member->after = MEMBERS_NOBODY;
    *(*last == MEMBERS_NOBODY ? &members->rows[row].first : &members->list[*last].after) = number;
    *last = number;
}

bool members_may_greet(const struct members *members)
{
    return members->count - members->joined < MEMBERS_GREETED_MAX;
}

struct member *members_to_leave(struct members *members, bool former)
{
    for (int row = 0; row < (former ? MEMBER_ROWS : ROW_FORMER); row++)
        if (members->rows[row].first != MEMBERS_NOBODY)
            return &members->list[members->rows[row].first];
    return NULL;
}

/* ---- numbers ---- */

static uint32_t hash_of(const void *data, size_t bytes)
{
    const uint8_t *at = data;
    uint32_t hash = 2166136261U; /* FNV-1a; equal hashes are looked at closely */
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ at[i]) * 16777619U;
    return hash;
}

static uint32_t name_hash(const char *name)
{
    char cut[FRAME_NAME_MAX + 1];
    (void)str_copy(cut, sizeof cut, name);
    return hash_of(cut, strlen(cut));
}

/* A member that has left: this process, else the last one of its name. */
static struct member *left_before(struct members *members, uint64_t worker, const char *name)
{
    struct member *namesake = NULL;
    uint32_t hash = name_hash(name);
    for (uint32_t i = 0; i < members->used; i++) {
        struct member *member = &members->list[i];
        bool is_worker = members->keys[i].worker == worker;
        if ((!is_worker && members->keys[i].name != hash) || member->state != MEMBER_NONE)
            continue;
        if (is_worker)
            return member;
        if (name[0] && strcmp(member->name, name) == 0 && (!namesake || member->left > namesake->left))
            namesake = member;
    }
    return namesake;
}

/* Strangers that come and go take the numbers of workers that were here last. */
static bool is_freer(const struct member *member, const struct member *than)
{
    bool joined = member->joined_token != 0, than_joined = than->joined_token != 0;
    return joined != than_joined ? than_joined : member->left < than->left;
}

/* One that nobody had, else that of who left first; NULL if none is free. */
static struct member *free_number(struct members *members)
{
    struct member *oldest = NULL;
    if (members->used < SESSIONS_MAX)
        return &members->list[members->used++];
    for (uint32_t i = 0; i < members->used; i++) {
        struct member *member = &members->list[i];
        if (member->state == MEMBER_NONE && (!oldest || is_freer(member, oldest)))
            oldest = member;
    }
    return oldest;
}

/* The number of a worker that comes again; NULL if it was not here. */
static struct member *came_again(struct members *members, uint64_t worker, const char *name, uint64_t claim)
{
    struct member *claimed = &members->list[session_number(claim)];
    if (claimed->state == MEMBER_NONE && members_is_former(members, claim))
        return claimed;
    return left_before(members, worker, name);
}

struct member *members_add(struct members *members, uint64_t worker, const char *name, uint64_t claim)
{
    struct member *again = came_again(members, worker, name, claim), *member = again ? again : free_number(members);
    if (!member)
        return NULL;
    bool former = members_is_former(members, claim);
    uint64_t token = 0, joined_token = again ? again->joined_token : 0;
    uint32_t number = members_number(members, member), attempt = again ? again->attempt + 1 : 1;
    while (token / SESSIONS_MAX == 0)
        token = entropy_u64() / SESSIONS_MAX * SESSIONS_MAX + number;
    *member = (struct member){.state = MEMBER_GREETED,
                              .token = token,
                              .worker = worker,
                              .attempt = attempt,
                              .joined_token = joined_token,
                              .samples_per_s = NAN};
    (void)str_copy(member->name, sizeof member->name, name);
    members->keys[number] = (struct member_key){.worker = worker, .name = name_hash(name)};
    row_enter(members, member, former ? ROW_FORMER : ROW_SILENT);
    members->count++;
    return member;
}

bool members_is_former(const struct members *members, uint64_t token)
{
    return token && members->list[session_number(token)].joined_token == token;
}

bool member_knows(const struct member *member, uint64_t token)
{
    return token && (token == member->token || token == member->joined_token);
}

void members_route(struct members *members, struct member *member, const struct routing_id *route)
{
    member->route = *route;
    members->keys[members_number(members, member)].route = hash_of(route->id, route->bytes);
}

struct member *members_find(struct members *members, uint64_t token)
{
    struct member *member = &members->list[session_number(token)];
    return member->state != MEMBER_NONE && member->token == token ? member : NULL;
}

struct member *members_by_worker(struct members *members, uint64_t worker)
{
    for (uint32_t i = 0; i < members->used; i++)
        if (members->keys[i].worker == worker && members->list[i].state != MEMBER_NONE)
            return &members->list[i];
    return NULL;
}

struct member *members_by_name(struct members *members, const char *name)
{
    uint32_t hash = name_hash(name);
    for (uint32_t i = 0; i < members->used; i++)
        if (members->keys[i].name == hash && members->list[i].state != MEMBER_NONE &&
            strcmp(members->list[i].name, name) == 0)
            return &members->list[i];
    return NULL;
}

struct member *members_by_route(struct members *members, const struct routing_id *route)
{
    uint32_t hash = hash_of(route->id, route->bytes);
    for (uint32_t i = 0; i < members->used; i++) {
        struct member *member = &members->list[i];
        if (members->keys[i].route == hash && member->state != MEMBER_NONE && routing_id_same(&member->route, route))
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
    if (member->state == MEMBER_GREETED) {
        row_leave(members, member);
        members->joined++;
    }
    member->state = MEMBER_JOINED;
    member->joined_token = member->token;
    member->joined_ms = now_ms;
}

void members_guest(struct members *members, struct member *member, bool guest)
{
    members->guests += (uint32_t)guest - (uint32_t)member->guest;
    member->guest = guest;
}

void members_hear(struct members *members, struct member *member, uint64_t samples, uint64_t now_ms)
{
    if (member->state == MEMBER_GREETED) {
        row_leave(members, member);
        row_enter(members, member, member->row == ROW_FORMER ? ROW_FORMER : ROW_HEARD);
    }
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

static bool is_recent(uint64_t then_ms, uint64_t now_ms)
{
    return then_ms > 0 && now_ms - MIN(now_ms, then_ms) <= BEATS_MS;
}

const char *member_why_late(const struct member *member, uint64_t now_ms)
{
    if (!is_recent(member->last_seen_ms, now_ms))
        return "nothing comes from it, not even heartbeats";
    if (is_recent(member->moved_ms, now_ms))
        return "its heartbeats come and bytes move, its slots do not: its link is slow";
    return "its heartbeats come, its slots do not";
}

void members_remove(struct members *members, struct member *member)
{
    if (member->state == MEMBER_JOINED)
        members->joined--;
    else
        row_leave(members, member);
    members->count--;
    members_guest(members, member, false);
    struct member left = {.worker = member->worker,
                          .attempt = member->attempt,
                          .joined_token = member->joined_token,
                          .left = ++members->leavings};
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
        if (members->list[i].state == MEMBER_JOINED && !members->list[i].guest)
            numbers[count++] = i;
    return count;
}
