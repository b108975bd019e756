/* The status, which is made once for all that ask about then. Thread: head. */
#ifndef DP_SERVER_HEAD_ANSWERS_H
#define DP_SERVER_HEAD_ANSWERS_H

#include <stdint.h>

#include "proto/frame.h"
#include "server/members/members.h"

struct answer_text;
struct head;

struct status_text {
    struct answer_text *text; /* as it was made last, NULL: it must be */
    uint64_t until_ns;        /* so long it is sent to others as well */
};

void head_on_status(struct head *head, const struct routing_id *route, const Dp__Header *request);
/* The next one that asks gets a new document. */
void head_status_stale(struct head *head);

#endif
