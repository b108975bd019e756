/* Labels of rows, as all readers take them. Thread: any. */
#include "worker/data/parse/label.h"

#include <string.h>

#include "common/base/mem.h"
#include "worker/data/parse/number.h"

bool row_labels_room(const struct data_source *source, uint64_t rows_max, struct data *data)
{
    switch (source->label_use) {
    case LABEL_VALUES:
        data->labels = mem_array(rows_max, sizeof *data->labels);
        return data->labels;
    case LABEL_CLASSES:
        data->classes = mem_array(rows_max, sizeof *data->classes);
        data->label_set = mem_array_zero(1, sizeof *data->label_set);
        return data->classes && data->label_set;
    case LABEL_PASSED:
    default:
        return true;
    }
}

/* The float nearest to the number: read as such, since rounding a double would round twice. */
static dp_err value_take(const char *at, size_t n, float *ret_value, const char **ret_fault)
{
    struct label_token token;
    if (number_scan(at, at + n, ret_value) == at + n)
        return DP_OK;
    *ret_fault = number_fault(at, n);
    if (n > 0 && !number_like(at, n) && !label_read(at, n, &token) && token.word)
        *ret_fault = "is not a number, which --model linear needs; words are classes for logistic and softmax";
    return DP_DATA;
}

static dp_err class_take(struct data *data, const char *at, size_t n, uint64_t line, const char **ret_fault)
{
    struct label_token token;
    *ret_fault = label_read(at, n, &token);
    if (*ret_fault)
        return DP_DATA;
    dp_err e =
        label_set_add(data->label_set, &token, (struct label_place){data->rows + 1, line}, &data->classes[data->rows]);
    if (e == DP_MODEL)
        *ret_fault = data->label_set->labels.count == LABELS_MAX
                         ? "is one more than 65536 different labels; are they classes?"
                         : "makes the labels longer than 1 MiB together; are they classes?";
    return e == DP_MODEL ? DP_DATA : e;
}

dp_err row_label_take(const struct data_source *source, struct data *data, const char *at, size_t n, uint64_t line,
                      const char **ret_fault)
{
    if (source->unlabelled) {
        at = "0";
        n = 1;
    }
    switch (source->label_use) {
    case LABEL_VALUES:
        return value_take(at, n, &data->labels[data->rows], ret_fault);
    case LABEL_CLASSES:
        return class_take(data, at, n, line, ret_fault);
    case LABEL_PASSED:
    default:
        break;
    }
    /* it may be whatever it is, but it has to be there */
    struct label_token token;
    *ret_fault = label_is_hole(at, n) ? label_read(at, n, &token) : NULL;
    return *ret_fault ? DP_DATA : DP_OK;
}
