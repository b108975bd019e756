/* Labels of every kind, in every format, through the real programs: what a class is called changes no bit of theta, for
 * any number of workers, also for those that come late or are killed; and everything that tells a label tells it as it
 * was written. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "common/tensor/safetensors.h"
#include "common/tensor/safetensors_read.h"
#include "tests/integration/support/harness.h"

TestSuite(labels, .init = harness_init, .fini = harness_fini, .timeout = 600);

enum { CASE_MS = 120000, ROWS = 240, FEATURES = 6, LABELS_OF_KIND = 3, ARGS_MAX = 64, TEXT_MAX = 1 << 18 };

/* Names of three classes, in order; two classes take the first two. The first kind is the reference. */
static const struct kind {
    const char *name;
    const char *labels[LABELS_OF_KIND];
    const char *other;           /* another spelling of the second, for every third of its rows; NULL: there is none */
    int numbers[LABELS_OF_KIND]; /* for IDX; all 0: it cannot have them */
} KINDS[] = {
    {"from-0", {"0", "1", "2"}, NULL, {0, 1, 2}},
    {"from-1", {"1", "2", "3"}, "2.0", {1, 2, 3}},
    {"signs", {"-1", "+1", "+3"}, "1", {-1, 1, 3}},
    {"large", {"16777216", "16777217", "123456789"}, "1.6777217e7", {16777216, 16777217, 123456789}},
    {"tenths", {"-0.3", "0.1", "0.7"}, "1e-1", {0}},
    {"ids", {"9007199254740992", "9007199254740993", "9007199254740994000"}, NULL, {0}},
    {"words", {"no", "yes", "z\xc3\xbcrich"}, NULL, {0}},
    {"mixed", {"7", "False", "True"}, NULL, {0}},
};
enum { KIND_COUNT = sizeof KINDS / sizeof KINDS[0], LARGE = 3 };

enum format { LIBSVM, LIBSVM_GZ, CSV, CSV_GZ, IDX, FORMAT_COUNT };
static const char *const SUFFIX[] = {"svm", "svm.gz", "csv", "csv.gz", "images-idx3"};

static bool kind_fits(const struct kind *kind, enum format format)
{
    return format != IDX || kind->numbers[0] || kind->numbers[1];
}

static int class_of(int row, int classes)
{
    return (row * 7 + row / 11) % classes;
}

/* A byte, so that IDX has it too: larger where column and class belong together. */
static int value_of(int row, int column, int classes)
{
    return (row * 37 + column * 101) % 120 + (column % classes == class_of(row, classes) ? 100 : 0);
}

static const char *label_of(const struct kind *kind, int row, int classes)
{
    int c = class_of(row, classes);
    return c == 1 && kind->other && row % 3 == 0 && row > 20 ? kind->other : kind->labels[c];
}

static size_t text_fill(char text[TEXT_MAX], const struct kind *kind, int classes, bool csv)
{
    size_t at = csv ? (size_t)snprintf(text, TEXT_MAX, "label,a,b,c,d,e,f\n") : 0;
    for (int r = 0; r < ROWS; r++) {
        const char *label = label_of(kind, r, classes);
        at += (size_t)snprintf(text + at, TEXT_MAX - at, csv && r % 4 == 0 ? "\" %s\"" : "%s", label);
        for (int c = 0; c < FEATURES; c++) {
            int value = value_of(r, c, classes);
            at += csv ? (size_t)snprintf(text + at, TEXT_MAX - at, ",%d", value)
                      : (size_t)snprintf(text + at, TEXT_MAX - at, " %d:%d", c + 1, value);
        }
        text[at++] = '\n';
    }
    return at;
}

static const char *gzip_file(const char *name, const void *bytes, size_t size)
{
    const char *path = temp_path(name);
    gzFile file = gzopen(path, "wb");
    cr_assert(file && gzwrite(file, bytes, (unsigned)size) == (int)size && gzclose(file) == Z_OK);
    return path;
}

static size_t put_be32(unsigned char *to, int value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)((unsigned)value >> (24 - 8 * i));
    return 4;
}

