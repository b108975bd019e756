/* Checks of each kind of message, whatever the job is.
 *
 * Invariant: every repeated field, string and number is looked at here or is harmless at any value; unknown kinds are
 * refused. Thread: any. */
#include "proto/frame_check.h"

#include <math.h>

#include "proto/frame_data.h"
#include "proto/frame_field.h"
#include "proto/frame_job.h"

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
    dp_err rc = frame_check_accepted(msg->accepted.len, err);
    if (rc == DP_OK)
        rc = frame_check_text("Error's door", msg->door, FRAME_NAME_MAX, err);
    return rc == DP_OK ? frame_check_text("Error's text", msg->text, FRAME_TEXT_MAX, err) : rc;
}

static dp_err check_hello(const Dp__Hello *msg, dp_error *err)
{
    if (msg->magic != FRAME_MAGIC)
        return dp_fail(err, DP_PROTO, "Hello with magic %#x: the peer does not speak dp's protocol", msg->magic);
    if (msg->role != DP__HELLO__ROLE__WORKER && msg->role != DP__HELLO__ROLE__CTL)
        return dp_fail(err, DP_PROTO, "Hello with unknown role %d", (int)msg->role);
    dp_err rc = frame_check_text("Hello's name", msg->name, FRAME_NAME_MAX, err);
    return rc == DP_OK ? frame_check_text("Hello's numerics", msg->numerics, FRAME_NAME_MAX, err) : rc;
}

static dp_err check_welcome(const Dp__Welcome *msg, dp_error *err)
{
    if (msg->heartbeat_ms == 0 || msg->lease_ms < msg->heartbeat_ms)
        return dp_fail(err, DP_PROTO, "Welcome with a heartbeat of %u ms and a lease of %u ms", msg->heartbeat_ms,
                       msg->lease_ms);
    dp_err rc = frame_check_text("Welcome's version", msg->version, FRAME_NAME_MAX, err);
    if (rc == DP_OK)
        rc = frame_check_text("Welcome's host", msg->host, FRAME_NAME_MAX, err);
    return rc == DP_OK ? frame_check_job(msg->job, err) : rc;
}

static dp_err check_dataset(const Dp__Dataset *set, dp_error *err)
{
    dp_err rc = frame_check_text("a data set's name", set->name, FRAME_TEXT_MAX, err);
    if (rc == DP_OK)
        rc = frame_check_labels(set->n_labels, set->labels, err);
    for (size_t i = 1; rc == DP_OK && i < set->n_labels; i++)
        if (set->labels[i] <= set->labels[i - 1])
            return dp_fail(err, DP_PROTO, "labels of a data set are not distinct and ascending");
    if (rc == DP_OK && !(isfinite(set->zero_loss) && set->zero_loss >= 0))
        return dp_fail(err, DP_PROTO, "a data set whose loss of theta = 0 is no number from 0 on");
    if (rc == DP_OK && set->majority > set->rows)
        return dp_fail(err, DP_PROTO, "a data set with more rows of one label than rows");
    return rc == DP_OK ? frame_check_text("the names of a data set's columns", set->scales, FRAME_TEXT_MAX, err) : rc;
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
        rc = frame_check_tensors(msg->n_tensors, msg->tensors, &total, err);
    if (rc == DP_OK)
        rc = frame_check_count("classes", msg->classes, FRAME_LABELS_MAX, err);
    if (rc == DP_OK)
        rc = frame_check_schema(msg->schema, err);
    if (rc == DP_OK)
        rc = frame_check_labels(msg->n_labels, msg->labels, err);
    return rc == DP_OK ? frame_check_label_texts(msg->n_label_texts, msg->label_texts, msg->n_labels, err) : rc;
}

static dp_err check_joined(const Dp__Joined *msg, dp_error *err)
{
    dp_err rc = frame_check_job(msg->job, err);
    if (rc == DP_OK && (msg->job->n_tensors == 0 || msg->job->n_shards == 0))
        return dp_fail(err, DP_PROTO, "Joined without tensors or without shards");
    return rc;
}

static dp_err check_slots(size_t count, const uint32_t *slots, dp_error *err)
{
    dp_err rc = frame_check_count("slots", count, FRAME_SLOTS_MAX, err);
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
    return frame_check_text("Export's path", msg->on_server, FRAME_TEXT_MAX, err);
}

static dp_err check_set(const Dp__Set *set, dp_error *err)
{
    dp_err rc = frame_check_name("the setting", set->name, FRAME_NAME_MAX, err);
    return rc == DP_OK ? frame_check_text("the setting's value", set->text, FRAME_NAME_MAX, err) : rc;
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
        return frame_check_text("Bye's text", header->bye->text, FRAME_TEXT_MAX, err);
    case DP__HEADER__BODY_NOTICE:
        return frame_check_text("Notice's text", header->notice->text, FRAME_TEXT_MAX, err);
    case DP__HEADER__BODY_STALL:
        return frame_check_text("Stall's text", header->stall->text, FRAME_TEXT_MAX, err);
    case DP__HEADER__BODY_SET:
        return check_set(header->set, err);
    case DP__HEADER__BODY_EXPORT:
        return check_export(header->export, err);
    case DP__HEADER__BODY_CHECKPOINTED:
        return frame_check_text("Checkpointed's path", header->checkpointed->path, FRAME_TEXT_MAX, err);
    case DP__HEADER__BODY_HELD:
        return frame_check_accepted(header->held->accepted.len, err);
    case DP__HEADER__BODY_ASK:
    case DP__HEADER__BODY_HEARTBEAT:
    case DP__HEADER__BODY_HEARTBEAT_ACK:
    case DP__HEADER__BODY_STATUS_REQUEST:
    case DP__HEADER__BODY_STATUS:
    case DP__HEADER__BODY_APPLIED:
    case DP__HEADER__BODY_CHECKPOINT:
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
    if (frame_check_data(header, payload_count, &data_plane, err))
        return data_plane;
    size_t want = header->body_case == DP__HEADER__BODY_STATUS ? 1 : 0;
    dp_err rc = check_control(header, err);
    return rc == DP_OK ? frame_check_payload("control message", payload_count, want, want, err) : rc;
}
