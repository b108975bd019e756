/* The display of a training run. State is what the run has come to; every function settles it and then draws what the
 * mode wants of it. Invariants: a drawing is one write, so log lines fall between drawings; the live row is the last
 * line on the terminal and has no newline. Thread: head; hide and show: any, under the mutex. */
#include "server/show/progress.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/base/human.h"
#include "common/base/output.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "common/tensor/schema.h"

enum {
    LIVE_EVERY_MS = 100,
    LINES_EVERY_MS = 10000,
    CHECKPOINT_LINES_MS = 30000,
    RATE_WINDOW_MS = 4000,
    COLUMNS_DEFAULT = 80
};

enum progress_mode progress_mode_for(bool json, bool quiet, FILE *err)
{
    if (json)
        return PROGRESS_JSON;
    if (quiet)
        return PROGRESS_QUIET;
    const char *term = getenv("TERM");
    return isatty(output_fd(err)) && term && strcmp(term, "dumb") != 0 ? PROGRESS_TABLE : PROGRESS_LINES;
}

void progress_init(struct progress *progress, enum progress_mode mode, FILE *err, FILE *out)
{
    *progress = (struct progress){.mode = mode,
                                  .err = err,
                                  .out = out,
                                  .eval_loss = NAN,
                                  .eval_accuracy = NAN,
                                  .samples_per_s = NAN,
                                  .mutex = PTHREAD_MUTEX_INITIALIZER};
}

void progress_fini(struct progress *progress)
{
    pthread_mutex_destroy(&progress->mutex);
}

/* --- drawing --- */

static size_t terminal_columns(FILE *file)
{
    struct winsize size = {0};
    int fd = output_fd(file);
    return fd >= 0 && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : COLUMNS_DEFAULT;
}

static double seconds_between(uint64_t from_ms, uint64_t to_ms)
{
    return to_ms > from_ms ? (double)(to_ms - from_ms) / 1000 : 0;
}

/* The steps left at the pace of the whole run, which has evaluations and waits in it. */
static double eta_s(const struct progress *p, uint64_t now_ms)
{
    uint64_t passed = p->steps - p->facts.first_train_step;
    if (passed == 0 || p->steps > p->facts.train_steps || p->facts.open_ended)
        return NAN;
    double per_step = seconds_between(p->begin_ms, p->step_ms) / (double)passed;
    double left = per_step * (double)(p->facts.train_steps - p->steps) - seconds_between(p->step_ms, now_ms);
    return left > 0 ? left : 0;
}

/* The row of the epoch under way: the next one when all of the last has been told. */
static struct progress_row row_now(const struct progress *p, uint64_t now_ms)
{
    bool next = p->epoch_done && p->steps < p->facts.train_steps;
    return (struct progress_row){
        .terms = p->terms,
        .epoch = p->facts.no_epochs ? 0 : p->epoch + 1 + next,
        .step = p->steps,
        .has_loss = !next && p->epoch_samples > 0,
        .loss = p->epoch_loss / (double)p->epoch_samples,
        .eval_loss = p->eval_loss,
        .eval_accuracy = p->eval_accuracy,
        .samples_per_s = p->samples_per_s,
        .elapsed_s = p->begun ? seconds_between(p->begin_ms, now_ms) : NAN,
        .eta_s = eta_s(p, now_ms),
    };
}

/* The whole run. Writing the model, behind the last step, takes time and trains nothing. Without it the rate of a short
 * run is that of its last row. */
static struct progress_row row_of_run(const struct progress *p, uint64_t now_ms)
{
    struct progress_row row = row_now(p, now_ms);
    double seconds = seconds_between(p->begin_ms, p->step_ms);
    row.samples_per_s = seconds > 0 ? (double)p->samples / seconds : NAN;
    return row;
}

/* before + text + after in one write; on a terminal the text is cut to its width. */
static void draw(const struct progress *p, const char *before, const char *text, const char *after)
{
    char line[PROGRESS_ROW_MAX + 32];
    size_t at = 0;
    int width = p->mode == PROGRESS_TABLE ? (int)MIN(terminal_columns(p->err), (size_t)PROGRESS_ROW_MAX) : -1;
    str_append(line, sizeof line, &at, "%s%.*s%s", before, width, text, after);
    fwrite(line, 1, at, p->err);
    fflush(p->err);
}

static void draw_live(struct progress *p, uint64_t now_ms)
{
    char text[PROGRESS_ROW_MAX];
    struct progress_row row = row_now(p, now_ms);
    draw(p, "\r", progress_row_text(&p->columns, &row, text), "\x1b[K");
    p->live = true;
    p->drawn_ms = now_ms;
}

