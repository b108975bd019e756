/* Slices as pieces; see slices.h and piece.h. Thread: shard. */
#include "server/shard/slices.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "server/dense/keep.h"
#include "server/dense/on_arrival.h"
#include "server/dense/slice.h"
#include "server/shard/tell.h"
#include "common/checkpoint/shard_file.h"

/* ---- counters ---- */

void slices_take_up(struct shard *shard, struct slice *slice)
{
    counter_add(&shard->counters->queued_ns, slice->arrivals * mono_ns() - slice->arrived_ns);
    counter_add(&shard->counters->commits, 1);
    slice->arrivals = slice->arrived_ns = 0;
}

static uint64_t slots_of(const struct shard *shard, uint64_t step, const struct plan_step *at)
{
    uint64_t slots = 0;
    if (!shard->own.local)
        return MIN(at->rows, (uint64_t)shard->own.plan.slots) - gate_dropped(&shard->gate, step);
    for (uint32_t k = 0; k < shard->own.plan.slots; k++)
        slots += shard->own.live[k];
    return slots;
}

void slices_count(struct shard *shard, const struct slice *slice, uint64_t step)
{
    struct plan_step at = plan_at(&shard->own.plan, step);
    /* Committed at once: none of its gradients was stale. */
    if (at.asks->commits && slice_staleness(slice, step) == 0)
        staleness_add(&shard->counters->staleness, 0, slots_of(shard, step, &at));
}

/* Counts the delay of a gradient that has been committed, and whether it was compensated. */
static void count_read(struct shard *shard, const struct arrival_read *read)
{
    bool late = !read->known || read->between > 0;
    if (read->known)
        staleness_add(&shard->counters->staleness, read->between, 1);
    if (late && shard->own.params.compensation > 0)
        counter_add(read->version ? &shard->counters->compensated : &shard->counters->uncompensated, 1);
}

/* ---- pushes ---- */

static dp_err check(const struct shard *shard, const struct piece *piece, const struct push_pull *msg,
                    const struct blob *payload, dp_error *err)
{
    const struct question *asks = plan_question(&shard->job->plan, msg->step);
    if (asks->pushes && !payload->data)
        return dp_fail(err, DP_PROTO, "%s push needs its %s", asks->a_step, asks->pushes);
    if (!asks->pushes && payload->data)
        return dp_fail(err, DP_PROTO, "%s push has no payload", asks->a_step);
    bool singly = slice_staleness(piece->slice, msg->step) > 0 || shard->own.droppable;
    if (!singly || msg->node >= piece->window->leaves)
        return DP_OK;
    return dp_fail(err, DP_REFUSED, "where commits are on arrival or slots may be dropped, they are pushed one by one");
}

/* A slot is committed at once; out of memory, the head is told. */
static enum steps_verdict arrive(struct shard *shard, struct slice *slice, const struct push_pull *msg,
                                 struct blob *gradient)
{
    bool was_finite = slice->infinite_from == 0;
    uint64_t start_ns = mono_ns();
    struct arrival_read read = arrival_read(slice, msg->read);
    enum steps_verdict verdict = STEPS_DUPLICATE;
    dp_error err;
    if (arrival_push(slice, msg->step, msg->node, &read, gradient, &msg->metrics, &verdict, &err))
        shard_fail(shard, &err);
    if (verdict != STEPS_KEEP)
        return verdict;
    if (was_finite && slice->blame.node)
        slice->blame = (struct blame){msg->node, 1 + msg->session, slice->blame.state};
    counter_add(&shard->counters->commits, 1);
    counter_add(&shard->counters->commit_ns, mono_ns() - start_ns);
    count_read(shard, &read);
    return verdict;
}

static enum steps_verdict offer(struct shard *shard, struct piece *piece, const struct push_pull *msg,
                                struct blob *gradient)
{
    struct slice *slice = piece->slice;
    if (slice_staleness(slice, msg->step) > 0)
        return arrive(shard, slice, msg, gradient);
    enum steps_verdict verdict = slice_push(slice, msg->step, msg->node, gradient, &msg->metrics);
    if (verdict == STEPS_KEEP) {
        slice->nodes[msg->node].from = slice->nodes[msg->node].gradient.data ? 1 + msg->session : 0;
        slice->arrivals++;
        slice->arrived_ns += mono_ns();
    }
    return verdict;
}

