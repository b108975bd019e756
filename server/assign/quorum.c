/* Whether enough workers are there for the job to go on. Thread: head. */
#include "server/assign/quorum.h"

#include "common/base/util.h"
#include "server/assign/ranks.h"
#include "server/talk/shared.h"

uint32_t head_ranks_finished(const struct head *head)
{
    uint32_t count = 0;
    for (uint32_t k = 0; head->ranks->list && k < head->job.core.plan.slots; k++)
        count += head->ranks->list[k].finished;
    return count;
}

uint64_t head_missing(const struct head *head)
{
    uint64_t least = head->opts->min_workers, here = head->members.joined + head_ranks_finished(head);
    if (head->members.joined == 0)
        return MAX(1, least - MIN(here, least));
    return least - MIN(here, least);
}

bool head_has_enough(const struct head *head)
{
    return head_missing(head) == 0;
}
