/* The update and its last report in the status document. Thread: head. */
#ifndef DP_SERVER_HEAD_UPDATE_H
#define DP_SERVER_HEAD_UPDATE_H

#include <jansson.h>

struct head;

/* New references. */
json_t *head_update_json(const struct head *head);
json_t *head_report_json(const struct head *head);

#endif
