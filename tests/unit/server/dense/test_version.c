/* Versions of a slice: one that nobody refers to is taken again, planes come first, and a payload can become a version.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "server/dense/version.h"
#include "tests/unit/support/leaks.h"

enum { ELEMS = 8, PLANES = 2 };

static void start(struct versions *versions)
{
    cr_assert_eq(versions_init(versions, (struct range){0, ELEMS}, NULL), DP_OK);
    cr_assert(versions_are_free(versions), "an empty one has no holders");
}

Test(version, one_that_nobody_holds_is_taken_again)
{
    struct versions versions;
    start(&versions);
    struct version *a = versions_new(&versions, 1), *b = versions_new(&versions, 2);
    cr_assert_neq(a, b);
    cr_assert_neq(a->theta, b->theta);
    cr_assert(a->number == 1 && a->plane == VERSION_UNSHARED && version_is_only_mine(a));
    version_retain(a);
    cr_assert_not(version_is_only_mine(a));
    version_release(a);
    version_release(b);
    cr_assert_not(versions_are_free(&versions), "the first is held");
    struct version *c = versions_new(&versions, 3);
    cr_assert_eq(c, b);
    cr_assert_eq(c->number, 3);
    version_release(a);
    version_release(c);
    cr_assert(versions_are_free(&versions));
    versions_fini(&versions);
    ASSERT_NO_LEAKS();
}

Test(version, goes_to_its_plane_unless_that_is_held)
{
    static float memory[PLANES][ELEMS];
    struct versions versions = {.elems = ELEMS, .shared_count = PLANES};
    versions.shared = mem_array_zero(PLANES, sizeof *versions.shared);
    for (uint32_t p = 0; p < PLANES; p++)
        versions.shared[p] = (struct version){.plane = p, .theta = memory[p]};
    struct version *three = versions_new(&versions, 3), *five = versions_new(&versions, 5);
    cr_assert(three->plane == 1 && three->theta == memory[1]);
    cr_assert_eq(five->plane, VERSION_UNSHARED, "version 3 has its plane");
    struct version *four = versions_new(&versions, 4);
    cr_assert(four->plane == 0 && four->theta == memory[0]);
    version_release(three);
    version_release(four);
    version_release(five);
    cr_assert_eq(versions_new(&versions, 7), three);
    cr_assert_not(versions_are_free(&versions), "planes count as well");
    version_release(three);
    versions_fini(&versions);
    ASSERT_NO_LEAKS();
}

static void released(void *owner)
{
    ++*(int *)owner;
}

Test(version, a_payload_becomes_one_and_free_ones_give_their_memory_back)
{
    static float x[ELEMS], y[ELEMS];
    struct versions versions;
    int gone[2] = {0};
    struct blob first = {x, sizeof x, &gone[0], released}, second = {y, sizeof y, &gone[1], released};
    start(&versions);
    struct version *a = versions_over(&versions, 1, &first);
    cr_assert(a->theta == x && a->number == 1 && !a->memory.data, "the payload is the node's still");
    a->memory = first;
    struct version *b = versions_over(&versions, 2, &second);
    cr_assert_neq(a, b);
    b->memory = second;
    version_release(a);
    cr_assert_eq(gone[0], 0, "kept for the next version");
    struct version *c = versions_over(&versions, 3, &second);
    cr_assert(c == a && gone[0] == 1);
    version_release(b);
    version_release(c);
    versions_fini(&versions);
    cr_assert_eq(gone[1], 1);
    ASSERT_NO_LEAKS();
}
