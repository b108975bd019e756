/* Sums over all shards: each shard hands in sums of its blocks; when all have, they are added in block order, tensor by
 * tensor, so that the totals have the same bits for any number of shards. Pure arithmetic. Thread: head. */
#ifndef DP_SERVER_STEP_BLOCK_SUMS_H
#define DP_SERVER_STEP_BLOCK_SUMS_H

#include "common/tensor/tensor.h"

#define EXCHANGE_REPORT UINT32_MAX /* the phase of reports, which nobody waits for */

struct gathering; /* of one phase of one step */

struct exchange {
    const struct tensors *tensors;
    uint32_t shard_count;
    struct range *ranges;   /* [shard_count]; those of no elements hand in nothing but reports of tables */
    uint64_t *table_blocks; /* [shard_count][tensors] of tables */
    struct gathering *open;
};

/* Borrows tensors, copies ranges. DP_NOMEM. */
DP_MUST_CHECK dp_err exchange_init(struct exchange *exchange, const struct tensors *tensors, uint32_t shard_count,
                                   const struct range *ranges);
void exchange_fini(struct exchange *exchange);
/* The shard also has `blocks` blocks of a table, which its reports bring after those of theta, table by table. */
void exchange_add_blocks(struct exchange *exchange, uint32_t shard, uint32_t table, uint64_t blocks);
/* Takes `values` sums of each block of the shard, heap. Once all shards have handed in: *ret_totals is
 * [tensor][value], heap, the caller's; else NULL. DP_NOMEM. */
DP_MUST_CHECK dp_err exchange_add(struct exchange *exchange, uint32_t shard, uint64_t step, uint32_t phase,
                                  uint32_t values, double *sums, double **ret_totals);

#endif
