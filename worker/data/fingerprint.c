/* Fingerprints: a hash each of labels, values, columns and where rows end, and one of these. Thread: any. */
#include "worker/data/fingerprint.h"

#include "common/base/util.h"

void fingerprint_begin(struct fingerprint *f)
{
    *f = (struct fingerprint){0};
    XXH64_state_t *const states[] = {&f->labels, &f->values, &f->row_at, &f->columns};
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        XXH64_reset(states[i], 0);
}

static void add_row_ends(struct fingerprint *f, const struct data *data)
{
    for (uint64_t r = 0; r < data->rows; r++) {
        uint64_t begin = data->row_at[r], end = data->row_at[r + 1], at = f->entries + end;
        XXH64_update(&f->row_at, &at, sizeof at);
        if (end > begin)
            f->found = MAX(f->found, (uint64_t)data->columns[end - 1] + 1);
    }
}

/* By what labels are, not by their numbers, which go with the run. */
static void add_classes(struct fingerprint *f, const struct data *data)
{
    for (uint64_t r = 0; r < data->rows; r++) {
        const uint64_t *key = &data->label_set->keys[data->classes[r]];
        XXH64_update(&f->labels, key, sizeof *key);
    }
}

void fingerprint_add(struct fingerprint *f, const struct data *data)
{
    uint64_t entries = data_is_sparse(data) ? data->row_at[data->rows] : data->rows * data->features;
    if (data->classes)
        add_classes(f, data);
    else
        XXH64_update(&f->labels, data->labels, data->rows * sizeof *data->labels);
    XXH64_update(&f->values, data->values, entries * sizeof *data->values);
    f->sparse = data_is_sparse(data);
    if (f->sparse) {
        XXH64_update(&f->columns, data->columns, entries * sizeof *data->columns);
        add_row_ends(f, data);
    } else {
        f->found = data->features;
    }
    f->rows += data->rows;
    f->entries += entries;
}

uint64_t fingerprint_end(const struct fingerprint *f)
{
    const uint64_t all[] = {f->rows,
                            f->found,
                            f->sparse,
                            f->entries,
                            XXH64_digest(&f->labels),
                            XXH64_digest(&f->values),
                            XXH64_digest(&f->row_at),
                            XXH64_digest(&f->columns)};
    return XXH64(all, sizeof all, 0);
}
