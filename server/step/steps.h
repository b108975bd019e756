/* The step window of one slice: which tree nodes of the open steps have arrived, and what a new one means.
 *
 * Slots 0..K-1 of a step are the leaves of a binary tree padded to a power of two. A node (level, index) covers the
 * slots [index << level, min((index + 1) << level, K)). Slots without samples are empty: complete when their step
 * opens. Pure arithmetic: numbers in, decisions out; no memory but the window's own, no clock, no network.
 *
 * Invariants, at every moment:
 *   1. next is the first incomplete step of the slice; all steps before it are complete (low = next - 1); it never goes
 * back.
 *   2. The steps of [next, opened) are open, opened <= next + staleness + 1; of an open step, the nodes present cover
 * each slot at most once.
 *   3. A step is complete exactly when every slot that is not empty is covered.
 * Thread: shard. */
#ifndef DP_SERVER_STEP_STEPS_H
#define DP_SERVER_STEP_STEPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/dp_err.h"

enum { STEPS_SLOTS_MAX = 4096, STEPS_ACCEPTED_BYTES = STEPS_SLOTS_MAX / 8 };

struct steps_open {
    uint8_t *nodes;   /* [2 * leaves] states by heap number: the root is 1, slot k is leaves + k */
    uint32_t missing; /* slots that are neither covered nor empty */
    uint32_t held;    /* nodes present */
};

struct steps {
    uint32_t slots;          /* K */
    uint32_t leaves;         /* K padded to a power of two */
    uint64_t next;           /* first incomplete step */
    uint64_t opened;         /* first step that is not open yet */
    uint64_t staleness;      /* s: steps that may be open beyond next */
    struct steps_open *ring; /* [staleness + 1], step t at t % (staleness + 1) */
};

/* slots in 1..STEPS_SLOTS_MAX; the steps before `first` count as complete. DP_NOMEM. No step is open until steps_open
 * was called for it. */
DP_MUST_CHECK dp_err steps_init(struct steps *steps, uint32_t slots, uint64_t staleness, uint64_t first);
void steps_fini(struct steps *steps);

/* Heap number of a node; 0 if there is no such node. */
uint32_t steps_node(const struct steps *steps, uint32_t level, uint32_t index);

/* Makes room for more steps to be open side by side; what is open stays as it is. Less than now changes nothing.
 * DP_NOMEM. */
DP_MUST_CHECK dp_err steps_widen(struct steps *steps, uint64_t staleness);

/* Opens step `opened`, which must be at most next + staleness, or an open step anew: empty but for the slots that
 * empty(arg, slot) says have no samples. */
void steps_open(struct steps *steps, uint64_t step, bool (*empty)(const void *arg, uint32_t slot), const void *arg);

enum steps_verdict {
    STEPS_KEEP,      /* the node is now present */
    STEPS_DUPLICATE, /* it, an ancestor, or the whole step was there before: drop it */
    STEPS_AHEAD,     /* the step is not open here: the peer cannot have had its theta */
};

/* A node arrives for a step. If it is kept, nodes that it replaces (its descendants: the same bits) are no longer
 * present; their heap numbers go to replaced[*ret_replaced], of which there are fewer than the slots it covers (room
 * for K). */
enum steps_verdict steps_offer(struct steps *steps, uint64_t step, uint32_t node, uint32_t *replaced,
                               uint32_t *ret_replaced);

bool steps_is_open(const struct steps *steps, uint64_t step);
bool steps_present(const struct steps *steps, uint64_t step, uint32_t node);
bool steps_complete(const struct steps *steps, uint64_t step);
/* Nodes present of an open step. */
uint32_t steps_held(const struct steps *steps, uint64_t step);

/* Finds two present siblings of an open step and makes their parent present in their place: the caller adds the
 * payloads. Used to keep within the budget of K/2 + 1 nodes, beyond which such a pair always exists. False if there is
 * none. */
bool steps_fold(struct steps *steps, uint64_t step, uint32_t *ret_left, uint32_t *ret_right, uint32_t *ret_parent);

/* Number of slots of an open step that are still owed. */
uint32_t steps_missing(const struct steps *steps, uint64_t step);
/* Slots of an open step that are still owed, to owed[K]; returns how many. */
uint32_t steps_owed(const struct steps *steps, uint64_t step, uint32_t *owed);

/* The slots of a step that are covered, a bit each from the lowest bit of the first byte on, to bits[(K + 7) / 8]: of
 * an open one those that have come, of a complete one all bits. Returns the number of bytes up to the last one that is
 * not 0. */
size_t steps_accepted(const struct steps *steps, uint64_t step, uint8_t *bits);

/* Step `next`, which must be open and complete, is done with: next moves on. */
void steps_advance(struct steps *steps);

/* Whether a pull for theta of `step` can be answered: the step has been opened, so low >= step - 1 - staleness. */
bool steps_pull_ready(const struct steps *steps, uint64_t step);

#endif
