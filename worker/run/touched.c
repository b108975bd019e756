/* The rows that slots touch; see touched.h. If the rows of two questions are the same, as in full batches, they are
 * found once. Invariant: a view's local rows live as long as the view. Thread: main. */
#include "worker/run/touched.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

/* Rows of the data and what they touch, shared by the questions that are about the same ones. */
struct found {
    struct local_rows local;
    const struct data *data;
    uint64_t *rows; /* [count], of the data */
    uint64_t count;
    uint32_t users; /* views; 0: free to be filled anew */
    struct found *next;
};

/* An answer to a question of the client. */
struct view {
    uint64_t tag;
    uint64_t step;
    struct found *found;
    uint32_t slot_count;
    uint32_t *slots; /* [slot_count], ascending */
    uint64_t *first; /* [slot_count + 1], of the found rows */
    struct view *next;
};

struct touched {
    struct touched_source source;
    struct found *found; /* all of them */
    struct view *views;
};

struct touched *touched_new(const struct touched_source *source)
{
    struct touched *touched = mem_array_zero(1, sizeof *touched);
    if (touched)
        touched->source = *source;
    return touched;
}

static void view_free(struct view *view)
{
    if (view->found)
        view->found->users--;
    free(view->slots);
    free(view->first);
    free(view);
}

static void found_free(struct found *found)
{
    local_rows_fini(&found->local);
    free(found->rows);
    free(found);
}

void touched_free(struct touched **touched_at)
{
    struct touched *touched = *touched_at;
    if (!touched)
        return;
    while (touched->views) {
        struct view *view = touched->views;
        touched->views = view->next;
        view_free(view);
    }
    while (touched->found) {
        struct found *found = touched->found;
        touched->found = found->next;
        found_free(found);
    }
    mem_freep(touched_at);
}

void touched_forget(struct touched *touched, uint64_t step)
{
    struct view **at = &touched->views;
    while (*at) {
        struct view *view = *at;
        if (view->step == step || view->step == step + 1) {
            at = &view->next;
            continue;
        }
        *at = view->next;
        view_free(view);
    }
}

/* A view without its rows. NULL when out of memory. */
static struct view *view_new(const dp_ask *ask)
{
    struct view *view = mem_array_zero(1, sizeof *view);
    if (!view)
        return NULL;
    *view = (struct view){.tag = ask->tag, .step = ask->step, .slot_count = ask->slot_count};
    view->slots = mem_array(ask->slot_count, sizeof *view->slots);
    view->first = mem_array((size_t)ask->slot_count + 1, sizeof *view->first);
    if (view->slots && view->first) {
        memcpy(view->slots, ask->slots, ask->slot_count * sizeof *view->slots);
        return view;
    }
    view_free(view);
    return NULL;
}

/* The data's rows that the view's slots hold, end to end (heap), and where each slot's begin. */
static uint64_t *view_rows(const struct plan *plan, const struct plan_step *at, struct view *view)
{
    uint64_t total = 0, first, count;
    for (uint32_t i = 0; i < view->slot_count; i++) {
        plan_slot(plan, at, view->slots[i], &first, &count);
        view->first[i] = total;
        total += count;
    }
    view->first[view->slot_count] = total;
    uint64_t *rows = mem_array((size_t)total, sizeof *rows);
    for (uint32_t i = 0; rows && i < view->slot_count; i++) {
        plan_slot(plan, at, view->slots[i], &first, &count);
        plan_rows(plan, at, first, count, rows + view->first[i]);
    }
    return rows;
}

static struct found *found_same(const struct touched *touched, const struct data *data, const uint64_t *rows,
                                uint64_t count)
{
    for (struct found *found = touched->found; found; found = found->next)
        if (found->data == data && found->count == count && memcmp(found->rows, rows, count * sizeof *rows) == 0)
            return found;
    return NULL;
}

/* One that nobody uses, or a new one. NULL when out of memory. */
static struct found *found_take(struct touched *touched)
{
    struct found *found = touched->found;
    while (found && found->users > 0)
        found = found->next;
    if (found)
        return found;
    found = mem_array_zero(1, sizeof *found);
    if (found) {
        found->next = touched->found;
        touched->found = found;
    }
    return found;
}

/* Columns that these rows touch, with one more user. Takes the rows. */
static dp_err found_get(struct touched *touched, const struct data *data, const float *targets, uint64_t *rows,
                        uint64_t count, struct found **ret_found, dp_error *err)
{
    struct found *found = found_same(touched, data, rows, count);
    if (found) {
        free(rows);
    } else {
        found = found_take(touched);
        if (!found) {
            free(rows);
            return dp_fail(err, DP_NOMEM, "out of memory for the rows of a step");
        }
        free(found->rows);
        found->rows = rows;
        found->count = count;
        found->data = NULL; /* until it is filled */
        dp_err e = local_rows_fill(&found->local, data, targets, rows, count, err);
        if (e)
            return e;
        found->data = data;
    }
    found->users++;
    *ret_found = found;
    return DP_OK;
}

static dp_err view_fill(struct touched *touched, struct view *view, dp_error *err)
{
    const struct touched_source *source = &touched->source;
    const struct plan_step at = plan_at(source->plan, view->step);
    const struct labelled *set = &source->sets[at.asks->rows];
    uint64_t *rows = view_rows(source->plan, &at, view);
    if (!rows)
        return dp_fail(err, DP_NOMEM, "out of memory for the rows of a step");
    return found_get(touched, set->data, set->targets, rows, view->first[view->slot_count], &view->found, err);
}

dp_err touched_rows(struct touched *touched, const dp_ask *ask, dp_rows *ret_rows, dp_error *err)
{
    struct view *view = view_new(ask);
    if (!view)
        return dp_fail(err, DP_NOMEM, "out of memory for the rows of a step");
    dp_err e = view_fill(touched, view, err);
    if (e) {
        view_free(view);
        return e;
    }
    assert(view->found);
    view->next = touched->views;
    touched->views = view;
    *ret_rows = (dp_rows){view->found->local.columns, view->found->local.data.features};
    return DP_OK;
}

struct touched_slot touched_find(const struct touched *touched, uint64_t tag, uint32_t slot)
{
    const struct view *view = touched->views;
    while (view && view->tag != tag)
        view = view->next;
    assert(view);
    uint32_t i = 0;
    while (i < view->slot_count && view->slots[i] != slot)
        i++;
    assert(i < view->slot_count);
    return (struct touched_slot){&view->found->local, view->first[i], view->first[i + 1] - view->first[i]};
}
