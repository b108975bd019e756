/* The tables of a shard's job; see tables.h. Thread: shard. */
#include "server/net/tables.h"

#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "server/shard/parts.h"
#include "server/table/read.h"

static const uint64_t LISTS_BYTES = (uint64_t)256 << 20; /* of lists of ids that a shard keeps */

dp_err port_tables_start(struct port_state *port, const struct command_start *start, dp_error *err)
{
    if (start->part_count == 0)
        return DP_OK;
    struct frame_part *parts = mem_array(start->part_count, sizeof *parts);
    if (!parts)
        return dp_fail(err, DP_NOMEM, "out of memory for %u parts of tables", start->part_count);
    for (uint32_t i = 0; i < start->part_count; i++) {
        const struct part_range *range = &start->parts[i];
        uint32_t dim = start->job.tensors.list[range->tensor].dim;
        parts[i] = (struct frame_part){range->first, range->last, dim};
    }
    dp_err e = shard_rows_start(&port->shard, start->first_part, start->parts, start->part_count, LISTS_BYTES, err);
    if (e) {
        free(parts);
        return e;
    }
    /* From here on messages find parts. */
    port->limits.rows = (struct frame_rows_limits){start->first_part, start->part_count, start->job.plan.slots, parts,
                                                   plan_total(&start->job.plan)};
    port->replies.budget_bytes += 2 * (uint64_t)FRAME_ROWS_BYTES_MAX * MIN(start->part_count, 8U);
    return DP_OK;
}

void port_tables_fini(struct port_state *port)
{
    free((void *)port->limits.rows.parts);
    port->limits.rows = (struct frame_rows_limits){0};
}

struct rows_copy *port_tables_copy(struct port_state *port, uint64_t step)
{
    const struct shard_tables *tables = &port->shard.tables;
    struct rows_copy *copies = tables->count ? mem_array_zero(tables->count, sizeof *copies) : NULL;
    for (uint32_t i = 0; copies && i < tables->count; i++)
        if (!part_holds(&tables->parts[i], step) || part_copy(&tables->parts[i], step, &copies[i])) {
            while (i > 0)
                rows_copy_fini(&copies[--i]);
            free(copies);
            return NULL;
        }
    return copies;
}