/* Images of bytes, and labels of 32 bits, which belong together by their names. */
static const char *idx_files(const char *name, const struct kind *kind, int classes)
{
    static unsigned char images[16 + ROWS * FEATURES], labels[8 + 4 * ROWS];
    char labels_name[96];
    size_t at = put_be32(images, 0x00000803), n = put_be32(labels, 0x00000c01);
    at += put_be32(images + at, ROWS);
    at += put_be32(images + at, 2);
    at += put_be32(images + at, FEATURES / 2);
    n += put_be32(labels + n, ROWS);
    for (int r = 0; r < ROWS; r++) {
        for (int c = 0; c < FEATURES; c++)
            images[at++] = (unsigned char)value_of(r, c, classes);
        n += put_be32(labels + n, kind->numbers[class_of(r, classes)]);
    }
    snprintf(labels_name, sizeof labels_name, "%.*slabels-idx1", (int)(strlen(name) - strlen(SUFFIX[IDX])), name);
    (void)temp_file(labels_name, labels, n);
    return temp_file(name, images, at);
}

static const char *data_make(const struct kind *kind, enum format format, int classes)
{
    static char text[TEXT_MAX];
    char name[64];
    snprintf(name, sizeof name, "%s-%d-%s", kind->name, classes, SUFFIX[format]);
    if (format == IDX)
        return idx_files(name, kind, classes);
    size_t n = text_fill(text, kind, classes, format == CSV || format == CSV_GZ);
    return format == LIBSVM_GZ || format == CSV_GZ ? gzip_file(name, text, n) : temp_file(name, text, n);
}

/* Trains with local workers; options are words. Returns the model's path. */
static const char *train(const char *name, const char *data, const char *options)
{
    char room[512], *rest = room, *word;
    const char *path = temp_path(name);
    const char *args[ARGS_MAX] = {
        "--listen", "tcp://127.0.0.1:0", "--exit-when-done", "--quiet", "--data", data, "--export", path};
    size_t n = 8;
    snprintf(room, sizeof room, "%s", options);
    while ((word = strsep(&rest, " ")))
        if (*word)
            args[n++] = word;
    struct run_result r = run_program(CASE_MS, "dp-server", args);
    cr_assert_eq(r.status, 0, "%s on %s: %s", options, data, r.err);
    return path;
}

static char *predict(const char *model, const char *data)
{
    struct run_result r = RUN(CASE_MS, "dp-worker", "predict", "--model", model, "--data", data);
    cr_assert_eq(r.status, 0, "%s", r.err);
    return strdup(r.out);
}

/* The label as it is shown: an IDX file does not keep its spelling. */
static const char *name_of(const struct kind *kind, int c, enum format format)
{
    return kind->labels[c] + (format == IDX && kind->labels[c][0] == '+');
}

/* Line by line the same class as the first kind has. */
static void assert_same_classes(char *want, char *got, const struct kind *kind, enum format format)
{
    int rows = 0;
    char *a, *b;
    while ((a = strsep(&want, "\n")) && (b = strsep(&got, "\n")) && *a) {
        int c = 0;
        while (c < LABELS_OF_KIND && strcmp(a, KINDS[0].labels[c]) != 0)
            c++;
        cr_assert(c < LABELS_OF_KIND && strcmp(b, name_of(kind, c, format)) == 0, "row %d: %s for %s", rows, b, a);
        rows++;
    }
    cr_assert_eq(rows, ROWS);
}

#define SMALL "--batch 50 --slots 6 --epochs 2 --lr 1e-5 --seed 7 "

static void compare_kinds(enum format format, int classes, const char *job)
{
    char want_name[64], name[64];
    snprintf(want_name, sizeof want_name, "want-%d", (int)format);
    char one[300];
    snprintf(one, sizeof one, "%s --local-workers 1", job);
    const char *reference = data_make(&KINDS[0], format, classes), *want = train(want_name, reference, one);
    for (int k = 0; k < KIND_COUNT; k++) {
        char more[300];
        if (!kind_fits(&KINDS[k], format))
            continue;
        snprintf(name, sizeof name, "%s-%d", KINDS[k].name, (int)format);
        snprintf(more, sizeof more, "%s --local-workers %d --shards %d --min-shard-kib 0", job, 1 + k % 3, 1 + k % 2);
        const char *data = data_make(&KINDS[k], format, classes), *model = train(name, data, more);
        models_assert_same(want, model);
        char *of_want = predict(want, reference), *of_model = predict(model, data);
        assert_same_classes(of_want, of_model, &KINDS[k], format);
        free(of_want);
        free(of_model);
        struct run_result r = RUN(CASE_MS, "dp-worker", "eval", "--model", model, "--data", data);
        cr_assert_eq(r.status, 0, "%s", r.err);
    }
}

