/* Models that must be equal, or nearly so. */
#include "tests/integration/support/harness.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "common/tensor/safetensors.h"
#include "common/tensor/safetensors_read.h"

/* `most`: by which values may differ; below 0: bits count. */
static void tensors_assert(const struct safetensors *a, const struct safetensors *b, uint32_t i, double most)
{
    const struct tensor *t = &a->tensors.list[i], *u = &b->tensors.list[i];
    cr_assert_str_eq(t->name, u->name);
    cr_assert_eq(t->rank, u->rank, "%s has another rank", t->name);
    for (uint32_t d = 0; d < t->rank; d++)
        cr_assert_eq(t->shape[d], u->shape[d], "%s has another shape", t->name);
    uint64_t at = tensors_offset(&a->tensors, i);
    for (uint64_t e = at; e < at + t->elems; e++)
        cr_assert(most < 0 ? memcmp(&a->theta[e], &b->theta[e], sizeof(float)) == 0
                           : fabs((double)a->theta[e] - (double)b->theta[e]) <= most,
                  "%s[%llu] is %a and %a", t->name, (unsigned long long)(e - at), (double)a->theta[e],
                  (double)b->theta[e]);
}

static void models_assert(const char *path, const char *other, double most)
{
    struct safetensors a, b;
    dp_error err = {0};
    cr_assert_eq(safetensors_read(path, &a, &err), DP_OK, "%s", err.text);
    cr_assert_eq(safetensors_read(other, &b, &err), DP_OK, "%s", err.text);
    cr_assert_eq(a.tensors.count, b.tensors.count);
    for (uint32_t i = 0; i < a.tensors.count; i++)
        tensors_assert(&a, &b, i, most);
    safetensors_fini(&a);
    safetensors_fini(&b);
}

void models_assert_same(const char *path, const char *other)
{
    models_assert(path, other, -1);
}

void models_assert_near(const char *path, const char *other, double most)
{
    models_assert(path, other, most);
}
