/* Tables of a job: the runs of ids that go to each shard. A table's ids are cut evenly over the shards, at its blocks,
 * and on a shard into parts so small that a push of all rows of one fits in a message, as far as PARTS_MAX allows.
 * Thread: head. */
#include "server/job/parts.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"

enum {
    WIDE_DIM = 16,
    WIDE_ELEMS = 1 << 20,
    PARTS_MAX = 16, /* of a table on a shard: each costs a message per slot and step */
    HASHED_NAME_MAX = TENSOR_NAME_MAX - sizeof ".values", /* a model file has name.ids and name.values */
};

dp_err job_add_tensor(struct tensors *tensors, const Dp__Tensor *from, dp_error *err)
{
    uint32_t rank = (uint32_t)from->n_shape;
    enum tensor_init init = (enum tensor_init)from->init;
    if (from->kind == DP__TENSOR__KIND__DENSE)
        return tensors_add(tensors, from->name, rank, from->shape, init, from->init_arg, from->regularized, err);
    return tensors_add_table(tensors, from->name, (enum tensor_kind)from->kind, rank, from->shape, init, from->init_arg,
                             from->regularized, err);
}

static uint32_t count_tables(const struct tensors *tensors)
{
    uint32_t n = 0;
    for (uint32_t t = 0; t < tensors->count; t++)
        n += tensors->list[t].kind != TENSOR_DENSE;
    return n;
}

/* Rows that a part should have at most. Fewer of wide rows, so that parts are committed and answered while others still
 * arrive; of narrow ones messages are so small that this costs more than it saves. */
static uint64_t part_rows(const struct tensor *table)
{
    uint32_t elems = table->dim >= WIDE_DIM ? WIDE_ELEMS : FRAME_ROWS_FLOATS_MAX;
    return MAX(MIN(elems / table->dim, (uint32_t)FRAME_ROWS_MAX), 1U);
}

/* Parts that a shard has its `blocks` of a table in. */
static uint64_t parts_wanted(const struct tensor *table, uint64_t blocks, uint64_t most)
{
    if (table->kind == TENSOR_HASHED)
        return 1;
    uint64_t rows = blocks * layout_table_span(table), rows_max = part_rows(table);
    return MIN(MIN((rows + rows_max - 1) / rows_max, most), blocks);
}

/* Blocks [begin, end) of a table become parts of a shard. */
static void add_parts(struct job_shard *shard, const struct tensor *table, uint32_t t, uint64_t begin, uint64_t end,
                      uint64_t most)
{
    uint64_t span = layout_table_span(table), blocks = end - begin, n = parts_wanted(table, blocks, most);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t from = begin + part_bound(blocks, i, n), to = begin + part_bound(blocks, i + 1, n);
        bool whole = to == layout_table_blocks(table);
        shard->parts[shard->part_count++] =
            (struct part_range){t, from * span, whole ? table->last_row : to * span - 1};
    }
}

static dp_err settle_shard(struct job *job, uint32_t s, uint32_t tables)
{
    struct job_shard *shard = &job->shards[s];
    uint64_t most = MIN(MAX(FRAME_PARTS_MAX / ((uint64_t)job->shard_count * tables), 1), (uint64_t)PARTS_MAX);
    shard->parts = mem_array(tables * (size_t)most, sizeof *shard->parts);
    if (!shard->parts)
        return DP_NOMEM;
    for (uint32_t t = 0; t < job->core.tensors.count; t++) {
        const struct tensor *table = &job->core.tensors.list[t];
        if (table->kind == TENSOR_DENSE)
            continue;
        uint64_t blocks = layout_table_blocks(table);
        add_parts(shard, table, t, part_bound(blocks, s, job->shard_count), part_bound(blocks, s + 1, job->shard_count),
                  most);
    }
    return DP_OK;
}

static dp_err check_table(const struct job *job, const struct tensor *table, dp_error *err)
{
    if (table->kind == TENSOR_TABLE && table->last_row / job->shard_count >= ROW_NONE / 2)
        return dp_fail(err, DP_REFUSED, "table '%s' has %llu rows, and a shard takes less than 2^31: use more --shards",
                       table->name, (unsigned long long)table->last_row + 1);
    if (table->kind == TENSOR_HASHED && strlen(table->name) > HASHED_NAME_MAX)
        return dp_fail(err, DP_REFUSED, "the name of table '%s' is longer than %d characters", table->name,
                       HASHED_NAME_MAX);
    return DP_OK;
}

dp_err job_settle_parts(struct job *job, uint32_t slices, dp_error *err)
{
    uint32_t tables = count_tables(&job->core.tensors), next = slices;
    dp_err e = DP_OK;
    for (uint32_t t = 0; !e && t < job->core.tensors.count; t++)
        e = check_table(job, &job->core.tensors.list[t], err);
    for (uint32_t s = 0; !e && s < job->shard_count; s++) {
        job->shards[s].first_part = next;
        if (tables > 0 && settle_shard(job, s, tables))
            return dp_fail(err, DP_NOMEM, "out of memory for the layout of tables");
        next += job->shards[s].part_count;
    }
    if (!e && next - slices > FRAME_PARTS_MAX)
        return dp_fail(err, DP_REFUSED, "%u tables on %u shards are more than %d parts", tables, job->shard_count,
                       FRAME_PARTS_MAX);
    return e;
}

dp_err job_wire_parts(const struct job_shard *shard, Dp__Shard *wire)
{
    if (shard->part_count == 0)
        return DP_OK;
    Dp__Part *parts = mem_array(shard->part_count, sizeof *parts);
    wire->parts = mem_array(shard->part_count, sizeof *wire->parts);
    if (!parts || !wire->parts) {
        free(parts);
        return DP_NOMEM;
    }
    for (uint32_t i = 0; i < shard->part_count; i++) {
        dp__part__init(&parts[i]);
        parts[i].tensor = shard->parts[i].tensor;
        parts[i].first = shard->parts[i].first;
        parts[i].last = shard->parts[i].last;
        wire->parts[i] = &parts[i];
    }
    wire->n_parts = shard->part_count;
    return DP_OK;
}

void job_free_parts(Dp__Shard *wire)
{
    if (wire->n_parts > 0)
        free(wire->parts[0]);
    free(wire->parts);
    wire->parts = NULL;
    wire->n_parts = 0;
}
