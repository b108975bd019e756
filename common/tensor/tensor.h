/* Tensors by name, and how they are laid out over shards: dense ones in slices, tables in parts.
 *
 * Dense tensors are laid end to end in the order of their list: theta is one vector of `total` float32. It is cut only
 * at multiples of a tensor's block that start anew at each tensor; a block is whole units of the tensor and depends on
 * the tensors alone, never on the number of shards, so that ordered per-block sums have the same bits for any number of
 * shards.
 *
 * A table is no part of theta: its rows are addressed by 64-bit ids. It is cut into parts, runs of ids, at multiples of
 * its block of ids; again a function of the tensor alone. Thread: any. */
#ifndef DP_COMMON_TENSOR_TENSOR_H
#define DP_COMMON_TENSOR_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/dp_err.h"

enum { TENSOR_NAME_MAX = 64, TENSOR_RANK_MAX = 4, TENSOR_COUNT_MAX = 64, TENSOR_DIM_MAX = 1 << 16 };

/* table: rows 0 .. shape[0] - 1 of the other dimensions. hashed: rows of any id, there once they were committed, so
 * that only the shape of a row is known. */
enum tensor_kind { TENSOR_DENSE, TENSOR_TABLE, TENSOR_HASHED };

/* Initializers. constant: arg. normal: N(0, arg^2). Uniform in [-L, L): glorot L = sqrt(6/(in+out)), he L = sqrt(6/in),
 * as Glorot & Bengio 2010, He et al. 2015, where `out` is the last dimension (1 for a vector) and `in` the product of
 * the others. */
enum tensor_init { INIT_ZEROS, INIT_CONSTANT, INIT_NORMAL, INIT_GLOROT_UNIFORM, INIT_HE_UNIFORM };

struct tensor {
    char name[TENSOR_NAME_MAX];
    uint32_t rank;
    uint64_t shape[TENSOR_RANK_MAX]; /* row-major, in elements */
    uint64_t elems;                  /* of theta: product of shape, 0 for a table */
    enum tensor_init init;
    float init_arg;
    bool regularized; /* false for intercepts: left out of R */
    uint64_t unit;    /* elements that lie in one slice together (a row, a group): 1 unless set; divides elems */
    enum tensor_kind kind;
    uint64_t last_row; /* tables: the largest id */
    uint32_t dim;      /* tables: floats of a row */
};

struct tensors {
    uint32_t count;
    struct tensor list[TENSOR_COUNT_MAX];
};

/* Appends a tensor; computes elems. A name is 1..63 printable ASCII characters without blanks, quotes and backslashes,
 * and not "__metadata__". DP_RANGE, naming the tensor, for a bad or repeated name, rank (1..4), initializer, a zero
 * dimension, too many tensors, or more than 2^40 elements in all. Arguments may come from a peer. */
DP_MUST_CHECK dp_err tensors_add(struct tensors *tensors, const char *name, uint32_t rank, const uint64_t *shape,
                                 enum tensor_init init, float init_arg, bool regularized, dp_error *err);
/* The same for a table. DP_RANGE also for rows of more than TENSOR_DIM_MAX floats. */
DP_MUST_CHECK dp_err tensors_add_table(struct tensors *tensors, const char *name, enum tensor_kind kind, uint32_t rank,
                                       const uint64_t *shape, enum tensor_init init, float init_arg, bool regularized,
                                       dp_error *err);
uint64_t tensors_total(const struct tensors *tensors);
/* Elements of one index of the first dimension; a vector is one row, and so is what a table has of one id. */
uint64_t tensor_row_elems(const struct tensor *tensor);
/* Offset of tensor i <= count in theta, in elements. */
uint64_t tensors_offset(const struct tensors *tensors, uint32_t i);
/* Initial values of elements [first, first + count) of theta. A pure function of (tensors, seed): every element is the
 * same whatever range it is computed in. */
void tensors_init_range(const struct tensors *tensors, uint64_t seed, uint64_t first, uint64_t count, float *out);

/* Initial values of a table's row. A pure function of (tensor, its index, seed, id). out[dim]. */
void tensors_init_row(const struct tensors *tensors, uint32_t table, uint64_t seed, uint64_t id, float *out);

/* A run of theta, in elements. */
struct range {
    uint64_t first;
    uint64_t count;
};

/* The part of one tensor that lies in a range of theta. */
struct segment {
    uint32_t tensor;
    uint64_t offset; /* from the start of the range */
    uint64_t count;
};

/* 16 .. 4096, a power of two: about total/64, so that small models can be spread over shards too. */
uint64_t layout_block(const struct tensors *tensors);
/* The block of tensor t: the least number of whole units that is layout_block or more. */
uint64_t layout_tensor_block(const struct tensors *tensors, uint32_t t);
/* Blocks that a range with legal cuts consists of. */
uint64_t layout_blocks(const struct tensors *tensors, struct range range);
/* Contiguous ranges of theta for `shards` >= 1 shards, each bound the block bound next to shard*total/shards, so that a
 * range differs from total/shards by less than the largest block; it may be empty where shards are many.
 * ranges[shards]. */
void layout_shards(const struct tensors *tensors, uint32_t shards, struct range *ranges);
/* Cuts a range of layout_shards at block bounds into near-equal slices (shares of it, but for a block) of at most
 * `slice_elems` elements, or two of the largest blocks where that is more. Returns how many there are; writes the first
 * `max` of them to slices. An empty range has none. */
size_t layout_slices(const struct tensors *tensors, struct range range, uint64_t slice_elems, struct range *slices,
                     size_t max);
/* Whether slices may be cut at element `at`. */
bool layout_is_cut(const struct tensors *tensors, uint64_t at);
/* A table's blocks: its ids cut evenly, at most TABLE_BLOCKS_MAX of them. Block b has ids from b * span on. */
enum { TABLE_BLOCKS_MAX = 1024 };
uint64_t layout_table_span(const struct tensor *table);
uint32_t layout_table_blocks(const struct tensor *table);
/* The segments of a range in order; returns how many there are, writes at most `max`. */
size_t layout_segments(const struct tensors *tensors, struct range range, struct segment *segments, size_t max);

#endif
