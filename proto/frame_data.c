/* Messages that carry values; see frame_data.h. Thread: any. */
#include "proto/frame_data.h"

#include "proto/frame_field.h"
#include "proto/frame_rows.h"

static dp_err check_metrics(const char *what, const Dp__Metrics *metrics, dp_error *err)
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
    dp_err rc = check_metrics("PushPull", msg->metrics, err);
    if (rc != DP_OK)
        return rc;
    if (msg->slab && !msg->push)
        return dp_fail(err, DP_PROTO, "PushPull with a slab and no push");
    return frame_check_payload("PushPull", payload_count, 0, msg->push && !msg->slab ? 1 : 0, err);
}

static dp_err check_params(const Dp__Params *msg, size_t payload_count, dp_error *err)
{
    if (msg->staleness > FRAME_STALENESS_MAX)
        return dp_fail(err, DP_PROTO, "a staleness of %u steps", msg->staleness);
    dp_err rc = frame_check_accepted(msg->accepted.len, err);
    if (rc != DP_OK)
        return rc;
    bool bare = msg->unchanged || msg->last;
    if (bare && msg->plane)
        return dp_fail(err, DP_PROTO, "Params in a plane that have no values");
    size_t want = bare || msg->plane ? 0 : 1;
    return frame_check_payload("Params", payload_count, want, want, err);
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

static dp_err check_rows_push_pull(const Dp__RowsPushPull *msg, size_t payload_count, dp_error *err)
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
    dp_err rc = check_metrics("RowsPushPull", msg->metrics, err);
    if (rc == DP_OK)
        rc = check_keys(msg->push_keys, err);
    if (rc == DP_OK)
        rc = check_keys(msg->pull_keys, err);
    size_t want = frame_rows_of(msg).count;
    if (rc == DP_OK && payload_count != want)
        return dp_fail(err, DP_PROTO, "RowsPushPull with %zu payload frames instead of %zu", payload_count, want);
    return rc;
}

static dp_err check_rows(const Dp__Rows *msg, size_t payload_count, dp_error *err)
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

static dp_err check_exported(const Dp__Exported *msg, size_t payload_count, dp_error *err)
{
    if (msg->offset > msg->total || (payload_count > 0 && msg->offset == msg->total))
        return dp_fail(err, DP_PROTO, "Exported from byte %llu of %llu", (unsigned long long)msg->offset,
                       (unsigned long long)msg->total);
    dp_err rc = frame_check_text("Exported's path", msg->path, FRAME_TEXT_MAX, err);
    return rc == DP_OK ? frame_check_payload("Exported", payload_count, 0, 1, err) : rc;
}

bool frame_check_data(const Dp__Header *header, size_t payload_count, dp_err *ret_code, dp_error *err)
{
    switch (header->body_case) {
    case DP__HEADER__BODY_PUSH_PULL:
        *ret_code = check_push_pull(header->push_pull, payload_count, err);
        return true;
    case DP__HEADER__BODY_PARAMS:
        *ret_code = check_params(header->params, payload_count, err);
        return true;
    case DP__HEADER__BODY_ROWS_PUSH_PULL:
        *ret_code = check_rows_push_pull(header->rows_push_pull, payload_count, err);
        return true;
    case DP__HEADER__BODY_ROWS:
        *ret_code = check_rows(header->rows, payload_count, err);
        return true;
    case DP__HEADER__BODY_EXPORTED:
        *ret_code = check_exported(header->exported, payload_count, err);
        return true;
    default:
        return false;
    }
}
