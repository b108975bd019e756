/* Manifests of checkpoints; see checkpoint_manifest.h. Thread: head. */
#include "server/result/checkpoint_manifest.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/mem.h"
#include "server/options/spec.h"
#include "server/result/checkpoint.h"
#include "server/save/describe.h"
#include "server/talk/shared.h"

static char *time_text(void)
{
    char text[32];
    time_t now = time(NULL);
    struct tm tm;
    (void)gmtime_r(&now, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return strdup(text);
}

/* As a file of the model says it. */
static dp_err describe(const struct head *head, struct manifest *m)
{
    const struct job *job = &head->job;
    AUTOFREE char *labels = describe_labels(job);
    if (!labels)
        return DP_NOMEM;
    m->tensors = job->core.tensors;
    const bool complete = job->over || m->step >= plan_total(&job->core.plan);
    return describe_model(job, &(struct described){labels, m->train_step, complete, false}, &m->model);
}

/* Settings that hold from later steps on are there as well: they have been agreed on. */
static dp_err manifest_of(const struct head *head, struct manifest *m)
{
    const struct checkpoints *c = head->checkpoints;
    const struct shard_job *core = &head->job.core;
    *m = (struct manifest){
        .generation = c->generation,
        .settings = c->has_settings,
        .incarnation = head->job.incarnation,
        .step = c->step,
        .train_step = c->train_step,
        .train_steps = head->job.over ? c->train_step : core->plan.train_steps,
        .written_at = time_text(),
        .version = strdup(DP_VERSION_TEXT),
        .spec = spec_of(head->opts),
        .join = c->join,
        .join_bytes = c->join_bytes,
        .numerics = strdup(head->job.settled_numerics),
        .rates = c->rates,
        .periods = core->params.schedule.periods,
        .consistency = c->consistency,
        .sums = json_incref(c->sums),
        .files = c->files,
        .file_count = c->file_count,
    };
    bool good = m->written_at && m->version && m->spec && m->numerics;
    return good ? describe(head, m) : DP_NOMEM;
}

/* Join, rates and files stay the module's. */
static void manifest_drop(struct manifest *m)
{
    m->join = NULL;
    m->rates = (struct schedule_past){0};
    m->files = NULL;
    manifest_fini(m);
}

dp_err checkpoint_manifest(const struct head *head, char **ret_text, size_t *ret_bytes)
{
    struct manifest m;
    dp_err e = manifest_of(head, &m);
    if (!e)
        e = manifest_write(&m, ret_text, ret_bytes);
    manifest_drop(&m);
    return e;
}
