/* Values of nodes. Thread: the client's. */
#include "worker/client/state/values.h"

#include <assert.h>
#include <string.h>

#include "common/kernels/kernels.h"

void value_drop(struct node_value *value)
{
    if (value->slab)
        slab_drop(value->slab);
    row_list_drop(value->list);
    *value = (struct node_value){0};
}

void value_take_rows(struct node_value *value, uint64_t elems, struct row_list *list)
{
    assert(value->slab && value->slab->room >= elems + list->floats && !value->list);
    float *rows = value->slab->values + elems;
    kernels_get()->canonicalize(list->floats, rows, rows);
    row_list_keep(list);
    value->list = list;
}

/* Gives the value all rows of the list, which has its own among them. */
static dp_err value_widen(const struct values_room *room, struct node_value *value, struct row_list *list,
                          dp_error *err)
{
    const uint64_t dense = room->elems;
    struct slab *slab = slab_take(room->slabs, dense + list->floats);
    if (!slab)
        return dp_fail(err, DP_NOMEM, "no memory for %llu values of rows", (unsigned long long)list->floats);
    memcpy(slab->values, value->slab->values, dense * sizeof *slab->values);
    row_values_spread(room->layout, value->list, value->slab->values + dense, list, slab->values + dense);
    slab_drop(value->slab);
    row_list_drop(value->list);
    row_list_keep(list);
    value->slab = slab;
    value->list = list;
    return DP_OK;
}

/* Values of slots of different groups have different rows; a row that one lacks is 0 there, and as no value is -0, the
 * sum is the other's. */
static dp_err values_align(const struct values_room *room, struct node_value *left, struct node_value *right,
                           dp_error *err)
{
    struct row_list *both;
    if (left->list == right->list || !left->slab || !right->slab)
        return DP_OK;
    dp_err e = row_list_merge(room->layout, left->list, right->list, &both, err);
    if (e)
        return e;
    e = value_widen(room, left, both, err);
    if (e == DP_OK)
        e = value_widen(room, right, both, err);
    row_list_drop(both);
    return e;
}

dp_err value_fold(const struct values_room *room, struct node_value *left, struct node_value *right, dp_error *err)
{
    dp_err e = values_align(room, left, right, err);
    if (e)
        return e;
    if (left->slab && right->slab)
        kernels_get()->add(room->elems + (left->list ? left->list->floats : 0), left->slab->values, right->slab->values,
                           left->slab->values);
    left->metrics.count += right->metrics.count;
    left->metrics.loss += right->metrics.loss;
    left->metrics.correct += right->metrics.correct;
    value_drop(right);
    return DP_OK;
}
