/* From labels to targets. Thread: any. */
#ifndef DP_WORKER_MODEL_LABELS_H
#define DP_WORKER_MODEL_LABELS_H

#include <stdbool.h>

#include "worker/model/model.h"

/* The target of each label of a data set, by its number in `set` (heap). `labels` is the class -> label list,
 * ascending: softmax: the class; logistic: two labels, -1 for the lesser and +1 for the greater. The pairs -1, 1 and 0,
 * 1 of logistic stand for each other. DP_MODEL naming file, place, and the label that is none of `whose` ("the
 * model's"). */
DP_MUST_CHECK dp_err model_map(const struct model *model, const struct label_set *set, const char *file,
                               const struct label_list *labels, const char *whose, float **ret_map, dp_error *err);
/* The target of each row (heap): by model_map, or for models without classes the floats as they are read. */
DP_MUST_CHECK dp_err model_targets(const struct model *model, const struct data *data, const struct label_list *labels,
                                   const char *whose, float **ret_targets, dp_error *err);
/* The way in which labels are read for the model. */
enum label_use model_label_use(const struct model *model);
/* Whether these distinct labels suit the model: logistic needs two, softmax at least that. DP_MODEL with what was
 * found. */
DP_MUST_CHECK dp_err model_check_labels(const struct model *model, const struct label_list *labels, const char *file,
                                        dp_error *err);
/* Whether the list is -1, 1 or 0, 1. */
bool model_known_pair(const struct label_list *labels);

#endif
