/* All rows of a part; see copy.h. Thread: shard. */
#include "server/table/copy.h"

#include <stdlib.h>

#include "common/base/util.h"
#include "server/table/read.h"

enum { CHUNK_ROWS = 1 << 16 };

void rows_copy_fini(struct rows_copy *copy)
{
    free(copy->ids);
    free(copy->values);
    *copy = (struct rows_copy){0};
}

/* Rows first .. of a dense range, as many as the list has. */
static dp_err copy_chunk(struct part *part, uint64_t step, uint64_t first, struct rowlist *list, float *out)
{
    for (uint32_t i = 0; i < list->count; i++)
        list->ids[i] = first + i;
    list->missing = list->count;
    return part_read(part, step, list, out);
}

static dp_err copy_range(struct part *part, uint64_t step, struct rows_copy *copy)
{
    struct part_range range = part->range;
    uint32_t dim = part->table.dim;
    copy->count = range.last - range.first + 1;
    copy->values = mem_array(copy->count * dim, sizeof *copy->values);
    struct rowlist *list = rowlist_new((uint32_t)MIN(copy->count, (uint64_t)CHUNK_ROWS));
    dp_err e = copy->values && list ? DP_OK : DP_NOMEM;
    for (uint64_t done = 0; !e && done < copy->count; done += list->count) {
        list->count = (uint32_t)MIN(copy->count - done, (uint64_t)CHUNK_ROWS);
        e = copy_chunk(part, step, range.first + done, list, copy->values + done * dim);
    }
    rowlist_release(&list);
    return e;
}

/* The rows of a sorted list that were there at the step, with their values. */
static dp_err keep_touched(struct part *part, uint64_t step, struct rowlist *list, struct rows_copy *copy)
{
    uint32_t dim = part->table.dim;
    uint64_t t = part_version(part, step);
    AUTOFREE const float **records = mem_array(list->count, sizeof *records);
    if (!records)
        return DP_NOMEM;
    table_find(&part->table, list);
    part_records(part, step, list, records);
    for (uint32_t i = 0; i < list->count; i++) {
        if (!records[i] || record_stamp(records[i]) == 0)
            continue;
        copy->ids[copy->count] = list->ids[i];
        rowrule_read(&part->rule, list->ids[i], records[i], t, copy->values + copy->count * dim);
        copy->count++;
    }
    return DP_OK;
}

static dp_err copy_hashed(struct part *part, uint64_t step, struct rows_copy *copy)
{
    uint32_t count = part->table.count;
    struct rowlist *list = table_sorted(&part->table);
    copy->ids = mem_array(count, sizeof *copy->ids);
    copy->values = mem_array((size_t)count * part->table.dim, sizeof *copy->values);
    dp_err e = list && copy->ids && copy->values ? keep_touched(part, step, list, copy) : DP_NOMEM;
    rowlist_release(&list);
    return e;
}

dp_err part_copy(struct part *part, uint64_t step, struct rows_copy *ret_copy)
{
    struct rows_copy copy = {0};
    dp_err e = part->table.kind == TENSOR_HASHED ? copy_hashed(part, step, &copy) : copy_range(part, step, &copy);
    if (e)
        rows_copy_fini(&copy);
    else
        *ret_copy = copy;
    return e;
}
