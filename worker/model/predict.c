/* eval and predict; see predict.h. Invariant: rows go through the model in their order and in runs of the model's own
 * length, so that results are those of an evaluation step. Thread: one. */
#include "worker/model/predict.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/human.h"
#include "common/base/mem.h"
#include "common/base/util.h"
#include "common/kernels/kernels.h"
#include "common/options/data_options.h"
#include "worker/data/parse/text.h"
#include "worker/model/labels.h"
#include "worker/model/model_file.h"
#include "worker/model/scratch.h"

/* A model, data that fit it, and what is needed to run one on the other. */
struct trial {
    struct model_file file;
    struct data data;
    struct model_scratch *scratch;
    uint64_t *rows; /* [run_rows] */
    size_t run_rows;
    const volatile int *stop; /* may be NULL */
};

static void trial_fini(struct trial *t)
{
    free(t->rows);
    model_scratch_free(&t->scratch);
    data_fini(&t->data);
    model_file_fini(&t->file);
}

static dp_err trial_init(struct trial *t, const char *model_path, const struct data_source *source, bool quiet,
                         const volatile int *stop, dp_error *err)
{
    *t = (struct trial){.stop = stop};
    dp_err e = model_file_read(model_path, &t->file, err);
    if (!e)
        model_state_warn(&t->file.state, t->file.path, stderr);
    if (!e)
        e = model_file_data(&t->file, source, &t->data, err);
    if (!e && t->data.note && !quiet)
        fprintf(stderr, "dp-worker: %s\n", t->data.note);
    if (!e) {
        t->scratch = model_scratch_new(&t->file.spec, 1, !data_is_sparse(&t->data));
        t->run_rows = t->scratch ? model_run_rows(t->scratch) : 1;
        t->rows = mem_array(t->run_rows, sizeof *t->rows);
        if (!t->scratch || !t->rows)
            e = dp_fail(err, DP_NOMEM, "%s: out of memory", model_path);
    }
    if (e)
        trial_fini(t);
    return e;
}

/* Names the rows of the run that begins at `first`; returns how many there are, 0 at the end. */
static size_t run_take(struct trial *t, uint64_t first)
{
    size_t n = 0;
    for (; n < t->run_rows && first + n < t->data.rows; n++)
        t->rows[n] = first + n;
    return n;
}

/* Whether everything that was printed has arrived. */
static dp_err output_check(FILE *out, const char *where, dp_error *err)
{
    if (fflush(out) == 0 && !ferror(out))
        return DP_OK;
    return dp_fail(err, DP_IO, "%scannot be written: %s", where, strerror(errno));
}

/* eval */

struct result {
    dp_metrics metrics;
    double loss;      /* mean */
    double objective; /* loss + R */
    struct terms_result terms;
};

enum { GRADIENT_ROWS = 1024 };

/* The gradient of the mean loss, in double over runs of rows. */
static dp_err trial_gradient(struct trial *t, const float *targets, double *gradient, dp_error *err)
{
    const struct model_file *f = &t->file;
    size_t elems = (size_t)tensors_total(&f->tensors);
    struct model_scratch *scratch = model_scratch_new(&f->spec, GRADIENT_ROWS, !data_is_sparse(&t->data));
    AUTOFREE float *run = mem_array(elems, sizeof *run);
    AUTOFREE uint64_t *rows = mem_array(GRADIENT_ROWS, sizeof *rows);
    dp_metrics metrics = {0};
    if (!scratch || !run || !rows) {
        model_scratch_free(&scratch);
        return dp_fail(err, DP_NOMEM, "%s: out of memory", f->path);
    }
    dp_err e = DP_OK;
    for (uint64_t first = 0, n; !e && first < t->data.rows; first += n) {
        n = MIN(t->data.rows - first, (uint64_t)GRADIENT_ROWS);
        for (uint64_t i = 0; i < n; i++)
            rows[i] = first + i;
        model_gradient(f->model, &f->spec, &t->data, targets, rows, (size_t)n, f->theta, scratch, run, &metrics);
        for (size_t i = 0; i < elems; i++)
            gradient[i] += (double)run[i] / (double)t->data.rows;
        e = data_stopped(t->stop, err);
    }
    model_scratch_free(&scratch);
    return e;
}

