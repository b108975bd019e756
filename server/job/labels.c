/* Labels of a job: what was asked for, what the first worker's data settle, and what workers are told of both. Thread:
 * head. */
#include "server/job/labels.h"

#include <stdlib.h>
#include <string.h>

static void free_wire(struct job *job)
{
    free(job->wire->labels);
    free(job->wire->label_texts);
    job->wire->labels = NULL;
    job->wire->label_texts = NULL;
    job->wire->n_labels = job->wire->n_label_texts = 0;
}

dp_err job_ask_labels(const struct server_options *opts, Dp__Job *wire)
{
    const struct label_list *asked = &opts->labels_asked;
    wire->classes_asked = (uint32_t)opts->classes;
    wire->labels_asked = label_list_texts(asked);
    wire->n_labels_asked = wire->labels_asked ? asked->count : 0;
    return wire->labels_asked ? DP_OK : DP_NOMEM;
}

/* Numbers where all labels are, texts where numbers would not say them. */
static dp_err fill_wire(struct job *job)
{
    const struct label_list *labels = &job->labels;
    free_wire(job);
    if (!label_list_has_words(labels)) {
        job->wire->labels = mem_array(labels->count, sizeof *job->wire->labels);
        if (!job->wire->labels)
            return DP_NOMEM;
        for (size_t i = 0; i < labels->count; i++)
            job->wire->labels[i] = labels->list[i].value;
        job->wire->n_labels = labels->count;
    }
    if (label_list_has_texts(labels)) {
        job->wire->label_texts = label_list_texts(labels);
        if (!job->wire->label_texts)
            return DP_NOMEM;
        job->wire->n_label_texts = labels->count;
    }
    return DP_OK;
}

static dp_err take(const Dp__Join *join, struct label_list *ret_labels, dp_error *err)
{
    const char *const *texts = join->n_label_texts ? (const char *const *)join->label_texts : NULL;
    if (label_list_take(join->labels, texts, texts ? join->n_label_texts : join->n_labels, ret_labels, err))
        return dp_fail(err, err->code == DP_NOMEM ? DP_NOMEM : DP_REFUSED, "the worker's labels: %.300s", err->text);
    return DP_OK;
}

static dp_err differ(const char *whose, const struct label_list *theirs, const struct label_list *ours,
                     const char *todo, dp_error *err)
{
    char a[LABEL_LIST_TEXT], b[LABEL_LIST_TEXT];
    return dp_fail(err, DP_REFUSED, "the worker's labels (%s) are not %s (%s)%s", label_list_show(theirs, a), whose,
                   label_list_show(ours, b), todo);
}

/* A local job of logistic may have workers that know no more than that all of theirs are the greater label. */
static bool may_be_open(const struct job *job)
{
    return job->core.local && job->opts->labels_asked.count == 0 && strcmp(job->opts->model, "logistic") == 0;
}

dp_err job_settle_labels(struct job *job, const Dp__Join *join, dp_error *err)
{
    const struct label_list *asked = &job->opts->labels_asked;
    dp_err e = take(join, &job->labels, err);
    if (e)
        return e;
    if (asked->count && !label_list_same(asked, &job->labels))
        return differ("those of --label-names", &job->labels, asked, "", err);
    return fill_wire(job) ? dp_fail(err, DP_NOMEM, "out of memory for the labels") : DP_OK;
}

dp_err job_check_labels(const struct job *job, const Dp__Join *join, dp_error *err)
{
    struct label_list labels;
    dp_err e = take(join, &labels, err);
    if (e)
        return e;
    bool open = may_be_open(job) && (labels.count == 0 || job->labels.count == 0);
    if (!open && !label_list_same(&labels, &job->labels))
        e = differ("the job's", &labels, &job->labels,
                   job->core.local ? ": write them alike in every worker's data, or start dp-server with --label-names"
                                   : ": give every worker the same file",
                   err);
    label_list_fini(&labels);
    return e;
}

dp_err job_learn_labels(struct job *job, const Dp__Join *join, dp_error *err)
{
    if (job->labels.count || !may_be_open(job))
        return DP_OK;
    dp_err e = job_settle_labels(job, join, err);
    if (e)
        job_forget_labels(job);
    return e;
}

void job_forget_labels(struct job *job)
{
    free_wire(job);
    label_list_fini(&job->labels);
}

bool job_classifies(const struct job *job)
{
    return job->labels.count > 0 || may_be_open(job);
}