#define ONE_WORKER "--local-workers 1 "

Test(labels, of_softmax_change_no_bit)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    for (enum format f = LIBSVM; f < FORMAT_COUNT; f++)
        compare_kinds(f, 3, "--model softmax " SMALL);
}

Test(labels, of_logistic_change_no_bit)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    for (enum format f = LIBSVM; f < FORMAT_COUNT; f++)
        compare_kinds(f, 2, "--model logistic " SMALL);
}

Test(labels, change_no_bit_of_a_table)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    compare_kinds(LIBSVM, 3, "--model softmax --sparse " SMALL);
    compare_kinds(LIBSVM_GZ, 2, "--model logistic --sparse " SMALL);
}

Test(labels, change_no_bit_where_data_are_read_by_blocks)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
#define BLOCKS "--shuffle block --block-rows 20 --window-blocks 2 --memory-limit 1 "
    compare_kinds(LIBSVM, 3, "--model softmax " BLOCKS SMALL);
    compare_kinds(CSV, 2, "--model logistic " BLOCKS SMALL);
}

/* ---- workers that come late, and that are killed ---- */

static struct process *worker_start(const char *endpoint, const char *data)
{
    return PROCESS("dp-worker", "--server", endpoint, "--data", data, "--emulate-slot-ms", "2");
}

/* One worker settles the job, another comes, the first is killed, and no step begins until a third has its place. */
static const char *train_changing(const char *name, const char *data, const char *model, const char *sparse)
{
    char endpoint[128];
    const char *path = temp_path(name);
    struct process *server = SERVER(endpoint, "--model", model, "--batch", "50", "--slots", "6", "--epochs", "30",
                                    "--lr", "1e-5", "--seed", "7", "--exit-when-done", "--json", "--shards", "2",
                                    "--lease", "1", "--min-workers", "2", "--export", path, sparse);
    struct process *first = worker_start(endpoint, data);
    process_expect(first, ERR, "joined ", CASE_MS);
    struct process *late = worker_start(endpoint, data);
    process_expect(late, ERR, "joined ", CASE_MS);
    process_expect(server, OUT, "\"event\":\"epoch\"", CASE_MS);
    process_signal(first, SIGKILL);
    cr_assert_eq(process_wait(first, CASE_MS), 128 + SIGKILL);
    struct process *third = worker_start(endpoint, data);
    cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
    cr_assert_eq(process_wait(late, CASE_MS), 0, "%s", process_output(late, ERR));
    cr_assert_eq(process_wait(third, CASE_MS), 0, "%s", process_output(third, ERR));
    return path;
}

static void compare_changing(int classes, const char *model, const char *sparse)
{
    char job[200];
    snprintf(job, sizeof job, ONE_WORKER "--model %s --batch 50 --slots 6 --epochs 30 --lr 1e-5 --seed 7 %s", model,
             sparse ? sparse : "");
    for (int k = 1; k < KIND_COUNT; k++) {
        enum format format = sparse ? LIBSVM : (enum format)(k % FORMAT_COUNT);
        format = kind_fits(&KINDS[k], format) ? format : CSV;
        const char *want = train("quiet", data_make(&KINDS[0], format, classes), job);
        models_assert_same(want, train_changing("changing", data_make(&KINDS[k], format, classes), model, sparse));
    }
}

Test(labels, of_softmax_are_those_of_late_workers)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    compare_changing(3, "softmax", NULL);
}

Test(labels, of_logistic_are_those_of_late_workers)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    compare_changing(2, "logistic", NULL);
}

Test(labels, of_a_table_are_those_of_late_workers)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    compare_changing(3, "softmax", "--sparse");
}

/* Rows of 26 classes that are called 1 to 26. */
static const char *letters_make(void)
{
    static char text[TEXT_MAX];
    size_t at = 0;
    for (int r = 0; r < 520; r++)
        at +=
            (size_t)snprintf(text + at, sizeof text - at, "%d 1:%d 2:%d 3:%d\n", 1 + r * 7 % 26, r % 17, r % 5, r % 26);
    return temp_file("letters.svm", text, at);
}