static dp_err measure_terms(struct trial *t, const float *targets, struct model_terms *terms, struct result *result,
                            dp_error *err)
{
    if (!terms || !model_terms_any(terms))
        return DP_OK;
    AUTOFREE double *gradient = mem_array_zero((size_t)tensors_total(&t->file.tensors), sizeof *gradient);
    if (!gradient)
        return dp_fail(err, DP_NOMEM, "%s: out of memory", t->file.path);
    dp_err e = trial_gradient(t, targets, gradient, err);
    if (!e)
        e = model_terms_measure(terms, &t->file.tensors, t->file.theta, gradient, &result->terms, err);
    return e;
}

static dp_err trial_measure(struct trial *t, struct model_terms *terms, struct result *ret_result, dp_error *err)
{
    const struct model_file *f = &t->file;
    AUTOFREE float *targets = NULL;
    dp_err e = model_targets(f->model, &t->data, &f->labels, "the model's", &targets, err);
    if (e)
        return e;
    struct result result = {0};
    size_t n;
    for (uint64_t first = 0; (n = run_take(t, first)) > 0; first += n) {
        e = data_stopped(t->stop, err);
        if (e)
            return e;
        model_evaluate(f->model, &f->spec, &t->data, targets, t->rows, n, f->theta, t->scratch, &result.metrics);
    }
    result.loss = result.metrics.loss / (double)result.metrics.count;
    e = measure_terms(t, targets, terms, &result, err);
    result.objective = result.loss + result.terms.regularizer;
    *ret_result = result;
    return e;
}

static double accuracy(const struct result *result)
{
    return (double)result->metrics.correct / (double)result->metrics.count;
}

/* The loss of one row is half the square of its error. */
static double rmse(const struct result *result)
{
    return sqrt(2 * result->loss);
}

/* JSON has no infinity. */
static void json_number(FILE *out, const char *key, double value)
{
    if (isfinite(value))
        fprintf(out, ",\"%s\":%.12g", key, value);
    else
        fprintf(out, ",\"%s\":null", key);
}

static double sparsity(const struct trial *t, const struct result *result)
{
    return (double)result->terms.zeros / (double)tensors_total(&t->file.tensors);
}

/* The name or the number, for CSV data. */
static void json_label_column(FILE *out, const struct data *data)
{
    char *const name = data->label_name;
    AUTOFREE char *list = name ? schema_list_text(&name, 1) : NULL;
    if (data->label_at == SCHEMA_NO_LABEL)
        return;
    if (list)
        fprintf(out, ",\"label_column\":%.*s", (int)strlen(list) - 2, list + 1);
    else
        fprintf(out, ",\"label_column\":%" PRIu64, data->label_at);
}

static void print_json(FILE *out, const struct trial *t, const struct result *result, const struct model_terms *terms)
{
    bool classifies = t->file.model->classifies;
    const struct model_state *state = &t->file.state;
    fprintf(out, "{\"event\":\"done\",\"reason\":null,\"exit_code\":0,\"step\":%" PRIu64 ",\"complete\":%s",
            state->steps, state->unfinished || state->diverged ? "false" : "true");
    fprintf(out, ",\"rows\":%" PRIu64, result->metrics.count);
    json_number(out, "loss", result->loss);
    json_number(out, "objective", result->objective);
    json_number(out, classifies ? "accuracy" : "rmse", classifies ? accuracy(result) : rmse(result));
    if (terms && model_terms_any(terms)) {
        json_number(out, "regularizer", result->terms.regularizer);
        json_number(out, "sparsity", sparsity(t, result));
        json_number(out, "stationarity", result->terms.stationarity);
    }
    if (terms && terms->constraints.count)
        json_number(out, "violation", result->terms.violation);
    json_label_column(out, &t->data);
    fputs("}\n", out);
}

static void print_terms(FILE *out, const struct trial *t, const struct result *result)
{
    fprintf(out, "objective  %.12g (regularizer %.6g), %.3g %% of the parameters are zero, ", result->objective,
            result->terms.regularizer, 100 * sparsity(t, result));
    if (isnan(result->terms.stationarity))
        fprintf(out, "stationarity unknown: these terms have no joint projection\n");
    else
        fprintf(out, "stationary to %.3g\n", result->terms.stationarity);
}

