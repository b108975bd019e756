/* Messages of tables; see frame_rows.h.
 *
 * Invariant: a list that passes is at most FRAME_ROWS_MAX ids, ascending, within its part, and its hash is that of its
 * bytes, so what a shard keeps under a hash is what every client means by it. Thread: any. */
#include "proto/frame_rows.h"

#include <string.h>
#include <xxhash.h>

#include "common/base/util.h"
#include "common/tensor/tensor.h"
#include "proto/frame_check.h"

static bool keys_in_message(const Dp__Keys *keys)
{
    return keys && keys->sent;
}

bool frame_rows_pushed(const Dp__RowsPushPull *msg)
{
    return msg->push && msg->push_keys && msg->push_keys->count > 0;
}

struct frame_rows frame_rows_of(const Dp__RowsPushPull *msg)
{
    struct frame_rows at = {FRAME_NONE, FRAME_NONE, FRAME_NONE, 0};
    if (keys_in_message(msg->push_keys))
        at.push_ids = at.count++;
    if (frame_rows_pushed(msg) && !msg->slab)
        at.values = at.count++;
    if (keys_in_message(msg->pull_keys))
        at.pull_ids = at.count++;
    return at;
}

static dp_err check_keys(const Dp__Keys *keys, dp_error *err)
{
    if (!keys)
        return DP_OK;
    if (keys->count > FRAME_ROWS_MAX)
        return dp_fail(err, DP_PROTO, "a list of %u row ids, at most %d are allowed", keys->count, FRAME_ROWS_MAX);
    if (keys->count == 0 && (keys->sent || keys->hash != 0))
        return dp_fail(err, DP_PROTO, "an empty list of row ids that has a hash or is sent");
    return DP_OK;
}

dp_err frame_check_rows_push_pull(const Dp__RowsPushPull *msg, size_t payload_count, dp_error *err)
{
    if (!msg->push && !msg->pull)
        return dp_fail(err, DP_PROTO, "RowsPushPull that neither pushes nor pulls");
    if (msg->level > FRAME_LEVEL_MAX || (uint64_t)msg->index << msg->level >= FRAME_SLOTS_MAX)
        return dp_fail(err, DP_PROTO, "RowsPushPull of node (%u, %u), a tree has at most %d slots", msg->level,
                       msg->index, FRAME_SLOTS_MAX);
    if ((msg->push_keys && !msg->push) || (msg->pull_keys && !msg->pull))
        return dp_fail(err, DP_PROTO, "RowsPushPull with a list of rows that it neither pushes nor pulls");
    if (msg->slab && !frame_rows_pushed(msg))
        return dp_fail(err, DP_PROTO, "RowsPushPull with a slab and no rows pushed");
    dp_err rc = frame_check_metrics("RowsPushPull", msg->metrics, err);
    if (rc == DP_OK)
        rc = check_keys(msg->push_keys, err);
    if (rc == DP_OK)
        rc = check_keys(msg->pull_keys, err);
    size_t want = frame_rows_of(msg).count;
    if (rc == DP_OK && payload_count != want)
        return dp_fail(err, DP_PROTO, "RowsPushPull with %zu payload frames instead of %zu", payload_count, want);
    return rc;
}

dp_err frame_check_rows(const Dp__Rows *msg, size_t payload_count, dp_error *err)
{
    bool bare = msg->unchanged || msg->last || msg->count == 0;
    size_t want = bare || msg->ring ? 0 : 1;
    if (bare && msg->ring)
        return dp_fail(err, DP_PROTO, "Rows in a ring that have no values");
    if (msg->count > FRAME_ROWS_MAX)
        return dp_fail(err, DP_PROTO, "Rows with %u rows, at most %d are allowed", msg->count, FRAME_ROWS_MAX);
    if (payload_count != want)
        return dp_fail(err, DP_PROTO, "Rows with %zu payload frames instead of %zu", payload_count, want);
    return DP_OK;
}

dp_err frame_check_table(const Dp__Tensor *tensor, dp_error *err)
{
    if (tensor->kind != DP__TENSOR__KIND__TABLE && tensor->kind != DP__TENSOR__KIND__HASHED)
        return dp_fail(err, DP_PROTO, "tensor %s is of an unknown kind", tensor->name);
    uint64_t dim = 1;
    for (size_t i = tensor->kind == DP__TENSOR__KIND__TABLE ? 1 : 0; i < tensor->n_shape; i++)
        dim *= tensor->shape[i];
    if (dim > TENSOR_DIM_MAX)
        return dp_fail(err, DP_PROTO, "tensor %s has rows of more than %d elements", tensor->name, TENSOR_DIM_MAX);
    return DP_OK;
}

static uint64_t last_row(const Dp__Tensor *tensor)
{
    return tensor->kind == DP__TENSOR__KIND__TABLE ? tensor->shape[0] - 1 : UINT64_MAX;
}

/* next[tensor] is the id that the tensor's next part must begin with; ended[tensor]: there is none. */
static dp_err check_part(const Dp__Job *job, const Dp__Part *part, uint64_t *next, bool *ended, dp_error *err)
{
    if (part->tensor >= job->n_tensors || job->tensors[part->tensor]->kind == DP__TENSOR__KIND__DENSE)
        return dp_fail(err, DP_PROTO, "a part of tensor %u, which is not a table", part->tensor);
    uint64_t end = last_row(job->tensors[part->tensor]);
    if (ended[part->tensor] || part->first != next[part->tensor] || part->last < part->first || part->last > end)
        return dp_fail(err, DP_PROTO, "the parts of tensor %s do not cover its rows in order",
                       job->tensors[part->tensor]->name);
    next[part->tensor] = part->last + 1;
    ended[part->tensor] = part->last == end;
    return DP_OK;
}

