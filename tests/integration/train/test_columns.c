/* Columns from end to end: a model knows what it was trained on, and data whose columns are in another order, too few
 * or too many give the right answer or are refused by name. */
#include "common/base/util.h"
#include "tests/integration/support/harness.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

TestSuite(columns, .init = harness_init, .fini = harness_fini, .timeout = 240);

enum { CASE_MS = 60000, ROWS = 40 };

/* y = 2 x1 - 3 x2 + 1 exactly; the columns of `header` in its order, other names than these have 7. */
static const char *file_of(const char *name, const char *header, int from, int to)
{
    char text[16384];
    size_t at = (size_t)snprintf(text, sizeof text, "%s\n", header);
    for (int r = from; r < to; r++) {
        double x1 = (r * 7 % 17 - 8) / 8.0, x2 = (r * 5 % 13 - 6) / 4.0;
        for (const char *column = header; *column;) {
            size_t n = strcspn(column, ",");
            double v = !strncmp(column, "x1", n)   ? x1
                       : !strncmp(column, "x2", n) ? x2
                       : n > 1 && *column == 't'   ? 2 * x1 - 3 * x2 + 1
                                                   : 7;
            at += (size_t)snprintf(text + at, sizeof text - at, "%s%.6g", column == header ? "" : ",", v);
            column += n + (column[n] == ',');
        }
        at += (size_t)snprintf(text + at, sizeof text - at, "\n");
    }
    return temp_text(name, text);
}

/* The same rows without a header. */
static const char *headless(const char *name, const char *header)
{
    FILE *file = fopen(file_of("with-header", header, 0, ROWS), "r");
    char text[16384];
    cr_assert_not_null(file);
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    return temp_text(name, strchr(text, '\n') + 1);
}

#define FIT "--model", "linear", "--lr", "0.4", "--epochs", "300", "--exit-when-done"
#define TRAIN(...) RUN(CASE_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", "--local-workers", "1", FIT, __VA_ARGS__)

static const char *model_of(const char *name, const char *data, const char *label)
{
    const char *model = temp_path(name);
    struct run_result r = TRAIN("--quiet", "--data", data, "--label-column", label, "--export", model);
    cr_assert_eq(r.status, 0, "%s", r.err);
    return model;
}

static void assert_fits(struct run_result r, const char *what)
{
    cr_assert_eq(r.status, 0, "%s: %s", what, r.err);
    json_t *object = json_loads(r.out, 0, NULL);
    double rmse = json_number_value(json_object_get(object, "rmse"));
    cr_assert(json_is_number(json_object_get(object, "rmse")) && rmse < 1e-3, "%s: %s", what, r.out);
    json_decref(object);
}

/* The data file, and options behind it. */
#define EVAL(model, ...) RUN(CASE_MS, "dp-worker", "eval", "--json", "--model", model, "--data", __VA_ARGS__)
#define PREDICT(model, ...) RUN(CASE_MS, "dp-worker", "predict", "--model", model, "--data", __VA_ARGS__)

static void assert_refused(struct run_result r, const char *says)
{
    cr_assert_eq(r.status, 1, "%s", r.err);
    cr_assert_not_null(strstr(r.err, says), "'%s' does not say '%s'", r.err, says);
    cr_assert(!r.out[0] || strncmp(r.out, "{\"event\":\"failed\"", 17) == 0, "%s", r.out); /* of --json */
}

Test(columns, eval_and_predict_find_them_by_name)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *train = file_of("train.csv", "x1,x2,target", 0, ROWS), *model = model_of("m", train, "target");
    assert_fits(EVAL(model, train), "same");
    assert_fits(EVAL(model, file_of("b.csv", "target,x2,x1", 0, ROWS)), "other order");
    assert_refused(EVAL(model, file_of("c.csv", "x1,target", 0, ROWS)), "lacks 1 column of the model");
    assert_refused(EVAL(model, file_of("d.csv", "x1,x2", 0, ROWS)), "has no column 'target', the label of the model");
    const char *more = file_of("e.csv", "z,x2,x1,target", 0, ROWS);
    assert_refused(EVAL(model, more), "column 0 ('z') is not among the columns of the model");
    assert_refused(PREDICT(model, more), "--extra-features ignore");
    assert_fits(EVAL(model, more, "--extra-features", "ignore"), "one more");
    const char *want = PREDICT(model, train).out;
    cr_assert_eq(strlen(want) > ROWS, true);
    cr_assert_str_eq(PREDICT(model, file_of("f.csv", "x2,x1", 0, ROWS)).out, want);
    cr_assert_str_eq(PREDICT(model, more, "--extra-features", "ignore").out, want);
    const char *bare = headless("h.csv", "x1,x2,target");
    assert_refused(EVAL(model, bare), "knows its columns by name");
    assert_fits(EVAL(model, bare, "--header", "off"), "by place");
}

