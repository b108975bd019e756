/* A link within the process: bounded queues between the head's thread and the shard's. A shard in another process has
 * one as well, between its socket and its thread. Thread: as stated. */
#ifndef DP_SERVER_LINK_LOCAL_H
#define DP_SERVER_LINK_LOCAL_H

#include <stdatomic.h>

#include "server/link/link.h"
#include "server/link/queue.h"

/* Wakes a thread; it may be called often, and many calls may be one. */
struct link_waker {
    void (*wake)(void *arg);
    void *arg;
};

struct link_local {
    struct shard_link link;        /* the head's end; first */
    struct queue commands, events; /* of struct command and struct event */
    struct queue arrivals;         /* of struct arrival; when it is full they are left out */
    _Atomic uint64_t low, fences;  /* the levels announced */
    _Atomic uint64_t fenced;
    struct link_waker shard, head;
};

struct link_rooms {
    size_t commands, events, arrivals;
};

/* `shard` and `head` wake the threads. DP_NOMEM. Thread: head. */
DP_MUST_CHECK dp_err link_local_init(struct link_local *local, const struct link_rooms *rooms, struct link_waker shard,
                                     struct link_waker head);
/* With what nobody took, once the shard's thread is over. Accepts a zeroed one. Thread: head. */
void link_local_fini(struct link_local *local);

/* ---- the shard's end; thread: shard ---- */

/* The levels, to be read before commands are taken: what was sent before they were announced is there then. */
struct command_levels link_local_levels(const struct link_local *local);
/* The next command, which is the caller's; false if there is none. */
bool link_local_take(struct link_local *local, struct command *ret_command);
/* Takes an event. Its queue has room: the steps that are not released bound what a shard has to say. */
void link_local_put(struct link_local *local, const struct event *event);
/* False: there was no room, and it is lost. */
bool link_local_arrived(struct link_local *local, const struct arrival *arrival);
/* The shard knows this fence; the head is woken. */
void link_local_fenced(struct link_local *local, uint64_t fence);
void link_local_wake_head(const struct link_local *local);

#endif
