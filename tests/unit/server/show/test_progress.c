/* The progress display, rendered into memory and compared as text: table, lines, JSON, quiet, milestones, log lines in
 * between. */
#include <criterion/criterion.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/text.h"
#include "server/show/progress.h"
#include "server/show/resume.h"
#include "tests/unit/support/leaks.h"

static struct progress progress;
static char *err_text, *out_text;
static size_t err_bytes, out_bytes;
static FILE *err_file, *out_file;

static void open_progress(enum progress_mode mode, uint64_t epochs, uint64_t steps_per_epoch, bool evaluates,
                          bool classifies)
{
    err_file = open_memstream(&err_text, &err_bytes);
    out_file = open_memstream(&out_text, &out_bytes);
    progress_init(&progress, mode, err_file, out_file);
    progress_begin(&progress, 1000,
                   &(struct progress_facts){epochs, steps_per_epoch, epochs * steps_per_epoch, false, evaluates,
                                            classifies, false, 0, 0});
}

/* The text on err since the last call. */
static const char *err_since(void)
{
    static size_t told;
    fflush(err_file);
    const char *text = err_text + told;
    told = err_bytes;
    return text;
}

static void close_progress(void)
{
    progress_fini(&progress);
    fclose(err_file);
    fclose(out_file);
    free(err_text);
    free(out_text);
    ASSERT_NO_LEAKS();
}

static size_t count_of(const char *text, const char *word)
{
    size_t n = 0;
    for (; (text = strstr(text, word)); text += strlen(word))
        n++;
    return n;
}

/* A header above the table, an object before the epochs. */
Test(progress, tells_what_was_read)
{
    static const struct progress_data NAMED = {"d.csv", 1438, 64, "target", 3, "one assumption"},
                                      NUMBERED = {"d.csv", 0, 1, NULL, 2, ""},
                                      LIBSVM = {"d.svm", 1, 2, NULL, UINT64_MAX, ""};
    open_progress(PROGRESS_LINES, 1, 1, false, false);
    (void)err_since();
    progress_data(&progress, &NAMED);
    cr_assert_str_eq(err_since(),
                     "data: 1.44k rows, 64 features, label column 'target', d.csv\nnote: one assumption\n");
    progress_data(&progress, &NUMBERED);
    cr_assert_str_eq(err_since(), "data: 1 feature, label column 2, d.csv\n");
    progress_data(&progress, &LIBSVM);
    cr_assert_str_eq(err_since(), "data: 1 row, 2 features, d.svm\n");
    close_progress();
    open_progress(PROGRESS_JSON, 1, 1, false, false);
    progress_data(&progress, &NAMED);
    progress_data(&progress, &NUMBERED);
    progress_data(&progress, &LIBSVM);
    fflush(out_file);
    cr_assert_str_eq(out_text,
                     "{\"event\":\"data\",\"file\":\"d.csv\",\"rows\":1438,\"features\":64,\"label_column\":\"target\","
                     "\"note\":\"one assumption\"}\n"
                     "{\"event\":\"data\",\"file\":\"d.csv\",\"rows\":null,\"features\":1,\"label_column\":2}\n"
                     "{\"event\":\"data\",\"file\":\"d.svm\",\"rows\":1,\"features\":2,\"label_column\":null}\n");
    close_progress();
    open_progress(PROGRESS_QUIET, 1, 1, false, false);
    progress_data(&progress, &NAMED);
    cr_assert_eq(err_bytes, 0);
    close_progress();
}

static void done(uint64_t now_ms, const char *path)
{
    progress_done(&progress, now_ms, &(struct run_summary){.path = path});
}

#define HEAD_EVAL "epoch  step      loss  eval loss  eval acc  samples/s   elapsed       ETA\n"

