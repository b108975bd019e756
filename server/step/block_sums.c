/* Sums over shards; see block_sums.h. Thread: head. */
#include "server/step/block_sums.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/util.h"

struct gathering {
    struct gathering *next;
    uint64_t step;
    uint32_t phase;
    uint32_t missing;
    double *sums[]; /* [shard_count] */
};

dp_err exchange_init(struct exchange *exchange, const struct tensors *tensors, uint32_t shard_count,
                     const struct range *ranges)
{
    *exchange = (struct exchange){.tensors = tensors, .shard_count = shard_count};
    exchange->ranges = mem_array(shard_count, sizeof *exchange->ranges);
    exchange->table_blocks = mem_array_zero((size_t)shard_count * tensors->count, sizeof *exchange->table_blocks);
    if (!exchange->ranges || !exchange->table_blocks)
        return DP_NOMEM;
    memcpy(exchange->ranges, ranges, shard_count * sizeof *ranges);
    return DP_OK;
}

void exchange_add_blocks(struct exchange *exchange, uint32_t shard, uint32_t table, uint64_t blocks)
{
    exchange->table_blocks[(size_t)shard * exchange->tensors->count + table] += blocks;
}

/* Whether a shard hands in sums of the phase. */
static bool takes_part(const struct exchange *exchange, uint32_t shard, uint32_t phase)
{
    uint64_t blocks = 0;
    for (uint32_t t = 0; phase == EXCHANGE_REPORT && t < exchange->tensors->count; t++)
        blocks += exchange->table_blocks[(size_t)shard * exchange->tensors->count + t];
    return exchange->ranges[shard].count > 0 || blocks > 0;
}

static void gathering_free(const struct exchange *exchange, struct gathering *g)
{
    for (uint32_t s = 0; s < exchange->shard_count; s++)
        free(g->sums[s]);
    free(g);
}

void exchange_fini(struct exchange *exchange)
{
    for (struct gathering *g = exchange->open, *next; g; g = next) {
        next = g->next;
        gathering_free(exchange, g);
    }
    free(exchange->ranges);
    free(exchange->table_blocks);
    *exchange = (struct exchange){0};
}

/* The link to the gathering, or to the end of the list. */
static struct gathering **find(struct exchange *exchange, uint64_t step, uint32_t phase)
{
    struct gathering **at = &exchange->open;
    while (*at && ((*at)->step != step || (*at)->phase != phase))
        at = &(*at)->next;
    return at;
}

static struct gathering *gathering_new(const struct exchange *exchange, uint64_t step, uint32_t phase)
{
    struct gathering *g = mem_array_zero(1, sizeof *g + exchange->shard_count * sizeof g->sums[0]);
    if (!g)
        return NULL;
    g->step = step;
    g->phase = phase;
    for (uint32_t s = 0; s < exchange->shard_count; s++)
        g->missing += takes_part(exchange, s, phase);
    return g;
}

/* Adds the sums of `blocks` blocks; returns those after them. */
static const double *add_blocks(uint64_t blocks, uint32_t values, const double *sums, double *to)
{
    for (uint64_t b = 0; b < blocks; b++, sums += values)
        for (uint32_t v = 0; v < values; v++)
            to[v] += sums[v];
    return sums;
}

static void add_shard(const struct exchange *exchange, uint32_t shard, uint32_t phase, uint32_t values,
                      const double *sums, double *totals)
{
    const struct tensors *tensors = exchange->tensors;
    struct segment segments[TENSOR_COUNT_MAX];
    size_t n = layout_segments(tensors, exchange->ranges[shard], segments, ARRAY_LEN(segments));
    for (size_t i = 0; i < n; i++) {
        uint64_t block = layout_tensor_block(tensors, segments[i].tensor);
        double *to = totals + (size_t)segments[i].tensor * values;
        sums = add_blocks((segments[i].count + block - 1) / block, values, sums, to);
    }
    for (uint32_t t = 0; phase == EXCHANGE_REPORT && t < tensors->count; t++)
        sums = add_blocks(exchange->table_blocks[(size_t)shard * tensors->count + t], values, sums,
                          totals + (size_t)t * values);
}

dp_err exchange_add(struct exchange *exchange, uint32_t shard, uint64_t step, uint32_t phase, uint32_t values,
                    double *sums, double **ret_totals)
{
    struct gathering **at = find(exchange, step, phase), *g = *at;
    *ret_totals = NULL;
    if (!g)
        g = *at = gathering_new(exchange, step, phase);
    if (!g || g->sums[shard]) {
        free(sums);
        return g ? DP_OK : DP_NOMEM;
    }
    g->sums[shard] = sums;
    if (--g->missing > 0)
        return DP_OK;
    double *totals = mem_array_zero((size_t)exchange->tensors->count * values, sizeof *totals);
    for (uint32_t s = 0; totals && s < exchange->shard_count; s++)
        if (g->sums[s])
            add_shard(exchange, s, phase, values, g->sums[s], totals);
    *at = g->next;
    gathering_free(exchange, g);
    *ret_totals = totals;
    return totals ? DP_OK : DP_NOMEM;
}
