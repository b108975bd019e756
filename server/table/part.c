/* A part of a table; see part.h.
 *
 * A step's nodes are kept as they came, at most K of them, and are merged when the step is complete: in a tree, so that
 * rows are added in the order that dense gradients are. Thread: shard. */
#include "server/table/part.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/step/first_values.h"
#include "server/table/keep.h"
#include "server/table/report.h"

static const uint64_t UNDO_BYTES_MAX = (uint64_t)256 << 20; /* beyond it a part waits for the head's announcement */

static bool slot_is_empty(const void *arg, uint32_t slot)
{
    const struct part *part = arg;
    struct plan_step at = plan_at(&part->job->plan, part->window.next);
    return plan_slot_empty(&part->job->plan, &at, slot);
}

static void open_next(struct part *part)
{
    if (part->window.next < part->total_steps)
        steps_open(&part->window, part->window.next, slot_is_empty, part);
}

static dp_err allocate(struct part *part)
{
    const struct shard_job *job = part->job;
    struct part_range range = part->range;
    if (steps_init(&part->window, job->plan.slots, 0, job->first_step))
        return DP_NOMEM;
    part->nodes = mem_array_zero((size_t)part->window.leaves * 2, sizeof *part->nodes);
    part->replaced = mem_array(part->window.slots, sizeof *part->replaced);
    if (!part->nodes || !part->replaced)
        return DP_NOMEM;
    const struct tensor *tensor = &job->tensors.list[range.tensor];
    dp_err e = table_init(&part->table, tensor, range.first, range.last, job->rule->state_count);
    return e ? e : rowrule_init(&part->rule, job, range.tensor);
}

/* Rows that were touched before the job's first step, as a file of a checkpoint has them (keep.h). */
static dp_err take_rows(void *arg, const uint32_t *words, uint64_t count, dp_error *err)
{
    struct part *part = arg;
    const size_t stride = part->table.stride, row = ROW_ID_WORDS + stride;
    struct rowlist *list = rowlist_new((uint32_t)count);
    for (uint32_t i = 0; list && i < count; i++)
        list->ids[i] = words[i * row] | (uint64_t)words[i * row + 1] << 32;
    dp_err e = list && table_make(&part->table, list) == DP_OK ? DP_OK : DP_NOMEM;
    for (uint32_t i = 0; !e && i < count; i++) {
        const uint32_t *record = words + i * row + ROW_ID_WORDS;
        table_stamp(&part->table, list->rows[i], record[0]);
        memcpy(table_record(&part->table, list->rows[i]), record, stride * sizeof *record);
    }
    rowlist_release(&list);
    return e ? dp_fail(err, e, "out of memory for rows of table '%s'", part->job->tensors.list[part->range.tensor].name)
             : DP_OK;
}

dp_err part_init(struct part *part, const struct shard_job *job, struct part_range range, dp_error *err)
{
    *part = (struct part){.job = job, .range = range, .oldest = job->first_step, .total_steps = plan_total(&job->plan)};
    if (allocate(part)) {
        part_fini(part);
        return dp_fail(err, DP_NOMEM, "out of memory for rows %llu to %llu of table '%s'",
                       (unsigned long long)range.first, (unsigned long long)range.last,
                       job->tensors.list[range.tensor].name);
    }
    open_next(part);
    dp_err e = first_values_rows(job, range.tensor, range.first, range.last, (struct rows_taker){take_rows, part}, err);
    if (e)
        part_fini(part);
    return e;
}

static void undo_drop(struct part *part, struct undo *undo)
{
    if (undo->list)
        part->undo_bytes -= (uint64_t)undo->list->count * part->table.stride * sizeof(float);
    rowlist_release(&undo->list);
    free(undo->records);
    undo->records = NULL;
}

static void release_nodes(struct part *part)
{
    for (uint32_t i = 1; part->nodes && i < part->window.leaves * 2; i++) {
        rowsum_release(&part->nodes[i].rows);
        part->nodes[i].metrics = (struct metrics){0};
    }
}

void part_fini(struct part *part)
{
    release_nodes(part);
    part_kept_drop(part);
    for (int i = 0; i < PART_STEPS; i++) {
        undo_drop(part, &part->undo[i]);
        free(part->reports[i]);
    }
    table_fini(&part->table);
    rowrule_fini(&part->rule);
    free(part->nodes);
    free(part->replaced);
    steps_fini(&part->window);
    *part = (struct part){0};
}

