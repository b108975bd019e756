/* The question for the status document. Thread: any. */
#include "worker/ctl/ask_status.h"

static dp_err parse(const struct ctl_connection *connection, zmq_msg_t *payload, json_t **ret_status, dp_error *err)
{
    json_error_t why;
    json_t *status = json_loadb(zmq_msg_data(payload), zmq_msg_size(payload), JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(status)) {
        json_decref(status);
        return dp_fail(err, DP_PROTO, "%s sent a status that is no JSON object", connection->server);
    }
    *ret_status = status;
    return DP_OK;
}

dp_err ctl_ask_status(struct ctl_connection *connection, json_t **ret_status, dp_error *err)
{
    Dp__StatusRequest body = DP__STATUS_REQUEST__INIT;
    Dp__Header question = DP__HEADER__INIT;
    const Dp__Header *answer;
    zmq_msg_t payload;
    zmq_msg_init(&payload);
    question.body_case = DP__HEADER__BODY_STATUS_REQUEST;
    question.status_request = &body;
    dp_err e = ctl_ask(connection, &question, DP__HEADER__BODY_STATUS, &payload, &answer, err);
    if (!e)
        e = parse(connection, &payload, ret_status, err);
    zmq_msg_close(&payload);
    return e;
}