Test(progress, table_updates_in_place_and_keeps_finished_epochs)
{
    open_progress(PROGRESS_TABLE, 2, 2, true, true);
    cr_assert_str_eq(err_since(), HEAD_EVAL);
    progress_step(&progress, 2000, 0, 0, 69.3, 100, 0);
    cr_assert_str_eq(err_since(), "\r  1/2     1   0.69300          -         -        100      0:01      0:03\x1b[K");
    progress_step(&progress, 2050, 0, 1, 59.3, 100, 0);
    cr_assert_str_eq(err_since(), "", "at most ten times a second");
    progress_eval(&progress, 3000, 0, 30, 50, 45);
    cr_assert_str_eq(err_since(),
                     "\r  1/2     2   0.64300    0.60000    90.00%        190      0:02      0:00\x1b[K\n");
    progress_step(&progress, 3100, 1, 2, 40, 100, 0);
    cr_assert_str_eq(err_since(), "\r  2/2     3   0.40000    0.60000    90.00%        143      0:02      0:01\x1b[K");
    progress_step(&progress, 3500, 1, 3, 40, 100, 0);
    progress_eval(&progress, 3600, 1, 25, 50, 46);
    err_since();
    progress_tick(&progress, 9000);
    cr_assert_str_eq(err_since(), "", "nothing is under way");
    done(5000, "m.safetensors");
    cr_assert_str_eq(err_since(),
                     "done in 4.0 s: 2 epochs, 4 steps, 160 samples/s\n"
                     "training loss 0.40000 (mean of the last epoch), eval loss 0.50000, eval accuracy 92.00%\n"
                     "model written to m.safetensors\n");
    close_progress();
}

Test(progress, log_lines_take_the_live_row_away)
{
    open_progress(PROGRESS_TABLE, 1, 5, false, false);
    err_since();
    progress_hide(&progress);
    progress_show(&progress);
    cr_assert_str_eq(err_since(), "", "there is no row");
    progress_step(&progress, 2000, 0, 0, 1, 1, 0);
    char row[128];
    str_copy(row, sizeof row, err_since());
    progress_hide(&progress);
    cr_assert_str_eq(err_since(), "\r\x1b[K");
    progress_show(&progress);
    cr_assert_str_eq(err_since(), row);
    progress_tick(&progress, 3000);
    cr_assert_str_eq(err_since(), "\r  1/1     1   1.00000          1      0:02      0:03\x1b[K");
    progress_end(&progress);
    cr_assert_str_eq(err_since(), "\n");
    progress_tick(&progress, 4000);
    progress_step(&progress, 5000, 0, 1, 1, 1, 0);
    cr_assert_str_eq(err_since(), "", "steps that were under way");
    progress_step(&progress, 6000, 0, 4, 1, 1, 0);
    cr_assert_str_eq(err_since(), "", "and an epoch that ended with them");
    close_progress();
}

/* Whole columns are left out, none is cut. */
Test(progress, rows_fit_the_width)
{
    static const struct {
        size_t width;
        const char *head;
    } CASES[] = {
        {80, "epoch  step      loss  eval loss  eval acc  samples/s   elapsed       ETA"},
        {70, "epoch  step      loss  eval loss  eval acc  samples/s       ETA"},
        {60, "epoch  step      loss  eval loss  eval acc       ETA"},
        {45, "epoch  step      loss  eval loss  eval acc"},
    };
    const struct progress_facts facts = {.epochs = 10, .train_steps = 100, .evaluates = true, .classifies = true};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct progress_columns columns;
        char text[PROGRESS_ROW_MAX];
        progress_columns_init(&columns, &facts, CASES[i].width);
        cr_expect_str_eq(progress_head_text(&columns, text), CASES[i].head);
    }
}

Test(progress, columns_are_those_that_mean_something)
{
    open_progress(PROGRESS_LINES, 1, 1, false, true);
    cr_assert_str_eq(err_since(), "epoch  step      loss  samples/s   elapsed       ETA\n");
    close_progress();
}

Test(progress, accuracy_only_where_it_classifies)
{
    open_progress(PROGRESS_LINES, 1, 1, true, false);
    err_since();
    progress_step(&progress, 2000, 0, 0, 1, 1, 0);
    progress_eval(&progress, 3000, 0, 1, 2, 0);
    cr_assert_str_eq(err_since(), "  1/1     1   1.00000    0.50000          1      0:02      0:00\n");
    done(3000, NULL);
    cr_assert_str_eq(err_since(), "done in 2.0 s: 1 epoch, 1 step, 1 samples/s\n"
                                  "training loss 1.00000 (mean of the last epoch), eval loss 0.50000\n");
    close_progress();
}

