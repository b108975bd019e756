/* What must hold for each kind of message, whatever the job is.
 *
 * Invariant: every repeated field, string and number is looked at here or is harmless at any value; unknown kinds are
 * refused. Thread: any. */
#include "proto/frame_check.h"

#include <math.h>
#include <string.h>

#include "common/base/text.h"
#include "common/tensor/schema.h"
#include "common/tensor/tensor.h"
#include "proto/frame_rows.h"

static dp_err check_text(const char *what, const char *text, size_t max, dp_error *err)
{
    size_t length = strnlen(text, max + 1);
    if (length > max)
        return dp_fail(err, DP_PROTO, "%s is longer than %zu bytes", what, max);
    if (!text_printable(text, length))
        return dp_fail(err, DP_PROTO, "%s has characters that cannot be printed", what);
    return DP_OK;
}

/* A text that must not be empty. */
static dp_err check_name(const char *what, const char *text, size_t max, dp_error *err)
{
    if (!text[0])
        return dp_fail(err, DP_PROTO, "%s is empty", what);
    return check_text(what, text, max, err);
}

static dp_err check_count(const char *what, size_t count, size_t max, dp_error *err)
{
    if (count > max)
        return dp_fail(err, DP_PROTO, "%zu %s, at most %zu are allowed", count, what, max);
    return DP_OK;
}

static dp_err check_payload(const char *what, size_t count, size_t min, size_t max, dp_error *err)
{
    if (count < min || count > max)
        return dp_fail(err, DP_PROTO, "%s with %zu payload frames instead of %zu", what, count,
                       count < min ? min : max);
    return DP_OK;
}

/* class -> label. */
static dp_err check_labels(size_t count, const double *labels, dp_error *err)
{
    dp_err rc = check_count("labels", count, FRAME_LABELS_MAX, err);
    for (size_t i = 0; rc == DP_OK && i < count; i++)
        if (!isfinite(labels[i]))
            return dp_fail(err, DP_PROTO, "a label is not a finite number");
    return rc;
}

/* Texts of labels, beside which there are as many numbers or none. */
static dp_err check_label_texts(size_t count, char *const *texts, size_t numbers, dp_error *err)
{
    size_t bytes = 0;
    dp_err rc = check_count("labels", count, FRAME_LABELS_MAX, err);
    if (rc == DP_OK && count > 0 && numbers > 0 && numbers != count)
        return dp_fail(err, DP_PROTO, "%zu texts of labels for %zu labels", count, numbers);
    for (size_t i = 0; rc == DP_OK && i < count; i++) {
        rc = check_name("a label", texts[i], FRAME_LABEL_MAX, err);
        bytes += rc == DP_OK ? strlen(texts[i]) : 0;
        if (bytes > FRAME_LABELS_BYTES_MAX)
            return dp_fail(err, DP_PROTO, "labels of more than %d bytes", FRAME_LABELS_BYTES_MAX);
    }
    return rc;
}

dp_err frame_check_metrics(const char *what, const Dp__Metrics *metrics, dp_error *err)
{
    if (!metrics)
        return DP_OK;
    if (metrics->count > FRAME_SAMPLES_MAX)
        return dp_fail(err, DP_PROTO, "%s of %llu samples, at most %llu are allowed", what,
                       (unsigned long long)metrics->count, (unsigned long long)FRAME_SAMPLES_MAX);
    if (metrics->correct > metrics->count)
        return dp_fail(err, DP_PROTO, "%s with more samples predicted right than there are", what);
    if (metrics->count == 0 && !(metrics->loss == 0))
        return dp_fail(err, DP_PROTO, "%s with a loss of no samples", what);
    return DP_OK;
}

static dp_err check_push_pull(const Dp__PushPull *msg, size_t payload_count, dp_error *err)
{
    if (!msg->push && !msg->pull)
        return dp_fail(err, DP_PROTO, "PushPull that neither pushes nor pulls");
    if (msg->level > FRAME_LEVEL_MAX || (uint64_t)msg->index << msg->level >= FRAME_SLOTS_MAX)
        return dp_fail(err, DP_PROTO, "PushPull of node (%u, %u), a tree has at most %d slots", msg->level, msg->index,
                       FRAME_SLOTS_MAX);
    dp_err rc = frame_check_metrics("PushPull", msg->metrics, err);
    if (rc != DP_OK)
        return rc;
    if (msg->slab && !msg->push)
        return dp_fail(err, DP_PROTO, "PushPull with a slab and no push");
    return check_payload("PushPull", payload_count, 0, msg->push && !msg->slab ? 1 : 0, err);
}

