/* The job in messages: its tensors, shards, labels and columns; see frame_job.h. Thread: any. */
#include "proto/frame_job.h"

#include <math.h>
#include <string.h>

#include "common/tensor/schema.h"
#include "common/tensor/tensor.h"
#include "proto/frame_field.h"

/* class -> label. */
dp_err frame_check_labels(size_t count, const double *labels, dp_error *err)
{
    dp_err rc = frame_check_count("labels", count, FRAME_LABELS_MAX, err);
    for (size_t i = 0; rc == DP_OK && i < count; i++)
        if (!isfinite(labels[i]))
            return dp_fail(err, DP_PROTO, "a label is not a finite number");
    return rc;
}

/* Texts of labels, beside which there are as many numbers or none. */
dp_err frame_check_label_texts(size_t count, char *const *texts, size_t numbers, dp_error *err)
{
    size_t bytes = 0;
    dp_err rc = frame_check_count("labels", count, FRAME_LABELS_MAX, err);
    if (rc == DP_OK && count > 0 && numbers > 0 && numbers != count)
        return dp_fail(err, DP_PROTO, "%zu texts of labels for %zu labels", count, numbers);
    for (size_t i = 0; rc == DP_OK && i < count; i++) {
        rc = frame_check_name("a label", texts[i], FRAME_LABEL_MAX, err);
        bytes += rc == DP_OK ? strlen(texts[i]) : 0;
        if (bytes > FRAME_LABELS_BYTES_MAX)
            return dp_fail(err, DP_PROTO, "labels of more than %d bytes", FRAME_LABELS_BYTES_MAX);
    }
    return rc;
}

static dp_err check_table(const Dp__Tensor *tensor, dp_error *err)
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

static dp_err check_tensor(const Dp__Tensor *tensor, uint64_t *total, dp_error *err)
{
    dp_err rc = frame_check_name("a tensor's name", tensor->name, TENSOR_NAME_MAX - 1, err);
    if (rc != DP_OK)
        return rc;
    if (tensor->n_shape == 0 || tensor->n_shape > TENSOR_RANK_MAX)
        return dp_fail(err, DP_PROTO, "tensor %s has rank %zu", tensor->name, tensor->n_shape);
    if (tensor->init > INIT_HE_UNIFORM || !isfinite(tensor->init_arg))
        return dp_fail(err, DP_PROTO, "tensor %s has an unknown initializer", tensor->name);
    uint64_t elems = 1;
    for (size_t i = 0; i < tensor->n_shape; i++)
        if (tensor->shape[i] == 0 || __builtin_mul_overflow(elems, tensor->shape[i], &elems))
            return dp_fail(err, DP_PROTO, "tensor %s has an impossible shape", tensor->name);
    if (tensor->kind != DP__TENSOR__KIND__DENSE)
        return check_table(tensor, err);
    if (elems > FRAME_ELEMS_MAX - *total)
        return dp_fail(err, DP_PROTO, "tensors of more than %llu elements", (unsigned long long)FRAME_ELEMS_MAX);
    *total += elems;
    return DP_OK;
}

dp_err frame_check_tensors(size_t count, Dp__Tensor *const *tensors, uint64_t *ret_total, dp_error *err)
{
    uint64_t total = 0;
    dp_err rc = frame_check_count("tensors", count, TENSOR_COUNT_MAX, err);
    for (size_t i = 0; rc == DP_OK && i < count; i++)
        rc = check_tensor(tensors[i], &total, err);
    if (rc == DP_OK)
        *ret_total = total;
    return rc;
}

