/* The members of a job, as arithmetic. */
#include <criterion/criterion.h>

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
        struct member *member = members_add(&members);
        cr_assert_not_null(member);
        first = first ? first : member;
    }
    cr_assert_not(members_may_greet(&members));
    members_join(&members, first, 1);
    cr_assert(members_may_greet(&members));
    cr_assert_not_null(members_add(&members));
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
    struct member *member = members_add(&members);
    member->route = one;
    cr_assert_eq(members_by_route(&members, &one), member);
    cr_assert_null(members_by_route(&members, &other));
    members_remove(&members, member);
    cr_assert_null(members_by_route(&members, &one));
    members_fini(&members);
    ASSERT_NO_LEAKS();
}
