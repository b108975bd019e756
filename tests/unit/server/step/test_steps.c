/* The step window as arithmetic: random nodes in random order against a model that knows slots only. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "server/step/steps.h"
#include "tests/unit/support/leaks.h"
#include "tests/unit/support/roll.h"

struct emptiness {
    bool slots[64];
};

static bool is_empty(const void *arg, uint32_t slot)
{
    return ((const struct emptiness *)arg)->slots[slot];
}

static bool none_empty(const void *arg, uint32_t slot)
{
    (void)arg;
    (void)slot;
    return false;
}

/* Slots of a heap node. */
static void cover(const struct steps *w, uint32_t node, uint32_t *first, uint32_t *end)
{
    uint32_t width = 1;
    while (node < w->leaves) {
        node *= 2;
        width *= 2;
    }
    *first = node - w->leaves;
    *end = *first + width < w->slots ? *first + width : w->slots;
}

Test(steps, node_numbers)
{
    struct steps w;
    cr_assert_eq(steps_init(&w, 5, 0, 0), DP_OK);
    cr_assert_eq(w.leaves, 8);
    cr_assert_eq(steps_node(&w, 0, 0), 8);
    cr_assert_eq(steps_node(&w, 0, 4), 12);
    cr_assert_eq(steps_node(&w, 0, 5), 0, "no such slot");
    cr_assert_eq(steps_node(&w, 2, 1), 3, "a node that is cut at K");
    cr_assert_eq(steps_node(&w, 1, 3), 0, "wholly beyond K");
    cr_assert_eq(steps_node(&w, 3, 0), 1);
    cr_assert_eq(steps_node(&w, 4, 0), 0);
    cr_assert_eq(steps_node(&w, 31, 0), 0);
    cr_assert_eq(steps_node(&w, 99, 0), 0);
    steps_fini(&w);
    ASSERT_NO_LEAKS();
}

/* One step of random offers. Invariant: what is present covers a slot at most once, and a step is complete exactly when
 * all slots that are not empty are covered. */
static void random_step(struct steps *w, const struct emptiness *empty)
{
    uint32_t replaced[64], count;
    bool covered[64] = {false};
    steps_open(w, w->next, is_empty, empty);
    while (!steps_complete(w, w->next)) {
        uint32_t node = 1 + roll(2 * w->leaves - 1), first, end;
        cover(w, node, &first, &end);
        if (first >= w->slots)
            continue;
        enum steps_verdict verdict = steps_offer(w, w->next, node, replaced, &count);
        if (verdict == STEPS_KEEP)
            for (uint32_t k = first; k < end; k++)
                covered[k] = true;
        cr_assert_neq(verdict, STEPS_AHEAD);
        uint32_t seen[64] = {0}, missing = 0, held = 0;
        for (uint32_t n = 1; n < 2 * w->leaves; n++) {
            if (!steps_present(w, w->next, n))
                continue;
            held++;
            cover(w, n, &first, &end);
            for (uint32_t k = first; k < end; k++)
                seen[k]++;
        }
        for (uint32_t k = 0; k < w->slots; k++) {
            cr_assert_leq(seen[k], 1, "slot %u is covered twice", k);
            missing += !empty->slots[k] && !covered[k];
            cr_assert_eq(seen[k] == 1, covered[k]);
        }
        cr_assert_eq(held, steps_held(w, w->next));
        cr_assert_eq(steps_complete(w, w->next), missing == 0);
        uint32_t owed[64];
        cr_assert_eq(steps_owed(w, w->next, owed), missing);
        uint32_t l, r, p;
        if (held > w->slots / 2 + 1)
            cr_assert(steps_fold(w, w->next, &l, &r, &p), "more than K/2 + 1 nodes always hold a pair");
    }
    bool root = steps_present(w, w->next, 1);
    enum steps_verdict verdict = steps_offer(w, w->next, 1, replaced, &count);
    cr_assert_eq(verdict, root ? STEPS_DUPLICATE : STEPS_KEEP, "the root supersedes what is complete in parts");
    steps_advance(w);
}

Test(steps, random_offers_cover_each_slot_once)
{
    for (int round = 0; round < 3000; round++) {
        struct steps w;
        struct emptiness empty = {{false}};
        cr_assert_eq(steps_init(&w, 1 + roll(33), 0, 0), DP_OK);
        if (round % 3 == 0)
            for (uint32_t k = 0; k < w.slots; k++)
                empty.slots[k] = roll(3) == 0;
        empty.slots[roll(w.slots)] = false;
        for (int step = 0; step < 4; step++)
            random_step(&w, &empty);
        cr_assert_eq(w.next, 4);
        steps_fini(&w);
    }
    ASSERT_NO_LEAKS();
}

Test(steps, block_after_one_of_its_slots_is_kept)
{
    struct steps w;
    uint32_t replaced[8], count;
    cr_assert_eq(steps_init(&w, 8, 0, 0), DP_OK);
    steps_open(&w, 0, none_empty, NULL);
    cr_assert_eq(steps_offer(&w, 0, steps_node(&w, 0, 2), replaced, &count), STEPS_KEEP);
    cr_assert_eq(steps_offer(&w, 0, steps_node(&w, 2, 0), replaced, &count), STEPS_KEEP);
    cr_assert_eq(count, 1);
    cr_assert_eq(replaced[0], steps_node(&w, 0, 2));
    cr_assert_eq(steps_offer(&w, 0, steps_node(&w, 0, 1), replaced, &count), STEPS_DUPLICATE, "an ancestor is there");
    cr_assert_eq(steps_offer(&w, 1, 1, replaced, &count), STEPS_AHEAD);
    cr_assert_eq(steps_offer(&w, 0, steps_node(&w, 2, 1), replaced, &count), STEPS_KEEP);
    cr_assert(steps_complete(&w, 0));
    steps_advance(&w);
    cr_assert_eq(steps_offer(&w, 0, 1, replaced, &count), STEPS_DUPLICATE, "the step is past");
    steps_fini(&w);
}

