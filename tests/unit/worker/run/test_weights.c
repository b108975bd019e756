/* The choice between dense weights and a table, and the data that each takes. */
#include <criterion/criterion.h>

#include "worker/run/weights.h"

static char name[] = "rows.csv";
static uint64_t row_at[] = {0};

Test(weights, a_dense_job_takes_all_data)
{
    const dp_job job = {.sparse = 0};
    const struct data dense = {.name = name}, sparse = {.name = name, .row_at = row_at};
    dp_error err;
    cr_assert_not(weights_are_table(&job));
    cr_assert_eq(weights_check_blocks(&job, &err), DP_OK);
    cr_assert_eq(weights_check_data(&job, &dense, &err), DP_OK);
    cr_assert_eq(weights_check_data(&job, &sparse, &err), DP_OK);
}

Test(weights, a_table_takes_sparse_data_that_are_all_there)
{
    const dp_job job = {.sparse = 1};
    const struct data dense = {.name = name}, sparse = {.name = name, .row_at = row_at};
    dp_error err;
    cr_assert(weights_are_table(&job));
    cr_assert_eq(weights_check_data(&job, &sparse, &err), DP_OK);
    cr_assert_eq(weights_check_data(&job, &dense, &err), DP_DATA);
    cr_assert_str_eq(err.text, "rows.csv: is dense, and this job is --sparse; give LIBSVM data, or start dp-server "
                               "without --sparse");
    cr_assert_eq(weights_check_blocks(&job, &err), DP_USAGE);
    cr_assert_str_eq(err.text, "option --memory-limit is for jobs of dp-server --shuffle block without --sparse");
}
