/* The model file: tensors as they are on disk, gathered from the places in memory where their values are. Thread: any,
 * one at a time. */
#ifndef DP_SERVER_SAVE_MODEL_FILE_H
#define DP_SERVER_SAVE_MODEL_FILE_H

#include "common/tensor/safetensors.h"
#include "server/table/copy.h"

/* Values that lie side by side in memory and in the file. */
struct export_run {
    uint32_t tensor; /* of the job */
    bool ids;
    uint64_t at; /* in what the tensor, or its ids, has in the file; in words of 4 bytes */
    uint64_t words;
    const void *data;
};

/* Zeroed but for `tensors`, it is ready. */
struct export_file {
    const struct tensors *tensors; /* of the job */
    size_t count, room;
    struct export_run *runs;
    uint64_t rows[TENSOR_COUNT_MAX]; /* of each table so far */
    /* of the writing */
    struct tensors disk;
    uint64_t u64;
    uint64_t first[TENSOR_COUNT_MAX], first_id[TENSOR_COUNT_MAX]; /* words of the file */
    char *head; /* the bytes before the values; NULL until the file is sealed */
    size_t head_bytes;
    uint64_t bytes; /* of the whole file */
    uint32_t *chunk;
};

void export_file_fini(struct export_file *file);
/* A slice of theta; borrowed until the file is written. DP_NOMEM. */
DP_MUST_CHECK dp_err export_file_theta(struct export_file *file, struct range range, const float *theta);
/* The rows that follow in a table, in the order of its ids; borrowed. DP_NOMEM. */
DP_MUST_CHECK dp_err export_file_rows(struct export_file *file, uint32_t table, const struct rows_copy *copy);
/* All was added: makes the head. Values that were added must not change any more. DP_NOMEM, DP_IO, DP_RANGE: more
 * tensors than a file may have. */
DP_MUST_CHECK dp_err export_file_seal(struct export_file *file, const struct safetensors_meta *meta, dp_error *err);
/* Whether all floats are finite numbers; before it is sealed or after. */
bool export_file_finite(const struct export_file *file);

/* For a sealed file: */
/* Bytes [offset, offset + bytes) of it, which are within it and begin at a multiple of 4. */
void export_file_read(struct export_file *file, uint64_t offset, size_t bytes, void *to);
/* XXH3_64bits of all of it, seed 0. DP_NOMEM. */
DP_MUST_CHECK dp_err export_file_digest(struct export_file *file, uint64_t *ret_digest);
/* Writes it to `path` (file_replace_held). DP_IO. */
DP_MUST_CHECK dp_err export_file_write(struct export_file *file, int *held, const char *path, dp_error *err);

#endif
