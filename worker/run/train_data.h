/* The data of a training run: reads what the job needs, and describes the model that it is about. Thread: main. */
#ifndef DP_WORKER_RUN_TRAIN_DATA_H
#define DP_WORKER_RUN_TRAIN_DATA_H

#include "worker/run/state.h"

/* Reads the data by what the server said of the job, and declares the model's tensors. DP_USAGE for options that the
 * job does not take, DP_MODEL for a model that is not known here, DP_DATA. */
DP_MUST_CHECK dp_err train_data_describe(struct train *t, dp_error *err);
/* Training data with the facts that were found in reading; their rows are not there if they are read by blocks. */
const struct data *train_data_found(const struct train *t);
/* Labels of the training data. */
const struct label_set *train_data_labels(const struct train *t);
/* Whether the job, which was settled meanwhile, has its columns in another order than the data that were read. */
bool train_data_differ(const struct train *t);
/* Frees the data, and everything that was made of them. */
void train_data_fini(struct train *t);

#endif