Test(progress, lines_hold_no_escape_codes_and_follow_milestones)
{
    open_progress(PROGRESS_LINES, 2000, 1, false, false);
    for (uint64_t t = 0; t < 2000; t++)
        progress_step(&progress, 1000 + t, t, t, 32561 * 0.5, 32561, 0);
    const char *text = err_since();
    cr_assert_eq(count_of(text, "\n"), 1 + 21, "%s", text);
    cr_assert_null(strpbrk(text, "\r\x1b"));
    cr_assert_eq(count_of(text, "   1/2000 "), 1);
    cr_assert_eq(count_of(text, " 100/2000 "), 1);
    cr_assert_eq(count_of(text, "2000/2000 "), 1);
    for (const char *at = text, *end; *at; at = end + 1) {
        end = strchr(at, '\n');
        cr_assert_eq(end - at, strchr(text, '\n') - text, "rows align");
    }
    done(4000, NULL);
    close_progress();
}

Test(progress, many_epochs_of_a_table_leave_few_rows)
{
    open_progress(PROGRESS_TABLE, 2000, 1, true, true);
    for (uint64_t t = 0; t < 2000; t++) {
        progress_step(&progress, 1000 + 10 * t, t, t, 1, 2, 0);
        progress_eval(&progress, 1005 + 10 * t, t, 1, 2, 1);
    }
    const char *text = err_since();
    cr_assert_eq(count_of(text, "\n"), 1 + 21);
    cr_assert_leq(count_of(text, "\r"), 21 + 201);
    close_progress();
}

Test(progress, a_plain_line_is_added_when_a_while_is_silent)
{
    open_progress(PROGRESS_LINES, 1, 1000, false, false);
    err_since();
    progress_step(&progress, 6000, 0, 0, 5, 10, 0);
    progress_tick(&progress, 10999);
    cr_assert_str_eq(err_since(), "");
    progress_tick(&progress, 11000);
    cr_assert_str_eq(err_since(), "  1/1     1   0.50000          2      0:10   1:23:10\n");
    progress_step(&progress, 121000, 0, 1, 5, 10, 0);
    cr_assert_eq(count_of(err_since(), "\n"), 1);
    close_progress();
}

/* An epoch that is no milestone is told by its own loss, not as the next one without any. */
Test(progress, of_many_slow_epochs_one_is_told_after_a_while)
{
    open_progress(PROGRESS_LINES, 1000, 1, false, false);
    progress_step(&progress, 1000, 0, 0, 5, 10, 0);
    progress_step(&progress, 10000, 1, 1, 4, 10, 0);
    err_since();
    progress_step(&progress, 11000, 2, 2, 3, 10, 0);
    cr_assert_str_eq(err_since(), "   3/1000     3   0.30000          3      0:10     55:23\n");
    progress_step(&progress, 12000, 3, 3, 3, 10, 0);
    cr_assert_str_eq(err_since(), "");
    close_progress();
}

Test(progress, milestones)
{
    for (uint64_t epochs = 1; epochs < 300; epochs++) {
        uint64_t rows = 0;
        for (uint64_t e = 1; e <= epochs; e++)
            rows += progress_is_milestone(e, epochs);
        cr_assert_eq(rows, epochs <= 20 ? epochs : 21, "%d epochs: %d rows", (int)epochs, (int)rows);
        cr_assert(progress_is_milestone(1, epochs) && progress_is_milestone(epochs, epochs));
    }
    cr_assert(progress_is_milestone(UINT64_MAX, UINT64_MAX));
}

Test(progress, a_loss_that_diverged_is_nan)
{
    open_progress(PROGRESS_LINES, 2, 1, true, true);
    err_since();
    progress_step(&progress, 2000, 0, 0, NAN, 10, 0);
    progress_eval(&progress, 2000, 0, INFINITY, 10, 5);
    const char *row = err_since();
    cr_assert_eq(count_of(row, "nan"), 2, "%s", row);
    cr_assert_not_null(strstr(row, "50.00%"));
    close_progress();
}