Test(steps, pulls_wait_for_all_steps_before)
{
    struct steps w;
    uint32_t replaced[8], count;
    cr_assert_eq(steps_init(&w, 1, 0, 0), DP_OK);
    steps_open(&w, 0, none_empty, NULL);
    cr_assert(steps_pull_ready(&w, 0));
    cr_assert_not(steps_pull_ready(&w, 1));
    cr_assert_eq(steps_offer(&w, 0, 1, replaced, &count), STEPS_KEEP);
    steps_advance(&w);
    steps_open(&w, 1, none_empty, NULL);
    cr_assert(steps_pull_ready(&w, 1));
    cr_assert_not(steps_pull_ready(&w, 2));
    steps_fini(&w);
}

/* Staleness s: s + 1 steps are open side by side, and a pull for t needs the steps up to t - 1 - s. */
Test(steps, a_wider_window)
{
    struct steps w;
    uint32_t replaced[8], count;
    cr_assert_eq(steps_init(&w, 2, 2, 0), DP_OK);
    for (uint64_t t = 0; t <= 2; t++)
        steps_open(&w, t, none_empty, NULL);
    cr_assert_eq(steps_offer(&w, 2, 1, replaced, &count), STEPS_KEEP);
    cr_assert_eq(steps_offer(&w, 3, 1, replaced, &count), STEPS_AHEAD);
    cr_assert(steps_pull_ready(&w, 2));
    cr_assert_not(steps_pull_ready(&w, 3));
    cr_assert_eq(steps_offer(&w, 0, 1, replaced, &count), STEPS_KEEP);
    steps_advance(&w);
    steps_open(&w, 3, none_empty, NULL);
    cr_assert(steps_pull_ready(&w, 3));
    cr_assert(steps_present(&w, 2, 1), "what came early is kept");
    steps_fini(&w);
}

/* A job that goes on at step 70: the steps before it are as if they had been complete. */
Test(steps, a_window_that_begins_later)
{
    struct steps w;
    uint32_t replaced[8], count;
    uint8_t bits[1];
    cr_assert_eq(steps_init(&w, 3, 1, 70), DP_OK);
    cr_assert(steps_complete(&w, 69) && steps_pull_ready(&w, 69));
    cr_assert_not(steps_pull_ready(&w, 70), "not open yet");
    cr_assert_eq(steps_offer(&w, 69, 1, replaced, &count), STEPS_DUPLICATE);
    cr_assert_eq(steps_accepted(&w, 69, bits), 1);
    cr_assert_eq(bits[0], 7);
    cr_assert_eq(steps_offer(&w, 70, 1, replaced, &count), STEPS_AHEAD);
    for (uint64_t t = 70; t <= 71; t++)
        steps_open(&w, t, none_empty, NULL);
    cr_assert_eq(steps_offer(&w, 71, 1, replaced, &count), STEPS_KEEP);
    cr_assert_eq(steps_offer(&w, 70, steps_node(&w, 0, 2), replaced, &count), STEPS_KEEP);
    cr_assert_eq(steps_widen(&w, 4), DP_OK);
    cr_assert_eq(w.next, 70);
    cr_assert_eq(steps_missing(&w, 70), 2);
    cr_assert(steps_present(&w, 71, 1), "a wider window keeps what is open");
    cr_assert_eq(steps_offer(&w, 70, steps_node(&w, 1, 0), replaced, &count), STEPS_KEEP);
    steps_advance(&w);
    cr_assert_eq(w.next, 71);
    steps_fini(&w);
    ASSERT_NO_LEAKS();
}

static bool odd_empty(const void *arg, uint32_t slot)
{
    (void)arg;
    return slot % 2 == 1;
}

/* Nobody need compute anything of a complete step, even if slots had no samples. */
Test(steps, what_is_accepted)
{
    struct steps w;
    uint32_t replaced[16], count;
    uint8_t bits[2];
    cr_assert_eq(steps_init(&w, 10, 1, 0), DP_OK);
    steps_open(&w, 0, odd_empty, NULL);
    cr_assert_eq(steps_accepted(&w, 0, bits), 0);
    cr_assert_eq(steps_offer(&w, 0, steps_node(&w, 0, 2), replaced, &count), STEPS_KEEP);
    cr_assert_eq(steps_accepted(&w, 0, bits), 1);
    cr_assert_eq(bits[0], 1 << 2);
    cr_assert_eq(steps_offer(&w, 0, steps_node(&w, 0, 8), replaced, &count), STEPS_KEEP);
    cr_assert_eq(steps_accepted(&w, 0, bits), 2);
    cr_assert_eq(bits[1], 1);
    cr_assert_eq(steps_offer(&w, 0, 1, replaced, &count), STEPS_KEEP);
    steps_advance(&w);
    cr_assert_eq(steps_accepted(&w, 0, bits), 2);
    cr_assert_eq(bits[0], 0xff);
    cr_assert_eq(bits[1], 3);
    cr_assert_eq(steps_accepted(&w, 1, bits), 0, "not open yet");
    steps_fini(&w);
}
