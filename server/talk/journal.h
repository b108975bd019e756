/* Events of the job's life for its log (server/store/journal.h), where there is one. Thread: head. */
#ifndef DP_SERVER_TALK_JOURNAL_H
#define DP_SERVER_TALK_JOURNAL_H

#include <jansson.h>

struct head;
struct news;

/* Takes the object `facts`; NULL: none. */
void head_journal(struct head *head, const char *event, json_t *facts);
/* NEWS_JOINED of a member that was not there before. */
void head_journal_joined(struct head *head, const struct news *news);

#endif
