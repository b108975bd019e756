/* Rows of the progress display. Thread: any. */
#include "server/show/row.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/human.h"
#include "common/base/text.h"
#include "common/base/util.h"

enum { MILESTONES = 20, OPEN_WIDTH = 8 };

/* Widths are those of the heads or of the longest value of common/base/human.h, whichever is more. */
enum { LOSS_WIDTH = 8, EVAL_LOSS_WIDTH = 9, ACCURACY_WIDTH = 8, RATE_WIDTH = 9, CLOCK_WIDTH = 8 };

static int digits(uint64_t x)
{
    int n = 1;
    for (; x >= 10; x /= 10)
        n++;
    return n;
}

static bool fits(const struct progress_columns *columns, size_t width)
{
    char head[PROGRESS_ROW_MAX];
    return strlen(progress_head_text(columns, head)) <= width;
}

void progress_columns_init(struct progress_columns *columns, const struct progress_facts *facts, size_t width)
{
    *columns = (struct progress_columns){
        .epochs = facts->epochs,
        .epoch_total = true,
        .epoch_width = MAX(2 * digits(facts->epochs) + 1, 5),
        .step_width = MAX(digits(facts->train_steps), 4),
        .eval_loss = facts->evaluates,
        .eval_accuracy = facts->evaluates && facts->classifies,
        .rate = true,
        .elapsed = true,
        .eta = true,
    };
    if (facts->open_ended)
        columns->step_width = OPEN_WIDTH;
    if (facts->no_epochs)
        columns->epoch_width = 0;
    if (!fits(columns, width) && !facts->no_epochs) {
        columns->epoch_total = false;
        columns->epoch_width = MAX(digits(facts->epochs), 5);
    }
    bool *spare[] = {&columns->elapsed, &columns->rate, &columns->eta};
    for (size_t i = 0; i < sizeof spare / sizeof spare[0] && !fits(columns, width); i++)
        *spare[i] = false;
}

/* One row of cells, given as texts. */
static char *row_text(const struct progress_columns *columns, const char *epoch, const char *step, const char *loss,
                      const char *eval_loss, const char *accuracy, const char *rate, const char *elapsed,
                      const char *eta, char buf[PROGRESS_ROW_MAX])
{
    size_t at = 0;
    if (columns->epoch_width)
        str_append(buf, PROGRESS_ROW_MAX, &at, "%*s  ", columns->epoch_width, epoch);
    str_append(buf, PROGRESS_ROW_MAX, &at, "%*s  %*s", columns->step_width, step, LOSS_WIDTH, loss);
    if (columns->eval_loss)
        str_append(buf, PROGRESS_ROW_MAX, &at, "  %*s", EVAL_LOSS_WIDTH, eval_loss);
    if (columns->eval_accuracy)
        str_append(buf, PROGRESS_ROW_MAX, &at, "  %*s", ACCURACY_WIDTH, accuracy);
    if (columns->rate)
        str_append(buf, PROGRESS_ROW_MAX, &at, "  %*s", RATE_WIDTH, rate);
    if (columns->elapsed)
        str_append(buf, PROGRESS_ROW_MAX, &at, "  %*s", CLOCK_WIDTH, elapsed);
    if (columns->eta)
        str_append(buf, PROGRESS_ROW_MAX, &at, "  %*s", CLOCK_WIDTH, eta);
    return buf;
}

char *progress_head_text(const struct progress_columns *columns, char buf[PROGRESS_ROW_MAX])
{
    return row_text(columns, "epoch", "step", "loss", "eval loss", "eval acc", "samples/s", "elapsed", "ETA", buf);
}

char *progress_row_text(const struct progress_columns *columns, const struct progress_row *row,
                        char buf[PROGRESS_ROW_MAX])
{
    char epoch[48], step[HUMAN_MAX], loss[HUMAN_MAX], eval_loss[HUMAN_MAX], accuracy[HUMAN_MAX];
    char rate[HUMAN_MAX], elapsed[HUMAN_MAX], eta[HUMAN_MAX];
    size_t at = 0;
    str_append(epoch, sizeof epoch, &at, "%llu", (unsigned long long)row->epoch);
    if (columns->epoch_total)
        str_append(epoch, sizeof epoch, &at, "/%llu", (unsigned long long)columns->epochs);
    snprintf(step, sizeof step, "%llu", (unsigned long long)row->step);
    return row_text(columns, epoch, step, row->has_loss ? human_loss(row->loss, loss) : "-",
                    isnan(row->eval_loss) ? "-" : human_loss(row->eval_loss, eval_loss),
                    human_percent(row->eval_accuracy, accuracy), human_count(row->samples_per_s, rate),
                    human_clock(row->elapsed_s, elapsed), human_clock(row->eta_s, eta), buf);
}

bool progress_is_milestone(uint64_t epoch, uint64_t epochs)
{
    if (epochs <= MILESTONES || epoch == 1 || epoch >= epochs)
        return true;
    /* The share of the epochs done reaches another twentieth. In double: epochs * 20 could overflow. */
    double twentieth = (double)epochs / MILESTONES;
    return floor((double)epoch / twentieth) > floor((double)(epoch - 1) / twentieth);
}

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

/* Times and rates have no more digits than mean something. */
static json_t *rounded(double x)
{
    return number(round(x * 1000) / 1000);
}

