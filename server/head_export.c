/* The end of a job that went well: its model is written. Thread: head. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "head.h"

/* What somebody who left an option out may wonder at. */
static void print_end(const struct server_options *opts)
{
    if (opts->quiet || opts->json)
        return;
    if (!opts->export_path)
        fprintf(stderr, "dp-server: the model was not written: there was no --export FILE\n");
    if (!opts->exit_when_done)
        fprintf(stderr, "dp-server: still here for dp-ctl status until Ctrl-C; --exit-when-done ends by itself\n");
}

void head_finish(struct head *head, bool exported)
{
    if (head->state != HEAD_EXPORTING)
        return;
    head->state = HEAD_DONE;
    head->ended_ms = mono_ms();
    struct run_summary summary = {.path = exported ? head->opts->export_path : NULL,
                                  .dropped = head_drop_json(head),
                                  .staleness = head_staleness_total_json(head)};
    progress_done(&head->progress, head->ended_ms, &summary);
    json_decref(summary.staleness);
    json_decref(summary.dropped);
    print_end(head->opts);
    head_notice(head, DP_JOB_DONE, "the job is done");
    head_see_end(head);
}

/* A server that is being stopped has its status already, but must not end as if the model were there. */
static void export_failed(struct head *head, const dp_error *err)
{
    head->exporting = false;
    export_free(&head->export);
    if (head->state != HEAD_STOPPING) {
        head_fail(head, err);
        return;
    }
    fprintf(stderr, "dp-server: %s\n", err->text);
    head->exit_status = dp_err_exit_status(err->code);
    head_see_end(head);
}

static void on_exported(void *arg, const dp_error *err)
{
    struct head *head = arg;
    if (err->code) {
        export_failed(head, err);
        return;
    }
    head->exporting = false;
    if (head->state == HEAD_EXPORTING)
        head_finish(head, true);
    else
        fprintf(stderr, "dp-server: %s %s\n",
                head->diverged ? "the parameters that diverged are in"
                : head->job.over || head->export_step == plan_total(&head->job.core.plan)
                    ? "the finished model is in"
                    : "the parameters so far (not the finished model) are in",
                head->opts->export_path);
    head_see_end(head);
}

/* Asks the shards for their parts of theta at a step that all of them hold. */
void head_export_at(struct head *head, uint64_t step)
{
    dp_error err;
    if (head->exporting)
        return;
    if (export_new(&head->job, head->opts->export_path, step, &head->export, &err)) {
        export_failed(head, &err);
        return;
    }
    if (head->diverged)
        export_mark_diverged(head->export);
    head->exporting = true;
    head->export_step = step;
    for (uint32_t p = 0; p < head->port_count; p++)
        if (!port_send(&head->ports[p], &(struct command){.kind = COMMAND_PIN, .step = step})) {
            (void)dp_fail(&err, DP_BUSY, "shard %u has too much to do for the export", p);
            export_failed(head, &err);
            return;
        }
}

void head_on_pinned(struct head *head, uint32_t shard, struct event *event)
{
    if (!head->export) {
        port_drop_pinned(&head->ports[shard], event);
        return;
    }
    export_add(head->export, shard, event->pinned, event->copies);
    if (export_whole(head->export))
        export_start(&head->export, &head->loop, on_exported, head);
}
