/* Labels of a job: as asked for, as the first worker's data settle them, and as workers are told. Thread: head. */
#ifndef DP_SERVER_JOB_LABELS_H
#define DP_SERVER_JOB_LABELS_H

#include "server/job/job.h"

/* Labels as the options have them go to the wire's job, whose `labels_asked` the caller frees. DP_NOMEM. */
DP_MUST_CHECK dp_err job_ask_labels(const struct server_options *opts, Dp__Job *wire);
/* The first worker's labels become the job's. DP_REFUSED, DP_NOMEM. */
DP_MUST_CHECK dp_err job_settle_labels(struct job *job, const Dp__Join *join, dp_error *err);
/* Whether another worker has the same. DP_REFUSED naming both. */
DP_MUST_CHECK dp_err job_check_labels(const struct job *job, const Dp__Join *join, dp_error *err);
/* A worker that is taken may know the labels where those before it did not: logistic with data that stay with their
 * workers, whose rows had only the label 1 so far. */
DP_MUST_CHECK dp_err job_learn_labels(struct job *job, const Dp__Join *join, dp_error *err);
void job_forget_labels(struct job *job);
/* Whether samples are predicted right or wrong. */
bool job_classifies(const struct job *job);

#endif
