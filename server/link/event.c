/* Events; see event.h. Thread: any. */
#include "server/link/event.h"

#include <assert.h>
#include <stdlib.h>

#include "server/step/block_sums.h"

enum event_haste event_wakes(const struct event *event)
{
    if (event->kind == EVENT_COMPLETED)
        return EVENT_SOON;
    return event->kind == EVENT_SUMS && event->sums.phase == EXCHANGE_REPORT ? EVENT_LATER : EVENT_NOW;
}

/* By the event's own counts: the shard may be about to have another job. */
static void pinned_fini(struct event_pinned *pinned)
{
    for (uint32_t i = 0; pinned->versions && i < pinned->version_count; i++)
        if (pinned->versions[i])
            version_release(pinned->versions[i]);
    for (uint32_t i = 0; pinned->copies && i < pinned->copy_count; i++)
        rows_copy_fini(&pinned->copies[i]);
    free(pinned->versions);
    free(pinned->copies);
}

void event_fini(struct event *event)
{
    assert(event->kind < EVENT_KINDS);
    switch (event->kind) {
    case EVENT_PINNED:
        pinned_fini(&event->pinned);
        break;
    case EVENT_OWED:
        free(event->owed.slots);
        break;
    case EVENT_FAILED:
        free(event->failed);
        break;
    case EVENT_SUMS:
        free(event->sums.sums);
        break;
    case EVENT_CUT:
        free(event->cut.text);
        break;
    default:
        break;
    }
    *event = (struct event){.kind = EVENT_FEW};
}
