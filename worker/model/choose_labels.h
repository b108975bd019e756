/* Labels of a job of classes, chosen by the options of dp-server and by the data of a worker. Thread: any. */
#ifndef DP_WORKER_MODEL_CHOOSE_LABELS_H
#define DP_WORKER_MODEL_CHOOSE_LABELS_H

#include "worker/model/model.h"

/* Labels as the job's options ask for them, beside the settled numbers. */
struct labels_wish {
    bool local;                     /* workers have data of their own, of which none has all labels */
    uint32_t classes;               /* --classes; 0: as many as the data have */
    const struct label_list *names; /* --label-names, ascending; empty: those of the data */
};

/* The class -> label list of the job, ascending, to *ret_labels:
 *   named      these, of which the data may lack some
 *   shared     those of the data; of --classes C there must be C, or fewer of 0..C-1, which are then the labels
 *   local      softmax: 0..C-1; logistic: -1, 1 or 0, 1, whichever the data fit; empty where they have the label 1 only
 * DP_MODEL naming `file`, and what was found and asked for. */
DP_MUST_CHECK dp_err choose_labels(const struct model *model, const struct labels_wish *wish,
                                   const struct label_set *found, const char *file, struct label_list *ret_labels,
                                   dp_error *err);

enum { CHOOSE_NOTICE_MAX = 700 };
/* Whether there are words among numbers: each is a class, and may be a typing error. A line for people that names the
 * first one goes to text. */
bool labels_mixed(const struct label_set *found, const char *file, char text[CHOOSE_NOTICE_MAX]);

#endif
