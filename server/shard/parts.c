/* Parts of tables as pieces; see parts.h and piece.h. Thread: shard. */
#include "server/shard/parts.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/text.h"
#include "common/checkpoint/shard_file.h"
#include "server/table/keep.h"
#include "server/table/part.h"
#include "server/table/read.h"
#include "server/table/report.h"

dp_err parts_init(struct shard *shard, uint32_t first_part, const struct part_range *parts, uint32_t part_count,
                  uint64_t cache_bytes, dp_error *err)
{
    struct shard_tables *tables = &shard->tables;
    tables->first_part = first_part;
    rowcache_init(&tables->cache, cache_bytes);
    tables->parts = mem_array_zero(part_count, sizeof *tables->parts);
    if (!tables->parts)
        return dp_fail(err, DP_NOMEM, "out of memory for %u parts of tables", part_count);
    for (uint32_t i = 0; i < part_count; i++) {
        dp_err e = part_init(&tables->parts[i], shard->job, parts[i], err);
        if (e)
            return e;
        tables->count = i + 1;
    }
    return DP_OK;
}

void parts_fini(struct shard *shard)
{
    struct shard_tables *tables = &shard->tables;
    for (uint32_t i = 0; i < tables->count; i++)
        part_fini(&tables->parts[i]);
    rowcache_fini(&tables->cache);
    free(tables->parts);
    *tables = (struct shard_tables){0};
}

/* ---- lists ---- */

struct rowlist *shard_rows_known(struct shard *shard, uint32_t part, uint64_t hash, uint32_t rows)
{
    return rowcache_find(&shard->tables.cache, part, hash, rows);
}

struct rowlist *shard_rows_learn(struct shard *shard, uint32_t part, uint64_t hash, uint32_t rows, const void *ids)
{
    struct shard_tables *tables = &shard->tables;
    struct rowlist *list = rowcache_find(&tables->cache, part, hash, rows);
    if (list)
        return rowlist_retain(list);
    list = rowlist_new(rows);
    if (!list)
        return NULL;
    memcpy(list->ids, ids, rows * sizeof *list->ids);
    list->part = part;
    list->hash = hash;
    table_find(&tables->parts[part].table, list);
    rowcache_keep(&tables->cache, list);
    counter_add(&shard->counters->lists_received, 1);
    atomic_store_explicit(&shard->counters->list_bytes, tables->cache.bytes, memory_order_relaxed);
    return list;
}

/* ---- pushes ---- */

static dp_err check(const struct shard *shard, const struct piece *piece, const struct push_pull *msg,
                    const struct blob *payload, dp_error *err)
{
    (void)piece, (void)payload;
    const struct question *asks = plan_question(&shard->job->plan, msg->step);
    if (!msg->push_list || asks->pushes)
        return DP_OK;
    return dp_fail(err, DP_PROTO, "%s push has no rows", asks->a_step);
}

static enum steps_verdict offer(struct shard *shard, struct piece *piece, const struct push_pull *msg,
                                struct blob *values)
{
    struct rowsum rows = {rowlist_retain(msg->push_list), *values};
    *values = (struct blob){0};
    counter_add(&shard->counters->rows_pushed, msg->push_list ? msg->push_list->count : 0);
    return part_push(piece->part, msg->step, msg->node, &rows, &msg->metrics);
}

static bool ready(const struct piece *piece)
{
    return part_ready(piece->part);
}

static void note_rows(struct shard *shard)
{
    uint64_t rows = 0, bytes = 0;
    for (uint32_t i = 0; i < shard->tables.count; i++) {
        rows += shard->tables.parts[i].table.touched;
        bytes += table_bytes(&shard->tables.parts[i].table);
    }
    atomic_store_explicit(&shard->counters->rows, rows, memory_order_relaxed);
    atomic_store_explicit(&shard->counters->row_bytes, bytes, memory_order_relaxed);
}

static dp_err commit(struct shard *shard, struct piece *piece, struct metrics *ret_metrics, dp_error *err)
{
    dp_err e = part_commit(piece->part, ret_metrics, err);
    if (e)
        return e;
    counter_add(&shard->counters->commits, 1);
    note_rows(shard);
    return DP_OK;
}

/* ---- pulls ---- */

static bool pull_ready(const struct piece *piece, uint64_t step)
{
    return part_pull_ready(piece->part, step);
}