static dp_err check_accepted(size_t bytes, dp_error *err)
{
    if (bytes > FRAME_SLOTS_MAX / 8)
        return dp_fail(err, DP_PROTO, "a set of accepted slots of %zu bytes", bytes);
    return DP_OK;
}

static dp_err check_params(const Dp__Params *msg, size_t payload_count, dp_error *err)
{
    if (msg->staleness > FRAME_STALENESS_MAX)
        return dp_fail(err, DP_PROTO, "a staleness of %u steps", msg->staleness);
    dp_err rc = check_accepted(msg->accepted.len, err);
    if (rc != DP_OK)
        return rc;
    bool bare = msg->unchanged || msg->last;
    if (bare && msg->plane)
        return dp_fail(err, DP_PROTO, "Params in a plane that have no values");
    size_t want = bare || msg->plane ? 0 : 1;
    return check_payload("Params", payload_count, want, want, err);
}

static dp_err check_error(const Dp__Error *msg, dp_error *err)
{
    if (msg->code == DP_OK)
        return dp_fail(err, DP_PROTO, "Error without a code");
    if (msg->challenge.len != 0 && (msg->challenge.len != FRAME_CHALLENGE_BYTES || msg->code != DP_REFUSED))
        return dp_fail(err, DP_PROTO, "Error %u with a challenge of %zu bytes", msg->code, msg->challenge.len);
    if (msg->hang_up && msg->code != DP_BUSY)
        return dp_fail(err, DP_PROTO, "Error that asks to come again, with another code than BUSY");
    if (msg->not_dealt && msg->code != DP_REFUSED)
        return dp_fail(err, DP_PROTO, "Error %u of slots that are not dealt, which is REFUSED", msg->code);
    dp_err rc = check_accepted(msg->accepted.len, err);
    if (rc == DP_OK)
        rc = check_text("Error's door", msg->door, FRAME_NAME_MAX, err);
    return rc == DP_OK ? check_text("Error's text", msg->text, FRAME_TEXT_MAX, err) : rc;
}

static dp_err check_hello(const Dp__Hello *msg, dp_error *err)
{
    if (msg->magic != FRAME_MAGIC)
        return dp_fail(err, DP_PROTO, "Hello with magic %#x: the peer does not speak dp's protocol", msg->magic);
    if (msg->role != DP__HELLO__ROLE__WORKER && msg->role != DP__HELLO__ROLE__CTL)
        return dp_fail(err, DP_PROTO, "Hello with unknown role %d", (int)msg->role);
    dp_err rc = check_text("Hello's name", msg->name, FRAME_NAME_MAX, err);
    return rc == DP_OK ? check_text("Hello's numerics", msg->numerics, FRAME_NAME_MAX, err) : rc;
}

static dp_err check_tensor(const Dp__Tensor *tensor, uint64_t *total, dp_error *err)
{
    dp_err rc = check_name("a tensor's name", tensor->name, TENSOR_NAME_MAX - 1, err);
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
        return frame_check_table(tensor, err);
    if (elems > FRAME_ELEMS_MAX - *total)
        return dp_fail(err, DP_PROTO, "tensors of more than %llu elements", (unsigned long long)FRAME_ELEMS_MAX);
    *total += elems;
    return DP_OK;
}

/* A shard's range begins where the one before ends (*at), and its slices make up its range. */
static dp_err check_shard(const Dp__Shard *shard, uint64_t *at, size_t *slices, dp_error *err)
{
    dp_err rc = check_name("a shard's endpoint", shard->endpoint, FRAME_TEXT_MAX, err);
    if (rc != DP_OK)
        return rc;
    rc = check_text("a shard's socket for shared memory", shard->shm, FRAME_NAME_MAX, err);
    if (rc != DP_OK)
        return rc;
    if (shard->first != *at)
        return dp_fail(err, DP_PROTO, "shard %s does not begin where the one before ends", shard->endpoint);
    *slices += shard->n_slices;
    rc = check_count("slices", *slices, FRAME_SLICES_MAX, err);
    for (size_t i = 0; rc == DP_OK && i < shard->n_slices; i++) {
        uint64_t elems = shard->slices[i];
        if (elems == 0 || elems > SLICE_BYTES / sizeof(float))
            return dp_fail(err, DP_PROTO, "shard %s has a slice of %llu elements", shard->endpoint,
                           (unsigned long long)elems);
        *at += elems;
    }
    return rc;
}

