/* A shard; the invariants are in shard.h. Thread: shard. */
#include "server/shard/shard.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "server/dense/keep_room.h"
#include "server/dense/slice.h"
#include "server/shard/control.h"
#include "server/shard/cut.h"
#include "server/shard/parts.h"
#include "server/shard/slices.h"
#include "server/shard/tell.h"

void shard_init(struct shard *shard, uint32_t id, struct shard_counters *counters, const struct shard_calls *calls)
{
    *shard = (struct shard){.id = id, .counters = counters, .calls = *calls};
    gate_init(&shard->gate);
}

void shard_fini(struct shard *shard)
{
    phases_fini(&shard->phases, shard->slice_count); /* lets go of versions, which are the slices' */
    for (uint32_t i = 0; i < shard->piece_count; i++)
        parked_fini(&shard->pieces[i].parked);
    for (uint32_t i = 0; i < shard->slice_count; i++)
        slice_fini(&shard->slices[i]); /* these drop what a cut keeps of them */
    parts_fini(shard);
    gate_fini(&shard->gate);
    keep_room_release(shard->own.room);
    planes_fini(&shard->planes);
    schedule_past_fini(&shard->past_rates);
    free(shard->slices);
    free(shard->pieces);
    *shard = (struct shard){0};
}

/* Settings of steps long ago become the shard's. */
static dp_err take_rates(struct shard *shard, const struct schedule_past *past)
{
    if (!past)
        return DP_OK;
    shard->own.params.schedule.past = &shard->past_rates;
    return schedule_past_add(&shard->past_rates, past->list, (uint32_t)past->count) ? DP_OK : DP_NOMEM;
}

dp_err shard_start(struct shard *shard, const struct shard_job *job, uint32_t first_slice, const struct range *slices,
                   uint32_t slice_count, dp_error *err)
{
    shard->slices = mem_array_zero(slice_count, sizeof *shard->slices);
    shard->pieces = mem_array_zero(slice_count, sizeof *shard->pieces);
    shard->own = *job;
    shard->own.planes = shard->planes.count ? &shard->planes : NULL;
    if (take_rates(shard, job->params.schedule.past))
        return dp_fail(err, DP_NOMEM, "out of memory for learning rates that were set before");
    if (!shard->slices || !shard->pieces || phases_init(&shard->phases, job, slice_count))
        return dp_fail(err, DP_NOMEM, "out of memory for %u slices", slice_count);
    if ((job->local || job->droppable) && gate_attend(&shard->gate, job->plan.slots, job->first_step))
        return dp_fail(err, DP_NOMEM, "out of memory for %u slots", job->plan.slots);
    shard->own.live = shard->gate.live;
    for (uint32_t i = 0; i < slice_count; i++) {
        struct slice *slice = &shard->slices[i];
        dp_err e = slice_init(slice, &shard->own, slices[i], err);
        if (e)
            return e;
        shard->pieces[i] = (struct piece){&slice_ops, first_slice + i, &slice->window, {.slice = slice}, {0}};
        shard->slice_count = shard->piece_count = i + 1;
    }
    shard->job = &shard->own;
    shard->first_slice = first_slice;
    shard->low = shard->global_low = job->first_step;
    shard->total_steps = plan_total(&job->plan);
    atomic_store_explicit(&shard->counters->low, shard->low, memory_order_relaxed);
    return DP_OK;
}

dp_err shard_rows_start(struct shard *shard, uint32_t first_part, const struct part_range *parts, uint32_t part_count,
                        uint64_t cache_bytes, dp_error *err)
{
    assert(shard->job && shard->piece_count == shard->slice_count);
    dp_err e = parts_init(shard, first_part, parts, part_count, cache_bytes, err);
    if (e)
        return e;
    struct piece *pieces = realloc(shard->pieces, ((size_t)shard->slice_count + part_count) * sizeof *pieces);
    if (!pieces)
        return dp_fail(err, DP_NOMEM, "out of memory for %u parts of tables", part_count);
    shard->pieces = pieces;
    for (uint32_t i = 0; i < part_count; i++) {
        struct part *part = &shard->tables.parts[i];
        pieces[shard->piece_count++] = (struct piece){&part_ops, first_part + i, &part->window, {.part = part}, {0}};
    }
    return DP_OK;
}

