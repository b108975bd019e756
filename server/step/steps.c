/* The step window of one slice; the invariants are in steps.h. Thread: shard. */
#include "server/step/steps.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/util.h"

/* State of a node. COVERED marks the inner nodes above a present one only implicitly: they are found by walking up. */
enum { NODE_ABSENT, NODE_PRESENT, NODE_EMPTY };

/* Invariants 2 and 3 of an open step, as far as they are cheap to see. */
static void check_open(const struct steps *steps, const struct steps_open *open)
{
    assert(steps->opened <= steps->next + steps->staleness + 1);
    assert(open->missing <= steps->slots && open->held <= steps->slots - open->missing);
    (void)steps, (void)open;
}

dp_err steps_init(struct steps *steps, uint32_t slots, uint64_t staleness, uint64_t first)
{
    assert(slots >= 1 && slots <= STEPS_SLOTS_MAX);
    uint32_t leaves = 1;
    while (leaves < slots)
        leaves *= 2;
    struct steps made = {.slots = slots, .leaves = leaves, .next = first, .opened = first, .staleness = staleness};
    made.ring = mem_array_zero(staleness + 1, sizeof *made.ring);
    if (!made.ring)
        return DP_NOMEM;
    for (uint64_t i = 0; i <= staleness; i++) {
        made.ring[i].nodes = mem_array_zero((size_t)leaves * 2, 1);
        if (!made.ring[i].nodes) {
            steps_fini(&made);
            return DP_NOMEM;
        }
    }
    *steps = made;
    return DP_OK;
}

dp_err steps_widen(struct steps *steps, uint64_t staleness)
{
    struct steps wide;
    if (staleness <= steps->staleness)
        return DP_OK;
    if (steps_init(&wide, steps->slots, staleness, steps->next))
        return DP_NOMEM;
    wide.opened = steps->opened;
    for (uint64_t t = steps->next; t < steps->opened; t++) {
        struct steps_open *from = &steps->ring[t % (steps->staleness + 1)], *to = &wide.ring[t % (staleness + 1)];
        struct steps_open fresh = *to;
        *to = *from;
        *from = fresh;
    }
    steps_fini(steps);
    *steps = wide;
    return DP_OK;
}

void steps_fini(struct steps *steps)
{
    for (uint64_t i = 0; steps->ring && i <= steps->staleness; i++)
        free(steps->ring[i].nodes);
    free(steps->ring);
    *steps = (struct steps){0};
}

uint32_t steps_node(const struct steps *steps, uint32_t level, uint32_t index)
{
    if (level >= 32 || (steps->leaves >> level) == 0 || index >= (steps->leaves >> level))
        return 0;
    if ((uint64_t)index << level >= steps->slots)
        return 0;
    return (steps->leaves >> level) + index;
}

bool steps_is_open(const struct steps *steps, uint64_t step)
{
    return step >= steps->next && step < steps->opened;
}

static struct steps_open *open_at(const struct steps *steps, uint64_t step)
{
    return &steps->ring[step % (steps->staleness + 1)];
}

void steps_open(struct steps *steps, uint64_t step, bool (*empty)(const void *arg, uint32_t slot), const void *arg)
{
    assert(step >= steps->next && step <= steps->opened && step - steps->next <= steps->staleness);
    struct steps_open *open = open_at(steps, step);
    memset(open->nodes, NODE_ABSENT, (size_t)steps->leaves * 2);
    open->held = 0;
    open->missing = 0;
    for (uint32_t k = 0; k < steps->leaves; k++) {
        bool none = k >= steps->slots || empty(arg, k);
        open->nodes[steps->leaves + k] = none ? NODE_EMPTY : NODE_ABSENT;
        open->missing += !none;
    }
    steps->opened = MAX(steps->opened, step + 1);
    check_open(steps, open);
}

/* Visits the descendants of `node`, itself included, from the leaves up: takes away those present, and counts the slots
 * that were covered by none of them. */
static uint32_t take_over(struct steps_open *open, uint32_t leaves, uint32_t node, uint32_t *replaced, uint32_t *count)
{
    if (open->nodes[node] == NODE_PRESENT) {
        open->nodes[node] = NODE_ABSENT;
        replaced[(*count)++] = node;
        return 0;
    }
    if (node >= leaves)
        return open->nodes[node] == NODE_ABSENT;
    return take_over(open, leaves, 2 * node, replaced, count) + take_over(open, leaves, 2 * node + 1, replaced, count);
}