/* A row that stays. */
static void draw_row(struct progress *p, const struct progress_row *row, uint64_t now_ms)
{
    char text[PROGRESS_ROW_MAX];
    progress_row_text(&p->columns, row, text);
    if (p->mode == PROGRESS_TABLE)
        draw(p, "\r", text, "\x1b[K\n");
    else
        draw(p, "", text, "\n");
    p->live = false;
    p->printed_ms = now_ms;
}

static void erase_live(struct progress *p)
{
    if (p->live)
        draw(p, "\r\x1b[K", "", "");
    p->live = false;
}

/* Whether there is no live row and nothing was printed for long. */
static bool line_due(const struct progress *p, uint64_t now_ms)
{
    return p->mode == PROGRESS_LINES && now_ms - p->printed_ms >= LINES_EVERY_MS;
}

/* Shows progress between rows. */
static void refresh(struct progress *p, uint64_t now_ms)
{
    if (p->ended)
        return;
    if (p->mode == PROGRESS_TABLE && now_ms - p->drawn_ms >= LIVE_EVERY_MS)
        draw_live(p, now_ms);
    if (line_due(p, now_ms)) {
        struct progress_row row = row_now(p, now_ms);
        draw_row(p, &row, now_ms);
    }
}

/* All of the epoch is known. */
static void finish_epoch(struct progress *p, uint64_t now_ms)
{
    struct progress_row row = row_now(p, now_ms);
    p->epoch_done = true;
    if (p->ended)
        return;
    if (p->mode == PROGRESS_JSON)
        progress_row_json(&row, p->out);
    else if (p->mode != PROGRESS_QUIET && (progress_is_milestone(p->epoch + 1, p->facts.epochs) || line_due(p, now_ms)))
        draw_row(p, &row, now_ms);
    else
        refresh(p, now_ms);
}

/* --- events --- */

static void print_data(const struct progress *p, const struct progress_data *data)
{
    char text[PROGRESS_ROW_MAX] = "", count[HUMAN_MAX], label[SCHEMA_LABEL_TEXT_BYTES];
    size_t at = 0;
    str_append(text, sizeof text, &at, "data: ");
    if (data->rows > 0)
        str_append(text, sizeof text, &at, "%s row%s, ", human_count((double)data->rows, count), human_s(data->rows));
    str_append(text, sizeof text, &at, "%llu feature%s", (unsigned long long)data->features, human_s(data->features));
    if (data->label_at != SCHEMA_NO_LABEL)
        str_append(text, sizeof text, &at, ", label %s", schema_label_text(data->label, data->label_at, label));
    str_append(text, sizeof text, &at, ", %s", data->name);
    draw(p, "", text, "\n");
    if (data->note[0])
        fprintf(p->err, "note: %s\n", data->note);
    fflush(p->err);
}

void progress_data(struct progress *progress, const struct progress_data *data)
{
    pthread_mutex_lock(&progress->mutex);
    if (progress->mode == PROGRESS_JSON)
        progress_data_json(data->name, data->rows, data->features, data->label, data->label_at, data->note,
                           progress->out);
    else if (progress->mode != PROGRESS_QUIET)
        print_data(progress, data);
    pthread_mutex_unlock(&progress->mutex);
}

void progress_begin(struct progress *progress, uint64_t now_ms, const struct progress_facts *facts)
{
    pthread_mutex_lock(&progress->mutex);
    assert(facts->epochs >= 1 && facts->steps_per_epoch >= 1);
    progress->facts = *facts;
    progress->steps = facts->first_train_step;
    progress->epoch = facts->first_epoch;
    progress->begun = true;
    progress->begin_ms = progress->step_ms = progress->printed_ms = now_ms;
    progress->older = progress->newer = (struct progress_mark){now_ms, 0};
    progress_columns_init(&progress->columns, facts,
                          progress->mode == PROGRESS_TABLE ? terminal_columns(progress->err) : PROGRESS_ROW_MAX);
    if (progress->mode == PROGRESS_TABLE || progress->mode == PROGRESS_LINES) {
        char text[PROGRESS_ROW_MAX];
        draw(progress, "", progress_head_text(&progress->columns, text), "\n");
    }
    pthread_mutex_unlock(&progress->mutex);
}

/* Two marks that move on, so that the rate is that of the last one to two windows or of the last step. */
static void update_rate(struct progress *p, uint64_t now_ms)
{
    double seconds = seconds_between(p->older.ms, now_ms);
    if (seconds > 0)
        p->samples_per_s = (double)(p->samples - p->older.samples) / seconds;
    if (now_ms - p->newer.ms >= RATE_WINDOW_MS) {
        p->older = p->newer;
        p->newer = (struct progress_mark){now_ms, p->samples};
    }
}

/* Free clients may say that they have any number; JSON has signed ones. */
static void add_samples(uint64_t *sum, uint64_t count)
{
    *sum = count > INT64_MAX - *sum ? (uint64_t)INT64_MAX : *sum + count;
}

