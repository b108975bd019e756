/* Seats: the shards of the job as the head has them, one seat for each, by the shard's number. A seat has the link to
 * its shard, the endpoint that workers are told, the shard's counters, and the steps that it has completed.
 *
 * A seat does not know where its shard runs. The module that starts shards fills their seats and gives each a table of
 * operations: local_shards.h has the shards that are threads of this process.
 *
 * Invariants:
 *   1. Levels are announced to all shards alike: the least low of all, and the latest fence that all of them know.
 *   2. The seats are in the order of the shards' numbers, and no seat is taken away.
 *   3. Nothing is sent to a shard, nor taken from it, before its seat is filled; nothing is taken once it has stopped.
 * Thread: head. */
#ifndef DP_SERVER_SEATS_SEATS_H
#define DP_SERVER_SEATS_SEATS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/dp_err.h"
#include "server/link/link.h"
#include "server/shard/counters.h"

struct seat;

struct seat_ops {
    void (*stop)(struct seat *seat); /* of one that runs: the shard ends, and has ended when this returns */
    void (*free)(struct seat *seat); /* all that the shard had, its link and its texts */
};

struct seat {
    const struct seat_ops *ops;
    void *shard;                           /* for the operations; the rest is borrowed from it */
    struct shard_link *link;               /* for seats_send and its like */
    const struct shard_counters *counters; /* the shard's, for the status */
    const char *endpoint;                  /* at which it listens */
    const char *told;                      /* the same for workers, at a host that they can reach */
    const char *shm_name;                  /* of its socket for shared memory; "": it has none */
    bool at_head;                          /* its socket is the head's, too */
    bool runs;
    uint64_t low; /* steps complete; UINT64_MAX: it holds nothing of the job */
};

struct seats {
    struct seat *list; /* [count], with room for more as it was reserved */
    uint32_t count, room;
    uint32_t arrivals_of;        /* the shard that tells what has arrived */
    uint64_t fences, all_fenced; /* sessions that were ended, and those of which all shards know */
    uint64_t pins;               /* numbers given to pins so far */
};

/* Makes room for `more` seats than there are. DP_NOMEM. */
DP_MUST_CHECK dp_err seats_reserve(struct seats *seats, uint32_t more);
/* The next shard runs: its seat is filled with what is given. There must be room. */
void seats_add(struct seats *seats, const struct seat *seat);
/* Ends all shards. */
void seats_stop(struct seats *seats);
/* Frees all, once the shards have stopped and libzmq's context is terminated. Accepts zeroed seats. */
void seats_fini(struct seats *seats);
const struct seat *seats_at(const struct seats *seats, uint32_t shard);

/* shard_link_send and shard_link_take on the link of a shard. */
bool seats_send(struct seats *seats, uint32_t shard, const struct command *command);
bool seats_take(struct seats *seats, uint32_t shard, struct event *ret_event);
/* shard_link_take_arrival, from the shard that seats_hear_arrivals has named. */
bool seats_take_arrival(struct seats *seats, struct arrival *ret_arrival);

/* ---- steps, fences and pins of the shards ---- */

/* A job begins: steps complete on this shard, UINT64_MAX if it holds nothing of the job. */
void seats_begin(struct seats *seats, uint32_t shard, uint64_t low);
/* The shard from which seats_take_arrival takes. */
void seats_hear_arrivals(struct seats *seats, uint32_t shard);
/* The job is settled no longer. */
void seats_forget(struct seats *seats);
/* The shard has completed the step. */
void seats_completed(struct seats *seats, uint32_t shard, uint64_t step);
/* Steps complete on all shards. */
uint64_t seats_low(const struct seats *seats);
/* Tells all shards how far all are. */
void seats_announce_low(struct seats *seats, uint64_t low);
/* A session ends: the number of its fence, for COMMAND_CLOSE. */
uint64_t seats_fence(struct seats *seats);
/* Tells the shards of the fences that all of them know. */
void seats_see_fences(struct seats *seats);
/* Asks all shards for theta at a step; the events have the number that is returned, 0 where one has too much to do. */
uint64_t seats_pin(struct seats *seats, uint64_t step);

#endif