Test(columns, of_a_file_without_a_header)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *train = headless("train.csv", "x1,target,x2"), *model = model_of("m", train, "-2");
    assert_fits(EVAL(model, train), "same");
    assert_refused(EVAL(model, headless("b.csv", "x1,x2,target,z")), "has 4 columns, but the model");
    const char *want = PREDICT(model, train).out;
    cr_assert_str_eq(PREDICT(model, headless("c.csv", "x1,x2")).out, want);
    assert_refused(EVAL(model, file_of("d.csv", "target,x1,x2", 0, ROWS)), "column 0 ('target') is named like a label");
}

/* In blocks, from a gzip file's worth of text or whole: the names are the same. */
Test(columns, blocks_know_them_too)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *train = file_of("train.csv", "id,x1,x2,t1", 0, ROWS), *model = temp_path("m");
    const char *eval = file_of("eval.csv", "t1,x2,x1", 0, ROWS);
    struct run_result r =
        TRAIN("--quiet", "--data", train, "--eval", eval, "--label-column", "t1", "--ignore-columns", "id", "--shuffle",
              "block", "--block-rows", "8", "--window-blocks", "2", "--memory-limit", "1", "--export", model);
    cr_assert_eq(r.status, 0, "%s", r.err);
    assert_fits(EVAL(model, eval), "without the ignored column");
    assert_fits(EVAL(model, train), "with it");
}

Test(columns, the_evaluation_set_is_matched_with_the_training_set)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *train = file_of("train.csv", "x1,x2,target", 0, ROWS);
    struct run_result r = TRAIN("--json", "--data", train, "--eval", file_of("e.csv", "target,x2,x1", 0, ROWS));
    cr_assert_eq(r.status, 0, "%s", r.err);
    const char *done = strstr(r.out, "{\"event\":\"done\"");
    json_t *object = json_loads(done ? done : "", 0, NULL);
    cr_assert_lt(json_number_value(json_object_get(object, "eval_loss")), 1e-6, "%s", done);
    json_decref(object);
    const char *more = file_of("f.csv", "target,z,x2,x1", 0, ROWS);
    r = TRAIN("--quiet", "--data", train, "--eval", more);
    cr_assert_eq(r.status, 1);
    cr_assert_not_null(strstr(r.err, "column 1 ('z') is not among the columns of the training set"), "%s", r.err);
    cr_assert_not_null(strstr(r.err, "--extra-features ignore"), "%s", r.err);
    cr_assert_eq(TRAIN("--quiet", "--data", train, "--eval", more, "--extra-features", "ignore").status, 0);
}

Test(columns, libsvm_indices_that_were_not_trained)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *train = temp_text("train.svm", "1 1:1\n-1 2:1\n"), *model = temp_path("m");
    const char *test = temp_text("test.svm", "1 1:1 3:5\n-1 2:1 7:2\n");
    struct run_result r = RUN(CASE_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", "--local-workers", "1", "--model",
                              "logistic", "--exit-when-done", "--quiet", "--data", train, "--eval", test,
                              "--extra-features", "ignore", "--export", model);
    cr_assert_eq(r.status, 0, "%s", r.err);
    assert_refused(PREDICT(model, test), "test.svm:1: index 3, but the model");
    assert_refused(EVAL(model, test), "--extra-features ignore");
    cr_assert_str_eq(PREDICT(model, test, "--extra-features", "ignore").out, "1\n-1\n");
}

/* The choice is told: in the log line, above the table, in --json. */
Test(columns, the_label_is_told)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char *const NAMES[] = {"Label", "target", "class", "y"};
    for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
        char text[256], says[80], json[80];
        snprintf(text, sizeof text, "x1,x2,%s\n0.5,2,1\n1,0.5,3\n", NAMES[i]);
        snprintf(says, sizeof says, "2 features, label column '%s'", NAMES[i]);
        snprintf(json, sizeof json, "\"label_column\":\"%s\"", NAMES[i]);
        const char *data = temp_text("d.csv", text);
        struct run_result r = TRAIN("--data", data);
        cr_assert(r.status == 0 && strstr(r.err, says), "%s", r.err);
        r = TRAIN("--data", data, "--json");
        cr_assert(r.status == 0 && strstr(r.out, json), "%s", r.out);
        char endpoint[128];
        struct process *server = SERVER(endpoint, FIT, "--quiet");
        r = RUN(CASE_MS, "dp-worker", "--server", endpoint, "--data", data, "--json");
        snprintf(says, sizeof says, "dense, label column '%s'", NAMES[i]);
        cr_assert(r.status == 0 && strstr(r.err, says) && strstr(r.out, json), "%s%s", r.err, r.out);
        cr_assert_eq(process_wait(server, CASE_MS), 0);
    }
    const char *numbered = temp_text("n.csv", "0.5,2,1\n1,0.5,3\n");
    struct run_result r = TRAIN("--data", numbered, "--label-column", "-1", "--json");
    cr_assert(r.status == 0 && strstr(r.out, "\"label_column\":2"), "%s", r.out);
}