static dp_err check_tensors(size_t count, Dp__Tensor *const *tensors, uint64_t *ret_total, dp_error *err)
{
    uint64_t total = 0;
    dp_err rc = check_count("tensors", count, TENSOR_COUNT_MAX, err);
    for (size_t i = 0; rc == DP_OK && i < count; i++)
        rc = check_tensor(tensors[i], &total, err);
    if (rc == DP_OK)
        *ret_total = total;
    return rc;
}

/* The tensors' elements are what the shards' slices add up to. */
static dp_err check_layout(const Dp__Job *job, dp_error *err)
{
    uint64_t total = 0, at = 0;
    size_t slices = 0;
    dp_err rc = check_tensors(job->n_tensors, job->tensors, &total, err);
    if (rc == DP_OK)
        rc = check_count("shards", job->n_shards, FRAME_SHARDS_MAX, err);
    for (size_t i = 0; rc == DP_OK && i < job->n_shards; i++)
        rc = check_shard(job->shards[i], &at, &slices, err);
    if (rc == DP_OK && job->n_shards > 0 && at != total)
        return dp_fail(err, DP_PROTO, "slices of %llu elements for tensors of %llu", (unsigned long long)at,
                       (unsigned long long)total);
    return rc == DP_OK ? frame_check_parts(job, err) : rc;
}

/* Names of columns; `empty` ones only among those that are not read. */
static dp_err check_columns(const char *what, size_t count, char *const *names, bool empty, size_t *bytes,
                            dp_error *err)
{
    dp_err rc = check_count(what, count, SCHEMA_NAMES_MAX, err);
    for (size_t i = 0; rc == DP_OK && i < count; i++) {
        rc = empty ? check_text("a column's name", names[i], SCHEMA_NAME_BYTES_MAX, err)
                   : check_name("a column's name", names[i], SCHEMA_NAME_BYTES_MAX, err);
        *bytes += rc == DP_OK ? strlen(names[i]) : 0;
    }
    return rc;
}

static dp_err check_schema(const Dp__Schema *schema, dp_error *err)
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
        rc = check_text("the label's name", schema->label, SCHEMA_NAME_BYTES_MAX, err);
    return rc == DP_OK ? check_text("a schema's note", schema->note, FRAME_TEXT_MAX, err) : rc;
}

static dp_err check_job(const Dp__Job *job, dp_error *err)
{
    if (!job)
        return dp_fail(err, DP_PROTO, "a job is missing");
    dp_err rc = check_name("the job's model", job->model, FRAME_TEXT_MAX, err);
    if (rc == DP_OK && (job->block_rows == 0) != (job->window_blocks == 0))
        return dp_fail(err, DP_PROTO, "a job whose blocks have %llu rows, and its windows %u blocks",
                       (unsigned long long)job->block_rows, job->window_blocks);
    if (rc == DP_OK && job->block_rows > (uint64_t)1 << 32)
        return dp_fail(err, DP_PROTO, "a job with blocks of more than 2^32 rows");
    if (rc == DP_OK && (job->slots == 0 || job->slots > FRAME_SLOTS_MAX))
        return dp_fail(err, DP_PROTO, "a job of %u slots, 1 to %d are allowed", job->slots, FRAME_SLOTS_MAX);
    if (rc == DP_OK)
        rc = check_count("hash bits", job->hash_bits, FRAME_HASH_BITS_MAX, err);
    if (rc == DP_OK)
        rc = check_count("classes", job->classes, FRAME_LABELS_MAX, err);
    if (rc == DP_OK)
        rc = check_labels(job->n_labels, job->labels, err);
    if (rc == DP_OK)
        rc = check_schema(job->schema, err);
    if (rc == DP_OK)
        rc = check_label_texts(job->n_label_texts, job->label_texts, job->n_labels, err);
    if (rc == DP_OK)
        rc = check_count("classes", job->classes_asked, FRAME_LABELS_MAX, err);
    if (rc == DP_OK)
        rc = check_label_texts(job->n_labels_asked, job->labels_asked, 0, err);
    return rc == DP_OK ? check_layout(job, err) : rc;
}

