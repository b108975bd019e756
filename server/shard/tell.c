/* News for the head; see tell.h. Thread: shard. */
#include "server/shard/tell.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "server/step/block_sums.h"

void shard_fail(struct shard *shard, const dp_error *err)
{
    if (shard->failed)
        return;
    shard->failed = true;
    struct event event = {.kind = EVENT_FAILED, .failed = mem_array(1, sizeof *event.failed)};
    if (event.failed)
        *event.failed = *err;
    shard->calls.emit(shard->calls.arg, &event);
}

void tell_refused(struct shard *shard, const struct piece *piece, const struct push_pull *msg, dp_err code,
                  const char *text)
{
    bool tell = msg->push && piece->ops->staleness(piece, msg->step) > 0;
    struct refusal refusal = {
        .session = msg->session,
        .request = msg->request,
        .slice = piece->id,
        .code = code,
        .step = piece->ops->go_on(piece, code),
        .text = text,
        .accepted = shard->accepted,
        .accepted_bytes = tell ? steps_accepted(piece->window, msg->step, shard->accepted) : 0,
    };
    counter_add(&shard->counters->refused, 1);
    shard->calls.refuse(shard->calls.arg, &refusal);
}

void tell_arrived(struct shard *shard, const struct piece *piece, const struct push_pull *msg,
                  enum steps_verdict verdict)
{
    counter_add(&shard->counters->duplicates, verdict == STEPS_DUPLICATE);
    if (verdict != STEPS_AHEAD && piece->id == 0)
        shard->calls.arrived(shard->calls.arg, msg->session, msg->step, msg->node);
}

void tell_sums(struct shard *shard, const struct event_sums *sums)
{
    shard->calls.emit(shard->calls.arg, &(struct event){.kind = EVENT_SUMS, .sums = *sums});
}

void tell_ready(struct shard *shard, uint64_t ready, uint64_t roster)
{
    shard->calls.emit(shard->calls.arg, &(struct event){.kind = EVENT_READY, .ready = {ready, roster}});
}

void tell_few(struct shard *shard, uint64_t step)
{
    shard->calls.emit(shard->calls.arg, &(struct event){.kind = EVENT_FEW, .few = {step}});
}

/* ---- completed steps ---- */

/* The next sums of a report: moves them to `to`, which may be NULL, and returns the place of the ones after them. */
static double *move_report(double *report, uint64_t blocks, uint32_t values, double *to)
{
    size_t count = (size_t)blocks * values;
    if (to && report)
        memcpy(to, report, count * sizeof *to);
    free(report);
    return to ? to + count : NULL;
}

/* The sums of a completed step, of all pieces one after the other; `first` are those of the first piece. */
static void tell_report(struct shard *shard, uint64_t step, double *first)
{
    uint32_t values = shard_job_report_values(&shard->own);
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < shard->piece_count; i++)
        blocks += shard->pieces[i].ops->blocks(&shard->pieces[i]);
    double *sums = mem_array_zero((size_t)blocks * values, sizeof *sums), *to = sums;
    for (uint32_t i = 0; i < shard->piece_count; i++) {
        struct piece *piece = &shard->pieces[i];
        double *report = i == 0 ? first : piece->ops->report_take(piece, step);
        to = move_report(report, piece->ops->blocks(piece), values, to);
    }
    if (sums)
        tell_sums(shard, &(struct event_sums){step, EXCHANGE_REPORT, values, blocks * values, sums});
}

/* A step whose gradient was not finite may have a finite loss: the head hears NaN all the same. */
static struct metrics metrics_of(const struct shard *shard, uint64_t step)
{
    struct metrics m = shard->first_metrics[step % SLICE_VERSIONS];
    for (uint32_t i = 0; i < shard->piece_count; i++) {
        uint64_t from = shard->pieces[i].ops->infinite_from(&shard->pieces[i]);
        if (from && step + 1 >= from)
            m.loss = NAN;
    }
    return m;
}

void tell_low(struct shard *shard)
{
    uint64_t low = shard->total_steps;
    for (uint32_t i = 0; i < shard->piece_count; i++)
        low = MIN(low, shard->pieces[i].window->next);
    assert(low >= shard->low);
    for (; shard->low < low; shard->low++) {
        double *report = shard->pieces[0].ops->report_take(&shard->pieces[0], shard->low);
        if (report)
            tell_report(shard, shard->low, report);
        struct event event = {.kind = EVENT_COMPLETED, .completed = {shard->low, metrics_of(shard, shard->low), {0}}};
        if (!isfinite(event.completed.metrics.loss))
            event.completed.blame = shard_blame(shard);
        shard->calls.emit(shard->calls.arg, &event);
    }
    atomic_store_explicit(&shard->counters->low, low, memory_order_relaxed);
}

struct blame shard_blame(const struct shard *shard)
{
    for (uint32_t i = 0; i < shard->slice_count; i++)
        if (shard->slices[i].infinite_from && (shard->slices[i].blame.node || shard->slices[i].blame.state))
            return shard->slices[i].blame;
    return (struct blame){0};
}