static bool ready(const struct piece *piece)
{
    return slice_ready(piece->slice);
}

static dp_err commit(struct shard *shard, struct piece *piece, struct metrics *ret_metrics, dp_error *err)
{
    struct slice *slice = piece->slice;
    uint64_t step = slice->window.next;
    dp_err e;
    if (slice_staleness(slice, step) > 0) {
        e = arrival_pass(slice, ret_metrics, err);
    } else {
        slices_take_up(shard, slice);
        e = slice_commit(slice, ret_metrics, err);
    }
    if (e == DP_OK)
        slices_count(shard, slice, step);
    return e;
}

/* ---- pulls ---- */

/* Keeps the version that the session computes on from now on; NULL: none that could become old. */
static void keep_version(struct shard *shard, struct slice *slice, uint32_t session, struct version *version)
{
    uint64_t before = slice->past.versions, bytes = slice->range.count * sizeof(float);
    if (version)
        past_keep(&slice->past, session, version);
    else
        past_forget(&slice->past, session);
    counter_add(&shard->counters->past_bytes, (slice->past.versions - before) * bytes); /* may be less */
}

static bool pull_ready(const struct piece *piece, uint64_t step)
{
    return slice_pull_ready(piece->slice, step);
}

static enum answered answer(struct shard *shard, struct piece *piece, const struct parked *pull)
{
    struct slice *slice = piece->slice;
    struct params params = {.session = pull->session, .request = pull->request, .slice = piece->id, .step = pull->step};
    struct version *version = slice_theta(slice, pull->step);
    if (!version)
        return ANSWER_GONE;
    params.number = version->number;
    params.last = pull->step >= shard->total_steps;
    params.version = params.last || pull->have == version->number + 1 ? NULL : version;
    params.staleness = slice_staleness(slice, pull->step);
    params.accepted = shard->accepted;
    if (params.staleness > 0)
        params.accepted_bytes = steps_accepted(&slice->window, pull->step, shard->accepted);
    keep_version(shard, slice, pull->session, params.staleness > 0 ? version : NULL);
    counter_add(&shard->counters->pulls, 1);
    shard->calls.params(shard->calls.arg, &params);
    return ANSWER_SENT;
}

static void forget(struct shard *shard, struct piece *piece, uint32_t session)
{
    keep_version(shard, piece->slice, session, NULL);
}

static uint32_t staleness(const struct piece *piece, uint64_t step)
{
    return slice_staleness(piece->slice, step);
}

static uint64_t go_on(const struct piece *piece, dp_err code)
{
    return code == DP_STEP_DONE ? piece->slice->oldest : piece->window->next;
}

static void release_before(struct piece *piece, uint64_t low)
{
    slice_release_before(piece->slice, low);
}

static uint64_t steps_max(const struct piece *piece)
{
    return slice_versions_max(piece->slice);
}

/* ---- reports ---- */

static uint64_t blocks(const struct piece *piece)
{
    return piece->slice->block_count;
}

static double *report_take(struct piece *piece, uint64_t step)
{
    return slice_report_take(piece->slice, step);
}

static uint64_t infinite_from(const struct piece *piece)
{
    return piece->slice->infinite_from;
}

/* ---- the gate and control ---- */

static void revise(struct piece *piece, const uint8_t *live)
{
    slice_revise(piece->slice, live);
}

/* Nothing of the step may have been committed; for a change of its consistency it must not have been opened either,
 * since workers are told with theta how to push. */
static uint64_t first_free(const struct piece *piece, enum setting_kind kind)
{
    const struct steps *window = piece->window;
    bool unopened = kind == SETTING_CONSISTENCY || slice_staleness(piece->slice, window->next) > 0;
    return unopened ? window->opened : window->next;
}

