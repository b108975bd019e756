/* Checks of the job, its tensors, labels and columns in a message. DP_PROTO. Thread: any. */
#ifndef DP_PROTO_FRAME_JOB_H
#define DP_PROTO_FRAME_JOB_H

#include <stddef.h>

#include "proto/frame.h"

DP_MUST_CHECK dp_err frame_check_job(const Dp__Job *job, dp_error *err);
/* *ret_total: elements of the dense tensors, at most FRAME_ELEMS_MAX. */
DP_MUST_CHECK dp_err frame_check_tensors(size_t count, Dp__Tensor *const *tensors, uint64_t *ret_total, dp_error *err);
/* NULL passes. */
DP_MUST_CHECK dp_err frame_check_schema(const Dp__Schema *schema, dp_error *err);
/* class -> label. */
DP_MUST_CHECK dp_err frame_check_labels(size_t count, const double *labels, dp_error *err);
/* Texts of labels; `numbers` is the count of labels as numbers beside them: the same, or 0. */
DP_MUST_CHECK dp_err frame_check_label_texts(size_t count, char *const *texts, size_t numbers, dp_error *err);

#endif
