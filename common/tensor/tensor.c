/* Tensors, their initial values, and the layout of theta.
 *
 * Invariant: tensors end to end; a legal cut of theta is a tensor's start plus a multiple of its block, or its end.
 * Thread: any. */
#include "common/tensor/tensor.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/base/text.h"
#include "common/base/util.h"

static const uint64_t ELEMS_MAX = (uint64_t)1 << 40;

static bool name_ok(const char *name)
{
    size_t length = strnlen(name, TENSOR_NAME_MAX);
    if (length == 0 || length == TENSOR_NAME_MAX || strcmp(name, "__metadata__") == 0)
        return false;
    for (const char *c = name; *c; c++)
        if (*c <= ' ' || *c > '~' || *c == '"' || *c == '\\')
            return false;
    return true;
}

static bool name_taken(const struct tensors *tensors, const char *name)
{
    for (uint32_t i = 0; i < tensors->count; i++)
        if (strcmp(tensors->list[i].name, name) == 0)
            return true;
    return false;
}

/* Product of the shape; 0 when a dimension is 0 or the product exceeds `max`. */
static uint64_t shape_elems(uint32_t rank, const uint64_t *shape, uint64_t max)
{
    uint64_t elems = 1;
    for (uint32_t d = 0; d < rank; d++) {
        if (shape[d] == 0 || shape[d] > max / elems)
            return 0;
        elems *= shape[d];
    }
    return elems;
}

/* Checks that all kinds share. */
static dp_err check_tensor(const struct tensors *tensors, const char *name, uint32_t rank, enum tensor_init init,
                           float init_arg, dp_error *err)
{
    if (!name_ok(name))
        return dp_fail(err, DP_RANGE,
                       "tensor %u: a name must be 1..%d printable characters without blanks, quotes and backslashes",
                       (unsigned)tensors->count, TENSOR_NAME_MAX - 1);
    if (name_taken(tensors, name))
        return dp_fail(err, DP_RANGE, "tensor %s: there are two of this name", name);
    if (tensors->count == TENSOR_COUNT_MAX)
        return dp_fail(err, DP_RANGE, "tensor %s: a model may have at most %d tensors", name, TENSOR_COUNT_MAX);
    if (rank < 1 || rank > TENSOR_RANK_MAX)
        return dp_fail(err, DP_RANGE, "tensor %s: rank %u is not 1..%d", name, (unsigned)rank, TENSOR_RANK_MAX);
    if ((unsigned)init > INIT_HE_UNIFORM || !isfinite(init_arg))
        return dp_fail(err, DP_RANGE, "tensor %s: unknown initializer %u or its argument is not finite", name,
                       (unsigned)init);
    return DP_OK;
}

static struct tensor *append(struct tensors *tensors, const char *name, uint32_t rank, const uint64_t *shape)
{
    struct tensor *tensor = &tensors->list[tensors->count++];
    *tensor = (struct tensor){.rank = rank, .unit = 1};
    str_copy(tensor->name, sizeof tensor->name, name);
    memcpy(tensor->shape, shape, rank * sizeof *shape);
    return tensor;
}

dp_err tensors_add(struct tensors *tensors, const char *name, uint32_t rank, const uint64_t *shape,
                   enum tensor_init init, float init_arg, bool regularized, dp_error *err)
{
    dp_err e = check_tensor(tensors, name, rank, init, init_arg, err);
    if (e)
        return e;
    uint64_t elems = shape_elems(rank, shape, ELEMS_MAX - tensors_total(tensors));
    if (elems == 0)
        return dp_fail(err, DP_RANGE, "tensor %s: a dimension is 0, or the model has more than 2^40 elements", name);
    struct tensor *tensor = append(tensors, name, rank, shape);
    tensor->elems = elems;
    tensor->init = init;
    tensor->init_arg = init_arg;
    tensor->regularized = regularized;
    return DP_OK;
}

