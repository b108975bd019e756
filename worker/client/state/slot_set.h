/* A set of slots: a bitmap over 0 .. SLOT_SET_MAX - 1. Thread: any. */
#ifndef DP_WORKER_CLIENT_STATE_SLOT_SET_H
#define DP_WORKER_CLIENT_STATE_SLOT_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SLOT_SET_MAX = 4096, SLOT_SET_WORDS = SLOT_SET_MAX / 64 };

/* A zeroed set is empty. */
struct slot_set {
    uint64_t words[SLOT_SET_WORDS];
};

static inline bool slot_set_has(const struct slot_set *set, uint32_t slot)
{
    return set->words[slot / 64] >> (slot % 64) & 1;
}

static inline void slot_set_add(struct slot_set *set, uint32_t slot)
{
    set->words[slot / 64] |= UINT64_C(1) << (slot % 64);
}

void slot_set_union(struct slot_set *set, const struct slot_set *more);
/* set = set without `less` */
void slot_set_subtract(struct slot_set *set, const struct slot_set *less);
void slot_set_intersect(struct slot_set *set, const struct slot_set *other);
bool slot_set_empty(const struct slot_set *set);
/* The smallest slot of the set in [first, end), or `end` if there is none. */
uint32_t slot_set_first(const struct slot_set *set, uint32_t first, uint32_t end);
/* Writes the slots in ascending order; returns how many there are. `list` holds SLOT_SET_MAX. */
uint32_t slot_set_list(const struct slot_set *set, uint32_t *list);

#endif