static dp_err check_welcome(const Dp__Welcome *msg, dp_error *err)
{
    if (msg->heartbeat_ms == 0 || msg->lease_ms < msg->heartbeat_ms)
        return dp_fail(err, DP_PROTO, "Welcome with a heartbeat of %u ms and a lease of %u ms", msg->heartbeat_ms,
                       msg->lease_ms);
    dp_err rc = check_text("Welcome's version", msg->version, FRAME_NAME_MAX, err);
    if (rc == DP_OK)
        rc = check_text("Welcome's host", msg->host, FRAME_NAME_MAX, err);
    return rc == DP_OK ? check_job(msg->job, err) : rc;
}

static dp_err check_dataset(const Dp__Dataset *set, dp_error *err)
{
    dp_err rc = check_text("a data set's name", set->name, FRAME_TEXT_MAX, err);
    if (rc == DP_OK)
        rc = check_labels(set->n_labels, set->labels, err);
    for (size_t i = 1; rc == DP_OK && i < set->n_labels; i++)
        if (set->labels[i] <= set->labels[i - 1])
            return dp_fail(err, DP_PROTO, "labels of a data set are not distinct and ascending");
    if (rc == DP_OK && !(isfinite(set->zero_loss) && set->zero_loss >= 0))
        return dp_fail(err, DP_PROTO, "a data set whose loss of theta = 0 is no number from 0 on");
    if (rc == DP_OK && set->majority > set->rows)
        return dp_fail(err, DP_PROTO, "a data set with more rows of one label than rows");
    return rc == DP_OK ? check_text("the names of a data set's columns", set->scales, FRAME_TEXT_MAX, err) : rc;
}

static dp_err check_join(const Dp__Join *msg, dp_error *err)
{
    if (msg->n_tensors == 0)
        return dp_fail(err, DP_PROTO, "Join without tensors");
    uint64_t total;
    dp_err rc = msg->train ? check_dataset(msg->train, err) : DP_OK;
    if (rc == DP_OK && msg->eval)
        rc = check_dataset(msg->eval, err);
    if (rc == DP_OK)
        rc = check_tensors(msg->n_tensors, msg->tensors, &total, err);
    if (rc == DP_OK)
        rc = check_count("classes", msg->classes, FRAME_LABELS_MAX, err);
    if (rc == DP_OK)
        rc = check_schema(msg->schema, err);
    if (rc == DP_OK)
        rc = check_labels(msg->n_labels, msg->labels, err);
    return rc == DP_OK ? check_label_texts(msg->n_label_texts, msg->label_texts, msg->n_labels, err) : rc;
}

static dp_err check_joined(const Dp__Joined *msg, dp_error *err)
{
    dp_err rc = check_job(msg->job, err);
    if (rc == DP_OK && (msg->job->n_tensors == 0 || msg->job->n_shards == 0))
        return dp_fail(err, DP_PROTO, "Joined without tensors or without shards");
    return rc;
}

static dp_err check_slots(size_t count, const uint32_t *slots, dp_error *err)
{
    dp_err rc = check_count("slots", count, FRAME_SLOTS_MAX, err);
    for (size_t i = 0; rc == DP_OK && i < count; i++)
        if (slots[i] >= FRAME_SLOTS_MAX || (i > 0 && slots[i] <= slots[i - 1]))
            return dp_fail(err, DP_PROTO, "Assign with slots that are not distinct, ascending and below %d",
                           FRAME_SLOTS_MAX);
    return rc;
}

static dp_err check_assign(const Dp__Assign *msg, dp_error *err)
{
    dp_err rc = check_slots(msg->n_slots, msg->slots, err);
    return rc == DP_OK ? check_slots(msg->n_extra_slots, msg->extra_slots, err) : rc;
}

static dp_err check_export(const Dp__Export *msg, dp_error *err)
{
    if (msg->id == 0)
        return dp_fail(err, DP_PROTO, "Export without an id");
    if (msg->offset % 4)
        return dp_fail(err, DP_PROTO, "Export from byte %llu, which is no multiple of 4",
                       (unsigned long long)msg->offset);
    bool asks = !msg->done && !msg->on_server[0];
    if (asks ? msg->bytes == 0 || msg->bytes > FRAME_EXPORT_BYTES_MAX || msg->bytes % 4 : msg->bytes != 0)
        return dp_fail(err, DP_PROTO, "Export of %u bytes", msg->bytes);
    return check_text("Export's path", msg->on_server, FRAME_TEXT_MAX, err);
}

