/* Output of a worker. Lines on stderr begin with the program's name, since servers and supervisors collect them. */
#include "worker/run/report.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "common/base/human.h"
#include "worker/run/weights.h"

static const char PROGRAM[] = "dp-worker: ";

/* Takes the object. */
static void report_object(const struct report *report, json_t *object)
{
    if (report->json && object) {
        json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
        fputc('\n', stdout);
        fflush(stdout);
    }
    json_decref(object);
}

void report_notice(const struct report *report, const char *text)
{
    if (!report->quiet)
        fprintf(stderr, "%s%s\n", PROGRAM, text);
    report_object(report, json_pack("{s:s, s:s}", "event", "notice", "text", text));
}

void report_scales(const struct report *report, const char *file, const char *scales)
{
    char text[640];
    snprintf(text, sizeof text,
             "%.150s: columns differ by orders of magnitude in scale: %s; scale the features, else training may go "
             "nowhere",
             file, scales);
    if (!report->quiet)
        fprintf(stderr, "%swarning: %s\n", PROGRAM, text);
    report_object(report, json_pack("{s:s, s:s, s:s}", "event", "warning", "kind", "scales", "text", text));
}

void report_data(const struct report *report, const char *role, const struct data_blocks_facts *data, double seconds)
{
    const struct data *found = data->found;
    const bool has_label = found->label_at != SCHEMA_NO_LABEL;
    char count[HUMAN_MAX], took[HUMAN_MAX], label[SCHEMA_LABEL_TEXT_BYTES];
    if (!report->quiet)
        fprintf(stderr, "%sread %s: %s row%s, %" PRIu64 " feature%s, %s%s%s, in %s\n", PROGRAM, data->name,
                human_count((double)data->rows, count), human_s(data->rows), data->features, human_s(data->features),
                data->sparse ? "sparse" : "dense", has_label ? ", label " : "",
                has_label ? schema_label_text(found->label_name, found->label_at, label) : "",
                human_seconds(seconds, took));
    report_object(report, json_pack("{s:s, s:s, s:s, s:I, s:I, s:b, s:f, s:o}", "event", "data", "role", role, "file",
                                    data->name, "rows", (json_int_t)data->rows, "features", (json_int_t)data->features,
                                    "sparse", data->sparse, "seconds", seconds, "label_column",
                                    !has_label          ? json_null()
                                    : found->label_name ? json_string(found->label_name)
                                                        : json_integer((json_int_t)found->label_at)));
    if (found->note)
        report_notice(report, found->note);
}

/* A worker with data of its own knows how often it goes through them, and not who else does what. */
static void print_joined(const char *server, const dp_job *job, bool open_ended)
{
    fprintf(stderr, "%sjoined %s: %s, %" PRIu64 " parameter%s%s, ", PROGRAM, server, job->model, job->theta_elems,
            human_s(job->theta_elems), weights_are_table(job) ? " besides the table" : "");
    if (job->local)
        fprintf(stderr, "minibatches of %" PRIu64 " row%s of its own as one of %u slot%s, ", job->local_rows,
                human_s(job->local_rows), job->slots, human_s(job->slots));
    else
        fprintf(stderr, "minibatches of %" PRIu64 " row%s in %u slot%s, ", job->batch, human_s(job->batch), job->slots,
                human_s(job->slots));
    if (open_ended)
        fprintf(stderr, "%" PRIu64 " time%s through its data\n", job->local_epochs, human_s(job->local_epochs));
    else
        fprintf(stderr, "%" PRIu64 " training step%s\n", job->train_steps, human_s(job->train_steps));
}

enum { LABELS_TOLD = 100 };

/* Class -> label as they are written, the first ones where there are many. */
static json_t *labels_json(const dp_job *job)
{
    json_t *list = json_array();
    for (size_t i = 0; i < job->label_count && i < LABELS_TOLD; i++)
        json_array_append_new(list, json_string(job->label_texts[i]));
    return list;
}

void report_joined(const struct report *report, const char *server, const dp_job *job)
{
    bool open_ended = job->local && job->local_epochs > 0;
    uint64_t batch = job->local ? job->local_rows : job->batch;
    if (!report->quiet)
        print_joined(server, job, open_ended);
    report_object(report, json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:o, s:o}", "event", "joined", "server", server,
                                    "model", job->model, "parameters", (json_int_t)job->theta_elems, "batch",
                                    (json_int_t)batch, "slots", (json_int_t)job->slots, "steps",
                                    open_ended ? json_null() : json_integer((json_int_t)job->train_steps), "labels",
                                    labels_json(job)));
}

void report_done(const struct report *report, const char *what, uint64_t tasks, uint64_t slots, uint64_t samples,
                 double seconds)
{
    char count[HUMAN_MAX], took[HUMAN_MAX];
    if (!report->quiet)
        fprintf(stderr, "%s%s: computed %s sample%s in %" PRIu64 " slot%s of %" PRIu64 " step%s%s, in %s\n", PROGRAM,
                what, human_count((double)samples, count), human_s(samples), slots, human_s(slots), tasks,
                human_s(tasks), report->evaluates ? " with evaluations" : "", human_seconds(seconds, took));
    report_object(report, json_pack("{s:s, s:I, s:I, s:I, s:f, s:n, s:i}", "event", "done", "steps", (json_int_t)tasks,
                                    "slots", (json_int_t)slots, "samples", (json_int_t)samples, "seconds", seconds,
                                    "reason", "exit_code", 0));
}
