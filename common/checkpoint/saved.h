/* A model or a checkpoint on disk, as tensors by name with what is known of the model: the same for both. Values stay
 * in the files until they are asked for, so theta need not fit into memory.
 *
 * A tensor is dense, a dense-range table (whose rows can be read like a dense tensor's elements), or a hashed table,
 * whose rows have ids. A model's file does not tell the first two apart: both are dense there. Optimizer state is not
 * read. Thread: one at a time. */
#ifndef DP_COMMON_CHECKPOINT_SAVED_H
#define DP_COMMON_CHECKPOINT_SAVED_H

#include <stdbool.h>

#include "common/checkpoint/choose.h"
#include "common/checkpoint/files.h"
#include "common/tensor/safetensors_read.h"

struct saved {
    bool is_checkpoint;
    char path[PATH_MAX];          /* of the file, or of the checkpoint's folder */
    struct safetensors_meta meta; /* of the model: worker/model/README.md has the keys */
    struct tensors tensors;
    struct manifest manifest; /* of a checkpoint, without meta and tensors; else zeroed */
    /* the module's own */
    uint64_t seed; /* of rows that are not in the checkpoint */
    struct checkpoint_files files;
    struct safetensors_file file;
    uint32_t ids[TENSOR_COUNT_MAX], values[TENSOR_COUNT_MAX]; /* a model's tensors as the file numbers them */
};

/* Opens a model's file, or the checkpoint that checkpoint_choose finds. DP_IO, DP_DATA naming the file and its fault.
 */
DP_MUST_CHECK dp_err saved_open(const char *path, struct checkpoint_damage damage, struct saved *ret_saved,
                                dp_error *err);
/* The same of the path that a struct saved has, whose bytes were verified when that was opened. */
DP_MUST_CHECK dp_err saved_open_again(const char *path, struct saved *ret_saved, dp_error *err);
/* Accepts a zeroed one. */
void saved_close(struct saved *saved);

/* Number of a tensor, or -1. */
int saved_find(const struct saved *saved, const char *name);
/* Elements of a dense tensor, or of all rows of a dense-range table. */
uint64_t saved_elems(const struct tensor *tensor);
/* Rows that are there, of a hashed table or of a checkpoint's: those that were touched; else all. */
uint64_t saved_row_count(const struct saved *saved, uint32_t tensor);

/* Elements [first, first + count) of a tensor that is not hashed. DP_IO, DP_DATA naming the file. */
DP_MUST_CHECK dp_err saved_read(const struct saved *saved, uint32_t tensor, uint64_t first, uint64_t count, float *to,
                                dp_error *err);

/* Takes the floats of a row. */
struct saved_taker {
    dp_err (*take)(void *arg, uint64_t id, const float *row, dp_error *err);
    void *arg;
};
/* Rows of a table with ids [first, last] that are there, in any order, each once; a dense tensor's rows are its
 * elements along the first dimension. */
DP_MUST_CHECK dp_err saved_rows(const struct saved *saved, uint32_t tensor, uint64_t first, uint64_t last,
                                struct saved_taker to, dp_error *err);

/* All of it in memory, as the model's file would be read. DP_DATA where a table is hashed, DP_NOMEM. */
DP_MUST_CHECK dp_err saved_load(const struct saved *saved, struct safetensors *ret_model, dp_error *err);

#endif
