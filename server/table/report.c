/* Reports of a part; see report.h. One pass over all rows, as theta_t has them, block by block in the order of their
 * ids, so that the totals have the same bits however ids are cut. A table whose rows begin as zeros is read only where
 * rows were touched: the pass then costs the touched ones. Rows of a hashed table are those that were touched.
 * Thread: shard. */
#include "server/table/report.h"

#include <stdlib.h>

#include "common/base/util.h"
#include "common/kernels/kernels.h"
#include "server/table/read.h"

/* The place of a pass. */
struct walk {
    struct part *part;
    const struct rowlist *touched; /* hashed: all rows, sorted; else NULL */
    bool skips;                    /* rows that were never touched are zeros */
    uint64_t next;                 /* id; hashed: index in touched */
    struct rowlist *chunk;         /* room for one */
    uint32_t room;
    float *rows; /* [room * dim] */
};

/* Moves on to the pass's next row, if there is one up to `last`. */
static bool walk_to(struct walk *walk, uint64_t last, uint64_t *ret_id)
{
    if (walk->touched) {
        if (walk->next == walk->touched->count || walk->touched->ids[walk->next] > last)
            return false;
        *ret_id = walk->touched->ids[walk->next++];
        return true;
    }
    uint64_t id = walk->skips ? table_next_touched(&walk->part->table, walk->next) : walk->next;
    if (id > last)
        return false;
    walk->next = id + 1;
    *ret_id = id;
    return true;
}

/* The next rows of the pass, as far as they are in ids up to `last` and fit in a chunk; returns how many. */
static uint32_t walk_next(struct walk *walk, uint64_t last)
{
    uint32_t n = 0;
    while (n < walk->room && walk_to(walk, last, &walk->chunk->ids[n]))
        n++;
    walk->chunk->count = walk->chunk->missing = n;
    return n;
}

static void add_chunk(const struct part *part, size_t n, const float *w, double *sums)
{
    const struct shard_job *job = part->job;
    struct regular_sums r = regular_sums(&job->regular[part->range.tensor], n, w);
    sums[REPORT_MAGNITUDES] += r.magnitudes;
    sums[REPORT_SQUARES] += r.squares;
    sums[REPORT_ZEROS] += r.zeros;
    sums[REPORT_ELEMS] += (double)n;
    sums += REPORT_VALUES;
    for (uint32_t i = 0; i < job->constraints.count; i++) {
        const struct constraint *c = &job->constraints.list[i];
        if (c->mask >> part->range.tensor & 1)
            constraint_sums(c, 0, part->table.dim, n, w, sums);
        sums += constraint_sum_count(c);
    }
}

/* Elements of rows that are zeros. */
static void add_zeros(double elems, double *sums)
{
    sums[REPORT_ZEROS] += elems;
    sums[REPORT_ELEMS] += elems;
}

/* The gradient's squares over rows with ids up to `last`, from row *at of the sum on. */
static double gradient_squares(const struct part *part, const struct rowsum *sum, uint64_t last, uint32_t *at)
{
    uint32_t from = *at, count = sum->list ? sum->list->count : 0, dim = part->table.dim;
    while (*at < count && sum->list->ids[*at] <= last)
        (*at)++;
    if (*at == from)
        return 0;
    return kernels_get()->sum_squares((size_t)(*at - from) * dim, (const float *)sum->values.data + (size_t)from * dim);
}

static dp_err add_blocks(struct walk *walk, const struct rowsum *sum, uint64_t samples, double *sums)
{
    struct part *part = walk->part;
    uint32_t values = shard_job_report_values(part->job), dim = part->table.dim, at = 0;
    uint64_t span = layout_table_span(&part->job->tensors.list[part->range.tensor]), step = part->window.next;
    double inv = 1.0 / (double)samples;
    for (uint64_t i = 0; i < part_blocks(part); i++, sums += values) {
        uint64_t first = part->range.first + i * span, last = MIN(part->range.last - first, span - 1) + first;
        while (walk_next(walk, last) > 0) {
            if (part_read(part, step, walk->chunk, walk->rows))
                return DP_NOMEM;
            add_chunk(part, (size_t)walk->chunk->count * dim, walk->rows, sums);
        }
        if (walk->skips)
            add_zeros((double)(last - first + 1) * dim - sums[REPORT_ELEMS], sums);
        sums[REPORT_GRADIENT] = gradient_squares(part, sum, last, &at) * inv * inv;
    }
    return DP_OK;
}

uint64_t part_blocks(const struct part *part)
{
    uint64_t span = layout_table_span(&part->job->tensors.list[part->range.tensor]);
    return (part->range.last - part->range.first) / span + 1;
}

double *part_report(struct part *part, const struct rowsum *sum, uint64_t samples)
{
    uint32_t room = MAX(ROWRULE_FLOATS / part->table.dim, 1U);
    bool hashed = part->table.kind == TENSOR_HASHED;
    struct rowlist *touched = hashed ? table_sorted(&part->table) : NULL;
    bool zeros = part->job->tensors.list[part->range.tensor].init == INIT_ZEROS && !part->rule.projects;
    struct walk walk = {.part = part,
                        .touched = touched,
                        .skips = zeros && !hashed,
                        .next = hashed ? 0 : part->range.first,
                        .room = room};
    walk.chunk = rowlist_new(room);
    walk.rows = mem_array((size_t)room * part->table.dim, sizeof *walk.rows);
    double *sums = mem_array_zero(part_blocks(part) * shard_job_report_values(part->job), sizeof *sums);
    bool good = walk.chunk && walk.rows && sums && (touched || !hashed);
    if (!good || add_blocks(&walk, sum, samples, sums)) {
        free(sums);
        sums = NULL;
    }
    rowlist_release(&touched);
    rowlist_release(&walk.chunk);
    free(walk.rows);
    return sums;
}
