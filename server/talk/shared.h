/* State that the rooms of the head share: the job, its members and shards, how far it is. Each module of those rooms
 * has a struct of its own beside its functions; of the rooms above this one, struct head only points to them.
 *
 * States: WAITING (for the first worker's data) -> RUNNING -> EXPORTING -> DONE -> CLOSING; a signal or a failure leads
 * from any of them by STOPPING to CLOSING.
 *
 * Invariants:
 *   1. global_low = min over the shards that hold parameters of their low; it never goes back while a job is settled.
 *   2. With a member in state JOINED, each slot of the open step and of those after it has an owner that is one.
 *   3. A session is known to all shards before its worker is told of them.
 * Thread: head. */
#ifndef DP_SERVER_TALK_SHARED_H
#define DP_SERVER_TALK_SHARED_H

#include <uv.h>

#include "server/deal/dealer.h"
#include "server/host/supervise.h"
#include "server/job/job.h"
#include "server/members/guard_door.h"
#include "server/members/members.h"
#include "server/seats/seats.h"
#include "server/show/progress.h"
#include "server/talk/crowd.h"
#include "server/talk/news.h"
#include "server/talk/talk.h"

enum head_state { HEAD_WAITING, HEAD_RUNNING, HEAD_EXPORTING, HEAD_DONE, HEAD_STOPPING, HEAD_CLOSING };

struct head {
    const struct server_options *opts;
    enum head_state state;
    int exit_status;
    char endpoint[ZUV_ENDPOINT_MAX];
    uv_loop_t loop;
    uv_async_t wake; /* shards have events */
    void *zmq;
    const struct news_table *hearers; /* the functions that hear of news; NULL: the loop is empty */

    struct talk talk;
    struct crowding crowding;
    struct guard *guard; /* NULL where nobody has to prove anything */
    struct zuv_door door;
    struct supervise *supervise; /* NULL: there are no local workers */
    struct progress progress;

    struct job job;
    struct members members;
    uint32_t *numbers;    /* [SESSIONS_MAX] scratch */
    struct dealer dealer; /* of slots to members */

    struct seats seats; /* of the shards */

    uint64_t global_low;
    uint64_t moved_ms;   /* when global_low last moved, or slots of the open step last went to somebody else */
    bool diverged;       /* a step's loss was not finite */
    uint64_t started_ms; /* when the server was */

    /* server/assign */
    struct deals *deals;
    struct balance *balance;
    struct storm *storm;
    struct lease *lease;
    struct ranks *ranks;
    struct drop *drop;
    struct owed *owed;
    struct stall *stall;
    /* server/result and server/head */
    struct saved *warm; /* that the job begins with, by --init-from; NULL: nothing (server/head/warm.h) */
    struct steps_state *steps;
    struct sums *sums;
    struct control *control;
    struct saving *saving;
    struct checkpoints *checkpoints;
    struct journal *journal; /* the job's log; NULL: there is none */
    struct fetches *fetches; /* NULL: nobody has asked yet */
    struct doubts *doubts;
    struct status_text *status;
    struct ending *ending;
    struct loop_handles *handles;
};

/* Whether the job is beyond the first of its steps, in this process or in one before: what it has come to would be lost
 * with it. */
static inline bool head_begun(const struct head *head)
{
    return head->global_low > head->job.core.first_step || head->job.begin;
}

#endif
