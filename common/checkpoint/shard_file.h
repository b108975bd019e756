/* A shard's file of a checkpoint: safetensors, so that any tool opens it.
 *
 *     NAME           F32 [n]   elements of a dense tensor that the shard has, NAME the tensor's
 *     NAME.stateI    F32 [n]   the rule's state I of them
 *     NAME.rows.P    U32 [rows, 3 + dim * (1 + states)]   part P of the file, of a table: rows that were touched: low
 * and high word of the id, stamp (server/table/rows.h), bits of the row's floats, bits of its states; and, if the part
 * is `current`, bits of its dim floats at the step of the cut, since those before are of its last commit
 *
 * in this order: all dense tensors, all of state 0, all of state 1, ..., the parts. The metadata say what of each
 * tensor it is, so that any layout of shards can read them. Thread: any. */
#ifndef DP_COMMON_CHECKPOINT_SHARD_FILE_H
#define DP_COMMON_CHECKPOINT_SHARD_FILE_H

#include <stdint.h>

#include "common/base/dp_err.h"
#include "common/checkpoint/shard_facts.h"

/* The bytes before the values, a multiple of 64. Heap. DP_NOMEM; DP_RANGE: more than a reader takes. */
DP_MUST_CHECK dp_err shard_file_head(const struct shard_file_facts *facts, char **ret_head, size_t *ret_bytes);

/* A file that is read. */
struct shard_file {
    struct shard_file_facts facts;
    int fd;
    uint64_t values_at; /* byte at which the values begin */
    char *name;         /* for errors; heap */
};
/* Opens and checks the head: sizes, names, ranges, order, the file's length. DP_IO, DP_DATA naming the file. */
DP_MUST_CHECK dp_err shard_file_open(const char *path, struct shard_file *ret_file, dp_error *err);
/* The head alone, from memory; the fuzz target calls it. `file_bytes`: the length of the file. */
DP_MUST_CHECK dp_err shard_file_parse(const char *name, const void *data, size_t bytes, uint64_t file_bytes,
                                      struct shard_file *ret_file, dp_error *err);
void shard_file_close(struct shard_file *file);
/* Elements [first, first + count) of the range numbered `range`, of theta (state -1) or of a state. DP_IO. */
DP_MUST_CHECK dp_err shard_file_read(const struct shard_file *file, uint32_t range, int state, uint64_t first,
                                     uint64_t count, float *to, dp_error *err);
/* Rows [first, first + count) of a part, as words. DP_IO. */
DP_MUST_CHECK dp_err shard_file_read_rows(const struct shard_file *file, uint32_t part, uint64_t first, uint64_t count,
                                          uint32_t *to, dp_error *err);

#endif