dp_err tensors_add_table(struct tensors *tensors, const char *name, enum tensor_kind kind, uint32_t rank,
                         const uint64_t *shape, enum tensor_init init, float init_arg, bool regularized, dp_error *err)
{
    dp_err e = check_tensor(tensors, name, rank, init, init_arg, err);
    if (e)
        return e;
    if (kind != TENSOR_TABLE && kind != TENSOR_HASHED)
        return dp_fail(err, DP_RANGE, "tensor %s: unknown kind %u of table", name, (unsigned)kind);
    uint32_t first = kind == TENSOR_TABLE ? 1 : 0;
    uint64_t dim = shape_elems(rank - first, shape + first, TENSOR_DIM_MAX);
    if (dim == 0 || shape_elems(rank, shape, ELEMS_MAX) == 0)
        return dp_fail(err, DP_RANGE,
                       "tensor %s: a dimension is 0, a row has more than %d elements, or the table more than 2^40",
                       name, TENSOR_DIM_MAX);
    struct tensor *tensor = append(tensors, name, rank, shape);
    tensor->init = init;
    tensor->init_arg = init_arg;
    tensor->regularized = regularized;
    tensor->kind = kind;
    tensor->dim = (uint32_t)dim;
    tensor->last_row = kind == TENSOR_TABLE ? shape[0] - 1 : UINT64_MAX;
    return DP_OK;
}

uint64_t tensor_row_elems(const struct tensor *tensor)
{
    if (tensor->kind != TENSOR_DENSE)
        return tensor->dim;
    return tensor->rank > 1 ? tensor->elems / tensor->shape[0] : tensor->elems;
}

uint64_t tensors_offset(const struct tensors *tensors, uint32_t i)
{
    assert(i <= tensors->count);
    uint64_t offset = 0;
    for (uint32_t t = 0; t < i; t++)
        offset += tensors->list[t].elems;
    return offset;
}

uint64_t tensors_total(const struct tensors *tensors)
{
    return tensors_offset(tensors, tensors->count);
}

/* Half the width of the uniform initializers. */
static float init_limit(const struct tensor *tensor)
{
    double out = tensor->rank > 1 ? (double)tensor->shape[tensor->rank - 1] : 1;
    double in = (double)shape_elems(tensor->rank, tensor->shape, ELEMS_MAX) / out;
    return (float)sqrt(6 / (tensor->init == INIT_HE_UNIFORM ? in : in + out));
}

/* Elements [first, first + count) of tensor `index`: element i comes from element i of its own sequence. */
static void tensor_init_run(const struct tensor *tensor, uint32_t index, uint64_t seed, uint64_t first, uint64_t count,
                            float *out)
{
    switch (tensor->init) {
    case INIT_ZEROS:
        memset(out, 0, count * sizeof *out);
        return;
    case INIT_CONSTANT:
        for (uint64_t i = 0; i < count; i++)
            out[i] = tensor->init_arg;
        return;
    case INIT_NORMAL:
        for (uint64_t i = 0; i < count; i++)
            out[i] = tensor->init_arg * rng_normal(seed, RNG_STREAM_INIT, index, first + i);
        return;
    case INIT_GLOROT_UNIFORM:
    case INIT_HE_UNIFORM: {
        float limit = init_limit(tensor);
        for (uint64_t i = 0; i < count; i++)
            out[i] = limit * (2 * rng_uniform(seed, RNG_STREAM_INIT, index, first + i) - 1);
        return;
    }
    }
}

void tensors_init_range(const struct tensors *tensors, uint64_t seed, uint64_t first, uint64_t count, float *out)
{
    struct segment segments[TENSOR_COUNT_MAX];
    size_t n = layout_segments(tensors, (struct range){first, count}, segments, ARRAY_LEN(segments));
    for (size_t i = 0; i < n; i++) {
        const struct segment *s = &segments[i];
        uint64_t start = first + s->offset - tensors_offset(tensors, s->tensor);
        tensor_init_run(&tensors->list[s->tensor], s->tensor, seed, start, s->count, out + s->offset);
    }
}

void tensors_init_row(const struct tensors *tensors, uint32_t table, uint64_t seed, uint64_t id, float *out)
{
    const struct tensor *tensor = &tensors->list[table];
    tensor_init_run(tensor, table, seed, id * tensor->dim, tensor->dim, out);
}

uint64_t layout_block(const struct tensors *tensors)
{
    uint64_t wanted = tensors_total(tensors) / 64, block = 16;
    while (block < 4096 && block * 2 <= wanted)
        block *= 2;
    return block;
}

/* The first multiple of a tensor's unit that is at least `least`. */
static uint64_t whole_units(const struct tensor *tensor, uint64_t least)
{
    return (least + tensor->unit - 1) / tensor->unit * tensor->unit;
}