/* Workers with data of their own: rows come every few steps, and are no epochs. */
Test(progress, where_there_are_no_epochs_none_are_shown)
{
    const struct progress_facts facts = {.epochs = UINT64_C(1) << 40,
                                         .steps_per_epoch = 2,
                                         .train_steps = UINT64_C(1) << 48,
                                         .open_ended = true,
                                         .no_epochs = true};
    err_file = open_memstream(&err_text, &err_bytes);
    out_file = open_memstream(&out_text, &out_bytes);
    progress_init(&progress, PROGRESS_LINES, err_file, out_file);
    progress_begin(&progress, 1000, &facts);
    cr_assert_str_eq(err_since(), "    step      loss  samples/s   elapsed       ETA\n");
    progress_step(&progress, 2000, 0, 0, 4, 4, 0);
    progress_step(&progress, 3000, 0, 1, 4, 4, 0);
    cr_assert_str_eq(err_since(), "       2   1.00000          4      0:02         -\n");
    for (uint64_t step = 2; step < 8; step++)
        progress_step(&progress, 3000, step / 2, step, 4, 4, 0);
    cr_assert_str_eq(err_since(), "", "more rows come as time goes by");
    struct progress_snapshot s;
    progress_snapshot(&progress, 3000, &s);
    cr_assert_eq(s.epoch, 0);
    cr_assert(isnan(s.eta_s));
    done(3000, NULL);
    cr_assert_str_eq(err_since(), "done in 2.0 s: 8 steps, 16 samples/s\n"
                                  "training loss 1.00000 (mean of the last 2 steps)\n");
    close_progress();
}

Test(progress, nothing_moves_before_time_does)
{
    open_progress(PROGRESS_LINES, 1, 1, false, false);
    err_since();
    progress_step(&progress, 1000, 0, 0, 1, 1, 0);
    cr_assert_str_eq(err_since(), "  1/1     1   1.00000          -      0:00      0:00\n");
    done(1000, NULL);
    cr_assert_str_eq(err_since(), "done in 0.00 s: 1 epoch, 1 step, - samples/s\n"
                                  "training loss 1.00000 (mean of the last epoch)\n");
    close_progress();
}

Test(progress, rows_stay_within_the_terminal)
{
    open_progress(PROGRESS_TABLE, 1000000, 1000000, true, true);
    progress_step(&progress, 2000, 999998, 999999999998, 69.3, 100, 0);
    char *text = strdup(err_since());
    char *row = strchr(text, '\n');
    cr_assert_leq(row - text, 80);
    cr_assert_leq(strlen(row + 2), 80 + strlen("\x1b[K"));
    cr_assert_not_null(strstr(row, " 999999   999999999999 "), "the total of the epochs is left out: %s", row);
    free(text);
    close_progress();
}

/* The object of line `n` of out. */
static json_t *json_line(size_t n)
{
    fflush(out_file);
    const char *at = out_text;
    for (; n > 0; n--)
        at = strchr(at, '\n') + 1;
    json_t *object = json_loadb(at, strcspn(at, "\n"), 0, NULL);
    cr_assert(json_is_object(object), "%s", at);
    return object;
}

Test(progress, json_has_a_line_for_every_epoch)
{
    open_progress(PROGRESS_JSON, 50, 2, true, true);
    for (uint64_t t = 0; t < 100; t++) {
        progress_step(&progress, 1100 + 100 * t, t / 2, t, 30, 100, 0);
        if (t % 2)
            progress_eval(&progress, 1100 + 100 * t, t / 2, 5, 10, 9);
    }
    done(11000, "m.safetensors");
    cr_assert_str_eq(err_since(), "");
    cr_assert_eq(count_of(out_text, "\n"), 51);
    const char *first =
        "{\"event\":\"epoch\",\"epoch\":1,\"step\":2,\"loss\":0.3,\"eval_loss\":0.5,\"eval_accuracy\":0.9,"
        "\"samples_per_s\":1000.0,\"elapsed_s\":0.2}\n";
    cr_assert_eq(strncmp(out_text, first, strlen(first)), 0, "%.200s", out_text);
    const char *last = "{\"event\":\"done\",\"epoch\":50,\"step\":100,\"loss\":0.3,\"eval_loss\":0.5,"
                       "\"eval_accuracy\":0.9,\"samples_per_s\":1000.0,\"elapsed_s\":10.0,\"model\":\"m.safetensors\","
                       "\"samples\":10000,\"reason\":null,\"exit_code\":0}\n";
    cr_assert_str_eq(out_text + out_bytes - strlen(last), last);
    close_progress();
}

