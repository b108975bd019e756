/* dp-ctl checkpoint: connections that wait for a checkpoint of the running job. Each is answered once, by one whose cut
 * was made after it had asked. Thread: head. */
#ifndef DP_SERVER_RESULT_CHECKPOINT_ASKERS_H
#define DP_SERVER_RESULT_CHECKPOINT_ASKERS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/frame.h"

struct head;
struct routing_id;

/* Whether one may wait; else it has been answered. */
bool checkpoint_admit(struct head *head, const struct routing_id *route, const Dp__Header *request);
/* It waits; cuts up to number `after` are no answer. */
void checkpoint_ask(struct head *head, const struct routing_id *route, const Dp__Header *request, uint64_t after);
/* Cut `number` has become the last checkpoint, or has failed (err->code): answers those that it is an answer for. */
void checkpoint_answer(struct head *head, uint64_t number, const dp_error *err);
/* No checkpoint will come for any of them. */
void checkpoint_refuse(struct head *head, dp_err code, const char *text);
/* Those that have waited for too long. */
void checkpoint_watch_askers(struct head *head, uint64_t now_ms);

#endif
