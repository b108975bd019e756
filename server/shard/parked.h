/* Pulls of a slice, or of a part of a table, that wait for their step: one of each session, its latest. Holds the lists
 * of rows that they ask for. Thread: shard. */
#ifndef DP_SERVER_SHARD_PARKED_H
#define DP_SERVER_SHARD_PARKED_H

#include "server/table/ids.h"

struct parked {
    uint32_t session;
    uint64_t request;
    uint64_t step;
    uint64_t have;
    uint64_t since_ns;
    struct rowlist *keys; /* of a part; NULL: no rows */
};

/* A zeroed one is empty. */
struct parked_list {
    size_t count, room;
    struct parked *list;
};

/* The pull waits from now on, instead of an earlier one of its session. Takes a reference to its list. False when out
 * of memory: nothing has changed. */
bool parked_put(struct parked_list *list, const struct parked *pull);
/* list[index] waits no more; another one takes its place. */
void parked_drop(struct parked_list *list, size_t index);
/* The session is over. */
void parked_forget(struct parked_list *list, uint32_t session);
void parked_fini(struct parked_list *list);

#endif