Test(progress, json_of_what_is_not_known_is_null)
{
    open_progress(PROGRESS_JSON, 1, 1, false, false);
    progress_step(&progress, 1000, 0, 0, INFINITY, 100, 0);
    done(1000, NULL);
    json_t *epoch = json_line(0), *end = json_line(1);
    cr_assert(json_is_null(json_object_get(epoch, "loss")));
    cr_assert(json_is_null(json_object_get(epoch, "eval_loss")));
    cr_assert(json_is_null(json_object_get(epoch, "samples_per_s")));
    cr_assert_eq(json_number_value(json_object_get(epoch, "elapsed_s")), 0);
    cr_assert(json_is_null(json_object_get(end, "model")));
    json_decref(epoch);
    json_decref(end);
    close_progress();
}

Test(progress, quiet_says_nothing)
{
    open_progress(PROGRESS_QUIET, 1, 1, true, true);
    progress_step(&progress, 2000, 0, 0, 1, 1, 0);
    progress_eval(&progress, 2000, 0, 1, 1, 1);
    progress_hide(&progress);
    progress_show(&progress);
    progress_tick(&progress, 100000);
    done(200000, "m");
    progress_end(&progress);
    fflush(err_file);
    fflush(out_file);
    cr_assert_eq(err_bytes + out_bytes, 0);
    close_progress();
}

Test(progress, snapshot)
{
    open_progress(PROGRESS_QUIET, 10, 10, true, true);
    struct progress_snapshot s;
    progress_snapshot(&progress, 1500, &s);
    cr_assert(s.epoch == 1 && s.train_step == 0 && s.elapsed_s == 0.5);
    cr_assert(isnan(s.loss) && isnan(s.eval_loss) && isnan(s.samples_per_s) && isnan(s.eta_s));
    progress_step(&progress, 2000, 0, 0, 5, 10, 0);
    progress_snapshot(&progress, 2500, &s);
    cr_assert(s.epoch == 1 && s.train_step == 1 && s.loss == 0.5 && s.samples_per_s == 10 && s.eta_s == 98.5);
    close_progress();
}

/* The model took a while to be written, and the server stays for a while longer. */
Test(progress, time_stands_still_when_the_run_is_done)
{
    open_progress(PROGRESS_JSON, 1, 2, false, false);
    struct progress_snapshot before, s;
    progress_step(&progress, 2000, 0, 0, 5, 10, 0);
    progress_step(&progress, 3000, 0, 1, 5, 10, 0);
    progress_snapshot(&progress, 4000, &before);
    cr_assert(before.samples_per_s == 10 && before.elapsed_s == 3);
    done(6000, "m.safetensors");
    progress_snapshot(&progress, 100000, &s);
    json_t *end = json_line(1);
    cr_assert_eq(s.elapsed_s, 5);
    cr_assert_eq(s.eta_s, 0);
    cr_assert_eq(s.samples_per_s, before.samples_per_s, "as in the last row");
    cr_assert_eq(json_number_value(json_object_get(end, "elapsed_s")), s.elapsed_s);
    cr_assert_eq(json_number_value(json_object_get(end, "samples_per_s")), s.samples_per_s);
    json_decref(end);
    close_progress();
}

/* Epochs of one step: each is over as soon as it has a loss. */
Test(progress, snapshot_between_epochs)
{
    open_progress(PROGRESS_QUIET, 10, 1, false, true);
    struct progress_snapshot s;
    progress_step(&progress, 2000, 0, 0, 5, 10, 0);
    progress_snapshot(&progress, 2500, &s);
    cr_assert(s.epoch == 2 && s.train_step == 1 && s.loss == 0.5);
    close_progress();
}