dp_err frame_check_parts(const Dp__Job *job, dp_error *err)
{
    uint64_t next[TENSOR_COUNT_MAX] = {0};
    bool ended[TENSOR_COUNT_MAX] = {false};
    size_t count = 0;
    dp_err rc = DP_OK;
    for (size_t s = 0; s < job->n_shards; s++) {
        count += job->shards[s]->n_parts;
        if (count > FRAME_PARTS_MAX)
            return dp_fail(err, DP_PROTO, "more than %d parts of tables", FRAME_PARTS_MAX);
        for (size_t i = 0; rc == DP_OK && i < job->shards[s]->n_parts; i++)
            rc = check_part(job, job->shards[s]->parts[i], next, ended, err);
    }
    for (size_t t = 0; rc == DP_OK && job->n_shards > 0 && t < job->n_tensors; t++)
        if (job->tensors[t]->kind != DP__TENSOR__KIND__DENSE && !ended[t])
            return dp_fail(err, DP_PROTO, "the parts of tensor %s do not cover its rows", job->tensors[t]->name);
    return rc;
}

static uint64_t values_of(const Dp__Keys *keys, const struct frame_part *part)
{
    return keys ? (uint64_t)keys->count * part->dim : 0;
}

/* The sizes of the frames that hold the message's lists and values. */
static dp_err check_sizes(const Dp__RowsPushPull *msg, const struct frame_part *part, const size_t *payload_bytes,
                          dp_error *err)
{
    struct frame_rows at = frame_rows_of(msg);
    uint64_t floats = MAX(values_of(msg->push_keys, part), values_of(msg->pull_keys, part));
    if (floats > FRAME_ROWS_FLOATS_MAX)
        return dp_fail(err, DP_RANGE, "%llu values of rows of part %u in one message, at most %d are allowed",
                       (unsigned long long)floats, msg->part, FRAME_ROWS_FLOATS_MAX);
    if (at.push_ids != FRAME_NONE && payload_bytes[at.push_ids] != msg->push_keys->count * sizeof(uint64_t))
        return dp_fail(err, DP_PROTO, "the list of rows pushed to part %u has another size than is said", msg->part);
    if (at.pull_ids != FRAME_NONE && payload_bytes[at.pull_ids] != msg->pull_keys->count * sizeof(uint64_t))
        return dp_fail(err, DP_PROTO, "the list of rows pulled of part %u has another size than is said", msg->part);
    if (at.values != FRAME_NONE && payload_bytes[at.values] != values_of(msg->push_keys, part) * sizeof(float))
        return dp_fail(err, DP_PROTO, "push of %u rows to part %u has %zu bytes of values", msg->push_keys->count,
                       msg->part, payload_bytes[at.values]);
    return DP_OK;
}

static dp_err check_node(const Dp__RowsPushPull *msg, const struct frame_rows_limits *limits, dp_error *err)
{
    if (!frame_node_valid(msg->level, msg->index, limits->slots))
        return dp_fail(err, DP_RANGE, "push of node (%u, %u) in a tree of %u slots", msg->level, msg->index,
                       limits->slots);
    if (msg->step >= limits->total_steps)
        return dp_fail(err, DP_RANGE, "push of step %llu, the job has %llu", (unsigned long long)msg->step,
                       (unsigned long long)limits->total_steps);
    return DP_OK;
}

dp_err frame_check_part(const Dp__RowsPushPull *msg, const struct frame_rows_limits *limits,
                        const size_t *payload_bytes, dp_error *err)
{
    if (msg->part < limits->first_part || msg->part - limits->first_part >= limits->part_count)
        return dp_fail(err, DP_RANGE, "part %u is not of this shard, which has parts %u to %llu", msg->part,
                       limits->first_part, (unsigned long long)limits->first_part + limits->part_count);
    if (msg->pull && (msg->pull_step > limits->total_steps || msg->have > limits->total_steps + 1))
        return dp_fail(err, DP_RANGE, "pull of step %llu (holding version %llu), the job has %llu steps",
                       (unsigned long long)msg->pull_step, (unsigned long long)msg->have,
                       (unsigned long long)limits->total_steps);
    dp_err rc = msg->push ? check_node(msg, limits, err) : DP_OK;
    const struct frame_part *part = &limits->parts[msg->part - limits->first_part];
    return rc == DP_OK ? check_sizes(msg, part, payload_bytes, err) : rc;
}

static uint64_t id_at(const uint8_t *ids, size_t i)
{
    uint64_t id;
    memcpy(&id, ids + i * sizeof id, sizeof id);
    return id;
}

dp_err frame_check_ids(const void *ids, const Dp__Keys *keys, const struct frame_part *part, dp_error *err)
{
    size_t count = keys->count;
    bool ascending = true;
    for (size_t i = 1; i < count; i++)
        ascending &= id_at(ids, i - 1) < id_at(ids, i);
    if (!ascending)
        return dp_fail(err, DP_PROTO, "a list of rows is not strictly ascending");
    if (count > 0 && (id_at(ids, 0) < part->first || id_at(ids, count - 1) > part->last))
        return dp_fail(err, DP_PROTO, "a list of rows goes beyond its part, which has %llu to %llu",
                       (unsigned long long)part->first, (unsigned long long)part->last);
    if (frame_keys_hash(ids, count) != keys->hash)
        return dp_fail(err, DP_PROTO, "a list of rows has another hash than is said");
    return DP_OK;
}

uint64_t frame_keys_hash(const void *ids, size_t count)
{
    return count ? XXH3_64bits(ids, count * sizeof(uint64_t)) : 0;
}