void progress_step(struct progress *progress, uint64_t now_ms, uint64_t epoch, uint64_t train_step, double loss_sum,
                   uint64_t count, uint64_t correct)
{
    (void)correct;
    pthread_mutex_lock(&progress->mutex);
    assert(progress->begun);
    if (progress->ended) { /* steps that were under way when the job was stopped are not in its model */
        pthread_mutex_unlock(&progress->mutex);
        return;
    }
    if (progress->epoch_done || epoch != progress->epoch) {
        progress->epoch = epoch;
        progress->epoch_done = false;
        progress->epoch_loss = 0;
        progress->epoch_samples = 0;
    }
    progress->epoch_loss += loss_sum;
    add_samples(&progress->epoch_samples, count);
    add_samples(&progress->samples, count);
    progress->steps = train_step + 1;
    progress->step_ms = now_ms;
    update_rate(progress, now_ms);
    bool last =
        progress->steps == progress->facts.train_steps || progress->steps % progress->facts.steps_per_epoch == 0;
    if (last && !progress->facts.evaluates)
        finish_epoch(progress, now_ms);
    else
        refresh(progress, now_ms);
    pthread_mutex_unlock(&progress->mutex);
}

void progress_set_terms(struct progress *progress, const struct progress_terms *terms)
{
    pthread_mutex_lock(&progress->mutex);
    progress->terms = *terms;
    pthread_mutex_unlock(&progress->mutex);
}

void progress_eval(struct progress *progress, uint64_t now_ms, uint64_t epoch, double loss_sum, uint64_t count,
                   uint64_t correct)
{
    (void)epoch;
    pthread_mutex_lock(&progress->mutex);
    progress->eval_loss = count ? loss_sum / (double)count : NAN;
    progress->eval_accuracy = count && progress->facts.classifies ? (double)correct / (double)count : NAN;
    finish_epoch(progress, now_ms);
    pthread_mutex_unlock(&progress->mutex);
}

void progress_tick(struct progress *progress, uint64_t now_ms)
{
    pthread_mutex_lock(&progress->mutex);
    bool complete = progress->epoch_done && progress->steps == progress->facts.train_steps;
    if (progress->begun && !complete)
        refresh(progress, now_ms);
    pthread_mutex_unlock(&progress->mutex);
}

/* --- the end --- */

static void print_terms(struct progress *p, const struct progress_row *row)
{
    const struct progress_terms *terms = &row->terms;
    char a[HUMAN_MAX], b[HUMAN_MAX], c[HUMAN_MAX];
    fprintf(p->err, "objective %s (regularizer %s), %s of the parameters are zero",
            human_loss(row->loss + terms->regularizer, a), human_loss(terms->regularizer, b),
            human_percent(terms->sparsity, c));
    if (!isnan(terms->violation))
        fprintf(p->err, ", constraints violated by %.3g", terms->violation);
    fputc('\n', p->err);
}

static void print_dropped(struct progress *p, const json_t *dropped)
{
    char a[HUMAN_MAX], b[HUMAN_MAX];
    json_int_t slots = json_integer_value(json_object_get(dropped, "slots"));
    if (slots > 0)
        fprintf(p->err, "dropped: %s slots, %s samples; the result depends on which\n", human_count((double)slots, a),
                human_count(json_number_value(json_object_get(dropped, "samples")), b));
}

/* The loss that gradients were computed with, not that of the final theta, which needs an evaluation. */
static void print_training_loss(struct progress *p, const struct progress_row *row)
{
    char loss[HUMAN_MAX];
    fprintf(p->err, "training loss %s (mean of the last ", human_loss(row->loss, loss));
    uint64_t passed = p->steps - p->facts.first_train_step;
    uint64_t steps = passed ? MIN((p->steps - 1) % p->facts.steps_per_epoch + 1, passed) : 0;
    if (row->epoch)
        fprintf(p->err, "epoch)");
    else
        fprintf(p->err, "%llu step%s)", (unsigned long long)steps, human_s(steps));
}

static void print_summary(struct progress *p, const struct progress_row *row, const struct run_summary *summary)
{
    char a[HUMAN_MAX], b[HUMAN_MAX];
    fprintf(p->err, "done in %s: ", human_seconds(row->elapsed_s, a));
    if (row->epoch)
        fprintf(p->err, "%llu epoch%s, ", (unsigned long long)row->epoch, row->epoch == 1 ? "" : "s");
    fprintf(p->err, "%llu step%s, %s samples/s\n", (unsigned long long)row->step, row->step == 1 ? "" : "s",
            human_count(row->samples_per_s, b));
    if (row->has_loss)
        print_training_loss(p, row);
    if (row->has_loss && !isnan(row->eval_loss))
        fprintf(p->err, ", eval loss %s", human_loss(row->eval_loss, a));
    if (row->has_loss && !isnan(row->eval_accuracy))
        fprintf(p->err, ", eval accuracy %s", human_percent(row->eval_accuracy, a));
    if (row->has_loss)
        fputc('\n', p->err);
    if (row->has_loss && row->terms.known && (row->terms.regularizer > 0 || !isnan(row->terms.violation)))
        print_terms(p, row);
    print_dropped(p, summary->dropped);
    if (summary->path)
        fprintf(p->err, "model written to %s\n", summary->path);
    fflush(p->err);
}

