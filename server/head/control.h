/* Settings of the running job, effective at one step on all shards. Thread: head. */
#ifndef DP_SERVER_HEAD_CONTROL_H
#define DP_SERVER_HEAD_CONTROL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "proto/frame.h"
#include "server/members/members.h"
#include "server/link/setting.h"

struct head;
struct news;
struct setting_write;

/* A change that is being agreed on with the shards (step-stamped control): prepared at `step`, until all have promised
 * the same one. */
struct control {
    bool busy;
    uint32_t missing; /* answers */
    uint64_t step;    /* asked for */
    uint64_t latest;  /* of the answers */
    struct setting setting;
    struct routing_id route; /* of dp-ctl, which asked */
    uint64_t request;
    uint64_t lr_sets;            /* learning rates that were set so far */
    struct setting_write *write; /* of the line that a restart finds it by; NULL: none is being written */
    uv_async_t written;
    bool opened; /* `written` is on the loop */
};

/* For the loop. DP_SYSTEM. */
DP_MUST_CHECK dp_err head_control_start(struct head *head, dp_error *err);
/* NEWS_CLOSING, once the writer has stopped. */
void head_control_close(struct head *head, const struct news *news);

void head_on_set(struct head *head, const struct routing_id *route, const Dp__Header *request);
void head_on_prepared(struct head *head, uint64_t step);
/* The job is settled no longer: who asked is told. */
void head_control_stop(struct head *head);

#endif