/* Local workers read the job before or after the first of them has settled it, as it happens. */
Test(labels, local_workers_start_at_once_however_they_race)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = letters_make();
    const char *want = train("want", data, ONE_WORKER "--model softmax --batch 100 --epochs 1 --lr 0.001");
    for (int i = 0; i < 25; i++)
        models_assert_same(want,
                           train("again", data, "--local-workers 4 --model softmax --batch 100 --epochs 1 --lr 0.001"));
}

Test(labels, a_local_worker_that_is_killed_is_replaced)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    const char *data = letters_make(), *path = temp_path("replaced");
    const char *want = train("want", data, ONE_WORKER "--model softmax --batch 100 --epochs 20 --lr 0.001");
    struct process *server = SERVER(endpoint, "--model", "softmax", "--batch", "100", "--epochs", "20", "--lr", "0.001",
                                    "--local-workers", "2", "--data", data, "--log-level", "info", "--json",
                                    "--exit-when-done", "--emulate-slot-ms", "2", "--export", path);
    const char *pid = strstr(process_expect(server, ERR, "local-worker-started", CASE_MS), "pid=");
    cr_assert_not_null(pid);
    process_expect(server, OUT, "\"event\":\"epoch\"", CASE_MS);
    cr_assert_eq(kill((pid_t)strtol(pid + 4, NULL, 10), SIGKILL), 0);
    process_expect(server, ERR, "local-worker-died", CASE_MS);
    cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
    models_assert_same(want, path);
}

/* ---- labels that are asked for ---- */

/* The metadata `labels` of a model. */
static void assert_labels(const char *model, const char *want)
{
    struct safetensors read;
    dp_error err;
    cr_assert_eq(safetensors_read(model, &read, &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(safetensors_meta_get(&read.meta, "labels"), want);
    safetensors_fini(&read);
}

Test(labels, that_are_asked_for)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const struct {
        const char *data, *options, *labels; /* labels NULL: it is refused, saying */
        const char *says[2];
    } CASES[] = {
        {"1 1:2\n2 1:3\n3 1:1\n", "--model softmax --classes 3", "1,2,3", {NULL}},
        {"2 1:2\n0 1:3\n", "--model softmax --classes 3", "0,1,2", {NULL}},
        {"2 1:2\n0 1:3\n", "--model softmax --label-names 2,1,0", "0,1,2", {NULL}},
        {"b 1:2\na 1:3\n", "--model softmax --label-names c,b,a", "a,b,c", {NULL}},
        {"b 1:2\na 1:3\n", "--model logistic --label-names b,a", "a,b", {NULL}},
        {"b 1:2\nb 1:3\n", "--model logistic --label-names b,a", "a,b", {NULL}},
        {"2 1:2\n1 1:3\n", "--model logistic", "1,2", {NULL}},
        {"+1 1:2\n-1 1:3\n", "--model logistic", "-1,+1", {NULL}},
        {"1 1:2\n3 1:3\n", "--model softmax --classes 3", NULL, {"2 different labels (1, 3)", "--classes 3"}},
        {"1 1:2\n2 1:3\n3 1:3\n", "--model softmax --classes 2", NULL, {"3 different labels (1, 2, 3)", "--classes 2"}},
        {"1 1:2\nb 1:3\n", "--model softmax --label-names a,b", NULL, {":1: label '1' is none of the job's", "(a, b)"}},
        {"yes 1:2\nno 1:3\n", "--model linear", NULL, {":1: label 'yes' is not a number", "--model linear"}},
        {"1 1:2\n2 1:3\n3 1:1\n", "--model logistic", NULL, {"has 3 labels (1, 2, 3)", "--model softmax"}},
        {"1 1:2\n2 1:3\n", "--model linear --label-names 1,2", NULL, {"option --label-names", "linear"}},
        {"1 1:2\n2 1:3\n", "--model logistic --label-names 1,2,3", NULL, {"option --label-names", "logistic has two"}},
        {"1 1:2\n2 1:3\n", "--model softmax --label-names 1,1.0", NULL, {"1 and 1.0 are one label", "once"}},
        {"1 1:2\n2 1:3\n", "--model softmax --classes 3 --label-names 1,2", NULL, {"--classes 3", "has 2"}},
        {"1 1:2\n2 1:3\n", "--model softmax --label-names 1,,2", NULL, {"option --label-names", "is empty"}},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        char room[200], *rest = room;
        const char *data = temp_text("d.svm", CASES[i].data), *model = temp_path("m");
        const char *args[ARGS_MAX] = {"--listen",         "tcp://127.0.0.1:0",
                                      "--exit-when-done", "--quiet",
                                      "--local-workers",  "2",
                                      "--epochs",         "1",
                                      "--export",         model,
                                      "--data",           data};
        snprintf(room, sizeof room, "%s", CASES[i].options);
        for (size_t n = 12; rest; n++)
            args[n] = strsep(&rest, " ");
        struct run_result r = run_program(CASE_MS, "dp-server", args);
        cr_assert((r.status == 0) == (CASES[i].labels != NULL), "%s: %d, %s", CASES[i].options, r.status, r.err);
        if (CASES[i].labels)
            assert_labels(model, CASES[i].labels);
        for (int s = 0; !CASES[i].labels && s < 2; s++)
            cr_assert(strstr(r.err, CASES[i].says[s]), "no '%s' in: %s", CASES[i].says[s], r.err);
    }
}

/* The labels -1, 1 and 0, 1 stand for each other in training and evaluation, by eval and by --eval. */
Test(labels, of_two_signs_and_two_bits_stand_for_each_other)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *bits = data_make(&KINDS[0], LIBSVM, 2), *signs = data_make(&KINDS[2], CSV, 2);
    const char *pairs[2][2] = {{bits, signs}, {signs, bits}};
    for (int i = 0; i < 2; i++) {
        char options[512];
        snprintf(options, sizeof options, ONE_WORKER "--model logistic --eval %s " SMALL, pairs[i][1]);
        const char *model = train("m", pairs[i][0], options);
        struct run_result r = RUN(CASE_MS, "dp-worker", "eval", "--json", "--model", model, "--data", pairs[i][0]);
        char *first = strdup(r.out);
        r = RUN(CASE_MS, "dp-worker", "eval", "--json", "--model", model, "--data", pairs[i][1]);
        cr_assert_eq(r.status, 0, "%s", r.err);
        cr_assert_not_null(strstr(first, "\"accuracy\":"));
        free(first);
    }
    const char *words = data_make(&KINDS[6], LIBSVM, 2);
    const char *model = train("m", bits, ONE_WORKER "--model logistic " SMALL);
    struct run_result r = RUN(CASE_MS, "dp-worker", "eval", "--model", model, "--data", words);
    cr_assert_eq(r.status, 1);
    cr_assert_not_null(strstr(r.err, "is none of the model's (0, 1)"), "%s", r.err);
}