static dp_err check_exported(const Dp__Exported *msg, size_t payload_count, dp_error *err)
{
    if (msg->offset > msg->total || (payload_count > 0 && msg->offset == msg->total))
        return dp_fail(err, DP_PROTO, "Exported from byte %llu of %llu", (unsigned long long)msg->offset,
                       (unsigned long long)msg->total);
    dp_err rc = check_text("Exported's path", msg->path, FRAME_TEXT_MAX, err);
    return rc == DP_OK ? check_payload("Exported", payload_count, 0, 1, err) : rc;
}

/* Kinds that carry a payload have their own rule for it; false for the others. */
static bool check_data_plane(const Dp__Header *header, size_t payload_count, dp_err *ret_code, dp_error *err)
{
    switch (header->body_case) {
    case DP__HEADER__BODY_PUSH_PULL:
        *ret_code = check_push_pull(header->push_pull, payload_count, err);
        return true;
    case DP__HEADER__BODY_PARAMS:
        *ret_code = check_params(header->params, payload_count, err);
        return true;
    case DP__HEADER__BODY_ROWS_PUSH_PULL:
        *ret_code = frame_check_rows_push_pull(header->rows_push_pull, payload_count, err);
        return true;
    case DP__HEADER__BODY_ROWS:
        *ret_code = frame_check_rows(header->rows, payload_count, err);
        return true;
    case DP__HEADER__BODY_EXPORTED:
        *ret_code = check_exported(header->exported, payload_count, err);
        return true;
    default:
        return false;
    }
}

static dp_err check_set(const Dp__Set *set, dp_error *err)
{
    dp_err rc = check_name("the setting", set->name, FRAME_NAME_MAX, err);
    return rc == DP_OK ? check_text("the setting's value", set->text, FRAME_NAME_MAX, err) : rc;
}

static dp_err check_control(const Dp__Header *header, dp_error *err)
{
    switch (header->body_case) {
    case DP__HEADER__BODY_ERROR:
        return check_error(header->error, err);
    case DP__HEADER__BODY_HELLO:
        return check_hello(header->hello, err);
    case DP__HEADER__BODY_WELCOME:
        return check_welcome(header->welcome, err);
    case DP__HEADER__BODY_JOIN:
        return check_join(header->join, err);
    case DP__HEADER__BODY_JOINED:
        return check_joined(header->joined, err);
    case DP__HEADER__BODY_ASSIGN:
        return check_assign(header->assign, err);
    case DP__HEADER__BODY_BYE:
        return check_text("Bye's text", header->bye->text, FRAME_TEXT_MAX, err);
    case DP__HEADER__BODY_NOTICE:
        return check_text("Notice's text", header->notice->text, FRAME_TEXT_MAX, err);
    case DP__HEADER__BODY_STALL:
        return check_text("Stall's text", header->stall->text, FRAME_TEXT_MAX, err);
    case DP__HEADER__BODY_SET:
        return check_set(header->set, err);
    case DP__HEADER__BODY_EXPORT:
        return check_export(header->export, err);
    case DP__HEADER__BODY_HELD:
        return check_accepted(header->held->accepted.len, err);
    case DP__HEADER__BODY_ASK:
    case DP__HEADER__BODY_HEARTBEAT:
    case DP__HEADER__BODY_HEARTBEAT_ACK:
    case DP__HEADER__BODY_STATUS_REQUEST:
    case DP__HEADER__BODY_STATUS:
    case DP__HEADER__BODY_APPLIED:
        return DP_OK; /* numbers only: any value is harmless */
    default:
        return dp_fail(err, DP_PROTO, "a kind of message that this version does not know");
    }
}

dp_err frame_check_body(const Dp__Header *header, size_t payload_count, dp_error *err)
{
    dp_err data_plane;
    if (header->proof.len != 0 && header->proof.len != FRAME_PROOF_BYTES)
        return dp_fail(err, DP_PROTO, "a proof of %zu bytes instead of %d", header->proof.len, FRAME_PROOF_BYTES);
    if (check_data_plane(header, payload_count, &data_plane, err))
        return data_plane;
    size_t want = header->body_case == DP__HEADER__BODY_STATUS ? 1 : 0;
    dp_err rc = check_control(header, err);
    return rc == DP_OK ? check_payload("control message", payload_count, want, want, err) : rc;
}
