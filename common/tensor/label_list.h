/* Lists of labels: those of a job (class -> label), of an option, of a model file. Thread: any. */
#ifndef DP_COMMON_TENSOR_LABEL_LIST_H
#define DP_COMMON_TENSOR_LABEL_LIST_H

#include <stdint.h>

#include "common/tensor/label.h"

enum { LABEL_LIST_TEXT = 160 };

/* A zeroed list is empty. Texts and list are its own. */
struct label_list {
    struct label *list; /* [count] */
    size_t count;
};
void label_list_fini(struct label_list *labels);

/* Puts a label behind the last; no look is taken whether it is there. DP_NOMEM; the list is then as before. */
DP_MUST_CHECK dp_err label_list_add(struct label_list *labels, const struct label_token *token);
DP_MUST_CHECK dp_err label_list_copy(const struct label_list *from, struct label_list *ret_labels);
/* Orders the list as label_compare does. */
void label_list_sort(struct label_list *labels);
/* Whether it is in that order, and no label in it twice. */
bool label_list_ascends(const struct label_list *labels);
/* Place of the same label in a list that ascends, or -1. */
ptrdiff_t label_list_find(const struct label_list *labels, const struct label *label);
/* Whether both have the same labels in the same order, however they are spelt. */
bool label_list_same(const struct label_list *a, const struct label_list *b);

/* From the wire or the API: texts[count], or where that is NULL values[count]. DP_RANGE with the one that is no label,
 * DP_NOMEM. */
DP_MUST_CHECK dp_err label_list_take(const double *values, const char *const *texts, size_t count,
                                     struct label_list *ret_labels, dp_error *err);
/* The texts in order, for messages: a heap array that borrows them from the list; NULL when out of memory. */
char **label_list_texts(const struct label_list *labels);
/* Whether numbers alone would not say it: a word, or a number spelt otherwise than label_number_text does. */
bool label_list_has_texts(const struct label_list *labels);
bool label_list_has_words(const struct label_list *labels);
/* Whether there are both, of which the first word's place goes to *ret_word. Whole numbers too large to be numbers here
 * are no words in this. */
bool label_list_mixed(const struct label_list *labels, size_t *ret_word);

/* From "a,b,c", in which a label with a comma or a quote stands in quotes, as in CSV. DP_RANGE with the place's fault
 * as a sentence, DP_NOMEM. */
DP_MUST_CHECK dp_err label_list_parse(const char *text, struct label_list *ret_labels, dp_error *err);
/* The same text (heap), or NULL when out of memory. */
char *label_list_text(const struct label_list *labels);
/* "a, b, c", cut to the first ones where there are many; for people. Returns buf. */
const char *label_list_show(const struct label_list *labels, char buf[LABEL_LIST_TEXT]);

#endif