Test(labels, are_told_by_status_and_json)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128];
    const char *data = data_make(&KINDS[7], CSV, 3);
    struct process *server = SERVER(endpoint, "--model", "softmax", "--classes", "3", "--epochs", "1000000");
    struct process *worker = PROCESS("dp-worker", "--server", endpoint, "--data", data, "--json");
    const char *joined = process_expect(worker, OUT, "\"event\":\"joined\"", CASE_MS);
    cr_assert_not_null(strstr(joined, "\"labels\":[\"7\",\"False\",\"True\"]"), "%s", joined);
    struct run_result r = RUN(CASE_MS, "dp-ctl", "--server", endpoint, "status");
    cr_assert_not_null(strstr(r.out, "labels     7, False, True\n"), "%s", r.out);
    r = RUN(CASE_MS, "dp-ctl", "--server", endpoint, "--json", "status");
    json_t *status = json_loads(r.out, 0, NULL), *job = json_object_get(status, "job");
    cr_assert_eq(json_integer_value(json_object_get(job, "classes")), 3);
    cr_assert_eq(json_integer_value(json_object_get(job, "classes_asked")), 3);
    json_t *labels = json_object_get(job, "labels");
    cr_assert_eq(json_array_size(labels), 3);
    cr_assert_str_eq(json_string_value(json_array_get(labels, 1)), "False");
    json_decref(status);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, CASE_MS), 143);
}

/* A word among numbers may be a typing error: it is a class, but not in silence. */
Test(labels, of_which_some_are_words_are_told)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    const char *data = temp_text("typo.csv", "label,a\n0,1\n1,2\nO,3\n");
    struct process *server = SERVER(endpoint, "--model", "softmax", "--epochs", "1", "--exit-when-done");
    struct process *worker = PROCESS("dp-worker", "--server", endpoint, "--data", data);
    process_expect(worker, ERR, "typo.csv:4: label 'O' is a word, and there are numbers", CASE_MS);
    cr_assert_eq(process_wait(server, CASE_MS), 0);
}