Test(progress, the_rate_is_that_of_the_last_seconds)
{
    open_progress(PROGRESS_QUIET, 1, 1000, false, false);
    struct progress_snapshot s;
    uint64_t now = 1000;
    for (uint64_t t = 0; t < 100; t++)
        progress_step(&progress, now += 100, 0, t, 0, 10, 0);
    progress_snapshot(&progress, now, &s);
    cr_assert_float_eq(s.samples_per_s, 100, 1e-9);
    for (uint64_t t = 100; t < 300; t++)
        progress_step(&progress, now += 100, 0, t, 0, 100, 0);
    progress_snapshot(&progress, now, &s);
    cr_assert_float_eq(s.samples_per_s, 1000, 1e-9);
    close_progress();
}

Test(progress, a_run_of_part_of_an_epoch_has_its_row)
{
    open_progress(PROGRESS_LINES, 2, 10, false, false);
    progress.facts.train_steps = 13;
    err_since();
    for (uint64_t t = 0; t < 13; t++)
        progress_step(&progress, 2000, t / 10, t, 1, 1, 0);
    const char *text = err_since();
    cr_assert_eq(count_of(text, "\n"), 2);
    cr_assert_eq(count_of(text, "  2/2    13   1.00000"), 1, "%s", text);
    close_progress();
}

/* 15 of 40 steps are over: the time left is that of the others at the pace of this run. */
Test(progress, a_run_that_begins_amid_an_epoch)
{
    open_progress(PROGRESS_QUIET, 4, 10, false, false);
    struct progress_facts facts = progress.facts;
    facts.first_train_step = 15;
    facts.first_epoch = 1;
    progress_begin(&progress, 1000, &facts);
    struct progress_snapshot s;
    progress_snapshot(&progress, 1000, &s);
    cr_assert(s.epoch == 2 && s.train_step == 15 && isnan(s.eta_s) && isnan(s.loss));
    for (uint64_t t = 15; t < 20; t++)
        progress_step(&progress, 1000 + 100 * (t - 14), 1, t, 3, 1, 0);
    progress_snapshot(&progress, 1500, &s);
    cr_assert(s.epoch == 3 && s.train_step == 20 && s.loss == 3);
    cr_assert_float_eq(s.eta_s, 2, 1e-9);
    cr_assert_float_eq(s.samples_per_s, 10, 1e-9);
    close_progress();
}

Test(progress, json_of_a_run_that_ends_otherwise)
{
    open_progress(PROGRESS_JSON, 50, 2, false, false);
    progress_step(&progress, 2000, 0, 0, 30, 100, 0);
    cr_assert_not(progress_warning(&progress, 2000, "scales", "columns differ"));
    progress_end(&progress);
    progress_step(&progress, 2500, 0, 1, 20, 100, 0); /* was under way: not in the model */
    progress_ended(&progress, 3000, &(struct run_end){"stopped", "stopped by \"SIG\xff", 143, NULL});
    fflush(progress.out);
    const char *want = "{\"event\":\"warning\",\"kind\":\"scales\",\"text\":\"columns differ\",\"step\":1}\n"
                       "{\"event\":\"stopped\",\"epoch\":1,\"step\":1,\"loss\":0.3,\"eval_loss\":null,"
                       "\"eval_accuracy\":null,\"samples_per_s\":100.0,\"elapsed_s\":2.0,\"model\":null,"
                       "\"reason\":\"stopped by \\\"SIG?\",\"exit_code\":143}\n";
    cr_assert_str_eq(out_text, want);
    close_progress();
}

Test(progress, a_warning_between_rows)
{
    open_progress(PROGRESS_LINES, 50, 2, false, false);
    (void)err_since();
    cr_assert(progress_warning(&progress, 2000, "scales", "columns differ"));
    cr_assert_str_eq(err_since(), "dp-server: warning: columns differ\n");
    close_progress();
}

Test(progress, a_warning_that_is_for_the_log)
{
    open_progress(PROGRESS_QUIET, 50, 2, false, false);
    cr_assert_not(progress_warning(&progress, 2000, "scales", "columns differ"));
    cr_assert_str_eq(err_since(), "");
    close_progress();
}

/* -- checkpoints -- */

