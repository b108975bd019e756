/* The checkpoint under way: its cut is asked of the shards, their files come in, a task of the writer's thread commits
 * it. checkpoint.c says when one begins, and hears how it ends (checkpoints.calls). Thread: head. */
#ifndef DP_SERVER_RESULT_CHECKPOINT_CUT_H
#define DP_SERVER_RESULT_CHECKPOINT_CUT_H

#include <stdint.h>
#include <uv.h>

#include "common/base/dp_err.h"
#include "server/result/checkpoint.h"

/* Asks the shards to be cut at a step of the plan. None is under way. */
void checkpoint_ask_cut(struct head *head, enum checkpoint_reason reason, uint64_t step);
/* The cut under way is not wanted any more. */
void checkpoint_withdraw(struct head *head);
/* Frees the facts of the head that its manifest has. */
void checkpoint_drop_facts(struct checkpoints *c);
/* The writer has ended a task: checkpoints.done. */
void checkpoint_on_done(uv_async_t *async);
/* The steps before `step` have been reported, and no other has. */
void head_checkpoint_passes(struct head *head, uint64_t step);
/* Takes the event. */
void head_on_cut(struct head *head, uint32_t shard, struct event *event);

#endif
