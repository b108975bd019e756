/* Metadata of the training data for the model file; worker/model/model_file.h has the keys. Thread: any. */
#ifndef DP_SERVER_SAVE_SCHEMA_H
#define DP_SERVER_SAVE_SCHEMA_H

#include "common/tensor/safetensors.h"
#include "server/job/job.h"

/* Adds them to *meta. A NULL schema has none. DP_NOMEM, DP_RANGE. */
DP_MUST_CHECK dp_err export_schema(const Dp__Schema *schema, struct safetensors_meta *meta);

#endif
