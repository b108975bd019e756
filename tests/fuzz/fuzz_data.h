/* What holds for every data set that a reader accepted. */
#ifndef DP_FUZZ_DATA_H
#define DP_FUZZ_DATA_H

#include <math.h>
#include <stdlib.h>

#include "data.h"
#include "fuzz.h"

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

static inline void check_data(const struct data *data, uint64_t features_wanted)
{
    FUZZ_ASSERT(data->rows >= 1 && data->features >= 1);
    FUZZ_ASSERT(features_wanted == 0 || data->features == features_wanted);
    if (data_is_sparse(data))
        check_sparse(data);
    uint64_t values = data_is_sparse(data) ? data->row_at[data->rows] : data->rows * data->features;
    for (uint64_t i = 0; i < values; i++)
        FUZZ_ASSERT(isfinite(data->values[i]));
    double *labels = NULL;
    size_t count = 0;
    if (data_labels(data, 64, &labels, &count, NULL) == DP_OK)
        FUZZ_ASSERT(count >= 1 && isfinite(labels[0]) && isfinite(labels[count - 1]));
    free(labels);
    (void)data_fingerprint(data);
}

/* Parses and checks: accepted and sound, or refused with a text and nothing written. */
static inline void check_parse(const struct data_source *source, const uint8_t *bytes, size_t size,
                               const uint8_t *labels, size_t labels_size)
{
    struct data data = {0};
    dp_error err = {0};
    if (data_parse(source, bytes, size, labels, labels_size, &data, &err) == DP_OK)
        check_data(&data, source->features);
    else
        FUZZ_ASSERT(err.code != DP_OK && err.text[0] && !data.name);
    data_fini(&data);
}

#endif
