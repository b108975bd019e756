/* Lists of row ids, and those that a shard keeps so that clients need not send them again.
 *
 * A list is strictly ascending ids of one part of a table, with the place of each row once it was looked up. Lists are
 * shared by reference: the cache, pushes that wait for their step, pulls that wait and undo logs hold them.
 * Thread: shard. */
#ifndef DP_SERVER_TABLE_IDS_H
#define DP_SERVER_TABLE_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/dp_err.h"

#define ROW_NONE UINT32_MAX /* a row that is not there */

struct rowlist {
    uint32_t refs;
    uint32_t count;
    uint32_t missing;                      /* rows that were not there when last looked for */
    uint32_t part;                         /* cached: of the shard */
    uint64_t hash;                         /* cached: what clients call it */
    uint64_t *ids;                         /* [count] */
    uint32_t *rows;                        /* [count] places in the table, ROW_NONE */
    struct rowlist *older, *newer, *chain; /* cache */
};

/* One reference; ids and places are the caller's to fill, all are missing. NULL when out of memory. */
struct rowlist *rowlist_new(uint32_t count);
struct rowlist *rowlist_retain(struct rowlist *list);
/* Gives a reference back and clears *list, which may be NULL. */
void rowlist_release(struct rowlist **list);

enum { ROWCACHE_BUCKETS = 4096 };

struct rowcache {
    uint64_t budget_bytes, bytes;
    uint64_t lists;
    struct rowlist *newest, *oldest;
    struct rowlist *buckets[ROWCACHE_BUCKETS];
};

void rowcache_init(struct rowcache *cache, uint64_t budget_bytes);
void rowcache_fini(struct rowcache *cache);
/* The list, which becomes the last to be forgotten; borrowed. NULL if it is not kept. */
struct rowlist *rowcache_find(struct rowcache *cache, uint32_t part, uint64_t hash, uint32_t count);
/* Keeps a list under its part and hash, taking a reference, and forgets those not used for longest beyond the budget:
 * itself only if it is beyond it alone. */
void rowcache_keep(struct rowcache *cache, struct rowlist *list);

#endif