static void hold_from(struct piece *piece, uint64_t step, enum setting_kind kind)
{
    struct slice *slice = piece->slice;
    bool unopened = kind == SETTING_CONSISTENCY || slice_staleness(slice, step) > 0;
    slice->limit = unopened ? step : UINT64_MAX;
    slice_open(slice);
}

static dp_err widen(struct piece *piece, uint32_t most)
{
    return steps_widen(piece->window, most);
}

/* ---- cuts ---- */

static dp_err keep(struct piece *piece)
{
    return slice_keep(piece->slice);
}

/* Elements of a tensor, of which the slice before this one may have had the first. */
static void add_range(struct shard_file_facts *facts, const char *tensor, uint64_t first, uint64_t count)
{
    if (facts->range_count > 0) {
        struct shard_file_range *last = &facts->ranges[facts->range_count - 1];
        if (last->first + last->count == first && strcmp(last->tensor, tensor) == 0) {
            last->count += count;
            return;
        }
    }
    struct shard_file_range *range = &facts->ranges[facts->range_count++];
    (void)str_copy(range->tensor, sizeof range->tensor, tensor);
    range->first = first;
    range->count = count;
}

/* Copies, since the facts own theirs. */
static dp_err add_arrivals(const struct slice *slice, struct shard_file_facts *facts)
{
    const struct slice_kept *kept = slice->kept;
    struct shard_file_arrivals *arrivals = &facts->arrivals[facts->arrival_count];
    if (kept->open == 0)
        return DP_OK;
    facts->arrival_count++;
    *arrivals = (struct shard_file_arrivals){slice->range.first, slice->range.count, kept->open, NULL, NULL};
    arrivals->sums = mem_array(kept->open, sizeof *arrivals->sums);
    arrivals->accepted = mem_array(kept->open, kept->accepted_bytes);
    if (!arrivals->sums || !arrivals->accepted)
        return DP_NOMEM;
    memcpy(arrivals->sums, kept->arrived, kept->open * sizeof *arrivals->sums);
    memcpy(arrivals->accepted, kept->accepted, kept->open * kept->accepted_bytes);
    return DP_OK;
}

static dp_err kept_facts(const struct piece *piece, struct shard_file_facts *facts)
{
    const struct slice *slice = piece->slice;
    const struct tensors *tensors = &slice->job->tensors;
    for (uint32_t i = 0; i < slice->segment_count; i++) {
        const struct segment *segment = &slice->segments[i];
        uint64_t first = slice->range.first + segment->offset - tensors_offset(tensors, segment->tensor);
        add_range(facts, tensors->list[segment->tensor].name, first, segment->count);
    }
    return add_arrivals(slice, facts);
}

static dp_err kept_next(struct piece *piece, uint32_t section, struct blob *ret_bytes, bool *ret_more)
{
    struct slice *slice = piece->slice;
    *ret_more = false;
    if (section == KEPT_THETA)
        *ret_bytes = slice_kept_theta(slice);
    else if (section - KEPT_STATE < slice->job->rule->state_count)
        return slice_kept_state(slice, section - KEPT_STATE, ret_bytes);
    return DP_OK;
}

static void kept_drop(struct piece *piece)
{
    slice_kept_drop(piece->slice);
}

const struct piece_ops slice_ops = {.in_phases = true,
                                    .check = check,
                                    .offer = offer,
                                    .ready = ready,
                                    .commit = commit,
                                    .pull_ready = pull_ready,
                                    .answer = answer,
                                    .staleness = staleness,
                                    .go_on = go_on,
                                    .release_before = release_before,
                                    .steps_max = steps_max,
                                    .blocks = blocks,
                                    .report_take = report_take,
                                    .infinite_from = infinite_from,
                                    .revise = revise,
                                    .first_free = first_free,
                                    .hold_from = hold_from,
                                    .widen = widen,
                                    .forget = forget,
                                    .keep = keep,
                                    .kept_facts = kept_facts,
                                    .kept_next = kept_next,
                                    .kept_drop = kept_drop};
