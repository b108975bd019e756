/* The members of a job, as arithmetic. */
#include <criterion/criterion.h>
#include <math.h>

#include "server/members/members.h"
#include "tests/unit/support/leaks.h"

/* Hellos alone cannot take the numbers of those who join. */
Test(members, who_only_greets_takes_a_part_of_the_numbers)
{
    struct members members;
    cr_assert_eq(members_init(&members), DP_OK);
    struct member *first = NULL;
    for (int i = 0; i < MEMBERS_GREETED_MAX; i++) {
        cr_assert(members_may_greet(&members));
        struct member *member = members_add(&members, 100 + (uint64_t)i, "w", 0);
        cr_assert_not_null(member);
        first = first ? first : member;
    }
    cr_assert_not(members_may_greet(&members));
    members_join(&members, first, 1);
    cr_assert(members_may_greet(&members));
    cr_assert_not_null(members_add(&members, 77, "", 0));
    cr_assert_not(members_may_greet(&members));
    members_remove(&members, first);
    cr_assert_not(members_may_greet(&members));
    members_fini(&members);
    ASSERT_NO_LEAKS();
}

Test(members, are_found_by_the_connection_they_came_by)
{
    struct members members;
    const struct routing_id one = {2, {1, 2}}, other = {3, {1, 2, 3}};
    cr_assert_eq(members_init(&members), DP_OK);
    struct member *member = members_add(&members, 77, "", 0);
    members_route(&members, member, &one);
    cr_assert_eq(members_by_route(&members, &one), member);
    cr_assert_null(members_by_route(&members, &other));
    members_remove(&members, member);
    cr_assert_null(members_by_route(&members, &one));
    members_fini(&members);
    ASSERT_NO_LEAKS();
}

/* A worker's old token is void, but to people it is the same worker. */
Test(members, who_comes_again_keeps_its_number)
{
    struct members members;
    cr_assert_eq(members_init(&members), DP_OK);
    struct member *first = members_add(&members, 7, "", 0), *second = members_add(&members, 8, "", 0);
    uint64_t token = first->token;
    cr_assert_eq(first->attempt, 1);
    members_remove(&members, first);
    cr_assert_null(members_find(&members, token));
    cr_assert_neq(members_add(&members, 9, "", 0), first, "numbers of the gone are the last to be given to others");
    cr_assert_eq(members_add(&members, 7, "", 0), first);
    cr_assert_eq(first->attempt, 2);
    cr_assert_neq(first->token, token);
    cr_assert_eq(second->attempt, 1);
    members_fini(&members);
    ASSERT_NO_LEAKS();
}

/* A process that was started again is another one, of the same name. */
Test(members, who_is_started_again_has_the_number_of_its_name)
{
    struct members members;
    cr_assert_eq(members_init(&members), DP_OK);
    struct member *alpha = members_add(&members, 1, "alpha", 0), *beta = members_add(&members, 2, "beta", 0);
    cr_assert_eq(members_by_name(&members, "alpha"), alpha);
    struct member *twin = members_add(&members, 3, "alpha", 0);
    cr_assert_neq(twin, alpha, "two that live are two");
    uint64_t token = alpha->token;
    members_remove(&members, alpha);
    members_remove(&members, beta);
    cr_assert_eq(members_by_name(&members, "alpha"), twin);
    cr_assert_null(members_by_name(&members, "beta"));
    cr_assert_eq(members_add(&members, 4, "beta", 0), beta);
    cr_assert_eq(beta->attempt, 2);
    cr_assert_eq(members_add(&members, 5, "alpha", 0), alpha);
    cr_assert_eq(alpha->attempt, 2);
    cr_assert_neq(alpha->token, token);
    cr_assert_null(members_find(&members, token), "the old attempt is fenced");
    members_remove(&members, twin);
    members_remove(&members, beta);
    cr_assert_eq(members_add(&members, 3, "beta", 0), twin, "the process itself comes first");
    members_fini(&members);
    ASSERT_NO_LEAKS();
}

Test(members, numbers_of_those_who_left_first_are_given_again)
{
    struct members members;
    struct member *all[SESSIONS_MAX];
    cr_assert_eq(members_init(&members), DP_OK);
    for (uint64_t i = 0; i < SESSIONS_MAX; i++)
        all[i] = members_add(&members, 1 + i, "", 0);
    cr_assert_null(members_add(&members, 1u << 20, "", 0));
    members_remove(&members, all[5]);
    members_remove(&members, all[3]);
    cr_assert_eq(members_add(&members, 1u << 20, "", 0), all[5]);
    cr_assert_eq(all[5]->attempt, 1);
    cr_assert_eq(members_add(&members, 1u << 21, "", 0), all[3]);
    members_fini(&members);
    ASSERT_NO_LEAKS();
}

/* Samples a second of a worker go by its heartbeats alone, whatever else it says in between. */
Test(members, show_how_many_samples_a_second_they_compute)
{
    struct members members;
    cr_assert_eq(members_init(&members), DP_OK);
    struct member *member = members_add(&members, 7, "", 0);
    cr_assert(isnan(member->samples_per_s));
    members_hear(&members, member, 500, 1000);
    cr_assert(isnan(member->samples_per_s), "what it computed in a session before is no rate of this one");
    members_hear(&members, member, 1500, 2000);
    cr_assert_eq(member->samples_per_s, 1000);
    member->last_seen_ms = 3000;
    members_hear(&members, member, 1700, 3000);
    cr_assert_eq(member->samples_per_s, 600);
    members_hear(&members, member, 2000, 3000);
    cr_assert_eq(member->samples_per_s, 600);
    members_hear(&members, member, 2300, 4000);
    cr_assert_eq(member->samples_per_s, 600, "the one before counts with it");
    members_fini(&members);
    ASSERT_NO_LEAKS();
}

