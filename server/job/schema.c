/* The columns of a job's data, by which later workers, evaluation and the trained model find theirs. Thread: head. */
#include "server/job/schema.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/tensor/schema.h"

/* A copy that owns its memory, by way of the bytes. */
static Dp__Schema *schema_copy_of(const Dp__Schema *schema)
{
    AUTOFREE uint8_t *bytes = mem_array(dp__schema__get_packed_size(schema), 1);
    return bytes ? dp__schema__unpack(NULL, dp__schema__pack(schema, bytes), bytes) : NULL;
}

/* Names that a model file could not be read with again. */
static dp_err check_names(const struct job *job, const Dp__Schema *schema, dp_error *err)
{
    if (schema->n_names == 0)
        return DP_OK;
    if (schema->n_names != job->features)
        return dp_fail(err, DP_REFUSED, "the worker names %zu features, and the job has %" PRIu64, schema->n_names,
                       job->features);
    AUTOFREE uint64_t *sorted = schema_sort(schema->names, schema->n_names);
    if (!sorted)
        return dp_fail(err, DP_NOMEM, "out of memory for the names of features");
    for (size_t i = 1; i < schema->n_names; i++)
        if (strcmp(schema->names[sorted[i - 1]], schema->names[sorted[i]]) == 0)
            return dp_fail(err, DP_REFUSED, "two of the worker's features are named '%.60s'", schema->names[sorted[i]]);
    return DP_OK;
}

dp_err job_settle_schema(struct job *job, const Dp__Join *join, dp_error *err)
{
    if (!join->schema)
        return DP_OK;
    dp_err e = check_names(job, join->schema, err);
    if (e)
        return e;
    job->schema = schema_copy_of(join->schema);
    job->wire->schema = job->schema;
    return job->schema ? DP_OK : dp_fail(err, DP_NOMEM, "out of memory for the names of features");
}

dp_err job_check_schema(const struct job *job, const Dp__Join *join, dp_error *err)
{
    const Dp__Schema *ours = job->schema, *theirs = join->schema;
    size_t our_count = ours ? ours->n_names : 0, their_count = theirs ? theirs->n_names : 0;
    if (our_count == 0 || their_count == 0) {
        if (our_count == their_count || !job->core.local)
            return DP_OK; /* the content of shared data is compared */
        return dp_fail(err, DP_REFUSED,
                       "the columns of the worker's data have %s, those of the job have %s: give every worker a file "
                       "with the same header",
                       their_count ? "names" : "no names", our_count ? "names" : "none");
    }
    if (our_count != their_count)
        return dp_fail(err, DP_REFUSED, "the worker's data have %zu features, and the job has %zu", their_count,
                       our_count);
    for (size_t i = 0; i < our_count; i++)
        if (strcmp(ours->names[i], theirs->names[i]) != 0)
            return dp_fail(err, DP_REFUSED,
                           "feature %zu of the worker's data is '%.60s', that of the job is '%.60s': give every worker "
                           "a file with the same columns",
                           i, theirs->names[i], ours->names[i]);
    if (strcmp(ours->label, theirs->label) != 0)
        return dp_fail(err, DP_REFUSED, "the label of the worker's data is column '%.60s', that of the job is '%.60s'",
                       theirs->label, ours->label);
    return DP_OK;
}
