/* The rows of tables that a client moves; see tables.h. Invariant: the slots of groups of one step are disjoint.
 * Thread: the client's. */
#include "worker/client/state/tables.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

static dp_err layout_init(struct row_layout *rows, const dp_job *job, const struct job_layout *layout)
{
    uint32_t table_of[TENSOR_COUNT_MAX] = {0};
    *rows = (struct row_layout){0};
    for (uint32_t i = 0; i < job->tensor_count; i++) {
        const dp_tensor *tensor = &job->tensors[i];
        if (tensor->kind == DP_DENSE)
            continue;
        table_of[i] = rows->table_count;
        rows->tables[rows->table_count++] =
            (struct table){.tensor = i,
                           .dim = (uint32_t)tensor->elems,
                           .last_row = tensor->kind == DP_TABLE ? tensor->shape[0] - 1 : UINT64_MAX};
    }
    rows->part_count = layout->part_count;
    rows->parts = mem_array(layout->part_count, sizeof *rows->parts);
    for (uint32_t i = 0; rows->parts && i < layout->part_count; i++) {
        const struct job_part *part = &layout->parts[i];
        rows->parts[i] = (struct part){table_of[part->tensor], part->first, part->last};
    }
    return rows->parts ? DP_OK : DP_NOMEM;
}

dp_err tables_init(struct tables *tables, const dp_job *job, const struct job_layout *layout, dp_error *err)
{
    tables_fini(tables);
    tables->known = mem_array_zero(layout->part_count, sizeof *tables->known);
    if (tables->known && layout_init(&tables->layout, job, layout) == DP_OK)
        return DP_OK;
    tables_fini(tables);
    return dp_fail(err, DP_NOMEM, "no memory for %u parts of tables", layout->part_count);
}

void tables_fini(struct tables *tables)
{
    tables_forget(tables);
    free(tables->layout.parts);
    tables->layout = (struct row_layout){0};
    mem_freep(&tables->known);
}

bool tables_any(const struct tables *tables)
{
    return tables->layout.table_count > 0;
}

static void group_drop(struct row_group *group)
{
    row_list_drop(group->list);
    mem_freep(&group->theta);
    mem_freep(&group->got);
    *group = (struct row_group){0};
}

static void more_drop(struct tables *tables)
{
    while (tables->more) {
        struct row_group *group = tables->more;
        tables->more = group->next;
        group_drop(group);
        free(group);
    }
}

void tables_turn(struct tables *tables)
{
    more_drop(tables);
    group_drop(&tables->now);
    tables->now = tables->wanted;
    tables->wanted = (struct row_group){0};
    tables->task = NULL;
}

void tables_unwant(struct tables *tables)
{
    group_drop(&tables->wanted);
}

void tables_forget(struct tables *tables)
{
    tables_unwant(tables);
    tables_turn(tables);
}

/* The user's answer, an empty one where no slots ask. */
static dp_err rows_ask(struct tables *tables, uint64_t step, const struct slot_set *slots, dp_rows *rows, dp_error *err)
{
    AUTOFREE uint32_t *list = mem_array(SLOT_SET_MAX, sizeof *list);
    if (!list)
        return dp_fail(err, DP_NOMEM, "no memory for a list of slots");
    const dp_ask ask = {.tag = tables->tag, .step = step, .slots = list, .slot_count = slot_set_list(slots, list)};
    return ask.slot_count > 0 ? tables->rows(tables->rows_arg, &ask, rows, err) : DP_OK;
}

static dp_err group_ask(struct tables *tables, uint64_t step, const struct slot_set *slots, struct row_group *ret_group,
                        dp_error *err)
{
    dp_rows rows[TENSOR_COUNT_MAX] = {{0}};
    struct row_group group = {.tag = ++tables->tag, .slots = *slots};
    dp_err e = rows_ask(tables, step, slots, rows, err);
    if (e == DP_OK)
        e = row_list_new(&tables->layout, rows, &group.list, err);
    if (e == DP_OK)
        *ret_group = group;
    return e;
}

dp_err tables_want(struct tables *tables, struct theta *theta, const struct slot_set *slots, dp_error *err)
{
    tables_unwant(tables);
    dp_err e = group_ask(tables, theta->want, slots, &tables->wanted, err);
    return e ? e : theta_rows_room(theta, tables->wanted.list->floats, err);
}

