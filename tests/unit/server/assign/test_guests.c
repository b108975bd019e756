/* Members that come with many others are guests at first. */
#include <criterion/criterion.h>

#include "server/assign/guests.h"
#include "tests/unit/support/bare_head.h"
#include "tests/unit/support/leaks.h"

enum { JOINS_OF_A_STORM = 16, STAY_MS = 500 };

static struct member *join(struct bare_head *bare, uint64_t worker, uint64_t now_ms)
{
    struct member *member = bare_head_join(bare, worker, now_ms);
    head_guests_joined(&bare->head, &(struct news){.kind = NEWS_JOINED, .member = member});
    return member;
}

Test(guests, are_those_that_come_after_many_within_a_second_until_they_have_stayed)
{
    struct bare_head bare;
    bare_head_init(&bare, 4, false);
    bare.head.state = HEAD_WAITING; /* no slots are dealt */
    for (uint64_t worker = 1; worker <= JOINS_OF_A_STORM; worker++)
        cr_assert_not(join(&bare, worker, 10000)->guest);
    struct member *guest = join(&bare, 99, 10200);
    cr_assert(guest->guest);
    head_guests_watch(&bare.head, &(struct news){.kind = NEWS_TICK, .now_ms = 10200 + STAY_MS - 1});
    cr_assert(guest->guest);
    head_guests_watch(&bare.head, &(struct news){.kind = NEWS_TICK, .now_ms = 10200 + STAY_MS});
    cr_assert_not(guest->guest);
    cr_assert_eq(bare.head.members.guests, 0);
    cr_assert_not(join(&bare, 100, 13000)->guest, "the storm is over");
    bare_head_fini(&bare);
    ASSERT_NO_LEAKS();
}

/* Else nobody would compute the slots until they have stayed. */
Test(guests, that_are_left_alone_are_guests_no_more)
{
    struct bare_head bare;
    struct member *members[JOINS_OF_A_STORM];
    bare_head_init(&bare, 4, false);
    bare.head.state = HEAD_WAITING;
    for (uint64_t i = 0; i < JOINS_OF_A_STORM; i++)
        members[i] = join(&bare, i + 1, 10000);
    struct member *guest = join(&bare, 99, 10001);
    cr_assert(guest->guest);
    for (size_t i = 0; i < JOINS_OF_A_STORM; i++) {
        uint64_t token = members[i]->token;
        cr_assert(guest->guest);
        members_remove(&bare.head.members, members[i]);
        head_guests_left(&bare.head, &(struct news){.kind = NEWS_LEFT, .token = token, .had_joined = true});
    }
    cr_assert_not(guest->guest);
    bare_head_fini(&bare);
    ASSERT_NO_LEAKS();
}

Test(guests, have_no_place_in_a_job_of_workers_with_data_of_their_own)
{
    struct bare_head bare;
    bare_head_init(&bare, 40, true);
    for (uint64_t worker = 1; worker <= 2 * JOINS_OF_A_STORM; worker++)
        cr_assert_not(join(&bare, worker, 10000)->guest);
    bare_head_fini(&bare);
    ASSERT_NO_LEAKS();
}