/* ---- pulls ---- */

static void unpark(struct shard *shard, struct piece *piece)
{
    struct parked_list *list = &piece->parked;
    uint64_t now_ns = mono_ns();
    for (size_t i = 0; i < list->count;) {
        const struct parked *pull = &list->list[i];
        if (piece->ops->pull_ready(piece, pull->step) && piece->ops->answer(shard, piece, pull) == ANSWER_SENT) {
            counter_add(&shard->counters->parked_ns, now_ns - pull->since_ns);
            parked_drop(list, i);
        } else {
            i++;
        }
    }
}

static void pull(struct shard *shard, struct piece *piece, const struct push_pull *msg)
{
    const struct parked want = {.session = msg->session,
                                .request = msg->request,
                                .step = msg->pull_step,
                                .have = msg->have,
                                .keys = msg->pull_list};
    if (piece->ops->pull_ready(piece, want.step)) {
        enum answered answered = piece->ops->answer(shard, piece, &want);
        if (answered == ANSWER_GONE)
            tell_refused(shard, piece, msg, DP_STEP_DONE, "that step is complete");
        else if (answered == ANSWER_NOMEM)
            tell_refused(shard, piece, msg, DP_BUSY, "out of memory for rows");
    } else if (want.step > piece->window->opened) {
        tell_refused(shard, piece, msg, DP_RANGE, "pull for a step beyond the next");
    } else if (!parked_put(&piece->parked, &want)) {
        tell_refused(shard, piece, msg, DP_BUSY, "out of memory for waiting pulls");
    }
}

/* ---- commits ---- */

static void published(struct shard *shard)
{
    for (uint32_t i = 0; i < shard->slice_count; i++) {
        slices_count(shard, &shard->slices[i], shard->phases.step);
        cut_reached(shard, &shard->pieces[i]);
        unpark(shard, &shard->pieces[i]);
    }
    tell_low(shard);
}

static void take_news(struct shard *shard, struct phases_news news)
{
    dp_error err;
    switch (news.kind) {
    case PHASES_WAIT:
        break;
    case PHASES_SUMS:
        tell_sums(shard, &news.sums);
        break;
    case PHASES_PUBLISHED:
        published(shard);
        break;
    case PHASES_NOMEM:
        (void)dp_fail(&err, DP_NOMEM, "out of memory for the commit of step %llu",
                      (unsigned long long)shard->phases.step);
        shard_fail(shard, &err);
        break;
    }
}

static bool is_in_phases(const struct shard *shard, const struct piece *piece)
{
    return shard->phases.needed && piece->ops->in_phases &&
           plan_question(&shard->own.plan, piece->window->next)->commits;
}

/* Commits the steps of a piece that are complete: one, or on arrival all that follow one another. False on failure. */
static bool commit(struct shard *shard, struct piece *piece)
{
    while (gate_lets_commit(shard, piece) && !is_in_phases(shard, piece)) {
        struct metrics metrics;
        dp_error err;
        uint64_t step = piece->window->next;
        if (piece->ops->commit(shard, piece, &metrics, &err)) {
            shard_fail(shard, &err);
            return false;
        }
        assert(piece->window->next == step + 1);
        if (piece == &shard->pieces[0])
            shard->first_metrics[step % SLICE_VERSIONS] = metrics;
        cut_reached(shard, piece);
    }
    return true;
}

