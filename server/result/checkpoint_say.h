/* News of checkpoints for people and programs: display, log, the job's log. Thread: head. */
#ifndef DP_SERVER_RESULT_CHECKPOINT_SAY_H
#define DP_SERVER_RESULT_CHECKPOINT_SAY_H

#include <jansson.h>
#include <stdint.h>

#include "common/base/dp_err.h"

struct head;

/* The one under way is whole. */
void checkpoint_say_made(struct head *head);
/* It has failed. */
void checkpoint_say_failed(struct head *head, const dp_error *err);
/* One was due, `due` in words, and the one before was not whole yet. */
void checkpoint_say_late(struct head *head, const char *due);
/* The job is over, and waits for it since so long. */
void checkpoint_say_waits(const struct head *head, uint64_t seconds);
/* The server ends without another one, and `why`: says which is the last. */
void checkpoint_say_last(const struct head *head, const char *why);

/* Its part of the status; a new reference, null without --checkpoint-dir. */
json_t *head_checkpoint_json(const struct head *head);

#endif
