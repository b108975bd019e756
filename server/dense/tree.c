/* The tree of a slice's open step; see tree.h. Thread: shard. */
#include "server/dense/tree.h"

#include <assert.h>
#include <stdlib.h>

#include "common/kernels/kernels.h"
#include "server/step/slab.h"

enum { FOLD_DEPTH = 14 }; /* levels of the largest tree, plus the result */

dp_err tree_init(struct slice *slice)
{
    slice->nodes = mem_array_zero((size_t)slice->window.leaves * 2, sizeof *slice->nodes);
    slice->scratch = mem_array((size_t)SLICE_FOLD * FOLD_DEPTH, sizeof *slice->scratch);
    slice->replaced = mem_array(slice->window.slots, sizeof *slice->replaced);
    return slice->nodes && slice->scratch && slice->replaced ? DP_OK : DP_NOMEM;
}

void tree_fini(struct slice *slice)
{
    for (uint32_t i = 0; slice->nodes && i < slice->window.leaves * 2; i++)
        blob_release(&slice->nodes[i].gradient);
    free(slice->nodes);
    free(slice->scratch);
    free(slice->replaced);
    slice->nodes = NULL;
    slice->scratch = NULL;
    slice->replaced = NULL;
}

/* Adds up two payloads, left + right, in the place of one that may be written, else in `spare`, which is taken then. */
static struct blob add_payloads(const struct slice *slice, struct blob *left, struct blob *right, float **spare)
{
    struct blob sum = !shm_is_slab(left) ? *left : !shm_is_slab(right) ? *right : (struct blob){0};
    if (left->data && !sum.data) {
        sum = (struct blob){.data = *spare, .bytes = left->bytes, .owner = *spare, .release = free};
        *spare = NULL;
    }
    if (left->data)
        kernels_get()->add(slice->range.count, left->data, right->data, sum.data);
    if (sum.owner != left->owner)
        blob_release(left);
    if (sum.owner != right->owner)
        blob_release(right);
    return sum;
}

/* Nodes of the open step that take memory of ours; slabs are the workers'. */
static uint32_t nodes_owned(const struct slice *slice, uint64_t step)
{
    uint32_t owned = steps_held(&slice->window, step);
    for (uint32_t i = 1; i < slice->window.leaves * 2; i++)
        owned -= shm_is_slab(&slice->nodes[i].gradient);
    return owned;
}

/* Beyond K/2 + 1 payloads, siblings are added up (left + right) so that memory stays bounded. Payloads stay apart if
 * slots may yet become void or be left out. */
static void fold_over_budget(struct slice *slice, uint64_t step)
{
    uint32_t left, right, parent, most = slice->window.slots / 2 + 1;
    AUTOFREE float *spare = NULL;
    if (slice->job->local || slice->job->droppable)
        return;
    for (uint32_t held; (held = steps_held(&slice->window, step)) > most;) {
        uint32_t owned = nodes_owned(slice, step);
        if (owned < held && !spare)
            spare = mem_array(slice->range.count, sizeof *spare);
        if (owned <= most || (owned < held && !spare) || !steps_fold(&slice->window, step, &left, &right, &parent))
            return;
        struct node *l = &slice->nodes[left], *r = &slice->nodes[right];
        slice->nodes[parent] = (struct node){add_payloads(slice, &l->gradient, &r->gradient, &spare),
                                             metrics_add(l->metrics, r->metrics), l->from == r->from ? l->from : 0};
        *l = *r = (struct node){0};
    }
}

void tree_put(struct slice *slice, uint64_t step, uint32_t node, struct blob *gradient, const struct metrics *metrics,
              uint32_t replaced)
{
    assert(step == slice->window.next && steps_present(&slice->window, step, node));
    for (uint32_t i = 0; i < replaced; i++)
        blob_release(&slice->nodes[slice->replaced[i]].gradient);
    slice->nodes[node] = (struct node){*gradient, *metrics, 0};
    *gradient = (struct blob){0};
    fold_over_budget(slice, step);
}

/* Sum of the subtree of `node` over elements [at, at + n) of the slice: a pointer into a payload, or `out`, or NULL if
 * the subtree is empty; never into `spare`, which is scratch for the levels below and is used again beside them. */
static const float *sum_below(const struct slice *slice, uint32_t node, uint64_t at, size_t n, float *out, float *spare)
{
    if (slice->nodes[node].gradient.data)
        return (const float *)slice->nodes[node].gradient.data + at;
    if (node >= slice->window.leaves)
        return NULL;
    const float *left = sum_below(slice, 2 * node, at, n, out, spare + SLICE_FOLD);
    const float *right = sum_below(slice, 2 * node + 1, at, n, left ? spare : out, spare + SLICE_FOLD);
    if (!left || !right)
        return left ? left : right;
    kernels_get()->add(n, left, right, out);
    return out;
}

const float *tree_sum(const struct slice *slice, uint64_t at, size_t n)
{
    return sum_below(slice, 1, at, n, slice->scratch, slice->scratch + SLICE_FOLD);
}

struct metrics tree_metrics(const struct slice *slice)
{
    return metrics_sum(&slice->window, &slice->nodes[0].metrics, sizeof slice->nodes[0]);
}

void tree_clear(struct slice *slice)
{
    for (uint32_t i = 1; i < slice->window.leaves * 2; i++) {
        blob_release(&slice->nodes[i].gradient);
        slice->nodes[i].metrics = (struct metrics){0};
    }
}
