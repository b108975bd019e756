/* Sums over shards; see exchange.h. Thread: head. */
#include "exchange.h"

#include <stdlib.h>
#include <string.h>

#include "util.h"

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
    if (!exchange->ranges)
        return DP_NOMEM;
    memcpy(exchange->ranges, ranges, shard_count * sizeof *ranges);
    return DP_OK;
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
    *exchange = (struct exchange){0};
}

/* Where the link to the gathering is, or to the end of the list. */
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
        g->missing += exchange->ranges[s].count > 0;
    return g;
}

static void add_range(const struct exchange *exchange, struct range range, uint32_t values, const double *sums,
                      double *totals)
{
    struct segment segments[TENSOR_COUNT_MAX];
    size_t n = layout_segments(exchange->tensors, range, segments, ARRAY_LEN(segments));
    for (size_t i = 0; i < n; i++) {
        uint64_t block = layout_tensor_block(exchange->tensors, segments[i].tensor);
        double *to = totals + (size_t)segments[i].tensor * values;
        for (uint64_t at = 0; at < segments[i].count; at += block, sums += values)
            for (uint32_t v = 0; v < values; v++)
                to[v] += sums[v];
    }
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
            add_range(exchange, exchange->ranges[s], values, g->sums[s], totals);
    *at = g->next;
    gathering_free(exchange, g);
    *ret_totals = totals;
    return totals ? DP_OK : DP_NOMEM;
}
