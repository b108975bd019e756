/* The status, which is made once for all that ask about then. Thread: head. */
#include "server/head/answers.h"

#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/util.h"
#include "server/head/status.h"
#include "server/talk/shared.h"
#include "server/talk/talk.h"

/* A status document is sent to others for 40 times as long as it took to make: making them takes 1/40 of a processor
 * at most, however many ask. */
enum { STATUS_REUSE = 40, STATUS_REUSE_MAX_MS = 200 };

/* Processor time of this thread: waiting for a processor makes no document dear. */
static uint64_t busy_ns(void)
{
    struct timespec t;
    return clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) ? 0 : (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void head_status_stale(struct head *head)
{
    answer_text_release(&head->status->text);
}

static struct answer_text *make_status(struct head *head)
{
    json_t *document = head_status(head, answers_crowded(&head->talk.answers));
    char *text = document ? json_dumps(document, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(document);
    return text ? answer_text_new(&head->talk.answers, text, strlen(text)) : NULL;
}

/* Borrowed; NULL when out of memory. */
static struct answer_text *status_now(struct head *head)
{
    if (head->status->text && mono_ns() < head->status->until_ns)
        return head->status->text;
    uint64_t begin_ns = busy_ns();
    head_status_stale(head);
    head->status->text = make_status(head);
    uint64_t reuse_ns = STATUS_REUSE * (busy_ns() - begin_ns);
    head->status->until_ns = mono_ns() + MIN(reuse_ns, UINT64_C(1000000) * STATUS_REUSE_MAX_MS);
    return head->status->text;
}

void head_on_status(struct head *head, const struct routing_id *route, const Dp__Header *request)
{
    uint32_t peer = post_sender(route->id, route->bytes);
    struct answer_text *text = status_now(head);
    zmq_msg_t payload;
    if (text && !answers_may(&head->talk.answers, peer, text->bytes)) {
        log_debug("status-unread"); /* it does not read: an error would only be more of the same */
        return;
    }
    if (!text || answer_frame(text, peer, true, &payload)) {
        head_refuse(head, route, request, DP_NOMEM, "out of memory for the status");
        return;
    }
    Dp__Status status = DP__STATUS__INIT;
    Dp__Header header = DP__HEADER__INIT;
    header.request = request->request;
    header.body_case = DP__HEADER__BODY_STATUS;
    header.status = &status;
    if (head_send(head, route, &header, &payload))
        log_debug("status-lost");
}