static void print_lines(FILE *out, const struct trial *t, const struct result *result, const struct model_terms *terms)
{
    char label[SCHEMA_LABEL_TEXT_BYTES];
    const bool has_label = t->data.label_at != SCHEMA_NO_LABEL;
    fprintf(out, "model      %s (%s, %" PRIu64 " feature%s)\n", t->file.path, t->file.model->name,
            t->file.spec.features, human_s(t->file.spec.features));
    fprintf(out, "data       %s (%" PRIu64 " row%s%s%s)\n", t->data.name, t->data.rows, human_s(t->data.rows),
            has_label ? ", label " : "",
            has_label ? schema_label_text(t->data.label_name, t->data.label_at, label) : "");
    fprintf(out, "loss       %.12g\n", result->loss);
    if (terms && model_terms_any(terms))
        print_terms(out, t, result);
    if (terms && terms->constraints.count)
        fprintf(out, "violation  %.6g\n", result->terms.violation);
    if (t->file.model->classifies)
        fprintf(out, "accuracy   %.2f %% (%" PRIu64 " of %" PRIu64 ")\n", 100 * accuracy(result),
                result->metrics.correct, result->metrics.count);
    else
        fprintf(out, "rmse       %.12g\n", rmse(result));
}

dp_err eval_run(const struct eval_options *opts, dp_error *err)
{
    struct trial t;
    struct result result;
    FILE *out = opts->out ? opts->out : stdout;
    dp_err e = trial_init(&t, opts->model_path, &opts->source, opts->quiet, opts->stop, err);
    if (e)
        return e;
    e = trial_measure(&t, opts->terms, &result, err);
    if (!e && opts->json)
        print_json(out, &t, &result, opts->terms);
    else if (!e && !opts->quiet)
        print_lines(out, &t, &result, opts->terms);
    trial_fini(&t);
    return e ? e : output_check(out, "standard output: ", err);
}

/* predict */

struct prediction {
    struct trial trial;
    bool scores, json;
    float *run;     /* scores of a run, [run_rows * width] */
    double *chance; /* of each class of a row, [labels.count] */
};

/* Probabilities of the classes of a row from its scores; returns the class predicted: the most probable one, the lowest
 * of equals. */
static size_t row_classify(const float *scores, size_t count, double *chance)
{
    size_t top = 0;
    double sum = 0;
    for (size_t c = 1; c < count; c++)
        top = scores[c] > scores[top] ? c : top;
    for (size_t c = 0; c < count; c++)
        sum += chance[c] = exp((double)scores[c] - (double)scores[top]);
    for (size_t c = 0; c < count; c++)
        chance[c] /= sum;
    return top;
}

static void print_value(const struct prediction *p, double value, FILE *out)
{
    if (!p->json)
        fprintf(out, "%.9g\n", value);
    else if (isfinite(value))
        fprintf(out, "{\"value\":%.9g}\n", value);
    else
        fputs("{\"value\":null}\n", out);
}

/* A number as it is written, where JSON writes it so. */
static const char *json_text(const struct label *label, char buf[LABEL_NUMBER_CHARS])
{
    return label->word || label_json_number(label->text) ? label->text : label_number_text(label->value, buf);
}

/* Labels have no control characters. */
static void json_key(const struct label *label, FILE *out)
{
    char buf[LABEL_NUMBER_CHARS];
    fputc('"', out);
    for (const char *c = json_text(label, buf); *c; c++) {
        if (*c == '"' || *c == '\\')
            fputc('\\', out);
        fputc(*c, out);
    }
    fputc('"', out);
}

static void print_class_json(const struct prediction *p, size_t top, FILE *out)
{
    const struct label_list *labels = &p->trial.file.labels;
    const struct label *label = &labels->list[top];
    fputs("{\"label\":", out);
    if (label->word)
        json_key(label, out);
    else
        fputs(json_text(label, (char[LABEL_NUMBER_CHARS]){0}), out);
    for (size_t c = 0; p->scores && c < labels->count; c++) {
        fputs(c ? "," : ",\"scores\":{", out);
        json_key(&labels->list[c], out);
        fprintf(out, ":%.9g", p->chance[c]);
    }
    fputs(p->scores ? "}}\n" : "}\n", out);
}

