/* Speculation by random events: whatever happens, every copy is accounted for. */
#include <criterion/criterion.h>

#include "server/deal/speculation_decide.h"
#include "tests/unit/support/leaks.h"
#include "tests/unit/support/roll.h"
#include "tests/unit/support/speculation_members.h"

static void assert_sound(const struct speculation *s, const bool *alive)
{
    uint32_t missing = 0, out = 0, open[MEMBERS] = {0};
    for (uint32_t k = 0; k < SLOTS; k++) {
        const struct speculation_slot *slot = &s->slot[k];
        if (speculation_in(s, k))
            continue;
        missing++;
        out += slot->helper != DEALER_NOBODY;
        if (slot->helper != DEALER_NOBODY) {
            cr_assert_neq(slot->helper, slot->holder);
            cr_assert(alive[slot->helper]);
            open[slot->helper]++;
        }
        if (slot->holder != DEALER_NOBODY)
            open[slot->holder]++;
    }
    cr_assert_eq(missing, s->missing);
    cr_assert_eq(s->given, s->won + s->lost + out);
    for (uint32_t m = 0; m < MEMBERS; m++)
        cr_assert_eq(s->list[m].open, open[m]);
}

/* Only what has not come is given, to one that lives and, as far as OWNER says, has nothing else to do. */
static void assert_gift(const struct speculation *s, const struct speculation_gift *gift, const bool *alive)
{
    cr_assert(alive[gift->member]);
    cr_assert_not(speculation_in(s, gift->slot));
    cr_assert_neq(s->slot[gift->slot].holder, gift->member);
    for (uint32_t k = 0; k < SLOTS && s->step >= 3; k++)
        for (uint32_t i = 1; i <= s->ahead; i++)
            cr_assert(OWNER[k] != gift->member || s->slot[k].arrived >> i & 1);
}

Test(speculation, random_events_keep_the_accounts)
{
    struct speculation s;
    bool alive[MEMBERS];
    uint32_t owner[SLOTS];
    uint64_t now = 1000, step = 0;
    bool few;
    set_up(&s);
    for (uint32_t m = 0; m < MEMBERS; m++)
        alive[m] = true;
    for (uint32_t k = 0; k < SLOTS; k++)
        owner[k] = roll(MEMBERS);
    const struct dealer dealer = {.slots = SLOTS, .from = 3, .base_owner = owner, .next_owner = OWNER};
    speculation_open(&s, 0, 0, 0, owner, none_empty, NULL, now);
    for (int event = 0; event < 200000; event++) {
        struct speculation_gift gifts[SLOTS];
        uint32_t numbers[MEMBERS], count = 0, m = roll(MEMBERS), first = roll(SLOTS), later = roll(4),
                                   length = 1 + roll(3);
        uint64_t again;
        now += roll(30000);
        for (uint32_t i = 0; i < MEMBERS; i++)
            if (alive[i])
                numbers[count++] = i;
        switch (roll(6)) {
        case 0: /* sometimes there are too few members: all is nobody's */
            alive[m] = !alive[m] || count == 1;
            few = roll(4) == 0;
            for (uint32_t k = 0; k < SLOTS; k++)
                do
                    owner[k] = few ? DEALER_NOBODY : roll(MEMBERS);
                while (!few && !alive[owner[k]]);
            speculation_owners(&s, owner, lives, alive, now);
            break;
        case 1:
            speed[m] = 0.1 + roll(20) / 10.0;
            break;
        case 2:
            step += s.missing == 0;
            if (s.missing == 0)
                speculation_open(&s, step, roll(4) * (step % 7 != 0), step % 7 == 0, owner,
                                 step % 5 ? none_empty : odd_empty, NULL, now);
            break;
        case 3:
            for (uint32_t i = speculation_decide(&s, &dealer, numbers, count, now, gifts, &again); i > 0; i--)
                assert_gift(&s, &gifts[i - 1], alive);
            break;
        default:
            speculation_arrived(&s, step + later, m, first, first + length, now);
            break;
        }
        assert_sound(&s, alive);
    }
    cr_assert_gt(s.won, 50);
    cr_assert_gt(s.lost, 100);
    speculation_fini(&s);
    ASSERT_NO_LEAKS();
}