/* A shard's range begins where the one before ends (*at), and its slices make up its range. */
static dp_err check_shard(const Dp__Shard *shard, uint64_t *at, size_t *slices, dp_error *err)
{
    dp_err rc = frame_check_name("a shard's endpoint", shard->endpoint, FRAME_TEXT_MAX, err);
    if (rc != DP_OK)
        return rc;
    rc = frame_check_text("a shard's socket for shared memory", shard->shm, FRAME_NAME_MAX, err);
    if (rc != DP_OK)
        return rc;
    if (shard->first != *at)
        return dp_fail(err, DP_PROTO, "shard %s does not begin where the one before ends", shard->endpoint);
    *slices += shard->n_slices;
    rc = frame_check_count("slices", *slices, FRAME_SLICES_MAX, err);
    for (size_t i = 0; rc == DP_OK && i < shard->n_slices; i++) {
        uint64_t elems = shard->slices[i];
        if (elems == 0 || elems > SLICE_BYTES / sizeof(float))
            return dp_fail(err, DP_PROTO, "shard %s has a slice of %llu elements", shard->endpoint,
                           (unsigned long long)elems);
        *at += elems;
    }
    return rc;
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

static dp_err check_parts(const Dp__Job *job, dp_error *err)
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

/* The tensors' elements are what the shards' slices add up to. */
static dp_err check_layout(const Dp__Job *job, dp_error *err)
{
    uint64_t total = 0, at = 0;
    size_t slices = 0;
    dp_err rc = frame_check_tensors(job->n_tensors, job->tensors, &total, err);
    if (rc == DP_OK)
        rc = frame_check_count("shards", job->n_shards, FRAME_SHARDS_MAX, err);
    for (size_t i = 0; rc == DP_OK && i < job->n_shards; i++)
        rc = check_shard(job->shards[i], &at, &slices, err);
    if (rc == DP_OK && job->n_shards > 0 && at != total)
        return dp_fail(err, DP_PROTO, "slices of %llu elements for tensors of %llu", (unsigned long long)at,
                       (unsigned long long)total);
    return rc == DP_OK ? check_parts(job, err) : rc;
}

/* Names of columns; `empty` ones only among those that are not read. */
static dp_err check_columns(const char *what, size_t count, char *const *names, bool empty, size_t *bytes,
                            dp_error *err)
{
    dp_err rc = frame_check_count(what, count, SCHEMA_NAMES_MAX, err);
    for (size_t i = 0; rc == DP_OK && i < count; i++) {
        rc = empty ? frame_check_text("a column's name", names[i], SCHEMA_NAME_BYTES_MAX, err)
                   : frame_check_name("a column's name", names[i], SCHEMA_NAME_BYTES_MAX, err);
        *bytes += rc == DP_OK ? strlen(names[i]) : 0;
    }
    return rc;
}

dp_err frame_check_schema(const Dp__Schema *schema, dp_error *err)
{
    size_t bytes = 0;
    if (!schema)
        return DP_OK;
    if (schema->format > SCHEMA_IDX)
        return dp_fail(err, DP_PROTO, "a schema of format %u", schema->format);
    dp_err rc = check_columns("names of features", schema->n_names, schema->names, false, &bytes, err);
    if (rc == DP_OK)
        rc = check_columns("ignored columns", schema->n_ignored, schema->ignored, true, &bytes, err);
    if (rc == DP_OK && bytes > SCHEMA_TEXT_BYTES_MAX)
        return dp_fail(err, DP_PROTO, "a schema with names of %zu bytes, at most %d are allowed", bytes,
                       SCHEMA_TEXT_BYTES_MAX);
    if (rc == DP_OK && schema->label_number > schema->fields)
        return dp_fail(err, DP_PROTO, "a schema whose label is column %llu of %llu",
                       (unsigned long long)schema->label_number, (unsigned long long)schema->fields);
    if (rc == DP_OK)
        rc = frame_check_text("the label's name", schema->label, SCHEMA_NAME_BYTES_MAX, err);
    return rc == DP_OK ? frame_check_text("a schema's note", schema->note, FRAME_TEXT_MAX, err) : rc;
}

dp_err frame_check_job(const Dp__Job *job, dp_error *err)
{
    if (!job)
        return dp_fail(err, DP_PROTO, "a job is missing");
    dp_err rc = frame_check_name("the job's model", job->model, FRAME_TEXT_MAX, err);
    if (rc == DP_OK && (job->block_rows == 0) != (job->window_blocks == 0))
        return dp_fail(err, DP_PROTO, "a job whose blocks have %llu rows, and its windows %u blocks",
                       (unsigned long long)job->block_rows, job->window_blocks);
    if (rc == DP_OK && job->block_rows > (uint64_t)1 << 32)
        return dp_fail(err, DP_PROTO, "a job with blocks of more than 2^32 rows");
    if (rc == DP_OK && (job->slots == 0 || job->slots > FRAME_SLOTS_MAX))
        return dp_fail(err, DP_PROTO, "a job of %u slots, 1 to %d are allowed", job->slots, FRAME_SLOTS_MAX);
    if (rc == DP_OK)
        rc = frame_check_count("hash bits", job->hash_bits, FRAME_HASH_BITS_MAX, err);
    if (rc == DP_OK)
        rc = frame_check_count("classes", job->classes, FRAME_LABELS_MAX, err);
    if (rc == DP_OK)
        rc = frame_check_labels(job->n_labels, job->labels, err);
    if (rc == DP_OK)
        rc = frame_check_schema(job->schema, err);
    if (rc == DP_OK)
        rc = frame_check_label_texts(job->n_label_texts, job->label_texts, job->n_labels, err);
    if (rc == DP_OK)
        rc = frame_check_count("classes", job->classes_asked, FRAME_LABELS_MAX, err);
    if (rc == DP_OK)
        rc = frame_check_label_texts(job->n_labels_asked, job->labels_asked, 0, err);
    return rc == DP_OK ? check_layout(job, err) : rc;
}