enum steps_verdict steps_offer(struct steps *steps, uint64_t step, uint32_t node, uint32_t *replaced,
                               uint32_t *ret_replaced)
{
    assert(node >= 1 && node < 2 * steps->leaves);
    if (step < steps->next)
        return STEPS_DUPLICATE;
    if (!steps_is_open(steps, step))
        return STEPS_AHEAD;
    struct steps_open *open = open_at(steps, step);
    for (uint32_t up = node; up >= 1; up /= 2)
        if (open->nodes[up] == NODE_PRESENT || (up >= steps->leaves && open->nodes[up] == NODE_EMPTY))
            return STEPS_DUPLICATE;
    uint32_t count = 0;
    uint32_t fresh = take_over(open, steps->leaves, node, replaced, &count);
    if (fresh == 0 && count == 0)
        return STEPS_DUPLICATE; /* covers empty slots only */
    open->nodes[node] = NODE_PRESENT;
    open->missing -= fresh;
    open->held += 1 - count;
    check_open(steps, open);
    *ret_replaced = count;
    return STEPS_KEEP;
}

bool steps_present(const struct steps *steps, uint64_t step, uint32_t node)
{
    return steps_is_open(steps, step) && open_at(steps, step)->nodes[node] == NODE_PRESENT;
}

bool steps_complete(const struct steps *steps, uint64_t step)
{
    return step < steps->next || (steps_is_open(steps, step) && open_at(steps, step)->missing == 0);
}

uint32_t steps_held(const struct steps *steps, uint64_t step)
{
    return steps_is_open(steps, step) ? open_at(steps, step)->held : 0;
}

uint32_t steps_missing(const struct steps *steps, uint64_t step)
{
    return steps_is_open(steps, step) ? open_at(steps, step)->missing : 0;
}

bool steps_fold(struct steps *steps, uint64_t step, uint32_t *ret_left, uint32_t *ret_right, uint32_t *ret_parent)
{
    if (!steps_is_open(steps, step))
        return false;
    struct steps_open *open = open_at(steps, step);
    for (uint32_t left = 2 * steps->leaves - 2; left >= 2; left -= 2) {
        if (open->nodes[left] != NODE_PRESENT || open->nodes[left + 1] != NODE_PRESENT)
            continue;
        open->nodes[left] = open->nodes[left + 1] = NODE_ABSENT;
        open->nodes[left / 2] = NODE_PRESENT;
        open->held--;
        *ret_left = left;
        *ret_right = left + 1;
        *ret_parent = left / 2;
        return true;
    }
    return false;
}

static bool slot_covered(const struct steps_open *open, uint32_t leaf)
{
    if (open->nodes[leaf] == NODE_EMPTY)
        return true;
    for (uint32_t up = leaf; up >= 1; up /= 2)
        if (open->nodes[up] == NODE_PRESENT)
            return true;
    return false;
}

uint32_t steps_owed(const struct steps *steps, uint64_t step, uint32_t *owed)
{
    if (!steps_is_open(steps, step))
        return 0;
    uint32_t count = 0;
    for (uint32_t k = 0; k < steps->slots; k++)
        if (!slot_covered(open_at(steps, step), steps->leaves + k))
            owed[count++] = k;
    return count;
}

size_t steps_accepted(const struct steps *steps, uint64_t step, uint8_t *bits)
{
    size_t used = 0, bytes = (steps->slots + 7) / 8;
    if (step < steps->next) {
        memset(bits, 0xff, bytes);
        bits[bytes - 1] = (uint8_t)(0xff >> (bytes * 8 - steps->slots));
        return bytes;
    }
    if (!steps_is_open(steps, step))
        return 0;
    const struct steps_open *open = open_at(steps, step);
    memset(bits, 0, bytes);
    for (uint32_t k = 0; k < steps->slots; k++) {
        uint32_t leaf = steps->leaves + k;
        if (open->nodes[leaf] == NODE_EMPTY || !slot_covered(open, leaf))
            continue;
        bits[k / 8] |= (uint8_t)(1U << k % 8);
        used = k / 8 + 1;
    }
    return used;
}

void steps_advance(struct steps *steps)
{
    assert(steps_is_open(steps, steps->next) && steps_complete(steps, steps->next));
    steps->next++;
    assert(steps->next <= steps->opened);
}

bool steps_pull_ready(const struct steps *steps, uint64_t step)
{
    return step < steps->opened;
}
