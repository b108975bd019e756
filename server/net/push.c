/* Pushes that a session may make: of slots that the head has dealt to it, with sums that can be those of their samples.
 *
 * Invariant: a deal is known here before its workers are told of it: a push that is not allowed makes the thread drain
 * its commands and look again. Thread: shard. */
#include "server/net/push.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/util.h"
#include "server/net/commands.h"
#include "server/net/reply.h"
#include "server/shard/pieces.h"

/* Slots [first, end) of a node, and its samples as the plan has them. */
struct push_slots {
    uint32_t first, end;
    uint64_t samples;
};

static struct push_slots push_slots(const struct plan *plan, const struct plan_step *at,
                                    const struct port_message *push)
{
    struct push_slots slots = {.first = push->index << push->level};
    uint64_t first, last, count;
    slots.end = (uint32_t)MIN(((uint64_t)push->index + 1) << push->level, (uint64_t)plan->slots);
    plan_slot(plan, at, slots.first, &first, &count);
    plan_slot(plan, at, slots.end - 1, &last, &count);
    slots.samples = last + count - first;
    return slots;
}

/* The first slot that has samples and was not dealt to the session; `end` if there is none. */
static uint32_t first_not_dealt(const struct plan *plan, const struct plan_step *at, const struct grants *grants,
                                uint64_t step, const struct push_slots *slots)
{
    uint32_t k = grants_lacking(grants, step, slots->first, slots->end);
    while (k < slots->end && plan_slot_empty(plan, at, k))
        k = grants_lacking(grants, step, k + 1, slots->end);
    return k;
}

static void refuse_not_dealt(struct port_state *port, const struct port_session *session,
                             const struct port_message *push, uint32_t slot)
{
    char text[FRAME_TEXT_MAX];
    uint64_t left_out;
    snprintf(text, sizeof text,
             "slot %u of step %" PRIu64 " is not dealt to this session: the push is left out; push the slots of the "
             "last Assign",
             slot, push->step);
    counter_add(&port->counters->refused, 1);
    counter_add(&port->counters->not_dealt, 1);
    if (log_limit_pass(&port->grant_limit, mono_ms(), &left_out))
        log_warn("push-not-dealt shard=%u worker=\"%s\" step=%" PRIu64 " slot=%u action=\"left out\" more=%" PRIu64,
                 port->id, session->name ? session->name : "", push->step, slot, left_out);
    port_refuse(port, session, push->header,
                &(struct refusal){
                    .code = DP_REFUSED, .slice = push->piece, .step = push->step, .text = text, .not_dealt = true});
}

/* If the plan says how many samples a slot has, another count would weigh too much or too little in the step. A step
 * that is not open yet is refused by the shard. */
static dp_err check_samples(const struct shard_job *job, const struct port_message *push, const struct steps *window,
                            uint64_t samples, dp_error *err)
{
    uint64_t said = push->metrics.count;
    if (job->local || said == samples || push->step >= window->opened)
        return DP_OK;
    return dp_fail(err, DP_PROTO,
                   "push of node (%u, %u) of step %" PRIu64 " says %" PRIu64 " samples, its slots have %" PRIu64,
                   push->level, push->index, push->step, said, samples);
}

bool port_may_push(struct port_state *port, const struct port_session *session, const struct port_message *push)
{
    const struct shard_job *job = &port->shard.own;
    const struct steps *window = pieces_find(&port->shard, push->piece)->window;
    struct plan_step at = plan_at(&job->plan, push->step);
    struct push_slots slots = push_slots(&job->plan, &at, push);
    dp_error err;
    uint32_t lacking = first_not_dealt(&job->plan, &at, &session->grants, push->step, &slots);
    if (lacking < slots.end) {
        port_obey(port);
        if (session->token != push->header->session) {
            port_refuse(port, session, push->header,
                        &(struct refusal){
                            .code = DP_HELLO_REQUIRED, .slice = push->piece, .text = "the session has just ended"});
            return false;
        }
        lacking = first_not_dealt(&job->plan, &at, &session->grants, push->step, &slots);
    }
    if (lacking < slots.end) {
        refuse_not_dealt(port, session, push, lacking);
        return false;
    }
    if (check_samples(job, push, window, slots.samples, &err)) {
        port_malformed(port, &err);
        port_refuse(port, session, push->header,
                    &(struct refusal){.code = DP_PROTO, .slice = push->piece, .text = err.text});
        return false;
    }
    return true;
}

struct push_pull port_to_core(const struct shard *shard, const struct port_message *message)
{
    const struct piece *piece = pieces_find(shard, message->piece);
    return (struct push_pull){
        .session = session_number(message->header->session),
        .request = message->header->request,
        .piece = (uint32_t)(piece - shard->pieces),
        .push = message->push,
        .step = message->step,
        .node = message->push ? steps_node(piece->window, message->level, message->index) : 0,
        .metrics = message->metrics,
        .pull = message->pull,
        .pull_step = message->pull_step,
        .have = message->have,
    };
}
