/* Reports; see report.h. Thread: head. */
#include "server/step/report.h"

#include <math.h>

static void add_tensor(struct report *report, const struct shard_job *job, uint32_t t, const double *of)
{
    struct regular_sums sums = {of[REPORT_MAGNITUDES], of[REPORT_SQUARES], of[REPORT_GROUPS], of[REPORT_ZEROS]};
    report->regularizer += regular_value(&job->regular[t], &sums);
    report->zeros += sums.zeros;
    report->elems += of[REPORT_ELEMS];
    report->gradient_norm += of[REPORT_GRADIENT];
}

static void take_constraints(struct report *report, const struct shard_job *job, const double *totals)
{
    uint32_t values = shard_job_report_values(job), at = REPORT_VALUES;
    double all = 0;
    for (uint32_t i = 0; i < job->constraints.count; i++) {
        const struct constraint *c = &job->constraints.list[i];
        double sums[CONSTRAINT_TERMS_MAX] = {0};
        for (uint32_t v = 0; v < constraint_sum_count(c); v++, at++)
            for (uint32_t t = 0; t < job->tensors.count; t++)
                sums[v] += totals[(size_t)t * values + at];
        double squares = constraint_violation(c, sums);
        report->violations[i] = sqrt(squares);
        all += squares;
    }
    report->violation = sqrt(all);
}

void report_take(struct report *report, const struct shard_job *job, uint64_t train_step, const double *totals)
{
    struct multipliers multipliers = report->multipliers;
    *report = (struct report){.known = true, .train_step = train_step, .multipliers = multipliers};
    for (uint32_t t = 0; t < job->tensors.count; t++)
        add_tensor(report, job, t, totals + (size_t)t * shard_job_report_values(job));
    report->gradient_norm = sqrt(report->gradient_norm);
    report->lr = schedule_rate(&job->params.schedule, train_step);
    take_constraints(report, job, totals);
}
