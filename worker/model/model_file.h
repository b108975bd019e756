/* A trained model from a file that dp-server exported, or from a checkpoint (common/checkpoint/saved.h), whose manifest
 * has the same metadata: safetensors whose metadata say what it is.
 *   "format" = "dp-model-1", "model" = linear|logistic|softmax, "features", "classes" (0 where the model has none),
 *   "intercept" = on|off, "labels" = class -> label, numbers or words, comma-separated and ascending
 * (common/tensor/label_list.h); "hash_bits" and "hash_seed" where features were hashed; of its training data (schema.c)
 * "data_format" = libsvm|csv|idx and for CSV "csv_columns", "label_column" (a number from 0), "feature_names" (a JSON
 * array) and "label_name" where there was a header, and "ignored_columns" (a JSON array of names or numbers). Those of
 * training.h. Other keys are not read. Thread: any. */
#ifndef DP_WORKER_MODEL_MODEL_FILE_H
#define DP_WORKER_MODEL_MODEL_FILE_H

#include "common/tensor/schema.h"
#include "worker/model/model.h"
#include "worker/model/training.h"

struct model_file {
    char *path; /* of the file, or of the checkpoint's folder */
    const struct model *model;
    struct model_spec spec;
    struct tensors tensors;   /* as the model declares them, whatever their order in the file */
    float *theta;             /* [tensors_total], cache-line aligned, finite */
    struct label_list labels; /* class -> label, ascending; none for models that do not classify */
    uint32_t hash_bits;       /* 0, or features are hashed as those of its training data were */
    uint64_t hash_seed;
    struct schema schema; /* of its training data; format SCHEMA_UNKNOWN where an older dp-server wrote it */
    struct model_state state;
};

/* `path`: a model's file, or what checkpoint_choose takes; a damaged checkpoint that is passed over for one before it
 * is named on stderr. DP_IO or DP_DATA where the file is no safetensors file or the checkpoint is damaged, DP_MODEL
 * where its metadata and tensors do not fit. */
DP_MUST_CHECK dp_err model_file_read(const char *path, struct model_file *ret_file, dp_error *err);
void model_file_fini(struct model_file *file);
/* Reads data for the model, by the names of their columns where both have them (worker/data/data.h). DP_DATA naming
 * what the model or the data lack. */
DP_MUST_CHECK dp_err model_file_data(const struct model_file *file, const struct data_source *source,
                                     struct data *ret_data, dp_error *err);

#endif
