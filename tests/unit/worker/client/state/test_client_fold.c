/* Folding: whatever a worker owes and in whatever order it hands in, the nodes it sends cover each owed slot once, are
 * as large as they can be, and carry the value of the fixed tree. Values are texts like "(0+1)", so a wrong order or a
 * wrong pairing shows. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "worker/client/state/fold.h"

enum { TEXT_MAX = 2048 };
static char values[SLOT_SET_MAX][TEXT_MAX];

/* The tree as MATH has it: empty children are skipped. */
static bool tree_text(const struct slot_set *rows, uint32_t slots, uint32_t level, uint32_t index, char *text)
{
    uint32_t first = index << level;
    if (first >= slots)
        return false;
    if (level == 0) {
        snprintf(text, TEXT_MAX, "%u", index);
        return slot_set_has(rows, index);
    }
    char left[TEXT_MAX], right[TEXT_MAX];
    bool has_left = tree_text(rows, slots, level - 1, 2 * index, left);
    bool has_right = tree_text(rows, slots, level - 1, 2 * index + 1, right);
    size_t at = 0;
    if (has_left && has_right)
        str_append(text, TEXT_MAX, &at, "(%s+%s)", left, right);
    else
        str_append(text, TEXT_MAX, &at, "%s", has_left ? left : right);
    return has_left || has_right;
}

static void merge(struct fold_merge m)
{
    char both[TEXT_MAX];
    size_t at = 0;
    str_append(both, sizeof both, &at, "(%s+%s)", values[m.left], values[m.right]);
    str_copy(values[m.left], TEXT_MAX, both);
    values[m.right][0] = '\0';
}

struct sent {
    struct fold_node nodes[SLOT_SET_MAX];
    size_t count;
};

static enum fold_answer hand_in(struct fold *fold, uint32_t slot, struct sent *sent)
{
    struct fold_merge merges[FOLD_LEVEL_MAX];
    size_t merge_count;
    struct fold_node node;
    snprintf(values[slot], TEXT_MAX, "%u", slot);
    enum fold_answer answer = fold_hand_in(fold, slot, merges, &merge_count, &node);
    for (size_t i = 0; i < merge_count; i++)
        merge(merges[i]);
    if (answer == FOLD_SEND) {
        char want[TEXT_MAX];
        cr_assert(tree_text(&fold->rows, fold->slots, node.level, node.index, want));
        cr_assert_str_eq(values[fold_value(fold, node)], want);
        sent->nodes[sent->count++] = node;
    }
    return answer;
}

static void shuffle(uint32_t *list, uint32_t count, uint64_t seed)
{
    struct perm perm;
    uint32_t copy[SLOT_SET_MAX];
    memcpy(copy, list, count * sizeof *list);
    if (count == 0)
        return;
    perm_init(&perm, count, seed, 0);
    for (uint32_t i = 0; i < count; i++)
        list[i] = copy[perm_at(&perm, i)];
}

/* Each slot of `owed` lies in exactly one node sent, and nothing else with rows does. */
static void expect_cover(const struct fold *fold, const struct sent *sent, const struct slot_set *owed)
{
    unsigned seen[SLOT_SET_MAX] = {0};
    for (size_t i = 0; i < sent->count; i++) {
        uint32_t end = MIN((sent->nodes[i].index + 1) << sent->nodes[i].level, fold->slots);
        for (uint32_t slot = sent->nodes[i].index << sent->nodes[i].level; slot < end; slot++)
            seen[slot]++;
    }
    for (uint32_t slot = 0; slot < fold->slots; slot++)
        if (slot_set_has(&fold->rows, slot))
            cr_assert_eq(seen[slot], slot_set_has(owed, slot), "slot %u of %u", slot, fold->slots);
}

static struct slot_set random_set(uint32_t slots, uint64_t seed, uint64_t one_in)
{
    struct slot_set set = {0};
    for (uint32_t slot = 0; slot < slots; slot++)
        if (rng_u64(seed, RNG_STREAM_INIT, 7, slot) % one_in != 0)
            slot_set_add(&set, slot);
    return set;
}

