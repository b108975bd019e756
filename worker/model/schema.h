/* The schema in a model file: columns of the data that it was trained with. Thread: any. */
#ifndef DP_WORKER_MODEL_SCHEMA_H
#define DP_WORKER_MODEL_SCHEMA_H

#include "common/tensor/safetensors.h"
#include "worker/model/model_file.h"

/* Reads it from the metadata, and checks it against file->spec. DP_MODEL. */
DP_MUST_CHECK dp_err model_schema_read(struct model_file *file, const struct safetensors_meta *meta, dp_error *err);

#endif
