/* A set of slots as a bitmap. Thread: any. */
#include "worker/client/state/slot_set.h"

#include "common/base/util.h"

void slot_set_union(struct slot_set *set, const struct slot_set *more)
{
    for (size_t i = 0; i < SLOT_SET_WORDS; i++)
        set->words[i] |= more->words[i];
}

void slot_set_subtract(struct slot_set *set, const struct slot_set *less)
{
    for (size_t i = 0; i < SLOT_SET_WORDS; i++)
        set->words[i] &= ~less->words[i];
}

void slot_set_intersect(struct slot_set *set, const struct slot_set *other)
{
    for (size_t i = 0; i < SLOT_SET_WORDS; i++)
        set->words[i] &= other->words[i];
}

bool slot_set_empty(const struct slot_set *set)
{
    return slot_set_first(set, 0, SLOT_SET_MAX) == SLOT_SET_MAX;
}

uint32_t slot_set_first(const struct slot_set *set, uint32_t first, uint32_t end)
{
    for (uint32_t at = first; at < end; at = (at / 64 + 1) * 64) {
        uint64_t word = set->words[at / 64] >> (at % 64);
        if (word)
            return MIN(at + (uint32_t)__builtin_ctzll(word), end);
    }
    return end;
}

uint32_t slot_set_list(const struct slot_set *set, uint32_t *list)
{
    uint32_t count = 0;
    for (uint32_t slot = slot_set_first(set, 0, SLOT_SET_MAX); slot < SLOT_SET_MAX;
         slot = slot_set_first(set, slot + 1, SLOT_SET_MAX))
        list[count++] = slot;
    return count;
}