static void fill_row(struct members *members, struct member **list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        list[i] = members_add(members, 100 + i, "", 0);
}

/* The one that said nothing since it was greeted first, then the one that was silent for longest. */
Test(members, make_room_in_the_order_of_their_silence)
{
    struct members members;
    struct member *all[4];
    cr_assert_eq(members_init(&members), DP_OK);
    cr_assert_null(members_to_leave(&members, true));
    fill_row(&members, all, 4);
    cr_assert_eq(members_to_leave(&members, false), all[0]);
    members_hear(&members, all[0], 0, 1000);
    members_hear(&members, all[2], 0, 1001);
    cr_assert_eq(members_to_leave(&members, false), all[1]);
    members_remove(&members, all[1]);
    cr_assert_eq(members_to_leave(&members, false), all[3]);
    members_join(&members, all[3], 1002);
    cr_assert_eq(members_to_leave(&members, false), all[0], "those heard of come after those not heard of");
    members_hear(&members, all[0], 0, 1003);
    cr_assert_eq(members_to_leave(&members, false), all[2]);
    members_remove(&members, all[2]);
    members_remove(&members, all[0]);
    cr_assert_null(members_to_leave(&members, true), "who has joined stays");
    members_hear(&members, all[3], 0, 1004);
    members_remove(&members, all[3]);
    cr_assert_null(members_to_leave(&members, true));
    members_fini(&members);
    ASSERT_NO_LEAKS();
}

/* It says so by the token of its last session that joined, which nobody else knows; a name or a number is none. */
Test(members, that_have_joined_before_come_first)
{
    struct members members;
    cr_assert_eq(members_init(&members), DP_OK);
    struct member *worker = members_add(&members, 7, "w", 0);
    uint64_t greeted = worker->token;
    members_remove(&members, worker);
    cr_assert_not(members_is_former(&members, greeted), "it had not joined");
    worker = members_add(&members, 7, "w", greeted);
    uint64_t joined = worker->token;
    cr_assert_eq(worker->row, ROW_SILENT);
    members_join(&members, worker, 1);
    members_remove(&members, worker);
    cr_assert(members_is_former(&members, joined));
    cr_assert_not(members_is_former(&members, 0));

    struct member *stranger = members_add(&members, 7, "w", 0);
    cr_assert_eq(stranger, worker, "who has its number has its id");
    cr_assert_eq(stranger->row, ROW_SILENT);
    cr_assert(member_knows(stranger, joined));
    cr_assert(member_knows(stranger, stranger->token));
    cr_assert_not(member_knows(stranger, greeted));
    cr_assert_not(member_knows(stranger, 0));
    members_remove(&members, stranger);
    cr_assert(members_is_former(&members, joined), "a stranger does not take that away");
    worker = members_add(&members, 8, "x", joined);
    cr_assert_eq(worker, stranger, "its session says which it was");
    cr_assert_eq(worker->row, ROW_FORMER);
    struct member *other = members_add(&members, 9, "", 0);
    cr_assert_eq(members_to_leave(&members, false), other);
    cr_assert_eq(members_to_leave(&members, true), other);
    members_hear(&members, worker, 0, 2);
    members_remove(&members, other);
    cr_assert_null(members_to_leave(&members, false), "strangers do not take its place");
    cr_assert_eq(members_to_leave(&members, true), worker);
    members_fini(&members);
    ASSERT_NO_LEAKS();
}

/* Numbers of workers that were here are the last to be given to strangers. */
Test(members, that_have_joined_keep_their_numbers_longest)
{
    struct members members;
    static struct member *all[SESSIONS_MAX];
    cr_assert_eq(members_init(&members), DP_OK);
    fill_row(&members, all, SESSIONS_MAX);
    members_join(&members, all[3], 1);
    members_remove(&members, all[3]);
    members_remove(&members, all[5]);
    cr_assert_eq(members_add(&members, 1u << 20, "", 0), all[5]);
    cr_assert_eq(members_add(&members, 1u << 21, "", 0), all[3]);
    members_fini(&members);
    ASSERT_NO_LEAKS();
}

Test(members, guests_are_given_no_slots)
{
    struct members members;
    struct member *all[3];
    uint32_t numbers[3];
    cr_assert_eq(members_init(&members), DP_OK);
    fill_row(&members, all, 3);
    for (int i = 0; i < 3; i++)
        members_join(&members, all[i], 1);
    members_guest(&members, all[1], true);
    members_guest(&members, all[1], true);
    cr_assert_eq(members.guests, 1);
    cr_assert_eq(members_list(&members, numbers), 2);
    cr_assert_eq(numbers[1], 2);
    members_guest(&members, all[1], false);
    cr_assert_eq(members_list(&members, numbers), 3);
    members_guest(&members, all[2], true);
    members_remove(&members, all[2]);
    cr_assert_eq(members.guests, 0);
    members_fini(&members);
    ASSERT_NO_LEAKS();
}

Test(members, why_one_delivers_nothing)
{
    struct member member = {.last_seen_ms = 10000, .moved_ms = 0};
    cr_assert_str_eq(member_why_late(&member, 13000), "its heartbeats come, its slots do not");
    cr_assert_str_eq(member_why_late(&member, 13001), "nothing comes from it, not even heartbeats");
    member.moved_ms = 9000; /* theta came to it, before it hung */
    cr_assert_str_eq(member_why_late(&member, 12001), "its heartbeats come, its slots do not");
    cr_assert_str_eq(member_why_late(&member, 12000),
                     "its heartbeats come and bytes move, its slots do not: its link is slow");
}
