/* Sums of rows; see sum.h.
 *
 * If both sides have the same list, which they do under full batches, no row is looked at twice: the sum is one
 * addition of vectors in place. Thread: shard. */
#include "server/table/sum.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "common/kernels/kernels.h"
#include "server/step/slab.h"

void rowsum_release(struct rowsum *sum)
{
    rowlist_release(&sum->list);
    blob_release(&sum->values);
}

/* A row of a sum: of the left, the right, or both. One float without a branch, which random lists would have
 * mispredicted at every other row. */
static inline void put(float *to, const float *left, const float *right, bool of_left, bool of_right, size_t n)
{
    if (n == 1) {
        const uint32_t l = -(uint32_t)of_left, r = -(uint32_t)of_right;
        const union {
            float value;
            uint32_t bits;
        } x = {*left}, y = {*right}, both = {*left + *right};
        const uint32_t bits = (x.bits & ~r) | (y.bits & ~l) | (both.bits & l & r);
        memcpy(to, &bits, sizeof bits);
    } else if (of_left && of_right) {
        kernels_get()->add(n, left, right, to);
    } else {
        memcpy(to, of_left ? left : right, n * sizeof *to);
    }
}

/* Rows [at, end of from) to the end of `to`; returns how many rows it then has. */
static uint32_t take_rest(struct rowlist *to, uint32_t n, const struct rowlist *from, uint32_t at)
{
    uint32_t left = from->count - at;
    memcpy(to->ids + n, from->ids + at, left * sizeof *to->ids);
    memcpy(to->rows + n, from->rows + at, left * sizeof *to->rows);
    return n + left;
}

static inline void merge_rows(const struct rowsum *left, const struct rowsum *right, uint32_t dim, struct rowlist *list,
                              float *restrict out)
{
    const struct rowlist *l = left->list, *r = right->list;
    const uint64_t *lids = l->ids, *rids = r->ids;
    const uint32_t *lrows = l->rows, *rrows = r->rows;
    const float *lv = left->values.data, *rv = right->values.data;
    uint64_t *restrict ids = list->ids;
    uint32_t *restrict rows = list->rows;
    uint32_t i = 0, j = 0, n = 0;
    while (i < l->count && j < r->count) {
        const uint64_t a = lids[i], b = rids[j];
        const bool of_left = a <= b, of_right = b <= a;
        const uint32_t mask = -(uint32_t)of_left;
        ids[n] = MIN(a, b);
        rows[n] = (lrows[i] & mask) | (rrows[j] & ~mask);
        put(out + (size_t)n * dim, lv + (size_t)i * dim, rv + (size_t)j * dim, of_left, of_right, dim);
        i += of_left;
        j += of_right;
        n++;
    }
    const float *rest = i < l->count ? lv + (size_t)i * dim : rv + (size_t)j * dim;
    size_t kept = n;
    n = take_rest(list, n, l, i);
    n = take_rest(list, n, r, j);
    memcpy(out + kept * dim, rest, (n - kept) * dim * sizeof *out);
    list->count = n;
}

/* For one float a copy of the loop of its own, where `put` has no branch. */
static void merge(const struct rowsum *left, const struct rowsum *right, uint32_t dim, struct rowlist *list, float *out)
{
    if (dim == 1)
        merge_rows(left, right, 1, list, out);
    else
        merge_rows(left, right, dim, list, out);
}

/* The sum of two that have the same list. A worker's memory is only read: the sum goes to the other one's, or to new
 * memory. */
static dp_err add_alike(struct rowsum *left, struct rowsum *right, uint32_t dim, struct rowsum *ret_sum)
{
    const size_t n = (size_t)left->list->count * dim;
    struct rowsum *kept = shm_is_slab(&left->values) ? right : left;
    if (shm_is_slab(&kept->values)) {
        float *out = mem_array(n, sizeof *out);
        if (!out)
            return DP_NOMEM;
        kernels_get()->add(n, left->values.data, right->values.data, out);
        *ret_sum = (struct rowsum){rowlist_retain(left->list), {out, n * sizeof *out, out, free}};
    } else {
        kernels_get()->add(n, left->values.data, right->values.data, kept->values.data);
        *ret_sum = *kept;
        *kept = (struct rowsum){0};
    }
    rowsum_release(left);
    rowsum_release(right);
    return DP_OK;
}

dp_err rowsum_add(struct rowsum *left, struct rowsum *right, uint32_t dim, struct rowsum *ret_sum)
{
    if (left->list && left->list == right->list)
        return add_alike(left, right, dim, ret_sum);
    if (!left->list || !right->list) {
        struct rowsum *kept = left->list ? left : right;
        struct rowsum sum = *kept;
        *kept = (struct rowsum){0};
        rowsum_release(left);
        rowsum_release(right);
        *ret_sum = sum;
        return DP_OK;
    }
    const uint64_t most = (uint64_t)left->list->count + right->list->count;
    if (most >= ROW_NONE) /* the lists of many slots together */
        return DP_NOMEM;
    struct rowlist *list = rowlist_new((uint32_t)most);
    float *out = mem_array((size_t)most * dim, sizeof *out);
    if (!list || !out) {
        rowlist_release(&list);
        free(out);
        return DP_NOMEM;
    }
    merge(left, right, dim, list, out);
    rowsum_release(left);
    rowsum_release(right);
    *ret_sum = (struct rowsum){list, {out, (size_t)list->count * dim * sizeof *out, out, free}};
    return DP_OK;
}