/* Workers of one job, whoever came first: by name, with the bits of one file. */
Test(columns, workers_whose_files_have_another_order)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    const char *train = file_of("train.csv", "x1,x2,target", 0, ROWS),
               *other = file_of("o.csv", "x2,target,x1", 0, ROWS);
    const char *want = model_of("want", train, "target"), *want_other = model_of("want-other", other, "target");
    const char *got = temp_path("got");
    struct process *server = SERVER(endpoint, FIT, "--min-workers", "2", "--export", got);
    struct process *workers[] = {PROCESS("dp-worker", "--server", endpoint, "--data", train),
                                 PROCESS("dp-worker", "--server", endpoint, "--data", other)};
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(process_wait(workers[i], CASE_MS), 0, "%s", process_output(workers[i], ERR));
    cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
    assert_fits(EVAL(got, train), "one file");
    bool first = strstr(process_output(server, ERR), "train.csv") != NULL;
    models_assert_same(first ? want : want_other, got);
}

/* It found no job when it came, and other data by the time that it has read its own: to read them again, by the same
 * names, would change nothing, and from a pipe it would wait for ever. */
Test(columns, a_worker_that_is_refused_for_its_rows)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128], text[16384];
    const char *pipe = temp_path("pipe");
    cr_assert_eq(mkfifo(pipe, 0600), 0);
    (void)SERVER(endpoint, FIT, "--min-workers", "2");
    struct process *late = PROCESS("dp-worker", "--server", endpoint, "--data", pipe);
    FILE *to = fopen(pipe, "we"); /* returns when it has connected, and begins to read */
    cr_assert_not_null(to);
    struct process *first =
        PROCESS("dp-worker", "--server", endpoint, "--data", file_of("a.csv", "x1,x2,target", 0, ROWS));
    process_expect(first, ERR, "joined", CASE_MS);
    FILE *from = fopen(file_of("b.csv", "x1,x2,target", 1, ROWS + 1), "r");
    cr_assert_not_null(from);
    size_t n = fread(text, 1, sizeof text, from);
    cr_assert_eq(fwrite(text, 1, n, to), n);
    fclose(from);
    fclose(to);
    cr_assert_eq(process_wait(late, CASE_MS), 1, "%s", process_output(late, ERR));
    const char *said = process_output(late, ERR), *read = strstr(said, "read ");
    cr_assert_not_null(read, "%s", said);
    cr_assert_null(strstr(read + 1, "read "), "twice: %s", said);
    cr_assert_not_null(strstr(said, "are not the job's"), "%s", said);
}

Test(columns, workers_with_data_of_their_own)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    const char *model = temp_path("m"), *all = file_of("all.csv", "x1,x2,target", 0, ROWS);
    const char *a = file_of("a.csv", "x1,x2,target", 0, ROWS / 2),
               *b = file_of("b.csv", "target,x2,x1", ROWS / 2, ROWS);
    struct process *server =
        SERVER(endpoint, FIT, "--data-mode", "local", "--slots", "2", "--features", "2", "--export", model);
    struct process *workers[] = {PROCESS("dp-worker", "--server", endpoint, "--data", a),
                                 PROCESS("dp-worker", "--server", endpoint, "--data", b)};
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(process_wait(workers[i], CASE_MS), 0, "%s", process_output(workers[i], ERR));
    cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
    assert_fits(EVAL(model, all), "both parts");
}

/* A worker of another header is refused by name, and the job goes on. */
Test(columns, a_worker_with_other_columns)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server = SERVER(endpoint, FIT, "--data-mode", "local", "--slots", "2", "--features", "2");
    struct process *first =
        PROCESS("dp-worker", "--server", endpoint, "--data", file_of("a.csv", "x1,x2,target", 0, ROWS));
    process_expect(first, ERR, "joined", CASE_MS);
    struct run_result r =
        RUN(CASE_MS, "dp-worker", "--server", endpoint, "--data", file_of("b.csv", "x1,x3,target", 0, ROWS));
    cr_assert_eq(r.status, 1);
    cr_assert_not_null(strstr(r.err, "lacks 1 column of the job: 'x2'"), "%s", r.err);
    r = RUN(CASE_MS, "dp-worker", "--server", endpoint, "--data", headless("c.csv", "x1,x2,target"), "--label-column",
            "2");
    cr_assert_eq(r.status, 1);
    cr_assert_not_null(strstr(r.err, "the job knows its columns by name"), "%s", r.err);
    process_signal(first, SIGTERM);
    process_signal(server, SIGTERM);
    (void)process_wait(first, CASE_MS);
    (void)process_wait(server, CASE_MS);
}
