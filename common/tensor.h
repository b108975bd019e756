/* Tensors by name, and how the dense ones are laid out over shards and slices.
 *
 * Dense tensors are laid end to end in the order of their list: theta is one vector of `total` float32. It is cut only
 * at multiples of `block` elements that start anew at each tensor; `block` depends on the tensors alone, never on the
 * number of shards, so that ordered per-block sums have the same bits for any number of shards. Thread: any. */
#ifndef DP_TENSOR_H
#define DP_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dp_err.h"

enum { TENSOR_NAME_MAX = 64, TENSOR_RANK_MAX = 4, TENSOR_COUNT_MAX = 64 };

/* Initializers. normal: N(0, arg^2). uniform: glorot sqrt(6/(in+out)), he sqrt(6/in), as Glorot & Bengio 2010, He et
 * al. 2015. */
enum tensor_init { INIT_ZEROS, INIT_CONSTANT, INIT_NORMAL, INIT_GLOROT_UNIFORM, INIT_HE_UNIFORM };

struct tensor {
    char name[TENSOR_NAME_MAX];
    uint32_t rank;
    uint64_t shape[TENSOR_RANK_MAX]; /* row-major, in elements */
    uint64_t elems;                  /* product of shape */
    enum tensor_init init;
    float init_arg;
    bool regularized; /* false for intercepts: left out of R */
};

struct tensors {
    uint32_t count;
    struct tensor list[TENSOR_COUNT_MAX];
};

/* Appends a tensor; computes elems. DP_RANGE for a bad name, rank, overflow, a zero dimension or too many tensors. */
DP_MUST_CHECK dp_err tensors_add(struct tensors *tensors, const char *name, uint32_t rank, const uint64_t *shape,
                                 enum tensor_init init, float init_arg, bool regularized, dp_error *err);
uint64_t tensors_total(const struct tensors *tensors);
/* Offset of tensor i in theta, in elements. */
uint64_t tensors_offset(const struct tensors *tensors, uint32_t i);
/* Initial values of elements [first, first + count) of theta. A pure function of (tensors, seed): every element is the
 * same whatever range it is computed in. */
void tensors_init_range(const struct tensors *tensors, uint64_t seed, uint64_t first, uint64_t count, float *out);

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
/* Contiguous ranges of theta for `shards` shards, cut at block bounds and balanced in elements; a range may be empty
 * where there are more shards than blocks. ranges[shards]. */
void layout_shards(const struct tensors *tensors, uint32_t shards, struct range *ranges);
/* Cuts a range into slices of at most about `slice_elems` elements (at block bounds). Returns how many slices there
 * are; writes the first `max` of them to slices. An empty range has none. */
size_t layout_slices(const struct tensors *tensors, struct range range, uint64_t slice_elems, struct range *slices,
                     size_t max);
/* The segments of a range in order; returns how many there are, writes at most `max`. */
size_t layout_segments(const struct tensors *tensors, struct range range, struct segment *segments, size_t max);

#endif
