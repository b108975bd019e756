/* dp-ctl export: theta of one step as a file, while the job runs or where its model could not be written. Thread:
 * head. */
#ifndef DP_SERVER_RESULT_FETCH_H
#define DP_SERVER_RESULT_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/frame.h"
#include "server/members/members.h"

struct event;
struct head;
struct news;

/* Whether the question belongs to a fetch that this connection has begun, and has proved then what it has to. */
bool head_fetch_known(const struct head *head, const struct routing_id *route, const Dp__Export *asked);
void head_on_export(struct head *head, const struct routing_id *route, const Dp__Header *request);
/* Whether the pins were those of a fetch, which has taken them then. */
bool head_fetch_pinned(struct head *head, uint32_t shard, struct event *event);
/* NEWS_TICK. */
void head_fetch_watch(struct head *head, const struct news *news);
/* Whether a model is being fetched just now, or written. */
bool head_fetching(const struct head *head);
/* Lets go of what is not fetched just now, before what it refers to, the job, is freed. */
void head_fetch_fini(struct head *head);

#endif