/* The fewest nodes that cover `owed`: those whose parent is not all ours. */
static size_t fewest_nodes(const struct fold *fold, const struct slot_set *owed, uint32_t level, uint32_t index)
{
    uint32_t first = index << level, end = MIN((index + 1) << level, fold->slots);
    uint32_t rows = 0, ours = 0;
    for (uint32_t slot = first; slot < end; slot++) {
        rows += slot_set_has(&fold->rows, slot);
        ours += slot_set_has(owed, slot);
    }
    if (ours == 0 || ours == rows)
        return ours > 0;
    return fewest_nodes(fold, owed, level - 1, 2 * index) + fewest_nodes(fold, owed, level - 1, 2 * index + 1);
}

static void expect_step(uint32_t slots, uint64_t seed, uint64_t rows_one_in, uint64_t owed_one_in)
{
    static struct fold fold;
    static struct sent sent;
    static uint32_t list[SLOT_SET_MAX];
    sent.count = 0;
    struct slot_set rows = random_set(slots, seed, rows_one_in), owed = random_set(slots, seed + 1, owed_one_in);
    fold_begin(&fold, slots, &rows);
    fold_owe(&fold, &owed);
    slot_set_intersect(&owed, &rows);
    uint32_t count = slot_set_list(&owed, list);
    shuffle(list, count, seed);
    enum fold_answer last = FOLD_SEND;
    for (uint32_t i = 0; i < count; i++)
        last = hand_in(&fold, list[i], &sent);
    cr_assert_eq(last, FOLD_SEND, "the last slot handed in leaves nothing held");
    expect_cover(&fold, &sent, &owed);
    struct slot_set missing;
    fold_missing(&fold, &missing);
    cr_assert(slot_set_empty(&missing));
    cr_assert_eq(sent.count, fewest_nodes(&fold, &owed, FOLD_LEVEL_MAX, 0));
}

Test(fold, any_duty_in_any_order)
{
    static const uint32_t SLOTS[] = {1, 2, 3, 5, 7, 8, 13, 16, 63, 65};
    for (size_t i = 0; i < ARRAY_LEN(SLOTS); i++)
        for (uint64_t seed = 0; seed < 60; seed++) {
            expect_step(SLOTS[i], 1000 * i + seed, 1 + seed % 4 * 50, 1000000);
            expect_step(SLOTS[i], 2000 * i + seed, 1000000, 2 + seed % 9);
            expect_step(SLOTS[i], 3000 * i + seed, 3 + seed % 5, 2 + seed % 7);
        }
}

Test(fold, slots_owed_later_do_not_join_what_was_sent)
{
    static struct fold fold;
    static struct sent sent;
    struct slot_set rows = random_set(4, 0, UINT64_MAX), owed = {0};
    fold_begin(&fold, 4, &rows);
    slot_set_add(&owed, 0);
    fold_owe(&fold, &owed);
    cr_assert_eq(hand_in(&fold, 0, &sent), FOLD_SEND);
    for (uint32_t slot = 1; slot < 4; slot++)
        slot_set_add(&owed, slot);
    fold_owe(&fold, &owed);
    cr_assert_eq(hand_in(&fold, 2, &sent), FOLD_HOLD);
    cr_assert_eq(hand_in(&fold, 1, &sent), FOLD_SEND);
    cr_assert_eq(hand_in(&fold, 3, &sent), FOLD_SEND);
    cr_assert_eq(sent.count, 3);
    cr_assert_eq(sent.nodes[2].level, 1);
    expect_cover(&fold, &sent, &owed);
}

Test(fold, what_is_not_owed_or_was_handed_in_is_ignored)
{
    static struct fold fold;
    static struct sent sent;
    struct slot_set rows = {.words = {0x3}}, owed = {.words = {0xd}};
    fold_begin(&fold, 4, &rows);
    fold_owe(&fold, &owed);
    cr_assert_eq(hand_in(&fold, 1, &sent), FOLD_IGNORED, "not owed");
    cr_assert_eq(hand_in(&fold, 2, &sent), FOLD_IGNORED, "without rows");
    cr_assert_eq(hand_in(&fold, 9, &sent), FOLD_IGNORED, "out of range");
    cr_assert_eq(hand_in(&fold, 0, &sent), FOLD_SEND);
    cr_assert_eq(hand_in(&fold, 0, &sent), FOLD_IGNORED, "twice");
}
