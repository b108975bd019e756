/* The distinct labels of a data set, numbered in the order in which they come, and where each came first. Thread: one
 * at a time adds; a full set is read by any. */
#ifndef DP_WORKER_DATA_PARSE_LABEL_SET_H
#define DP_WORKER_DATA_PARSE_LABEL_SET_H

#include "common/tensor/label_list.h"

/* The place where a label stands first. */
struct label_place {
    uint64_t row;  /* from 1 */
    uint64_t line; /* of the file, from 1; 0: it has no lines */
};

/* A zeroed set is empty. */
struct label_set {
    struct label_list labels;   /* in the order in which they came, spelt as they were first */
    struct label_place *places; /* [labels.count] */
    uint64_t *keys;             /* [labels.count], for fingerprints: of labels alone, whatever else is in the set */
    size_t room, bytes;
    uint32_t *table; /* [table_size], a power of two: 0 or 1 + number of a label */
    size_t table_size;
};
void label_set_fini(struct label_set *set);

/* The number of the label, which is added if it is new. DP_NOMEM; DP_MODEL where there are too many, or too long ones.
 */
DP_MUST_CHECK dp_err label_set_add(struct label_set *set, const struct label_token *token, struct label_place place,
                                   uint32_t *ret_number);
/* Adds the labels of `more`, whose rows come behind `rows` others: ret_numbers[i] is the number of its label i. Errors
 * as above. */
DP_MUST_CHECK dp_err label_set_join(struct label_set *set, const struct label_set *more, uint64_t rows,
                                    uint32_t *ret_numbers);
/* A copy in the order of labels. DP_NOMEM. */
DP_MUST_CHECK dp_err label_set_sorted(const struct label_set *set, struct label_list *ret_labels);
/* Number of this label, or -1. */
ptrdiff_t label_set_find(const struct label_set *set, const struct label *label);

#endif
