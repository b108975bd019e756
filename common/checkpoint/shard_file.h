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

#include <stdbool.h>
#include <stdint.h>

#include "common/base/dp_err.h"
#include "common/tensor/history.h"
#include "common/tensor/tensor.h"
#include "common/terms/constraint.h"

enum { SHARD_FILE_STATES_MAX = 3, SHARD_FILE_SLOTS_MAX = 4096 };

/* Elements [first, first + count) of a dense tensor. */
struct shard_file_range {
    char tensor[TENSOR_NAME_MAX];
    uint64_t first, count;
};
/* Rows of a table with ids [first, last]. */
struct shard_file_part {
    char tensor[TENSOR_NAME_MAX];
    uint64_t first, last, rows;
    uint32_t dim;
    bool current; /* rows have their floats of the cut as well */
};
/* On arrival: the slots of open steps that are committed already, of a run of theta or a part. */
struct shard_file_arrivals {
    uint64_t first, count; /* elements of theta */
    uint64_t open;         /* steps, from the cut on */
    struct metrics *sums;  /* [open] */
    uint8_t *accepted;     /* [open][(slots + 7) / 8], a bit a slot */
};

/* The facts that a file has of itself. Lists are heap, freed by shard_file_facts_fini. */
struct shard_file_facts {
    uint64_t step, train_step; /* of the plan: the cut; training steps that theta has seen */
    uint32_t shard;
    uint32_t slots;
    uint32_t states; /* of the rule */
    char rule[32];
    uint32_t range_count, part_count, arrival_count;
    struct shard_file_range *ranges;
    struct shard_file_part *parts;
    struct shard_file_arrivals *arrivals;
    struct multipliers multipliers;
};
/* Words of a row of a part, and the first of them that has the row's floats at the step of the cut. */
uint64_t shard_file_row_words(const struct shard_file_facts *facts, const struct shard_file_part *part);
uint64_t shard_file_row_theta(const struct shard_file_facts *facts, const struct shard_file_part *part);
void shard_file_facts_fini(struct shard_file_facts *facts);

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
