/* The job's log, DIR/log.jsonl: a line of JSON for each event of its life (started, resumed, checkpoint, joined, left,
 * stalled, set, done, failed), so that an operator can say afterwards what happened. Lines are appended whole; a line
 * that a kill cut short is closed by the next one. A line that cannot be written is lost with a warning, once.
 * Thread: the writer's (writer.h) does the writing; journal_add is the head's. */
#ifndef DP_SERVER_STORE_JOURNAL_H
#define DP_SERVER_STORE_JOURNAL_H

#include <jansson.h>

#include "common/base/dp_err.h"

struct folder;
struct journal;
struct writer;

/* Opens DIR/log.jsonl for appending. DP_IO, DP_NOMEM. */
DP_MUST_CHECK dp_err journal_open(const struct folder *folder, struct writer *writer, struct journal **ret_journal,
                                  dp_error *err);
/* {"at": "2026-11-30T23:59:59.123Z", "event": EVENT, ...facts}. Takes the object `facts`, NULL: none. */
void journal_add(struct journal *journal, const char *event, json_t *facts);
/* Once the writer has stopped. Accepts NULL. */
void journal_close(struct journal **journal);

#endif