/* The rows of a pull, in the room of its session or in memory of their own. */
static dp_err read_rows(struct shard *shard, struct part *part, const struct parked *pull, struct rows_params *rows)
{
    rows->bytes = (size_t)rows->count * part->table.dim * sizeof(float);
    rows->values = shard->calls.room(shard->calls.arg, pull->session, rows->bytes, &rows->at);
    rows->shared = rows->values != NULL;
    if (!rows->shared)
        rows->values = mem_array(rows->bytes, 1);
    if (!rows->values || part_read(part, pull->step, pull->keys, rows->values)) {
        if (!rows->shared)
            free(rows->values);
        return DP_NOMEM;
    }
    counter_add(&shard->counters->rows_pulled, rows->count);
    return DP_OK;
}

static enum answered answer(struct shard *shard, struct piece *piece, const struct parked *pull)
{
    struct part *part = piece->part;
    if (!part_holds(part, pull->step))
        return ANSWER_GONE;
    struct rows_params rows = {.session = pull->session,
                               .request = pull->request,
                               .part = piece->id,
                               .step = pull->step,
                               .number = part_version(part, pull->step),
                               .last = pull->step >= shard->total_steps,
                               .keys = pull->keys ? pull->keys->hash : 0,
                               .count = pull->keys ? pull->keys->count : 0};
    rows.unchanged = !rows.last && pull->have == rows.number + 1;
    if (pull->keys && !rows.last && !rows.unchanged && read_rows(shard, part, pull, &rows))
        return ANSWER_NOMEM;
    counter_add(&shard->counters->pulls, 1);
    shard->calls.rows(shard->calls.arg, &rows);
    return ANSWER_SENT;
}

static uint32_t staleness(const struct piece *piece, uint64_t step)
{
    (void)piece, (void)step;
    return 0;
}

/* The first step that is not complete on all shards: others may lack steps that this part has. */
static uint64_t go_on(const struct piece *piece, dp_err code)
{
    (void)code;
    return piece->part->oldest;
}

static void release_before(struct piece *piece, uint64_t low)
{
    part_release_before(piece->part, low);
}

static uint64_t steps_max(const struct piece *piece)
{
    (void)piece;
    return PART_STEPS;
}

/* ---- reports and control ---- */

static uint64_t blocks(const struct piece *piece)
{
    return part_blocks(piece->part);
}

static double *report_take(struct piece *piece, uint64_t step)
{
    return part_report_take(piece->part, step);
}

static uint64_t infinite_from(const struct piece *piece)
{
    return piece->part->infinite_from;
}

static uint64_t first_free(const struct piece *piece, enum setting_kind kind)
{
    (void)kind;
    return piece->window->next;
}

/* The gate's barrier is enough: a part opens one step at a time. */
static void hold_from(struct piece *piece, uint64_t step, enum setting_kind kind)
{
    (void)piece, (void)step, (void)kind;
}

/* ---- cuts ---- */

static dp_err keep(struct piece *piece)
{
    return part_keep(piece->part);
}

static dp_err kept_facts(const struct piece *piece, struct shard_file_facts *facts)
{
    const struct part *part = piece->part;
    struct shard_file_part *to = &facts->parts[facts->part_count++];
    (void)str_copy(to->tensor, sizeof to->tensor, part->job->tensors.list[part->range.tensor].name);
    to->first = part->range.first;
    to->last = part->range.last;
    to->rows = part->kept->rows;
    to->dim = part->table.dim;
    to->current = part->kept->current;
    return DP_OK;
}

static dp_err kept_next(struct piece *piece, uint32_t section, struct blob *ret_bytes, bool *ret_more)
{
    *ret_more = false;
    return section == KEPT_ROWS ? part_kept_next(piece->part, ret_bytes, ret_more) : DP_OK;
}

static void kept_drop(struct piece *piece)
{
    part_kept_drop(piece->part);
}

const struct piece_ops part_ops = {.check = check,
                                   .offer = offer,
                                   .ready = ready,
                                   .commit = commit,
                                   .pull_ready = pull_ready,
                                   .answer = answer,
                                   .staleness = staleness,
                                   .go_on = go_on,
                                   .release_before = release_before,
                                   .steps_max = steps_max,
                                   .blocks = blocks,
                                   .report_take = report_take,
                                   .infinite_from = infinite_from,
                                   .first_free = first_free,
                                   .hold_from = hold_from,
                                   .keep = keep,
                                   .kept_facts = kept_facts,
                                   .kept_next = kept_next,
                                   .kept_drop = kept_drop};
