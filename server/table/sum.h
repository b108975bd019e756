/* Sums of rows: two lists with their values become one, in the order of the ids. A row that is in one of them alone is
 * taken over untouched, never added to 0; one that is in both is left + right. Thread: shard. */
#ifndef DP_SERVER_TABLE_SUM_H
#define DP_SERVER_TABLE_SUM_H

#include "common/base/mem.h"
#include "server/table/ids.h"

/* Rows and their values; an empty one has no list. Owns a reference and the values. */
struct rowsum {
    struct rowlist *list;
    struct blob values; /* floats: count * dim */
};

void rowsum_release(struct rowsum *sum);
/* left + right, taking both: what can be is reused. DP_NOMEM leaves both as they were. */
DP_MUST_CHECK dp_err rowsum_add(struct rowsum *left, struct rowsum *right, uint32_t dim, struct rowsum *ret_sum);

#endif
