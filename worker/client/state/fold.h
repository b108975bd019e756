/* Nodes of a step's tree that a worker pushes: a slot handed in is held while its sibling is owed by this worker too,
 * then both are folded into their parent, and so on upward; what has no such sibling is sent. Numbers in, decisions
 * out; whoever calls keeps the values.
 *
 * The value of a node is kept under the number of the node's smallest slot that has rows. Slots without rows, and those
 * beyond the job's, count as empty: a node with one empty child has the value of the other child.
 * Thread: the client's. */
#ifndef DP_WORKER_CLIENT_STATE_FOLD_H
#define DP_WORKER_CLIENT_STATE_FOLD_H

#include "worker/client/state/slot_set.h"

enum { FOLD_LEVEL_MAX = 12, FOLD_NOT_HELD = 0xff };

struct fold_node {
    uint32_t level; /* the node covers slots [index << level, (index + 1) << level), cut at the job's */
    uint32_t index;
};

/* value[left] = value[left] + value[right]; value[right] is free afterwards. */
struct fold_merge {
    uint32_t left;
    uint32_t right;
};

struct fold {
    uint32_t slots;             /* K of the job */
    struct slot_set rows;       /* slots that have rows at this step */
    struct slot_set owed;       /* of those, what this worker is to hand in */
    struct slot_set in;         /* of those, what it has handed in */
    struct slot_set gone;       /* of those, what has been sent */
    bool singly;                /* every slot is sent by itself */
    uint8_t held[SLOT_SET_MAX]; /* level of the node that is held, by the node's first slot; FOLD_NOT_HELD */
};

enum fold_answer {
    FOLD_HOLD,    /* after the merges the value stays with the caller */
    FOLD_SEND,    /* after the merges *ret_node is to be sent */
    FOLD_IGNORED, /* the slot is not owed, or was handed in before */
};

/* Starts a step of which nothing is owed. */
void fold_begin(struct fold *fold, uint32_t slots, const struct slot_set *rows);
/* From here on, until the next fold_begin, each slot is sent by itself, at once. */
void fold_singly(struct fold *fold);
/* More slots are owed; those without rows are not. The set never shrinks within a step. */
void fold_owe(struct fold *fold, const struct slot_set *slots);
/* Slots that are owed and have not been handed in. */
void fold_missing(const struct fold *fold, struct slot_set *ret_slots);
/* Hands in a slot. The merges, at most FOLD_LEVEL_MAX, are to be done in their order. Once nothing is missing, nothing
 * is held: the last slot handed in is answered with FOLD_SEND. */
enum fold_answer fold_hand_in(struct fold *fold, uint32_t slot, struct fold_merge *merges, size_t *ret_merge_count,
                              struct fold_node *ret_node);
/* The slot under which the value of a node is kept. */
uint32_t fold_value(const struct fold *fold, struct fold_node node);

#endif