/* theta of the step at hand with room for the group's rows. */
static dp_err group_room(const struct tables *tables, const struct theta *theta, struct row_group *group, dp_error *err)
{
    const uint64_t floats = group->list->floats;
    group->lacking = tables->layout.part_count;
    group->got = mem_array_zero(group->lacking, sizeof *group->got);
    group->theta = mem_array((size_t)(theta->elems + floats), sizeof *group->theta);
    if (!group->got || !group->theta)
        return dp_fail(err, DP_NOMEM, "no memory for %llu values of rows", (unsigned long long)floats);
    memcpy(group->theta, theta->now, theta->elems * sizeof *group->theta);
    return DP_OK;
}

dp_err tables_want_more(struct tables *tables, const struct theta *theta, const struct slot_set *slots, dp_error *err)
{
    assert(!tables_lacking(tables)); /* one question at a time */
    struct row_group *group = mem_array_zero(1, sizeof *group);
    if (!group)
        return dp_fail(err, DP_NOMEM, "no memory for rows");
    dp_err e = group_ask(tables, theta->step, slots, group, err);
    if (e == DP_OK)
        e = group_room(tables, theta, group, err);
    if (e) {
        group_drop(group);
        free(group);
        return e;
    }
    group->next = tables->more;
    tables->more = group;
    return DP_OK;
}

const struct row_group *tables_group(const struct tables *tables, uint32_t slot)
{
    if (tables->now.list && slot_set_has(&tables->now.slots, slot))
        return &tables->now;
    const struct row_group *group = tables->more;
    while (group && !slot_set_has(&group->slots, slot))
        group = group->next;
    return group;
}

bool tables_lacking(const struct tables *tables)
{
    return tables->more && tables->more->lacking > 0;
}

bool tables_lacks(const struct tables *tables, uint32_t first, uint32_t count)
{
    for (uint32_t part = first; tables_lacking(tables) && part < first + count; part++)
        if (!tables->more->got[part])
            return true;
    return false;
}

const float *tables_theta(const struct row_group *group, const struct theta *theta)
{
    return group->theta ? group->theta : theta->now;
}

static dp_err span_check(const struct row_span *span, const struct rows_answer *answer, dp_error *err)
{
    const size_t want = (size_t)span->floats * sizeof(float);
    if (!answer->last && answer->bytes != want)
        return dp_fail(err, DP_PROTO, "%u rows of part %u have %zu bytes instead of %zu", answer->count, answer->part,
                       answer->bytes, want);
    return DP_OK;
}

/* Whether these are the rows that the group has in the part. */
static const struct row_span *span_find(const struct row_group *group, const struct rows_answer *answer)
{
    const struct row_span *span = group && group->list ? &group->list->spans[answer->part] : NULL;
    return span && (answer->last || (span->hash == answer->keys && span->count == answer->count)) ? span : NULL;
}

static bool more_take(struct row_group *group, const struct theta *theta, const struct row_span *span,
                      const struct rows_answer *answer)
{
    if (group->got[answer->part] || answer->last)
        return false;
    if (answer->bytes > 0)
        memcpy(group->theta + theta->elems + span->float_at, answer->values, answer->bytes);
    group->got[answer->part] = 1;
    group->lacking--;
    return true;
}

dp_err tables_take(struct tables *tables, struct theta *theta, const struct rows_answer *answer, bool *ret_new,
                   dp_error *err)
{
    bool wanted = answer->step == theta->want, more = theta->valid && answer->step == theta->step;
    const struct row_span *span = NULL;
    *ret_new = false;
    if (wanted)
        span = span_find(&tables->wanted, answer);
    else if (more)
        span = span_find(tables->more, answer);
    if (!span)
        return DP_OK;
    dp_err e = span_check(span, answer, err);
    if (e)
        return e;
    *ret_new = wanted ? theta_take_part(theta, theta->slice_count + answer->part, answer->last, span->float_at,
                                        answer->values, answer->bytes)
                      : more_take(tables->more, theta, span, answer);
    return DP_OK;
}

bool keys_known(const struct tables *tables, uint32_t part, uint64_t hash)
{
    const struct keys_known *known = &tables->known[part];
    for (size_t i = 0; i < KEYS_KNOWN_MAX; i++)
        if (known->hashes[i] == hash)
            return true;
    return false;
}

void keys_sent(struct tables *tables, uint32_t part, uint64_t hash)
{
    struct keys_known *known = &tables->known[part];
    if (!keys_known(tables, part, hash))
        known->hashes[known->next++ % KEYS_KNOWN_MAX] = hash;
}

void keys_forget(struct tables *tables, uint32_t part, uint64_t hash)
{
    for (size_t i = 0; i < KEYS_KNOWN_MAX; i++)
        if (tables->known[part].hashes[i] == hash)
            tables->known[part].hashes[i] = 0;
}

void keys_forget_all(struct tables *tables)
{
    if (tables->known)
        memset(tables->known, 0, tables->layout.part_count * sizeof *tables->known);
}
