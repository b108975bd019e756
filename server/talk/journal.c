/* Events for the job's log; see journal.h. Thread: head. */
#include "server/talk/journal.h"

#include "server/store/journal.h"
#include "server/talk/news.h"
#include "server/talk/shared.h"

void head_journal(struct head *head, const char *event, json_t *facts)
{
    if (head->journal)
        journal_add(head->journal, event, facts);
    else
        json_decref(facts);
}

void head_journal_joined(struct head *head, const struct news *news)
{
    if (!news->again)
        head_journal(
            head, "joined",
            json_pack("{s:s, s:I}", "worker", news->member->name, "workers", (json_int_t)head->members.joined));
}