/* ---- data that stay with their workers ---- */

#define LOCAL_JOB "--data-mode", "local", "--slots", "2", "--features", "2", "--epochs", "2", "--batch", "4"

static struct process *part_start(const char *endpoint, const char *name, const char *text)
{
    return PROCESS("dp-worker", "--server", endpoint, "--data", temp_text(name, text));
}

/* Two workers whose parts have one class each, or who do not know which pair theirs belongs to. */
Test(labels, of_parts_that_have_one_class)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const struct {
        const char *parts[2], *labels;
    } CASES[] = {
        {{"1 1:1\n1 2:1\n", "0 1:1\n0 2:1\n"}, "0,1"},    {{"1 1:1\n1 2:1\n", "-1 1:1\n-1 2:1\n"}, "-1,1"},
        {{"-1 1:1\n-1 2:1\n", "1 1:1\n1 2:1\n"}, "-1,1"}, {{"1 1:1\n1 2:1\n", "1 1:1\n1 2:1\n"}, "0,1"},
        {{"0 1:1\n0 2:1\n", "0 1:1\n0 2:1\n"}, "0,1"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        char endpoint[128];
        const char *model = temp_path("m");
        struct process *server = SERVER(endpoint, "--model", "logistic", LOCAL_JOB, "--min-workers", "2",
                                        "--exit-when-done", "--export", model);
        struct process *one = part_start(endpoint, "one", CASES[i].parts[0]);
        process_expect(one, ERR, "joined ", CASE_MS);
        struct process *two = part_start(endpoint, "two", CASES[i].parts[1]);
        cr_assert_eq(process_wait(one, CASE_MS), 0, "%s", process_output(one, ERR));
        cr_assert_eq(process_wait(two, CASE_MS), 0, "%s", process_output(two, ERR));
        cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
        assert_labels(model, CASES[i].labels);
    }
}

Test(labels, of_parts_that_do_not_go_together)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server = SERVER(endpoint, "--model", "logistic", LOCAL_JOB, "--min-workers", "2");
    struct process *one = part_start(endpoint, "one", "1 1:1\n0 2:1\n");
    process_expect(one, ERR, "joined ", CASE_MS);
    struct process *two = part_start(endpoint, "two", "1 1:1\n-1 2:1\n");
    cr_assert_eq(process_wait(two, CASE_MS), 1);
    const char *says = process_output(two, ERR);
    cr_assert(strstr(says, "labels (-1, 1) are not the job's (0, 1)") && strstr(says, "--label-names"), "%s", says);
    two = part_start(endpoint, "two", "2 1:1\n1 2:1\n");
    cr_assert_eq(process_wait(two, CASE_MS), 1);
    cr_assert_not_null(strstr(process_output(two, ERR), "--label-names A,B"), "%s", process_output(two, ERR));
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, CASE_MS), 143);
}

Test(labels, of_parts_that_are_named)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const struct {
        const char *model, *option, *value, *parts[2], *labels;
    } CASES[] = {
        {"softmax", "--label-names", "cat,ant,bee", {"cat 1:1\n", "bee 1:1\nbee 2:1\n"}, "ant,bee,cat"},
        {"softmax", "--classes", "3", {"2 1:1\n", "1 1:1\n1 2:1\n"}, "0,1,2"},
        {"logistic", "--label-names", "yes,no", {"yes 1:1\n", "yes 1:1\nno 2:1\n"}, "no,yes"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        char endpoint[128];
        const char *model = temp_path("m");
        struct process *server = SERVER(endpoint, "--model", CASES[i].model, LOCAL_JOB, "--min-workers", "2",
                                        "--exit-when-done", "--export", model, CASES[i].option, CASES[i].value);
        struct process *one = part_start(endpoint, "one", CASES[i].parts[0]);
        struct process *two = part_start(endpoint, "two", CASES[i].parts[1]);
        cr_assert_eq(process_wait(one, CASE_MS), 0, "%s", process_output(one, ERR));
        cr_assert_eq(process_wait(two, CASE_MS), 0, "%s", process_output(two, ERR));
        cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
        assert_labels(model, CASES[i].labels);
    }
    struct run_result r = RUN(CASE_MS, "dp-server", "--model", "softmax", LOCAL_JOB);
    cr_assert_eq(r.status, 2);
    cr_assert_not_null(strstr(r.err, "--label-names"), "%s", r.err);
}
