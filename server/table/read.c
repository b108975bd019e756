/* Reads of a part; see read.h. Thread: shard. */
#include "server/table/read.h"

#include <assert.h>

enum { LOOK_AHEAD = 24 };

bool part_holds(const struct part *part, uint64_t step)
{
    return step >= part->oldest && step <= part->window.next;
}

uint64_t part_version(const struct part *part, uint64_t step)
{
    const struct plan *plan = &part->job->plan;
    return plan_trained(plan, step);
}

static void read_now(struct part *part, uint64_t t, const struct rowlist *list, float *out)
{
    const struct table *table = &part->table;
    for (uint32_t i = 0; i < list->count; i++) {
        if (i + LOOK_AHEAD < list->count && list->rows[i + LOOK_AHEAD] != ROW_NONE)
            __builtin_prefetch(table_record(table, list->rows[i + LOOK_AHEAD]));
        const float *record = list->rows[i] == ROW_NONE ? NULL : table_record(table, list->rows[i]);
        rowrule_read(&part->rule, list->ids[i], record, t, out + (size_t)i * table->dim);
    }
}

/* Rows of the list that are in the undo log were, before its step, as the log has them. */
static void look_back(const struct part *part, const struct undo *undo, const struct rowlist *list,
                      const float **records)
{
    uint32_t j = 0, count = undo->list ? undo->list->count : 0;
    for (uint32_t i = 0; i < list->count && j < count; i++) {
        while (j < count && undo->list->ids[j] < list->ids[i])
            j++;
        if (j < count && undo->list->ids[j] == list->ids[i])
            records[i] = undo->records + (size_t)j * part->table.stride;
    }
}

void part_records(const struct part *part, uint64_t step, const struct rowlist *list, const float **records)
{
    for (uint32_t i = 0; i < list->count; i++)
        records[i] = list->rows[i] == ROW_NONE ? NULL : table_record(&part->table, list->rows[i]);
    for (uint64_t u = part->window.next; u > step; u--)
        look_back(part, &part->undo[(u - 1) % PART_STEPS], list, records);
}

static dp_err read_back(struct part *part, uint64_t step, uint64_t t, const struct rowlist *list, float *out)
{
    AUTOFREE const float **records = mem_array(list->count, sizeof *records);
    if (!records)
        return DP_NOMEM;
    part_records(part, step, list, records);
    for (uint32_t i = 0; i < list->count; i++)
        rowrule_read(&part->rule, list->ids[i], records[i], t, out + (size_t)i * part->table.dim);
    return DP_OK;
}

dp_err part_read(struct part *part, uint64_t step, struct rowlist *list, float *out)
{
    uint64_t t = part_version(part, step);
    assert(part_holds(part, step));
    table_find(&part->table, list);
    if (step < part->window.next)
        return read_back(part, step, t, list, out);
    read_now(part, t, list, out);
    return DP_OK;
}
