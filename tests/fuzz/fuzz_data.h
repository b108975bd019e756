/* Properties of every data set that a reader accepted. */
#ifndef DP_TESTS_FUZZ_FUZZ_DATA_H
#define DP_TESTS_FUZZ_FUZZ_DATA_H

#include <math.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "worker/data/data.h"

static inline void check_sparse(const struct data *data)
{
    FUZZ_ASSERT(data->row_at[0] == 0);
    for (uint64_t r = 0; r < data->rows; r++) {
        FUZZ_ASSERT(data->row_at[r] <= data->row_at[r + 1]);
        for (uint64_t i = data->row_at[r]; i < data->row_at[r + 1]; i++) {
            FUZZ_ASSERT(data->columns[i] < data->features);
            FUZZ_ASSERT(i == data->row_at[r] || data->columns[i - 1] < data->columns[i]);
        }
    }
}

/* Labels are distinct, each row has one, and a list of them is read back as it was. */
static inline void check_classes(const struct data *data)
{
    const struct label_list *labels = &data->label_set->labels;
    struct label_list sorted = {0}, again = {0};
    for (uint64_t r = 0; r < data->rows; r++)
        FUZZ_ASSERT(data->classes[r] < labels->count);
    FUZZ_ASSERT(label_set_sorted(data->label_set, &sorted) == DP_OK && label_list_ascends(&sorted));
    char *text = label_list_text(&sorted);
    FUZZ_ASSERT(text && label_list_parse(text, &again, NULL) == DP_OK && label_list_same(&sorted, &again));
    free(text);
    label_list_fini(&sorted);
    label_list_fini(&again);
}

static inline void check_data(const struct data *data, uint64_t features_wanted)
{
    FUZZ_ASSERT(data->rows >= 1 && data->features >= 1);
    FUZZ_ASSERT(features_wanted == 0 || data->features == features_wanted);
    if (data_is_sparse(data))
        check_sparse(data);
    uint64_t values = data_is_sparse(data) ? data->row_at[data->rows] : data->rows * data->features;
    for (uint64_t i = 0; i < values; i++)
        FUZZ_ASSERT(isfinite(data->values[i]));
    for (uint64_t r = 0; data->labels && r < data->rows; r++)
        FUZZ_ASSERT(isfinite(data->labels[r]));
    if (data->classes)
        check_classes(data);
    if (data->labels || data->classes)
        (void)data_fingerprint(data);
}

/* Parses and checks: accepted and sound, or refused with a text and nothing written. */
static inline void check_parse(const struct data_source *source, const uint8_t *bytes, size_t size,
                               const uint8_t *labels, size_t labels_size)
{
    for (enum label_use use = LABEL_VALUES; use <= LABEL_PASSED; use++) {
        struct data_source as = *source;
        struct data data = {0};
        dp_error err = {0};
        as.label_use = use;
        if (data_parse(&as, bytes, size, labels, labels_size, &data, &err) == DP_OK)
            check_data(&data, source->features);
        else
            FUZZ_ASSERT(err.code != DP_OK && err.text[0] && !data.name);
        data_fini(&data);
    }
}

#endif
