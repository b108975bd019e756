/* Tables on a shard; see rows.h. Thread: shard. */
#include "server/shard/rows.h"

#include <stdlib.h>
#include <string.h>

#include "server/table/read.h"

dp_err shard_rows_start(struct shard *shard, uint32_t first_part, const struct part_range *parts, uint32_t part_count,
                        uint64_t cache_bytes, dp_error *err)
{
    struct shard_tables *tables = &shard->tables;
    tables->first_part = first_part;
    tables->parts = mem_array_zero(part_count, sizeof *tables->parts);
    tables->parked = mem_array_zero(part_count, sizeof *tables->parked);
    if (!tables->parts || !tables->parked)
        return dp_fail(err, DP_NOMEM, "out of memory for %u parts of tables", part_count);
    rowcache_init(&tables->cache, cache_bytes);
    for (uint32_t i = 0; i < part_count; i++) {
        dp_err e = part_init(&tables->parts[i], shard->job, parts[i], err);
        if (e)
            return e;
        tables->count = i + 1;
    }
    return DP_OK;
}

void shard_rows_fini(struct shard *shard)
{
    struct shard_tables *tables = &shard->tables;
    for (uint32_t i = 0; i < tables->count; i++) {
        parked_fini(&tables->parked[i]);
        part_fini(&tables->parts[i]);
    }
    rowcache_fini(&tables->cache);
    free(tables->parts);
    free(tables->parked);
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

/* ---- pulls ---- */

/* STEP_DONE names the first step that is not complete on all shards: what this part has beyond it, others may lack. */
static void refuse(struct shard *shard, const struct rows_push_pull *msg, dp_err code, const char *text)
{
    const struct shard_tables *tables = &shard->tables;
    counter_add(&shard->counters->refused, 1);
    shard->calls.refuse(shard->calls.arg, &(struct refusal){.session = msg->session,
                                                            .request = msg->request,
                                                            .slice = tables->first_part + msg->part,
                                                            .code = code,
                                                            .step = tables->parts[msg->part].oldest,
                                                            .text = text});
}

/* Answers a pull for a step that the part holds. DP_NOMEM: there is no answer. */
static dp_err answer(struct shard *shard, uint32_t index, const struct parked *pull)
{
    struct part *part = &shard->tables.parts[index];
    struct rows_params rows = {.session = pull->session,
                               .request = pull->request,
                               .part = shard->tables.first_part + index,
                               .step = pull->step,
                               .number = part_version(part, pull->step),
                               .last = pull->step >= shard->total_steps,
                               .keys = pull->keys ? pull->keys->hash : 0,
                               .count = pull->keys ? pull->keys->count : 0};
    rows.unchanged = !rows.last && pull->have == rows.number + 1;
    if (pull->keys && !rows.last && !rows.unchanged) {
        rows.bytes = (size_t)rows.count * part->table.dim * sizeof(float);
        rows.values = shard->calls.room(shard->calls.arg, pull->session, rows.bytes, &rows.at);
        rows.shared = rows.values != NULL;
        if (!rows.shared)
            rows.values = mem_array(rows.bytes, 1);
        if (!rows.values || part_read(part, pull->step, pull->keys, rows.values)) {
            if (!rows.shared)
                free(rows.values);
            return DP_NOMEM;
        }
        counter_add(&shard->counters->rows_pulled, rows.count);
    }
    counter_add(&shard->counters->pulls, 1);
    shard->calls.rows(shard->calls.arg, &rows);
    return DP_OK;
}

static void unpark(struct shard *shard, uint32_t index)
{
    struct parked_list *list = &shard->tables.parked[index];
    const struct part *part = &shard->tables.parts[index];
    uint64_t now_ns = mono_ns();
    for (size_t i = 0; i < list->count;) {
        const struct parked *pull = &list->list[i];
        if (part_pull_ready(part, pull->step) && part_holds(part, pull->step) && answer(shard, index, pull) == DP_OK) {
            counter_add(&shard->counters->parked_ns, now_ns - pull->since_ns);
            parked_drop(list, i);
        } else {
            i++;
        }
    }
}

static void pull(struct shard *shard, const struct rows_push_pull *msg)
{
    const struct part *part = &shard->tables.parts[msg->part];
    const struct parked want = {.session = msg->session,
                                .request = msg->request,
                                .step = msg->pull_step,
                                .have = msg->have,
                                .keys = msg->pull_list};
    if (part_pull_ready(part, want.step)) {
        if (!part_holds(part, want.step))
            refuse(shard, msg, DP_STEP_DONE, "that step is complete");
        else if (answer(shard, msg->part, &want))
            refuse(shard, msg, DP_BUSY, "out of memory for rows");
    } else if (want.step > part->window.next + 1) {
        refuse(shard, msg, DP_RANGE, "pull for a step beyond the next");
    } else if (!parked_put(&shard->tables.parked[msg->part], &want)) {
        refuse(shard, msg, DP_BUSY, "out of memory for waiting pulls");
    }
}

/* ---- pushes ---- */

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

/* Commits the part's open step if it can be, and answers those who wait for it. */
static void advance(struct shard *shard, uint32_t index)
{
    struct part *part = &shard->tables.parts[index];
    uint64_t step = part->window.next;
    struct metrics metrics;
    dp_error err;
    if (shard->failed || step >= shard->barrier || !part_ready(part))
        return;
    uint64_t start_ns = mono_ns();
    if (part_commit(part, &metrics, &err)) {
        shard_fail(shard, &err);
        return;
    }
    if (index == 0 && shard->slice_count == 0)
        shard->first_metrics[step % SLICE_VERSIONS] = metrics;
    counter_add(&shard->counters->commit_ns, mono_ns() - start_ns);
    counter_add(&shard->counters->commits, 1);
    note_rows(shard);
    unpark(shard, index);
    shard_raise_low(shard);
}

static bool push(struct shard *shard, const struct rows_push_pull *msg, struct blob *values)
{
    struct part *part = &shard->tables.parts[msg->part];
    if (plan_at(&shard->job->plan, msg->step).kind == PLAN_EVAL && msg->push_list) {
        refuse(shard, msg, DP_PROTO, "an evaluation push has no rows");
        return false;
    }
    struct rowsum rows = {rowlist_retain(msg->push_list), *values};
    *values = (struct blob){0};
    counter_add(&shard->counters->pushes, 1);
    counter_add(&shard->counters->rows_pushed, msg->push_list ? msg->push_list->count : 0);
    enum steps_verdict verdict = part_push(part, msg->step, msg->node, &rows, &msg->metrics);
    if (shard_offered(shard, verdict, shard->tables.first_part + msg->part, msg->session, msg->step, msg->node))
        return true;
    refuse(shard, msg, DP_RANGE, "push for a step that is not open");
    return false;
}

void shard_rows_push_pull(struct shard *shard, const struct rows_push_pull *msg, struct blob *values)
{
    if (shard->failed)
        refuse(shard, msg, DP_BUSY, "the job has failed here");
    bool good = !shard->failed && (!msg->push || push(shard, msg, values));
    blob_release(values);
    if (good && msg->pull)
        pull(shard, msg);
    if (good && msg->push)
        advance(shard, msg->part);
}

/* ---- what concerns slices and parts alike ---- */

uint64_t shard_rows_low(const struct shard *shard)
{
    uint64_t low = UINT64_MAX;
    for (uint32_t i = 0; i < shard->tables.count; i++)
        low = MIN(low, shard->tables.parts[i].window.next);
    return low;
}

uint64_t shard_rows_high(const struct shard *shard)
{
    uint64_t high = 0;
    for (uint32_t i = 0; i < shard->tables.count; i++)
        high = MAX(high, shard->tables.parts[i].window.next);
    return high;
}

void shard_rows_release_before(struct shard *shard, uint64_t low)
{
    for (uint32_t i = 0; i < shard->tables.count; i++)
        part_release_before(&shard->tables.parts[i], low);
}

void shard_rows_advance_all(struct shard *shard)
{
    for (uint32_t i = 0; i < shard->tables.count; i++)
        advance(shard, i);
}

void shard_rows_forget(struct shard *shard, uint32_t session)
{
    for (uint32_t i = 0; i < shard->tables.count; i++)
        parked_forget(&shard->tables.parked[i], session);
}
