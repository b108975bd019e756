/* Pushes that a session may make: of slots that the head has dealt to it, with sums that can be those of their samples.
 *
 * Invariant: a deal is known here before its workers are told of it: a push that is not allowed makes the thread drain
 * its commands and look again. Thread: shard, but for port_grants_fini, which the head calls once the thread is over.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "server/net/thread.h"
#include "server/shard/tell.h"

/* The first step that no worker can have begun. */
static uint64_t steps_opened(const struct shard *shard)
{
    uint64_t opened = 0;
    for (uint32_t i = 0; i < shard->slice_count; i++)
        opened = MAX(opened, shard->slices[i].window.opened);
    for (uint32_t i = 0; i < shard->tables.count; i++)
        opened = MAX(opened, shard->tables.parts[i].window.opened);
    return opened;
}

static void forget(struct port_session *session)
{
    grants_fini(&session->grants);
    free(session->name);
    session->name = NULL;
    session->worker = 0;
}

void port_grants_open(struct port_session *session, const struct command *open)
{
    if (session->worker != open->worker)
        forget(session);
    free(session->name);
    session->name = open->name;
    session->worker = open->worker;
}

void port_grants_close(struct port *port, struct port_session *session)
{
    if (session->grants.slots)
        grants_leave(&session->grants, steps_opened(&port->shard));
}

void port_grants_fini(struct port *port)
{
    for (uint32_t i = 0; port->sessions && i < SESSIONS_MAX; i++)
        forget(&port->sessions[i]);
}

/* NULL where nobody has the number. */
static struct grants *grants_of(struct port *port, uint32_t number)
{
    return number < SESSIONS_MAX && port->sessions[number].token ? &port->sessions[number].grants : NULL;
}

void port_grants_deal(struct port *port, const struct deal *deal)
{
    static const dp_error NOMEM = {DP_NOMEM, "out of memory for the slots of a session"};
    uint64_t step = MAX(deal->from, steps_opened(&port->shard));
    for (uint32_t i = 0; i < SESSIONS_MAX; i++) {
        struct grants *grants = grants_of(port, i);
        if (grants && !grants->slots && grants_init(grants, deal->slots)) {
            shard_fail(&port->shard, &NOMEM);
            return;
        }
        if (grants)
            grants_begin(grants);
    }
    for (uint32_t k = 0; k < deal->slots; k++) {
        struct grants *grants = grants_of(port, deal->owner[k]);
        if (grants)
            grants_dealt(grants, k);
    }
    for (uint32_t i = 0; i < SESSIONS_MAX; i++)
        if (grants_of(port, i))
            grants_end(grants_of(port, i), step);
    for (uint32_t i = 0; i < deal->extra_count; i++) {
        struct grants *grants = grants_of(port, deal->extra[i].session);
        if (grants)
            grants_extra(grants, deal->at, deal->extra[i].slot);
    }
    struct grants *probed = grants_of(port, deal->probe.session);
    if (probed)
        grants_probe(probed, &deal->probe);
}

/* ---- pushes ---- */

/* Slots [first, end) of a node, and its samples as the plan has them. */
struct push_slots {
    uint32_t first, end;
    uint64_t samples;
};

static struct push_slots push_slots(const struct plan *plan, const struct plan_step *at, const struct port_push *push)
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

static void refuse_not_dealt(struct port *port, const struct port_session *session, const Dp__Header *header,
                             const struct port_push *push, uint32_t slot)
{
    char text[FRAME_TEXT_MAX];
    uint64_t left_out;
    snprintf(text, sizeof text,
             "slot %u of step %" PRIu64 " is not dealt to this session: the push is left out; push the slots of the "
             "last Assign",
             slot, push->step);
    counter_add(&port->counters.refused, 1);
    counter_add(&port->counters.not_dealt, 1);
    if (log_limit_pass(&port->grant_limit, mono_ms(), &left_out))
        log_warn("push-not-dealt shard=%u worker=\"%s\" step=%" PRIu64 " slot=%u action=\"left out\" more=%" PRIu64,
                 port->id, session->name ? session->name : "", push->step, slot, left_out);
    port_refuse(port, session, header,
                &(struct refusal){
                    .code = DP_REFUSED, .slice = push->piece, .step = push->step, .text = text, .not_dealt = true});
}

/* If the plan says how many samples a slot has, another count would weigh too much or too little in the step. A step
 * that is not open yet is refused by the shard. */
static dp_err check_samples(const struct shard_job *job, const struct port_push *push, uint64_t samples, dp_error *err)
{
    uint64_t said = push->metrics ? push->metrics->count : 0;
    if (job->local || said == samples || push->step >= push->window->opened)
        return DP_OK;
    return dp_fail(err, DP_PROTO,
                   "push of node (%u, %u) of step %" PRIu64 " says %" PRIu64 " samples, its slots have %" PRIu64,
                   push->level, push->index, push->step, said, samples);
}

bool port_may_push(struct port *port, const struct port_session *session, const Dp__Header *header,
                   const struct port_push *push)
{
    const struct shard_job *job = &port->shard.own;
    struct plan_step at = plan_at(&job->plan, push->step);
    struct push_slots slots = push_slots(&job->plan, &at, push);
    dp_error err;
    uint32_t lacking = first_not_dealt(&job->plan, &at, &session->grants, push->step, &slots);
    if (lacking < slots.end) {
        port_obey(port);
        if (session->token != header->session) {
            port_refuse(port, session, header,
                        &(struct refusal){
                            .code = DP_HELLO_REQUIRED, .slice = push->piece, .text = "the session has just ended"});
            return false;
        }
        lacking = first_not_dealt(&job->plan, &at, &session->grants, push->step, &slots);
    }
    if (lacking < slots.end) {
        refuse_not_dealt(port, session, header, push, lacking);
        return false;
    }
    if (check_samples(job, push, slots.samples, &err)) {
        port_malformed(port, &err);
        port_refuse(port, session, header, &(struct refusal){.code = DP_PROTO, .slice = push->piece, .text = err.text});
        return false;
    }
    return true;
}