enum steps_verdict part_push(struct part *part, uint64_t step, uint32_t node, struct rowsum *rows,
                             const struct metrics *metrics)
{
    uint32_t replaced = 0;
    enum steps_verdict verdict = steps_offer(&part->window, step, node, part->replaced, &replaced);
    if (verdict != STEPS_KEEP) {
        rowsum_release(rows);
        return verdict;
    }
    for (uint32_t i = 0; i < replaced; i++)
        rowsum_release(&part->nodes[part->replaced[i]].rows);
    part->nodes[node] = (struct part_node){*rows, *metrics};
    *rows = (struct rowsum){0};
    return STEPS_KEEP;
}

bool part_ready(const struct part *part)
{
    uint64_t next = part->window.next, behind = next - part->oldest;
    return next < part->total_steps && steps_complete(&part->window, next) && behind + 2 <= PART_STEPS &&
           (behind < 2 || part->undo_bytes <= UNDO_BYTES_MAX);
}

/* The sum of a subtree, left in its top node. */
static dp_err fold(struct part *part, uint32_t node)
{
    struct part_node *nodes = part->nodes;
    if (node >= part->window.leaves || steps_present(&part->window, part->window.next, node))
        return DP_OK;
    if (fold(part, 2 * node) || fold(part, 2 * node + 1))
        return DP_NOMEM;
    return rowsum_add(&nodes[(size_t)2 * node].rows, &nodes[(size_t)2 * node + 1].rows, part->table.dim,
                      &nodes[node].rows);
}

static dp_err commit_train(struct part *part, const struct plan_step *at)
{
    struct rowsum *sum = &part->nodes[1].rows;
    if (fold(part, 1))
        return DP_NOMEM;
    if (shard_job_reports(&part->job->plan, at)) {
        double *report = part_report(part, sum, at->rows);
        if (!report)
            return DP_NOMEM;
        part->reports[part->window.next % PART_STEPS] = report;
    }
    if (!sum->list)
        return DP_OK;
    size_t stride = part->table.stride;
    float *before = mem_array(sum->list->count * stride, sizeof *before);
    if (!before || table_make(&part->table, sum->list)) {
        free(before);
        return DP_NOMEM;
    }
    rowrule_commit(&part->rule, &part->table, sum->list, sum->values.data, at->train_step, at->rows, before);
    part_keep_changed(part, sum->list, before);
    if (part->rule.infinite && !part->infinite_from)
        part->infinite_from = part->window.next + 1;
    assert(!part->undo[part->window.next % PART_STEPS].list && part->window.next - part->oldest < PART_STEPS);
    part->undo[part->window.next % PART_STEPS] = (struct undo){rowlist_retain(sum->list), before};
    part->undo_bytes += sum->list->count * stride * sizeof *before;
    return DP_OK;
}

dp_err part_commit(struct part *part, struct metrics *ret_metrics, dp_error *err)
{
    uint64_t step = part->window.next;
    struct plan_step at = plan_at(&part->job->plan, step);
    assert(steps_complete(&part->window, step));
    if (at.asks->commits && commit_train(part, &at))
        return dp_fail(err, DP_NOMEM, "out of memory for the rows of table '%s' at step %llu",
                       part->job->tensors.list[part->range.tensor].name, (unsigned long long)step);
    *ret_metrics = metrics_sum(&part->window, &part->nodes[0].metrics, sizeof part->nodes[0]);
    release_nodes(part);
    steps_advance(&part->window);
    open_next(part);
    return DP_OK;
}

double *part_report_take(struct part *part, uint64_t step)
{
    double *report = part->reports[step % PART_STEPS];
    part->reports[step % PART_STEPS] = NULL;
    return report;
}

bool part_pull_ready(const struct part *part, uint64_t step)
{
    return step < part->total_steps ? steps_pull_ready(&part->window, step) : part->window.next >= part->total_steps;
}

void part_release_before(struct part *part, uint64_t low)
{
    assert(part->oldest <= part->window.next);
    for (; part->oldest < low && part->oldest < part->window.next; part->oldest++)
        undo_drop(part, &part->undo[part->oldest % PART_STEPS]);
}
