/* Metadata of a model; see describe.h. Thread: any. */
#include "server/save/describe.h"

#include <inttypes.h>
#include <string.h>

#include "server/job/labels.h"
#include "server/save/schema.h"

/* If no worker knew more than that its rows had the label 1, labels are 0 and 1. */
char *describe_labels(const struct job *job)
{
    return job->labels.count || !job_classifies(job) ? label_list_text(&job->labels) : strdup("0,1");
}

dp_err describe_model(const struct job *job, const struct described *described, struct safetensors_meta *meta)
{
    if (job->opts->hash_bits && (safetensors_meta_set(meta, "hash_bits", "%" PRIu64, job->opts->hash_bits) ||
                                 safetensors_meta_set(meta, "hash_seed", "%" PRIu64, job->opts->seed)))
        return DP_NOMEM;
    if (safetensors_meta_set(meta, "format", "dp-model-1") ||
        safetensors_meta_set(meta, "model", "%s", job->opts->model) ||
        safetensors_meta_set(meta, "features", "%" PRIu64, job->features) ||
        safetensors_meta_set(meta, "classes", "%" PRIu32, job->classes) ||
        safetensors_meta_set(meta, "intercept", "%s", job->opts->intercept ? "on" : "off") ||
        safetensors_meta_set(meta, "labels", "%s", described->labels) ||
        safetensors_meta_set(meta, "dp_version", "%s", DP_VERSION_TEXT) ||
        safetensors_meta_set(meta, "steps", "%" PRIu64, described->steps) ||
        safetensors_meta_set(meta, "complete", "%s", described->complete ? "yes" : "no"))
        return DP_NOMEM;
    if (export_schema(job->schema, meta))
        return DP_NOMEM;
    return described->diverged ? safetensors_meta_set(meta, "diverged", "yes") : DP_OK;
}
