/* The members of a job, as arithmetic. */
#include <criterion/criterion.h>
#include <math.h>

#include "leaks.h"
#include "members.h"

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

/* What a worker was told by its old token is void, but it is the same one to people. */
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
    struct member *all[PORT_SESSIONS_MAX];
    cr_assert_eq(members_init(&members), DP_OK);
    for (uint64_t i = 0; i < PORT_SESSIONS_MAX; i++)
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
