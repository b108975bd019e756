/* A run that goes on; see resume.h. Thread: head. */
#include "server/show/resume.h"

#include "common/base/util.h"
#include "server/show/sums.h"

json_t *progress_sums(const struct progress *progress)
{
    uint64_t before = progress->samples_before, samples = before + MIN(progress->samples, (uint64_t)INT64_MAX - before);
    return json_pack("{s:I, s:I, s:b, s:I, s:o, s:o, s:o}", "samples", (json_int_t)samples, "epoch",
                     (json_int_t)progress->epoch, "epoch_done", progress->epoch_done, "epoch_samples",
                     (json_int_t)progress->epoch_samples, "epoch_loss", sums_real(progress->epoch_loss), "eval_loss",
                     sums_real(progress->eval_loss), "eval_accuracy", sums_real(progress->eval_accuracy));
}

void progress_resume(struct progress *progress, const json_t *sums)
{
    sums_read_count(sums, "samples", &progress->samples_before);
    sums_read_count(sums, "epoch", &progress->epoch);
    sums_read_count(sums, "epoch_samples", &progress->epoch_samples);
    sums_read_real(sums, "epoch_loss", &progress->epoch_loss);
    sums_read_real(sums, "eval_loss", &progress->eval_loss);
    sums_read_real(sums, "eval_accuracy", &progress->eval_accuracy);
    progress->epoch_done = json_is_true(json_object_get(sums, "epoch_done"));
}
