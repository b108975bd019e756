/* Commits on arrival; see on_arrival.h. Thread: shard. */
#include "server/dense/on_arrival.h"

#include <assert.h>

#include "server/dense/commit.h"

static dp_err out_of_memory(const struct slice *slice, dp_error *err)
{
    return dp_fail(err, DP_NOMEM, "out of memory for another version of %llu parameters at step %llu",
                   (unsigned long long)slice->range.count, (unsigned long long)slice->window.next);
}

/* The version that the next commit may write: theta itself while the slice alone holds it, else a new one. */
static struct version *writable(struct slice *slice, struct version *now)
{
    return version_is_only_mine(now) ? now : versions_new(&slice->versions, now->number + 1);
}

static uint64_t slot_samples(const struct slice *slice, const struct plan_step *at, uint32_t leaf)
{
    uint64_t first, count;
    plan_slot(&slice->job->plan, at, leaf - slice->window.leaves, &first, &count);
    return count;
}

struct arrival_read arrival_read(const struct slice *slice, uint64_t read)
{
    uint64_t now = slice->at[slice->window.next % SLICE_VERSIONS]->number;
    if (read == 0 || read > now + 1)
        return (struct arrival_read){0};
    uint64_t between = now + 1 - read;
    return (struct arrival_read){true, between, between > 0 ? past_find(&slice->past, read - 1) : NULL};
}

static void commit(struct slice *slice, uint64_t step, uint32_t leaf, const struct arrival_read *read,
                   struct blob *gradient, struct version *then)
{
    struct version **now = &slice->at[slice->window.next % SLICE_VERSIONS];
    struct plan_step at = plan_at(&slice->job->plan, step);
    uint64_t samples = slot_samples(slice, &at, leaf);
    double delay = (double)read->between / slice->job->plan.slots; /* in steps */
    struct update_part part = {.fraction = (double)samples / (double)at.rows,
                               .eta = schedule_rate_late(&slice->job->params.schedule, at.train_step, delay)};
    part.passed = slice->passed + part.fraction;
    struct commit commit = commit_part_at(slice->job, at.train_step, samples, &part);
    commit.read = read->version ? read->version->theta : NULL;
    struct node *root = &slice->nodes[1]; /* tree_sum finds it there */
    root->gradient = *gradient;
    commit_step(slice, &commit, (*now)->theta, then->theta, NULL, NULL);
    root->gradient = (struct blob){0};
    slice->passed = part.passed;
    then->number = (*now)->number + 1;
    if (then != *now)
        version_release(*now);
    *now = then;
}

dp_err arrival_push(struct slice *slice, uint64_t step, uint32_t leaf, const struct arrival_read *read,
                    struct blob *gradient, const struct metrics *metrics, enum steps_verdict *ret_verdict,
                    dp_error *err)
{
    struct version *now = slice->at[slice->window.next % SLICE_VERSIONS];
    assert(slice_staleness(slice, step) > 0 && leaf >= slice->window.leaves);
    struct version *then = writable(slice, now);
    uint32_t replaced;
    if (!then)
        return out_of_memory(slice, err);
    *ret_verdict = steps_offer(&slice->window, step, leaf, slice->replaced, &replaced);
    if (*ret_verdict == STEPS_KEEP) {
        struct metrics *sum = &slice->arrived[step % SLICE_VERSIONS];
        *sum = metrics_add(*sum, *metrics);
        commit(slice, step, leaf, read, gradient, then);
    } else if (then != now) {
        version_release(then);
    }
    blob_release(gradient);
    return DP_OK;
}

dp_err arrival_pass(struct slice *slice, struct metrics *ret_metrics, dp_error *err)
{
    uint64_t step = slice->window.next;
    struct plan_step at = plan_at(&slice->job->plan, step);
    struct version **now = &slice->at[step % SLICE_VERSIONS], *theta = *now;
    assert(slice_staleness(slice, step) > 0 && steps_complete(&slice->window, step));
    if (shard_job_reports(&slice->job->plan, &at)) {
        double *report =
            mem_array_zero((size_t)slice->block_count * shard_job_report_values(slice->job), sizeof *report);
        if (!report)
            return out_of_memory(slice, err);
        commit_report(slice, theta->theta, report);
        slice->reports[step % SLICE_VERSIONS] = report;
    }
    *ret_metrics = slice->arrived[step % SLICE_VERSIONS];
    *now = NULL; /* moved: no reference is left behind that would keep commits from writing in place */
    slice->at[(step + 1) % SLICE_VERSIONS] = theta;
    steps_advance(&slice->window);
    slice_open(slice);
    return DP_OK;
}