uint64_t layout_tensor_block(const struct tensors *tensors, uint32_t t)
{
    return whole_units(&tensors->list[t], layout_block(tensors));
}

uint64_t layout_blocks(const struct tensors *tensors, struct range range)
{
    struct segment segments[TENSOR_COUNT_MAX];
    size_t n = layout_segments(tensors, range, segments, ARRAY_LEN(segments));
    uint64_t least = layout_block(tensors), blocks = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t block = whole_units(&tensors->list[segments[i].tensor], least);
        blocks += (segments[i].count + block - 1) / block;
    }
    return blocks;
}

static uint64_t largest_block(const struct tensors *tensors)
{
    uint64_t least = layout_block(tensors), largest = least;
    for (uint32_t t = 0; t < tensors->count; t++)
        largest = MAX(largest, whole_units(&tensors->list[t], least));
    return largest;
}

/* The legal cuts around element `at` <= total: the last at or before it, and the first after it (total, if none).
 * `least` is layout_block. */
static struct range cuts_around(const struct tensors *tensors, uint64_t least, uint64_t at)
{
    uint64_t start = 0;
    for (uint32_t t = 0; t < tensors->count; t++) {
        uint64_t elems = tensors->list[t].elems, block = whole_units(&tensors->list[t], least);
        if (at < start + elems) {
            uint64_t low = (at - start) / block * block;
            return (struct range){start + low, MIN(block, elems - low)};
        }
        start += elems;
    }
    return (struct range){start, 0};
}

static uint64_t cut_nearest(const struct tensors *tensors, uint64_t least, uint64_t at)
{
    struct range around = cuts_around(tensors, least, at);
    uint64_t after = at - around.first;
    return after > around.count - after ? around.first + around.count : around.first;
}

bool layout_is_cut(const struct tensors *tensors, uint64_t at)
{
    return at <= tensors_total(tensors) && cut_nearest(tensors, layout_block(tensors), at) == at;
}

void layout_shards(const struct tensors *tensors, uint32_t shards, struct range *ranges)
{
    assert(shards >= 1);
    uint64_t total = tensors_total(tensors), least = layout_block(tensors), first = 0;
    for (uint32_t s = 1; s <= shards; s++) {
        uint64_t end = cut_nearest(tensors, least, part_bound(total, s, shards));
        ranges[s - 1] = (struct range){first, end - first};
        first = end;
    }
}

/* Every slice ends at the cut nearest to its equal share, so it has less than a block more than the share: shares of
 * `most - block` leave room for that. Shares that round to nothing are left out. */
size_t layout_slices(const struct tensors *tensors, struct range range, uint64_t slice_elems, struct range *slices,
                     size_t max)
{
    uint64_t least = layout_block(tensors), block = largest_block(tensors);
    uint64_t most = MAX(slice_elems, 2 * block), room = most - block;
    uint64_t parts = range.count <= most ? 1 : range.count / room + (range.count % room != 0);
    uint64_t at = range.first, range_end = range.first + range.count;
    size_t n = 0;
    for (uint64_t i = 1; i <= parts; i++) {
        uint64_t share_end = range.first + part_bound(range.count, i, parts);
        uint64_t end = i == parts ? range_end : cut_nearest(tensors, least, share_end);
        if (end <= at)
            continue;
        if (n < max)
            slices[n] = (struct range){at, end - at};
        n++;
        at = end;
    }
    return n;
}

uint64_t layout_table_span(const struct tensor *table)
{
    return table->last_row / TABLE_BLOCKS_MAX + 1;
}

uint32_t layout_table_blocks(const struct tensor *table)
{
    return (uint32_t)(table->last_row / layout_table_span(table)) + 1;
}

size_t layout_segments(const struct tensors *tensors, struct range range, struct segment *segments, size_t max)
{
    uint64_t start = 0, range_end = range.first + range.count;
    size_t n = 0;
    for (uint32_t t = 0; t < tensors->count; t++) {
        uint64_t end = start + tensors->list[t].elems;
        uint64_t low = MAX(start, range.first), high = MIN(end, range_end);
        if (low < high) {
            if (n < max)
                segments[n] = (struct segment){.tensor = t, .offset = low - range.first, .count = high - low};
            n++;
        }
        start = end;
    }
    return n;
}