static void print_row(const struct prediction *p, const float *scores, FILE *out)
{
    const struct model_file *f = &p->trial.file;
    if (!f->model->classifies) {
        print_value(p, (double)scores[0], out);
        return;
    }
    /* One score is that of the second of two classes, the first one's is 0. */
    const float two[2] = {0, scores[0]};
    size_t top =
        f->model->multiclass ? row_classify(scores, f->labels.count, p->chance) : row_classify(two, 2, p->chance);
    if (p->json) {
        print_class_json(p, top, out);
        return;
    }
    fputs(f->labels.list[top].text, out);
    for (size_t c = 0; p->scores && c < f->labels.count; c++)
        fprintf(out, "\t%.9g", p->chance[c]);
    fputc('\n', out);
}

static dp_err print_rows(struct prediction *p, FILE *out, const char *where, dp_error *err)
{
    struct trial *t = &p->trial;
    const struct model_file *f = &t->file;
    size_t width = f->spec.classes ? f->spec.classes : 1, n;
    for (uint64_t first = 0; (n = run_take(t, first)) > 0 && !ferror(out); first += n) {
        dp_err e = data_stopped(t->stop, err);
        if (e)
            return e;
        f->model->scores(&f->spec, &t->data, t->rows, n, f->theta, t->scratch, p->run);
        for (size_t i = 0; i < n; i++)
            print_row(p, p->run + i * width, out);
    }
    return output_check(out, where, err);
}

/* file_replace's writer. */
static dp_err print_to_fd(void *arg, int fd, dp_error *err)
{
    int copy = dup(fd);
    FILE *out = copy < 0 ? NULL : fdopen(copy, "w");
    if (!out) {
        if (copy >= 0)
            close(copy);
        return dp_fail(err, DP_IO, "cannot be opened: %s", strerror(errno));
    }
    dp_err e = print_rows(arg, out, "", err);
    if (fclose(out) && !e)
        e = dp_fail(err, DP_IO, "cannot be written: %s", strerror(errno));
    return e;
}

/* A device or a pipe is written to; it cannot be replaced. */
static bool is_stream(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

static dp_err print_to_stream(struct prediction *p, const char *path, dp_error *err)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return dp_fail(err, DP_IO, "%s: cannot be opened: %s", path, strerror(errno));
    dp_err e = print_to_fd(p, fd, err);
    close(fd);
    return e && e != DP_STOPPED ? dp_fail(err, e, "%s: %.500s", path, err->text) : e;
}

static dp_err print_to(struct prediction *p, const char *path, dp_error *err)
{
    if (!path)
        return print_rows(p, stdout, "standard output: ", err);
    return is_stream(path) ? print_to_stream(p, path, err) : file_replace(path, print_to_fd, p, err);
}

/* Found out before the data are read, which may take long. */
static dp_err check_output(const struct predict_options *opts, dp_error *err)
{
    const struct data_file reads[] = {
        {"model", opts->model_path}, {"data", opts->source.path}, {"labels", opts->source.labels_path}};
    if (!opts->output || is_stream(opts->output))
        return DP_OK;
    dp_err e = data_files_check_output(reads, ARRAY_LEN(reads), "output", opts->output, err);
    return e ? e : file_replace_check(opts->output, err);
}

dp_err predict_run(const struct predict_options *opts, dp_error *err)
{
    struct prediction p = {.scores = opts->scores, .json = opts->json};
    struct data_source source = opts->source;
    source.label_optional = true;
    source.label_use = LABEL_PASSED;
    dp_err e = check_output(opts, err);
    if (!e)
        e = trial_init(&p.trial, opts->model_path, &source, opts->quiet, opts->stop, err);
    if (e)
        return e;
    const struct model_file *f = &p.trial.file;
    size_t width = f->spec.classes ? f->spec.classes : 1;
    p.run = mem_array(p.trial.run_rows * width, sizeof *p.run);
    p.chance = mem_array(f->labels.count, sizeof *p.chance);
    if (!p.run || !p.chance)
        e = dp_fail(err, DP_NOMEM, "%s: out of memory", opts->model_path);
    else
        e = print_to(&p, opts->output, err);
    free(p.run);
    free(p.chance);
    trial_fini(&p.trial);
    return e;
}