Test(progress, a_checkpoint_is_a_line_now_and_then)
{
    open_progress(PROGRESS_TABLE, 3, 10, false, false);
    progress_step(&progress, 2000, 0, 0, 5, 10, 0);
    progress_tick(&progress, 2100);
    err_since();
    struct checkpoint_made made = {.train_step = 1, .path = "ck/step-000000000001", .bytes = 100, .seconds = 0.5};
    progress_checkpoint(&progress, 2200, &made);
    const char *text = err_since();
    cr_assert_not_null(strstr(text, "\x1b[Kdp-server: checkpoint of step 1 in ck/step-000000000001\n\r"), "%s", text);
    progress_checkpoint(&progress, 2300, &made);
    cr_assert_str_eq(err_since(), "");
    made.last = true;
    progress_checkpoint(&progress, 2400, &made);
    cr_assert_not_null(strstr(err_since(), "checkpoint of step 1"));
    close_progress();
}

Test(progress, json_of_a_checkpoint)
{
    open_progress(PROGRESS_JSON, 1, 1, false, false);
    struct checkpoint_made made = {.train_step = 7, .path = "a \"b\"", .bytes = 12, .seconds = 0.25};
    progress_checkpoint(&progress, 2000, &made);
    progress_step(&progress, 3000, 0, 0, 5, 10, 0);
    progress_done(&progress, 4000, &(struct run_summary){0});
    progress_checkpoint(&progress, 5000, &made); /* "done" is the last object */
    fflush(out_file);
    cr_assert_eq(
        strncmp(out_text,
                "{\"event\":\"checkpoint\",\"step\":7,\"path\":\"a \\\"b\\\"\",\"bytes\":12,\"seconds\":0.25}\n",
                strcspn(out_text, "\n") + 1),
        0, "%s", out_text);
    cr_assert_eq(count_of(out_text, "\"checkpoint\""), 1, "%s", out_text);
    close_progress();
}

/* -- a run that goes on -- */

/* Two epochs of four steps, cut behind step `cut`, give the lines of a run that was not cut. */
static char *json_of_run(uint64_t cut)
{
    open_progress(PROGRESS_JSON, 2, 4, true, true);
    for (uint64_t t = 0; t < 8; t++) {
        if (t == cut) {
            json_t *now = progress_sums(&progress);
            char *text = json_dumps(now, JSON_REAL_PRECISION(17));
            json_t *sums = json_loads(text, 0, NULL);
            json_decref(now);
            free(text);
            progress_fini(&progress);
            progress_init(&progress, PROGRESS_JSON, err_file, out_file);
            progress_begin(&progress, 1000, &(struct progress_facts){2, 4, 8, false, true, true, false, t, t / 4});
            progress_resume(&progress, sums);
            json_decref(sums);
        }
        progress_step(&progress, 1000, t / 4, t, 0.1 * (double)t + 1.0 / 3, 10 + t, 0);
        if (t % 4 == 3)
            progress_eval(&progress, 1000, t / 4, 1.0 / 7, 10, 9);
    }
    progress_done(&progress, 1000, &(struct run_summary){0});
    fflush(out_file);
    char *text = strdup(out_text);
    progress_fini(&progress);
    fclose(err_file);
    fclose(out_file);
    free(err_text);
    free(out_text);
    return text;
}

Test(progress, a_run_that_goes_on_tells_what_the_whole_would)
{
    char *whole = json_of_run(UINT64_MAX);
    cr_assert_not_null(strstr(whole, "\"samples\":108"), "%s", whole);
    for (uint64_t cut = 1; cut < 8; cut++) {
        char *text = json_of_run(cut);
        cr_assert_str_eq(text, whole, "cut at %d", (int)cut);
        free(text);
    }
    free(whole);
    ASSERT_NO_LEAKS();
}

/* A member that is not there, or is no number, changes nothing. */
Test(progress, a_run_goes_on_without_sums)
{
    open_progress(PROGRESS_JSON, 2, 4, true, true);
    json_t *odd = json_pack("{s:s, s:i, s:n}", "samples", "many", "epoch", -1, "epoch_loss");
    progress_resume(&progress, NULL);
    progress_resume(&progress, odd);
    cr_assert_eq(progress.epoch, 0);
    cr_assert_eq(progress.samples_before, 0);
    json_decref(odd);
    close_progress();
}
