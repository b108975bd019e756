/* Metadata of the model that theta is: in its file, and in manifests of checkpoints. Thread: any, of a job that is
 * settled. */
#ifndef DP_SERVER_SAVE_DESCRIBE_H
#define DP_SERVER_SAVE_DESCRIBE_H

#include "common/tensor/safetensors.h"
#include "server/job/job.h"

/* These facts of a model change while its job runs. */
struct described {
    const char *labels;      /* of describe_labels */
    uint64_t steps;          /* of training that it has seen */
    bool complete, diverged; /* as in struct export_facts */
};

/* Labels of the job's classes as text, heap. NULL when out of memory. Thread: head, since labels may come late. */
char *describe_labels(const struct job *job);
/* Adds them to *meta. DP_NOMEM, DP_RANGE. */
DP_MUST_CHECK dp_err describe_model(const struct job *job, const struct described *described,
                                    struct safetensors_meta *meta);

#endif
