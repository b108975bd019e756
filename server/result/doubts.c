/* Warnings while the job trains: columns of other scales, losses that rise, a model that is no better than
 * none. On the terminal or in the log, in --json and in the status. Thread: head. */
#include "server/result/doubts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/human.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "server/job/labels.h"
#include "server/talk/shared.h"

static void warn(struct head *head, const char *kind, const char *text)
{
    struct doubts *doubts = head->doubts;
    if (doubts->count < DOUBTS_MAX)
        (void)str_copy(doubts->texts[doubts->count++], DOUBT_TEXT_MAX, text);
    if (!progress_warning(&head->progress, mono_ms(), kind, text))
        log_warn("training-doubtful kind=%s reason=\"%s\"", kind, text);
    else
        log_info("training-doubtful kind=%s reason=\"%s\"", kind, text);
}

static double share(uint64_t part, uint64_t rows)
{
    return rows ? (double)part / (double)rows : 0;
}

/* The mean loss of theta = 0. */
static double zero_loss(const struct job *job)
{
    bool local = job->core.local;
    if (strcmp(job->opts->model, "logistic") == 0)
        return log(2);
    if (strcmp(job->opts->model, "softmax") == 0 && job->classes > 1)
        return log(job->classes);
    return strcmp(job->opts->model, "linear") == 0 && !local ? job->train.zero_loss : 0;
}

void head_doubts_begin(struct head *head)
{
    const struct job *job = &head->job;
    char text[DOUBT_TEXT_MAX];
    size_t at = 0;
    struct trend_facts facts = {
        .zero_loss = zero_loss(job),
        .majority = share(job->train.majority, job->train.rows),
        .eval_majority = share(job->eval.majority, job->eval.rows),
        .steps_per_epoch = plan_steps_per_epoch(&job->core.plan),
        .train_steps = job->core.plan.train_steps,
    };
    trend_begin(&head->doubts->trend, &facts);
    if (!job->train.scales[0])
        return;
    (void)str_append(text, sizeof text, &at,
                     "columns of %.100s differ by orders of magnitude in scale: %s; " DOUBTS_REMEDY, job->train.name,
                     job->train.scales);
    warn(head, "scales", text);
}

void head_doubts_stop(struct head *head)
{
    head->doubts->count = 0;
}

/* A free client's loss may be anything. */
static bool judged(const struct head *head)
{
    return strcmp(head->opts->model, "free") != 0;
}

void head_doubts_step(struct head *head, const struct plan_step *at, const struct metrics *m)
{
    struct trend *trend = &head->doubts->trend;
    if (!judged(head) || head->diverged)
        return;
    if (at->asks->counts)
        trend_step(trend, at->train_step, m->loss, m->count, m->correct);
    else if (at->asks->rows == ROWS_EVAL)
        trend_eval(trend, m->count, m->correct);
    if (trend_rises(trend))
        warn(head, "rises", "the loss rises from epoch to epoch, again and again: " DOUBTS_REMEDY);
}

static void judge_loss(struct head *head, const struct trend_verdict *verdict)
{
    char text[DOUBT_TEXT_MAX], a[HUMAN_MAX], b[HUMAN_MAX];
    if (verdict->what & TREND_ABOVE_ZERO) {
        snprintf(text, sizeof text,
                 "the loss at the end, %s, is above that of a model of zeros, %s, so that it is worse than "
                 "none: " DOUBTS_REMEDY,
                 human_loss(verdict->loss, a), human_loss(head->doubts->trend.facts.zero_loss, b));
        warn(head, "above-zero", text);
    } else if (verdict->what & TREND_ABOVE_EARLIER) {
        snprintf(text, sizeof text, "the loss at the end, %s, is above that of an earlier epoch, %s: " DOUBTS_REMEDY,
                 human_loss(verdict->loss, a), human_loss(verdict->earlier, b));
        warn(head, "above-earlier", text);
    }
}

void head_doubts_end(struct head *head)
{
    char text[DOUBT_TEXT_MAX], a[HUMAN_MAX], b[HUMAN_MAX];
    if (!judged(head))
        return;
    struct trend_verdict verdict = trend_end(&head->doubts->trend, job_classifies(&head->job));
    judge_loss(head, &verdict);
    if (!(verdict.what & TREND_MAJORITY))
        return;
    snprintf(text, sizeof text,
             "accuracy %s is no better than that of always answering the most frequent label, which %s of the rows "
             "have: look at the balance of the classes, scale the features, or use another --lr or more epochs",
             human_percent(verdict.accuracy, a), human_percent(verdict.majority, b));
    warn(head, "majority", text);
}

json_t *head_doubts_json(const struct head *head)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < head->doubts->count; i++)
        json_array_append_new(list, json_string(head->doubts->texts[i]));
    return list;
}