/* Commits what can be committed of a piece, and answers the pulls that wait for it. */
static void advance(struct shard *shard, struct piece *piece)
{
    if (!gate_lets_commit(shard, piece))
        return;
    uint64_t start_ns = mono_ns();
    if (is_in_phases(shard, piece)) {
        struct phases_news news = phases_try(shard);
        counter_add(&shard->counters->commit_ns, mono_ns() - start_ns);
        take_news(shard, news);
        return;
    }
    bool good = commit(shard, piece);
    counter_add(&shard->counters->commit_ns, mono_ns() - start_ns);
    if (!good)
        return;
    unpark(shard, piece);
    tell_low(shard);
}

static void advance_all(struct shard *shard)
{
    for (uint32_t i = 0; i < shard->piece_count; i++)
        advance(shard, &shard->pieces[i]);
    if (shard->gate.on)
        gate_look(shard);
}

/* ---- messages ---- */

static bool push(struct shard *shard, struct piece *piece, const struct push_pull *msg, struct blob *payload)
{
    dp_error err;
    dp_err e = piece->ops->check(shard, piece, msg, payload, &err);
    if (e) {
        tell_refused(shard, piece, msg, e, err.text);
        return false;
    }
    counter_add(&shard->counters->pushes, 1);
    enum steps_verdict verdict = piece->ops->offer(shard, piece, msg, payload);
    tell_arrived(shard, piece, msg, verdict);
    if (verdict != STEPS_AHEAD)
        return true;
    tell_refused(shard, piece, msg, DP_RANGE, "push for a step that is not open");
    return false;
}

void shard_push_pull(struct shard *shard, const struct push_pull *msg, struct blob *payload)
{
    assert(msg->piece < shard->piece_count);
    struct piece *piece = &shard->pieces[msg->piece];
    if (shard->failed)
        tell_refused(shard, piece, msg, DP_BUSY, "the job has failed here");
    bool good = !shard->failed && (!msg->push || push(shard, piece, msg, payload));
    blob_release(payload);
    if (good && msg->pull)
        pull(shard, piece, msg);
    if (!good || !msg->push)
        return;
    advance(shard, piece);
    if (shard->gate.on)
        gate_look(shard);
}

void shard_forget(struct shard *shard, uint32_t session)
{
    for (uint32_t i = 0; i < shard->piece_count; i++) {
        struct piece *piece = &shard->pieces[i];
        parked_forget(&piece->parked, session);
        if (piece->ops->forget)
            piece->ops->forget(shard, piece, session);
    }
}

/* ---- the head's words ---- */

void shard_totals(struct shard *shard, uint64_t step, uint32_t phase, const double *totals)
{
    uint64_t start_ns = mono_ns();
    struct phases_news news = phases_totals(shard, step, phase, totals);
    counter_add(&shard->counters->commit_ns, mono_ns() - start_ns);
    take_news(shard, news);
    if (shard->gate.on)
        gate_look(shard);
}

void shard_global_low(struct shard *shard, uint64_t low)
{
    assert(low >= shard->global_low);
    shard->global_low = low;
    for (uint32_t i = 0; i < shard->piece_count; i++)
        shard->pieces[i].ops->release_before(&shard->pieces[i], low);
    advance_all(shard);
}

void shard_go(struct shard *shard, uint64_t go)
{
    gate_go(&shard->gate, go);
    advance_all(shard);
}

void shard_drop(struct shard *shard, uint64_t step, const uint8_t *live, uint32_t count)
{
    gate_drop(shard, step, live, count);
    advance_all(shard);
}

uint64_t shard_prepare(struct shard *shard, uint64_t step, enum setting_kind kind)
{
    uint64_t promised = control_promise(shard, step, kind);
    for (uint32_t i = 0; i < shard->piece_count; i++)
        unpark(shard, &shard->pieces[i]);
    return promised;
}

void shard_set(struct shard *shard, uint64_t step, const struct setting *setting)
{
    dp_error err;
    if (control_apply(shard, step, setting, &err))
        shard_fail(shard, &err);
    for (uint32_t i = 0; i < shard->piece_count; i++)
        unpark(shard, &shard->pieces[i]);
    advance_all(shard);
}
