/* Gradients that are not finite. One NaN would spread over theta, for all workers, and the loss shows it a step later
 * at the earliest, or never; so it is refused where it is made. To read a gradient that does not fit in cache costs as
 * much as a good part of the exchange: of those the shard finds it, in the theta that it commits, and the job ends as
 * diverged. Thread: any. */
#include "worker/client/state/finite.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/base/util.h"

/* Elements looked at in one go, about what the first-level cache holds. */
enum { RUN = 4096, CHECKED_MAX = 1 << 20 };

/* The first element that is not finite; n where all are. */
static uint64_t first_not_finite(uint64_t n, const float *x)
{
    for (uint64_t at = 0; at < n; at += RUN) {
        size_t count = (size_t)MIN(n - at, (uint64_t)RUN);
        if (floats_finite(count, x + at))
            continue;
        while (isfinite(x[at]))
            at++;
        return at;
    }
    return n;
}

/* "element 17 of tensor 'weight'" */
static void name_element(const struct gradient_place *place, uint64_t at, char *text, size_t size)
{
    const dp_job *job = place->job;
    size_t length = 0;
    for (uint32_t i = 0; i < job->tensor_count; i++) {
        const dp_tensor *tensor = &job->tensors[i];
        if (tensor->kind == DP_DENSE && at >= tensor->offset && at - tensor->offset < tensor->elems) {
            str_append(text, size, &length, "element %llu of tensor '%.200s'",
                       (unsigned long long)(at - tensor->offset), tensor->name);
            return;
        }
    }
    str_append(text, size, &length, "value %llu of the rows of tables", (unsigned long long)(at - place->elems));
}

dp_err gradient_check(const struct gradient_place *place, const struct node_value *value, const struct row_list *list,
                      dp_error *err)
{
    char where[300];
    const uint64_t elems = place->elems + (list ? list->floats : 0);
    if (!value->slab || !isfinite(value->metrics.loss) || elems > CHECKED_MAX)
        return DP_OK; /* a loss that is not finite ends the job as diverged */
    uint64_t at = first_not_finite(elems, value->slab->values);
    if (at == elems)
        return DP_OK;
    name_element(place, at, where, sizeof where);
    return dp_fail(
        err, DP_DATA,
        "step %llu, slot %u: the gradient is not finite (%s is %g) though its loss is (%g): it is not handed "
        "in; look for a division by 0 or an overflow, scale the data or lower the learning rate",
        (unsigned long long)place->step, place->slot, where, (double)value->slab->values[at], value->metrics.loss);
}