static void print_line(json_t *object, FILE *out)
{
    if (object) {
        json_dumpf(object, out, JSON_COMPACT | JSON_REAL_PRECISION(15));
        fputc('\n', out);
        fflush(out);
    }
    json_decref(object);
}

static void add_terms(json_t *object, const struct progress_row *row)
{
    const struct progress_terms *terms = &row->terms;
    json_object_set_new(object, "regularizer", number(terms->regularizer));
    json_object_set_new(object, "objective", number(row->has_loss ? row->loss + terms->regularizer : NAN));
    if (!isnan(terms->violation))
        json_object_set_new(object, "violation", number(terms->violation));
    json_object_set_new(object, "sparsity", number(terms->sparsity));
    json_object_set_new(object, "gradient_norm", number(terms->gradient_norm));
    json_object_set_new(object, "lr", number(terms->lr));
}

static json_t *row_object(const char *event, const struct progress_row *row)
{
    json_t *object = json_pack("{s:s, s:o, s:I, s:o, s:o, s:o, s:o, s:o}", "event", event, "epoch",
                               row->epoch ? json_integer((json_int_t)row->epoch) : json_null(), "step",
                               (json_int_t)row->step, "loss", number(row->has_loss ? row->loss : NAN), "eval_loss",
                               number(row->eval_loss), "eval_accuracy", number(row->eval_accuracy), "samples_per_s",
                               rounded(row->samples_per_s), "elapsed_s", rounded(row->elapsed_s));
    if (object && row->terms.known)
        add_terms(object, row);
    return object;
}

void progress_data_json(const char *name, uint64_t rows, uint64_t features, const char *label, uint64_t label_at,
                        const char *note, FILE *out)
{
    json_t *column = label                    ? json_string(label)
                     : label_at == UINT64_MAX ? json_null()
                                              : json_integer((json_int_t)label_at);
    json_t *object = json_pack("{s:s, s:s, s:o, s:I, s:o}", "event", "data", "file", name, "rows",
                               rows ? json_integer((json_int_t)rows) : json_null(), "features", (json_int_t)features,
                               "label_column", column);
    if (object && note[0])
        json_object_set_new(object, "note", json_string(note));
    print_line(object, out);
}

void progress_row_json(const struct progress_row *row, FILE *out)
{
    print_line(row_object("epoch", row), out);
}

/* JSON is UTF-8, which a file's name, for one, need not be. */
static json_t *text_json(const char *text)
{
    json_t *whole = json_string(text);
    if (whole)
        return whole;
    char *clean = strdup(text);
    for (char *c = clean; c && *c; c++)
        *c = (unsigned char)*c < 0x80 ? *c : '?';
    whole = clean ? json_string(clean) : NULL;
    free(clean);
    return whole ? whole : json_null();
}

void progress_done_json(const struct progress_row *row, const char *model, json_t *staleness, json_t *dropped,
                        uint64_t samples, FILE *out)
{
    json_t *object = row_object("done", row);
    json_object_set_new(object, "model", model ? text_json(model) : json_null());
    json_object_set(object, "commits", json_object_get(staleness, "commits"));
    json_object_set(object, "staleness_mean", json_object_get(staleness, "mean"));
    json_object_set(object, "staleness_max", json_object_get(staleness, "max"));
    json_object_set(object, "staleness_buckets", json_object_get(staleness, "buckets"));
    json_object_set_new(object, "samples", json_integer((json_int_t)samples));
    json_object_set(object, "dropped_slots", json_object_get(dropped, "slots"));
    json_object_set(object, "dropped_samples", json_object_get(dropped, "samples"));
    json_object_set_new(object, "reason", json_null());
    json_object_set_new(object, "exit_code", json_integer(0));
    print_line(object, out);
}

struct progress_row progress_row_none(void)
{
    return (struct progress_row){
        .eval_loss = NAN, .eval_accuracy = NAN, .samples_per_s = NAN, .elapsed_s = NAN, .eta_s = NAN};
}

void progress_warning_json(const char *kind, const char *text, uint64_t step, FILE *out)
{
    print_line(json_pack("{s:s, s:s, s:o, s:I}", "event", "warning", "kind", kind, "text", text_json(text), "step",
                         (json_int_t)step),
               out);
}

void progress_checkpoint_json(const struct checkpoint_made *made, FILE *out)
{
    print_line(json_pack("{s:s, s:I, s:o, s:I, s:f}", "event", "checkpoint", "step", (json_int_t)made->train_step,
                         "path", text_json(made->path), "bytes", (json_int_t)made->bytes, "seconds", made->seconds),
               out);
}

void progress_end_json(const struct progress_row *row, const char *event, const char *reason, int exit_code,
                       const char *model, FILE *out)
{
    json_t *object = row_object(event, row);
    json_object_set_new(object, "model", model ? text_json(model) : json_null());
    json_object_set_new(object, "reason", text_json(reason));
    json_object_set_new(object, "exit_code", json_integer(exit_code));
    print_line(object, out);
}

void progress_failed_json(const char *reason, int exit_code, FILE *out)
{
    struct progress_row row = progress_row_none();
    progress_end_json(&row, "failed", reason, exit_code, NULL, out);
}
