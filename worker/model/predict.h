/* `dp-worker eval` and `dp-worker predict`: a trained model on a data file, without a server. Thread: one. */
#ifndef DP_WORKER_MODEL_PREDICT_H
#define DP_WORKER_MODEL_PREDICT_H

#include <stdbool.h>
#include <stdio.h>

#include "common/base/dp_err.h"
#include "worker/data/data.h"
#include "worker/model/terms.h"

struct eval_options {
    const char *model_path;
    struct data_source source; /* features is not read: the model says it */
    struct model_terms *terms; /* of the objective, and what is checked; NULL: the mean loss alone */
    bool json;                 /* one object on a line instead of lines for people */
    bool quiet;                /* no lines for people, and nothing of what was assumed in reading the data on stderr */
    FILE *out;                 /* NULL: stdout */
    const volatile int *stop;  /* becomes non-zero: end with DP_STOPPED; may be NULL */
};

/* Mean loss, objective, and accuracy or RMSE of a model on labelled data; with terms also R, violation, sparsity and
 * whether theta is stationary, for which the data's gradient is computed. */
DP_MUST_CHECK dp_err eval_run(const struct eval_options *opts, dp_error *err);

struct predict_options {
    const char *model_path;
    struct data_source source; /* as above; labels are read and not used */
    const char *output;        /* replaced as a whole; NULL: stdout */
    bool scores;               /* behind the label: the probability of each class, in the order of their labels */
    bool json;                 /* an object a row: {"label", "scores": {label: probability}} or {"value"} */
    bool quiet;                /* assumptions made in reading the data are not printed on stderr */
    const volatile int *stop;  /* as above */
};

/* One line a row: the label of the predicted class, or the value (linear). */
DP_MUST_CHECK dp_err predict_run(const struct predict_options *opts, dp_error *err);

#endif