void progress_done(struct progress *progress, uint64_t now_ms, const struct run_summary *summary)
{
    pthread_mutex_lock(&progress->mutex);
    if (progress->facts.open_ended)
        progress->facts.train_steps = progress->steps; /* now it is known */
    struct progress_row row = row_of_run(progress, now_ms);
    uint64_t samples = progress->samples_before;
    add_samples(&samples, progress->samples);
    erase_live(progress);
    progress->ended = progress->json_over = true;
    progress->done_ms = now_ms;
    if (progress->mode == PROGRESS_JSON)
        progress_done_json(&row, summary->path, summary->staleness, summary->dropped, samples, progress->out);
    else if (progress->mode != PROGRESS_QUIET)
        print_summary(progress, &row, summary);
    pthread_mutex_unlock(&progress->mutex);
}

bool progress_warning(struct progress *progress, uint64_t now_ms, const char *kind, const char *text)
{
    pthread_mutex_lock(&progress->mutex);
    bool lines = progress->mode == PROGRESS_TABLE || progress->mode == PROGRESS_LINES, live = progress->live;
    if (progress->mode == PROGRESS_JSON)
        progress_warning_json(kind, text, progress->steps, progress->out);
    if (lines) {
        erase_live(progress);
        fprintf(progress->err, "dp-server: warning: %s\n", text);
        fflush(progress->err);
        if (live)
            draw_live(progress, now_ms);
    }
    pthread_mutex_unlock(&progress->mutex);
    return lines;
}

void progress_checkpoint(struct progress *progress, uint64_t now_ms, const struct checkpoint_made *made)
{
    pthread_mutex_lock(&progress->mutex);
    bool lines = progress->mode == PROGRESS_TABLE || progress->mode == PROGRESS_LINES, live = progress->live;
    bool due = made->last || progress->checkpoint_ms == 0 || now_ms - progress->checkpoint_ms >= CHECKPOINT_LINES_MS;
    if (progress->mode == PROGRESS_JSON && !progress->json_over)
        progress_checkpoint_json(made, progress->out);
    if (lines && due) {
        progress->checkpoint_ms = now_ms;
        erase_live(progress);
        fprintf(progress->err, "dp-server: checkpoint of step %llu in %s\n", (unsigned long long)made->train_step,
                made->path);
        fflush(progress->err);
        if (live)
            draw_live(progress, now_ms);
    }
    pthread_mutex_unlock(&progress->mutex);
}

void progress_ended(struct progress *progress, uint64_t now_ms, const struct run_end *end)
{
    pthread_mutex_lock(&progress->mutex);
    progress->ended = progress->json_over = true;
    if (progress->mode == PROGRESS_JSON) {
        struct progress_row row = progress->begun ? row_of_run(progress, now_ms) : progress_row_none();
        progress_end_json(&row, end->event, end->reason, end->exit_code, end->path, progress->out);
    }
    pthread_mutex_unlock(&progress->mutex);
}

void progress_end(struct progress *progress)
{
    pthread_mutex_lock(&progress->mutex);
    if (progress->live)
        draw(progress, "", "", "\n");
    progress->live = false;
    progress->ended = true;
    pthread_mutex_unlock(&progress->mutex);
}

void progress_hide(struct progress *progress)
{
    pthread_mutex_lock(&progress->mutex);
    if (progress->live)
        draw(progress, "\r\x1b[K", "", "");
}

void progress_show(struct progress *progress)
{
    if (progress->live)
        draw_live(progress, progress->drawn_ms);
    pthread_mutex_unlock(&progress->mutex);
}

void progress_snapshot(const struct progress *progress, uint64_t now_ms, struct progress_snapshot *ret_snapshot)
{
    bool done = progress->done_ms > 0;
    struct progress_row row = done ? row_of_run(progress, progress->done_ms) : row_now(progress, now_ms);
    *ret_snapshot = (struct progress_snapshot){
        .epoch = row.epoch,
        .train_step = row.step,
        .loss = progress->epoch_samples > 0 ? row.loss : NAN, /* of the epoch before until the next has one */
        .eval_loss = row.eval_loss,
        .eval_accuracy = row.eval_accuracy,
        .samples_per_s = row.samples_per_s,
        .elapsed_s = row.elapsed_s,
        .eta_s = row.eta_s,
    };
}
