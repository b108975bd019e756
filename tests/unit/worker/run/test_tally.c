/* Steps of a worker that goes forward, back and far ahead. */
#include <criterion/criterion.h>

#include <stddef.h>

#include "common/base/util.h"
#include "worker/run/tally.h"

Test(tally, each_step_counts_once)
{
    static const struct {
        uint64_t step, steps;
    } WAY[] = {{5, 1}, {5, 1}, {6, 2}, {5, 2},  {8, 3},    {7, 4},   {8, 4},    {0, 5},    {70, 6},
               {7, 6}, {8, 6}, {5, 6}, {69, 7}, {1000, 8}, {999, 9}, {937, 10}, {1000, 10}};
    struct tally tally = {0};
    for (size_t i = 0; i < ARRAY_LEN(WAY); i++) {
        tally_add(&tally, WAY[i].step);
        cr_assert_eq(tally.steps, WAY[i].steps, "%zu", i);
    }
}

Test(tally, of_all_steps_that_there_are)
{
    struct tally tally = {0};
    tally_add(&tally, 0);
    tally_add(&tally, 0);
    cr_assert_eq(tally.steps, 1);
    tally_add(&tally, UINT64_MAX);
    tally_add(&tally, UINT64_MAX - 1);
    tally_add(&tally, UINT64_MAX);
    cr_assert_eq(tally.steps, 3);
}
