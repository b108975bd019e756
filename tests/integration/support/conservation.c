/* Conservation of slots; see conservation.h. No shard passes a step that lacks a slot, so a sum over all slices that is
 * neither more nor less says that each slot was committed exactly once on each. */
#include "tests/integration/support/conservation.h"

#include <criterion/criterion.h>
#include <string.h>

json_t *done_line(const char *out)
{
    const char *line = strstr(out, "{\"event\":\"done\"");
    cr_assert_not_null(line, "%s", out);
    json_error_t error;
    json_t *object = json_loads(line, JSON_DISABLE_EOF_CHECK, &error);
    cr_assert_not_null(object, "%s", error.text);
    return object;
}

double done_number(const json_t *done, const char *name)
{
    return json_number_value(json_object_get(done, name));
}

void done_assert_conserved(const json_t *done, uint32_t slots, uint32_t slices)
{
    double expected = done_number(done, "step") * slots * slices, commits = done_number(done, "commits"), counted = 0;
    size_t i;
    json_t *bucket;
    cr_assert_eq(commits, expected, "%g commits of %g slots", commits, expected);
    json_array_foreach(json_object_get(done, "staleness_buckets"), i, bucket) counted += json_number_value(bucket);
    cr_assert_eq(counted, expected);
}
