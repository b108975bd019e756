/* The schema of a data set as the library tells it, and back. Thread: any. */
#ifndef DP_WORKER_RUN_SCHEMA_TOLD_H
#define DP_WORKER_RUN_SCHEMA_TOLD_H

#include "common/tensor/schema.h"
#include "worker/dp.h"

/* The schema of a job that is settled, by which a later worker finds the job's columns in its own file. *schema borrows
 * from the job, and is returned; NULL: there is none yet, or none that fits the job. */
const struct schema *schema_of_job(const dp_job *job, struct schema *schema);
/* For dp_model.schema; borrows from both. */
dp_schema schema_told(const struct schema *schema, const char *note);

#endif
