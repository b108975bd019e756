/* Nodes of a step's tree that a worker pushes.
 *
 * Invariants: a node is held only while its parent can still be made here, that is while all slots of the parent that
 * have rows are owed and none of them has been sent; so its sibling comes, and finds it at the level looked for.
 * Thread: the client's. */
#include "worker/client/state/fold.h"

#include <assert.h>
#include <string.h>

#include "common/base/util.h"

void fold_begin(struct fold *fold, uint32_t slots, const struct slot_set *rows)
{
    fold->slots = slots;
    fold->rows = *rows;
    fold->owed = (struct slot_set){0};
    fold->in = (struct slot_set){0};
    fold->gone = (struct slot_set){0};
    fold->singly = false;
    memset(fold->held, FOLD_NOT_HELD, sizeof fold->held);
}

void fold_singly(struct fold *fold)
{
    fold->singly = true;
}

void fold_owe(struct fold *fold, const struct slot_set *slots)
{
    struct slot_set more = *slots;
    slot_set_intersect(&more, &fold->rows);
    slot_set_union(&fold->owed, &more);
}

void fold_missing(const struct fold *fold, struct slot_set *ret_slots)
{
    *ret_slots = fold->owed;
    slot_set_subtract(ret_slots, &fold->in);
}

static uint32_t node_first(struct fold_node node)
{
    return node.index << node.level;
}

static uint32_t node_end(const struct fold *fold, struct fold_node node)
{
    return MIN((node.index + 1) << node.level, fold->slots);
}

uint32_t fold_value(const struct fold *fold, struct fold_node node)
{
    return slot_set_first(&fold->rows, node_first(node), node_end(fold, node));
}

static bool node_empty(const struct fold *fold, struct fold_node node)
{
    uint32_t end = node_end(fold, node);
    return node_first(node) >= end || fold_value(fold, node) == end;
}

/* Whether all of the node's slots pass through this worker's hands: owed, and none sent on its own. */
static bool node_is_ours(const struct fold *fold, struct fold_node node)
{
    uint32_t end = node_end(fold, node);
    for (uint32_t slot = fold_value(fold, node); slot < end; slot = slot_set_first(&fold->rows, slot + 1, end))
        if (!slot_set_has(&fold->owed, slot) || slot_set_has(&fold->gone, slot))
            return false;
    return true;
}

static void node_mark_gone(struct fold *fold, struct fold_node node)
{
    uint32_t end = node_end(fold, node);
    for (uint32_t slot = node_first(node); slot < end; slot++)
        slot_set_add(&fold->gone, slot);
}

static bool node_is_root(const struct fold *fold, struct fold_node node)
{
    return UINT32_C(1) << node.level >= fold->slots;
}

/* The case one level up from a node that is whole here. */
enum climb {
    CLIMB_END,    /* it goes no further */
    CLIMB_WAIT,   /* its sibling is to come */
    CLIMB_ALONE,  /* its sibling is empty: the parent says the same */
    CLIMB_MERGED, /* its sibling was held: the parent is whole after *ret_merge */
};

static enum climb fold_climb(struct fold *fold, struct fold_node at, struct fold_merge *ret_merge)
{
    struct fold_node parent = {at.level + 1, at.index / 2};
    struct fold_node sibling = {at.level, at.index ^ 1};
    if (fold->singly || node_is_root(fold, at) || !node_is_ours(fold, parent))
        return CLIMB_END;
    if (node_empty(fold, sibling))
        return CLIMB_ALONE;
    uint8_t *sibling_held = &fold->held[node_first(sibling)];
    if (*sibling_held != sibling.level) {
        fold->held[node_first(at)] = (uint8_t)at.level;
        return CLIMB_WAIT;
    }
    *sibling_held = FOLD_NOT_HELD;
    struct fold_node left = at.index & 1 ? sibling : at, right = at.index & 1 ? at : sibling;
    *ret_merge = (struct fold_merge){fold_value(fold, left), fold_value(fold, right)};
    return CLIMB_MERGED;
}

enum fold_answer fold_hand_in(struct fold *fold, uint32_t slot, struct fold_merge *merges, size_t *ret_merge_count,
                              struct fold_node *ret_node)
{
    *ret_merge_count = 0;
    if (slot >= fold->slots || !slot_set_has(&fold->owed, slot) || slot_set_has(&fold->in, slot))
        return FOLD_IGNORED;
    slot_set_add(&fold->in, slot);
    struct fold_node at = {0, slot}, whole = at; /* `whole`: the lowest node that says all that `at` does */
    enum climb climb;
    while ((climb = fold_climb(fold, at, &merges[*ret_merge_count])) >= CLIMB_ALONE) {
        at = (struct fold_node){at.level + 1, at.index / 2};
        if (climb == CLIMB_MERGED) {
            whole = at;
            (*ret_merge_count)++;
            assert(*ret_merge_count <= FOLD_LEVEL_MAX);
        }
    }
    if (climb == CLIMB_WAIT)
        return FOLD_HOLD;
    node_mark_gone(fold, whole);
    *ret_node = whole;
    return FOLD_SEND;
}
