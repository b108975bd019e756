/* Mistakes of people: each case must end with the right exit status and a message that names the place (file and
 * line, option, peer) and says what to do. Data go through the whole of dp-server, its local worker and back. */
#include "tests/integration/support/harness.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/text.h"
#include "common/base/util.h"

TestSuite(malformed, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { SAYS_MAX = 4, OPTIONS_MAX = 12, CASE_MS = 30000 };
enum { DATA_ERROR = 1, USAGE_ERROR = 2, UNREACHABLE = 69 };

/* All of `says` must be in what the program wrote to stderr, in one line. */
struct expectation {
    int status;
    const char *says[SAYS_MAX];
};

static bool line_has_all(const char *line, size_t length, const char *const *says)
{
    char copy[4096];
    (void)str_copy(copy, MIN(length + 1, sizeof copy), line);
    for (size_t i = 0; i < SAYS_MAX && says[i]; i++)
        if (!strstr(copy, says[i]))
            return false;
    return true;
}

static bool says_all(const char *text, const char *const *says)
{
    for (const char *line = text; *line;) {
        size_t length = strcspn(line, "\n");
        if (line_has_all(line, length, says))
            return true;
        line += length + (line[length] == '\n');
    }
    return false;
}

static void check(const char *what, struct run_result r, const struct expectation *want)
{
    cr_expect_eq(r.status, want->status, "%s: status %d instead of %d:\n%s", what, r.status, want->status, r.err);
    cr_expect(says_all(r.err, want->says), "%s: nobody said '%s' '%s' '%s' '%s' in one line:\n%s", what,
              want->says[0] ? want->says[0] : "", want->says[1] ? want->says[1] : "",
              want->says[2] ? want->says[2] : "", want->says[3] ? want->says[3] : "", r.err);
    cr_expect_not(strstr(r.err, "assert") || strstr(r.err, "Sanitizer"), "%s:\n%s", what, r.err);
}

/* -- data -- */

#define TEXT(text) (text), sizeof(text) - 1

struct data_case {
    const char *name; /* of the file */
    const char *bytes;
    size_t size;
    const char *model; /* NULL: logistic */
    const char *options[OPTIONS_MAX];
    struct expectation want;
};

static struct run_result run_data(const char *path, const char *model, const char *const *options)
{
    const char *args[32] = {"--listen", "tcp://127.0.0.1:0",        "--local-workers", "1", "--data",          path,
                            "--model",  model ? model : "logistic", "--steps",         "2", "--exit-when-done"};
    size_t n = 11;
    for (; *options && n + 1 < ARRAY_LEN(args); options++)
        args[n++] = *options;
    return run_program(CASE_MS, "dp-server", args);
}

static void run_data_case(const struct data_case *c)
{
    check(c->name, run_data(temp_file(c->name, c->bytes, c->size), c->model, c->options), &c->want);
}

static const struct data_case LIBSVM[] = {
    {"index-0", TEXT("+1 1:1\n-1 0:2 3:1\n"), .want = {DATA_ERROR, {"index-0:2:", "begin with 1", "add 1"}}},
    {"unsorted", TEXT("+1 1:1\n\n-1 3:1 2:1\n"), .want = {DATA_ERROR, {"unsorted:3:", "ascending", "sort"}}},
    {"twice", TEXT("+1 2:1 2:1\n"), .want = {DATA_ERROR, {"twice:1:", "remove one"}}},
    {"no-label", TEXT("+1 1:1\n1:1 2:1\n"), .want = {DATA_ERROR, {"no-label:2:", "label is missing", "write LABEL"}}},
    {"no-number", TEXT("+1 1:one\n"), .want = {DATA_ERROR, {"no-number:1:", "'one'", "not a number"}}},
    {"no-colon", TEXT("+1 1:1\n-1 7\n"), .want = {DATA_ERROR, {"no-colon:2:", "INDEX:VALUE"}}},
    {"nan", TEXT("+1 1:1\n-1 1:nan\n"), .want = {DATA_ERROR, {"nan:2:", "finite", "remove the row"}}},
    {"nan-label", TEXT("nan 1:1\n"), .want = {DATA_ERROR, {"nan-label:1:", "label", "finite"}}},
    {"huge", TEXT("+1 1:1e99\n"), .want = {DATA_ERROR, {"huge:1:", "too large", "scale"}}},
    {"huge-index", TEXT("+1 99999999999:1\n"), .want = {DATA_ERROR, {"huge-index:1:", "larger than"}}},
    {"query", TEXT("1 qid:3 1:1\n"), .want = {DATA_ERROR, {"query:1:", "qid:3", "remove"}}},
    {"two-labels", TEXT("1,2 1:1 2:1\n"), .options = {"--format", "libsvm"},
     .want = {DATA_ERROR, {"two-labels:1:", "keep one"}}},
    {"too-wide", TEXT("+1 1:1\n-1 5:1\n"), .options = {"--features", "3"},
     .want = {DATA_ERROR, {"too-wide:2:", "index 5", "--features"}}},
    {"text", TEXT("this is no data at all\n"), .want = {DATA_ERROR, {"text:1:", "one column", "--format"}}},
    {"binary",
     TEXT("\x7f"
          "ELF\x02\x01\x01\0\0\0\n"),
     .want = {DATA_ERROR, {"binary:", "zero bytes", "LIBSVM or CSV"}}},
};

static const struct data_case CSV[] = {
    {"word.csv", TEXT("label,age\n1,30\n0,old\n"), .want = {DATA_ERROR, {"word.csv:3:", "'age'", "not a number"}}},
    {"ragged.csv", TEXT("1,2,4\n0,1\n"), .options = {"--label-column", "0"},
     .want = {DATA_ERROR, {"ragged.csv:2:", "2 fields", "same number"}}},
    {"long.csv", TEXT("1,2,4\n0,1,1,1\n"), .options = {"--label-column", "0"},
     .want = {DATA_ERROR, {"long.csv:2:", "more than 3", "same number"}}},
    {"hole.csv", TEXT("1,2,4\n0,,1\n"), .options = {"--label-column", "0"},
     .want = {DATA_ERROR, {"hole.csv:2:", "is empty, a number is needed"}}},
    {"nan.csv", TEXT("1,2,4\n0,NaN,1\n"), .options = {"--label-column", "0"},
     .want = {DATA_ERROR, {"nan.csv:2:", "finite", "remove the row"}}},
    {"quote.csv", TEXT("1,2\n0,\"3\n"), .options = {"--label-column", "0"},
     .want = {DATA_ERROR, {"quote.csv:2:", "closing quote", "add a \""}}},
    {"header.csv", TEXT("label,a,b\n"), .want = {DATA_ERROR, {"header.csv:", "no rows"}}},
    {"one.csv", TEXT("1\n2\n"), .options = {"--format", "csv"}, .want = {DATA_ERROR, {"one.csv:1:", "one column"}}},
    {"column.csv", TEXT("y,a,b\n1,2,3\n"), .options = {"--label-column", "z"},
     .want = {DATA_ERROR, {"column.csv:", "--label-column 'z'", "'y', 'a', 'b'"}}},
    {"width.csv", TEXT("1,2,4\n"), .options = {"--features", "5", "--label-column", "0"},
     .want = {DATA_ERROR, {"width.csv:", "has 2 features", "--features"}}},
    {"nolabel.csv", TEXT("a,b\n1,2\n"), .want = {DATA_ERROR, {"nolabel.csv:", "no column is named", "--label-column"}}},
    {"nohead.csv", TEXT("1,2\n0,1\n"), .want = {DATA_ERROR, {"nohead.csv:", "has no header", "--label-column N"}}},
    {"numeric.csv", TEXT("0,1,2\n1,2,5\n"), .options = {"--label-column", "0"},
     .want = {DATA_ERROR, {"numeric.csv:1:", "numbers the columns", "--header on", "--header off"}}},
    {"typing.csv", TEXT("1,2.O,4\n0,1,1\n"), .options = {"--label-column", "0"},
     .want = {DATA_ERROR, {"typing.csv:1:", "'2.O' (column 1)", "--header on", "--header off"}}},
    {"index.csv", TEXT(",a,label\n0,1,1\n1,2,0\n"),
     .want = {DATA_ERROR, {"index.csv:1:", "index column", "index=False", "--ignore-columns 0"}}},
    {"twice.csv", TEXT("a,label,a\n0,1,1\n1,0,2\n"), .want = {DATA_ERROR, {"twice.csv:1:", "columns 0 and 2", "'a'"}}},
};

/* 2 images of 1 x 2 bytes and 2 labels. */
#define IMAGES "\0\0\x08\x03\0\0\0\x02\0\0\0\x01\0\0\0\x02"

static const struct data_case IDX[] = {
    {"a-images-idx3", TEXT(IMAGES "\1\2\3"), .want = {DATA_ERROR, {"a-images-idx3:", "truncated", "copy or download"}}},
    {"b-images-idx3", TEXT("\0\0\x08\x03\0\0"), .want = {DATA_ERROR, {"b-images-idx3:", "header", "copy or download"}}},
    {"c-images-idx3", TEXT("\0\0\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
     .want = {DATA_ERROR, {"c-images-idx3:", "too large"}}},
    {"d-images-idx3", TEXT(IMAGES "\1\2\3\4\5"), .want = {DATA_ERROR, {"d-images-idx3:", "too long"}}},
    {"e-images-idx3", TEXT("\0\0\x08\x01\0\0\0\x02\1\2"), .want = {DATA_ERROR, {"e-images-idx3:", "label file"}}},
};

static const struct data_case FILES[] = {
    {"empty", TEXT(""), .want = {DATA_ERROR, {"empty:", "is empty", "is needed"}}},
    {"blank", TEXT("\n \n# nothing\n"), .options = {"--format", "libsvm"}, .want = {DATA_ERROR, {"blank:", "no rows"}}},
    {"cut.gz", TEXT("\x1f\x8b\x08\0\0\0\0\0\0\x03\xd3\x36"), .want = {DATA_ERROR, {"cut.gz:", "truncated", "copy"}}},
    {"damaged.gz", TEXT("\x1f\x8b\x08\0\0\0\0\0\0\x03\xff\xff\xff\xff\xff\xff\xff\xff"),
     .want = {DATA_ERROR, {"damaged.gz:", "damaged", "copy"}}},
};

static const struct data_case LABELS[] = {
    {"one-class", TEXT("1 1:1\n1 2:1\n"), .want = {DATA_ERROR, {"one-class:", "label 1", "needs rows of two classes"}}},
    {"three-classes", TEXT("1 1:1\n2 2:1\n3 1:1\n"),
     .want = {DATA_ERROR, {"three-classes:", "1, 2, 3", "use --model softmax"}}},
    {"one-class-softmax", TEXT("4 1:1\n4 2:1\n"), "softmax",
     .want = {DATA_ERROR, {"one-class-softmax:", "label 4", "needs rows of two classes"}}},
    {"class-of-none",
     TEXT("0 1:1\n1 2:1\n7 1:1\n"),
     "softmax",
     {"--label-names", "0,1,2"},
     {DATA_ERROR, {"class-of-none:3:", "label '7'", "take data"}}},
    {"one-more-class",
     TEXT("0 1:1\n1 2:1\n7 1:1\n"),
     "softmax",
     {"--classes", "2"},
     {DATA_ERROR, {"one-more-class:", "3 different labels (0, 1, 7)", "--classes 3"}}},
    {"a-word", TEXT("0 1:1\none 2:1\n"), "linear", .want = {DATA_ERROR, {"a-word:2:", "'one'", "--model linear"}}},
};

#define RUN_CASES(table)                                 \
    do {                                                 \
        NEED_PROGRAMS("dp-server", "dp-worker");         \
        for (size_t i_ = 0; i_ < ARRAY_LEN(table); i_++) \
            run_data_case(&(table)[i_]);                 \
    } while (0)

Test(malformed, libsvm)
{
    RUN_CASES(LIBSVM);
}

Test(malformed, csv)
{
    RUN_CASES(CSV);
}

Test(malformed, idx)
{
    for (char name[] = "a-labels-idx1"; name[0] <= 'e'; name[0]++)
        temp_file(name, TEXT("\0\0\x08\x01\0\0\0\x02\0\1"));
    RUN_CASES(IDX);
    static const struct expectation missing = {DATA_ERROR, {"f-labels-idx1", "cannot be opened", "--labels"}};
    static const struct expectation unknown = {USAGE_ERROR, {"pictures", "'images'", "--labels"}};
    static const struct expectation other = {DATA_ERROR, {"g-labels-idx1", "has 3 labels", "2 rows"}};
    static const char *const none[] = {NULL};
    check("no label file", run_data(temp_file("f-images-idx3", TEXT(IMAGES "\1\2\3\4")), NULL, none), &missing);
    check("no name for it", run_data(temp_file("pictures", TEXT(IMAGES "\1\2\3\4")), NULL, none), &unknown);
    temp_file("g-labels-idx1", TEXT("\0\0\x08\x01\0\0\0\x03\0\1\1"));
    check("other label file", run_data(temp_file("g-images-idx3", TEXT(IMAGES "\1\2\3\4")), NULL, none), &other);
}

Test(malformed, files)
{
    RUN_CASES(FILES);
    static const struct expectation missing = {DATA_ERROR, {"missing:", "No such file"}};
    static const struct expectation folder = {DATA_ERROR, {"folder:", "directory"}};
    static const char *const none[] = {NULL};
    check("missing", run_data(temp_path("missing"), NULL, none), &missing);
    const char *path = temp_path("folder");
    cr_assert_eq(mkdir(path, 0700), 0);
    check("folder", run_data(path, NULL, none), &folder);
}

Test(malformed, labels)
{
    RUN_CASES(LABELS);
}

/* The evaluation file is looked at as well, and must fit the model. */
Test(malformed, evaluation_data)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *good = temp_text("good", "1 1:1\n0 2:1\n"), *bad = temp_text("bad", "1 1:1\n0 2:x\n");
    const char *wide = temp_text("wide", "1 3:1\n"), *label = temp_text("other-label", "5 1:1\n");
    static const struct expectation syntax = {DATA_ERROR, {"bad:2:", "not a number"}};
    static const struct expectation width = {DATA_ERROR, {"wide:1:", "index 3", "2 features"}};
    static const struct expectation unknown = {DATA_ERROR, {"other-label:1:", "label '5'", "take data"}};
    check("bad", run_data(good, NULL, (const char *const[]){"--eval", bad, NULL}), &syntax);
    check("wide", run_data(good, NULL, (const char *const[]){"--eval", wide, NULL}), &width);
    check("label", run_data(good, NULL, (const char *const[]){"--eval", label, NULL}), &unknown);
}

/* A file that is written does not replace one that is read, under any name. */
Test(malformed, output_over_input)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char ROWS[] = "1 1:1\n0 2:1\n";
    const char *data = temp_text("good", ROWS), *link = temp_path("link"), *model = temp_path("m");
    cr_assert_eq(symlink(data, link), 0);
    const struct expectation export = {DATA_ERROR, {"--export", link, "--data", "would be lost"}};
    const struct expectation port = {DATA_ERROR, {"--port-file", "--eval", "would be lost"}};
    const struct expectation both = {DATA_ERROR, {"--export and --port-file", model}};
    check("export", run_data(data, NULL, (const char *const[]){"--export", link, NULL}), &export);
    check("port", run_data("/dev/null", NULL, (const char *const[]){"--eval", data, "--port-file", data, NULL}), &port);
    check("both", run_data(data, NULL, (const char *const[]){"--export", model, "--port-file", model, NULL}), &both);
    cr_assert_eq(run_data(data, NULL, (const char *const[]){"--export", model, NULL}).status, 0);
    const struct expectation rows = {DATA_ERROR, {"--output", link, "--data", "would be lost"}};
    const struct expectation itself = {DATA_ERROR, {"--output", model, "--model", "would be lost"}};
    check("rows", RUN(CASE_MS, "dp-worker", "predict", "--model", model, "--data", data, "--output", link), &rows);
    check("model", RUN(CASE_MS, "dp-worker", "predict", "--model", model, "--data", data, "--output", model), &itself);
    struct stat st;
    cr_expect_eq(stat(data, &st), 0);
    cr_expect_eq(st.st_size, (off_t)sizeof ROWS - 1, "the data were written over");
}

/* -- options of dp-server -- */

struct option_case {
    const char *name;
    const char *options[OPTIONS_MAX];
    struct expectation want;
};

static const struct option_case SERVER_OPTIONS[] = {
    {"unknown option", {"--model", "linear", "--epoch", "3"}, {USAGE_ERROR, {"--epoch", "--epochs"}}},
    {"no value", {"--model", "linear", "--batch"}, {USAGE_ERROR, {"--batch", "needs a value"}}},
    {"no number", {"--model", "linear", "--batch", "many"}, {USAGE_ERROR, {"--batch", "'many'", "whole number"}}},
    {"negative", {"--model", "linear", "--slots", "-1"}, {USAGE_ERROR, {"--slots"}}},
    {"out of range", {"--model", "linear", "--slots", "0"}, {USAGE_ERROR, {"--slots", "out of range"}}},
    {"rate that is none", {"--model", "linear", "--lr", "nan"}, {USAGE_ERROR, {"--lr", "nan"}}},
    {"no rate", {"--model", "linear", "--lr", "0"}, {USAGE_ERROR, {"--lr", "more than 0"}}},
    {"choice", {"--model", "linear", "--optimizer", "sdg"}, {USAGE_ERROR, {"--optimizer", "'sdg'", "sgd"}}},
    {"no model", {"--batch", "3"}, {USAGE_ERROR, {"--model", "is missing", "logistic"}}},
    {"other model", {"--model", "forest"}, {USAGE_ERROR, {"--model", "'forest'", "softmax"}}},
    {"operand", {"--model", "linear", "file"}, {USAGE_ERROR, {"'file'"}}},
    {"no data", {"--model", "linear", "--local-workers", "2"}, {USAGE_ERROR, {"--local-workers", "--data FILE"}}},
    {"data for nobody", {"--model", "linear", "--data", "f"}, {USAGE_ERROR, {"--data", "--local-workers"}}},
    {"steps and epochs",
     {"--model", "linear", "--steps", "1", "--epochs", "1"},
     {USAGE_ERROR, {"--steps", "--epochs"}}},
    {"momentum of sgd", {"--model", "linear", "--momentum", "0.5"}, {USAGE_ERROR, {"--momentum", "--optimizer"}}},
    {"classes", {"--model", "linear", "--classes", "3"}, {USAGE_ERROR, {"--classes", "softmax"}}},
    {"endpoint", {"--model", "linear", "--listen", "7700"}, {USAGE_ERROR, {"--listen", "'7700'", "tcp://"}}},
    {"port",
     {"--model", "linear", "--listen", "tcp://127.0.0.1:http"},
     {USAGE_ERROR, {"tcp://127.0.0.1:http", "expected"}}},
    {"name like an address",
     {"--model", "linear", "--listen", "tcp://127.example.invalid:0"},
     {USAGE_ERROR, {"--listen", "127.example.invalid", "--insecure"}}},
    {"open to all", {"--model", "linear", "--listen", "tcp://0.0.0.0:0"}, {USAGE_ERROR, {"--listen", "--insecure"}}},
    {"advertised port",
     {"--model", "linear", "--advertise", "head:7700"},
     {USAGE_ERROR, {"--advertise", "'head:7700'", "without a port"}}},
    {"advertised nothing", {"--model", "linear", "--advertise", ""}, {USAGE_ERROR, {"--advertise", "is empty"}}},
    {"advertised address",
     {"--model", "linear", "--advertise", "2001:db8::1"},
     {USAGE_ERROR, {"--advertise", "[2001:db8::1]"}}},
    {"advertised noise",
     {"--model", "linear", "--advertise", "head\xff"},
     {USAGE_ERROR, {"--advertise", "name or an address"}}},
    {"strength beyond floats",
     {"--model", "linear", "--l2", "1e39"},
     {USAGE_ERROR, {"--l2", "'1e39'", "at most 1e+30"}}},
    {"features beyond the wire",
     {"--model", "linear", "--features", "34359738369"},
     {USAGE_ERROR, {"--features", "out of range"}}},
    {"socket without a name",
     {"--model", "linear", "--listen", "ipc://@"},
     {USAGE_ERROR, {"--listen", "'ipc://@'", "no name"}}},
    {"not our address",
     {"--model", "linear", "--listen", "tcp://192.0.2.1:7700", "--insecure"},
     {DATA_ERROR, {"tcp://192.0.2.1:7700", "not one of this machine's", "use"}}},
    {"export into nowhere",
     {"--model", "linear", "--listen", "tcp://127.0.0.1:0", "--export", "/nonexistent/m.safetensors"},
     {DATA_ERROR, {"--export", "/nonexistent/m.safetensors", "No such file"}}},
    {"export over a folder",
     {"--model", "linear", "--listen", "tcp://127.0.0.1:0", "--export", "/"},
     {DATA_ERROR, {"--export", "/: names a folder", "give a file name"}}},
    {"port file into nowhere",
     {"--model", "linear", "--listen", "tcp://127.0.0.1:0", "--port-file", "/nonexistent/port"},
     {DATA_ERROR, {"--port-file", "/nonexistent/port"}}},
    {"no config", {"--config", "/nonexistent/dp.yaml"}, {USAGE_ERROR, {"--config", "/nonexistent/dp.yaml", "No such"}}},
};

Test(malformed, options_of_the_server)
{
    NEED_PROGRAMS("dp-server");
    for (size_t i = 0; i < ARRAY_LEN(SERVER_OPTIONS); i++) {
        const struct option_case *c = &SERVER_OPTIONS[i];
        check(c->name, run_program(CASE_MS, "dp-server", c->options), &c->want);
    }
}

struct yaml_case {
    const char *text;
    struct expectation want;
};

static const struct yaml_case YAML[] = {
    {"model: \"linear\nbatch: 1\n", {USAGE_ERROR, {"dp.yaml:", "bad YAML"}}},
    {"model: linear\nbatch: [1, 2]\n", {USAGE_ERROR, {"dp.yaml:2:", "'batch'", "not a list"}}},
    {"model: linear\nbach: 3\n", {USAGE_ERROR, {"dp.yaml:2:", "'bach'", "batch"}}},
    {"model: linear\nhelp: on\n", {USAGE_ERROR, {"dp.yaml:2:", "unknown option 'help'; see"}}},
    {"model: linear\nbatch: many\n", {USAGE_ERROR, {"dp.yaml:2:", "batch", "'many'"}}},
    {"model: linear\nmodel: softmax\n", {USAGE_ERROR, {"dp.yaml:2:", "'model'", "twice"}}},
    {"model:\n  name: linear\n", {USAGE_ERROR, {"dp.yaml:2:", "the file is flat"}}},
    {"- linear\n", {USAGE_ERROR, {"dp.yaml:1:"}}},
};

Test(malformed, yaml)
{
    NEED_PROGRAMS("dp-server");
    for (size_t i = 0; i < ARRAY_LEN(YAML); i++) {
        const char *path = temp_text("dp.yaml", YAML[i].text);
        check(YAML[i].text, RUN(CASE_MS, "dp-server", "--config", path), &YAML[i].want);
    }
}

Test(malformed, environment)
{
    NEED_PROGRAMS("dp-server");
    static const struct expectation want = {USAGE_ERROR, {"DP_BATCH", "'many'"}};
    struct process *p = process_start_env("dp-server", (const char *const[]){"--model", "linear", NULL},
                                          (const char *const[]){"DP_BATCH=many", NULL});
    int status = process_wait(p, CASE_MS);
    check("environment", (struct run_result){status, process_output(p, OUT), process_output(p, ERR)}, &want);
}

/* A socket of ours on a free port of 127.0.0.1, listening or not; text[size] becomes its endpoint. */
static int port_take(bool listening, char *text, size_t size)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert(!listening || listen(fd, 1) == 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &length), 0);
    snprintf(text, size, "tcp://127.0.0.1:%d", ntohs(at.sin_port));
    return fd;
}

Test(malformed, taken_port)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[64];
    int fd = port_take(true, endpoint, sizeof endpoint);
    const struct expectation want = {DATA_ERROR, {endpoint, "taken by another program", "port 0"}};
    check("taken port", RUN(CASE_MS, "dp-server", "--model", "linear", "--listen", endpoint), &want);
    close(fd);
}

/* Found out before the training, not after it. */
Test(malformed, unwritable_export)
{
    NEED_PROGRAMS("dp-server");
    const char *folder = temp_path("read-only");
    cr_assert_eq(mkdir(folder, 0500), 0);
    if (access(folder, W_OK) == 0)
        cr_skip_test("this user may write into read-only folders");
    char path[HARNESS_PATH_MAX];
    snprintf(path, sizeof path, "%s/m.safetensors", folder);
    const struct expectation want = {DATA_ERROR, {"--export", path, "Permission denied"}};
    check("read-only folder", RUN(CASE_MS, "dp-server", "--model", "linear", "--export", path), &want);
}

/* A disk that is full by the time the model is written, as a limit on the size of files: told with the path, not by a
 * half-written model. */
Test(malformed, full_disk)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = temp_text("good", "1 1:1\n0 2:1\n"), *model = temp_path("m.safetensors");
    static const char SCRIPT[] = "ulimit -f 0; exec \"$0\" --listen tcp://127.0.0.1:0 --model logistic "
                                 "--steps 2 --local-workers 1 --data \"$1\" --exit-when-done --export \"$2\" "
                                 "--export-timeout 1";
    const struct expectation want = {DATA_ERROR, {model, "File too large"}};
    check("full disk", RUN(CASE_MS, "/bin/sh", "-c", SCRIPT, program_path("dp-server"), data, model), &want);
    cr_expect_neq(access(model, F_OK), 0, "a part of a model was left");
}

/* And for predictions. */
Test(malformed, full_disk_of_predictions)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = temp_text("good", "1 1:1\n0 2:1\n"), *model = temp_path("m"), *output = temp_path("p");
    const char *const export[] = {"--export", model, NULL};
    cr_assert_eq(run_data(data, NULL, export).status, 0);
    static const char SCRIPT[] = "ulimit -f 0; exec \"$0\" predict --model \"$1\" --data \"$2\" --output \"$3\"";
    const struct expectation want = {DATA_ERROR, {output, "File too large"}};
    check("predictions", RUN(CASE_MS, "/bin/sh", "-c", SCRIPT, program_path("dp-worker"), model, data, output), &want);
    cr_expect_neq(access(output, F_OK), 0, "a part of the predictions was left");
}

/* A local worker that ends without a word: the message says who. */
Test(malformed, speechless_worker)
{
    NEED_PROGRAMS("dp-server");
    const char *server = temp_path("dp-server"), *worker = temp_path("dp-worker");
    static const char SCRIPT[] =
        "cp \"$0\" \"$1\" && printf '#!/bin/sh\\nexit 1\\n' >\"$2\" && chmod +x \"$2\" && "
        "exec \"$1\" --model linear --listen tcp://127.0.0.1:0 --local-workers 1 --data /dev/null";
    static const struct expectation want = {DATA_ERROR, {"local worker 0 exited with status 1"}};
    check("speechless", RUN(CASE_MS, "/bin/sh", "-c", SCRIPT, program_path("dp-server"), server, worker), &want);
}

/* The same for a server that is told to end: it does not end as if all were well. */
Test(malformed, full_disk_at_a_signal)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = temp_text("good", "1 1:1\n0 2:1\n"), *model = temp_path("m.safetensors");
    static const char SCRIPT[] = "ulimit -f 0; exec \"$0\" --listen tcp://127.0.0.1:0 --model logistic "
                                 "--steps 1000000000 --local-workers 1 --data \"$1\" --json --export \"$2\"";
    struct process *server = PROCESS("/bin/sh", "-c", SCRIPT, program_path("dp-server"), data, model);
    process_expect(server, OUT, "\"event\":\"epoch\"", CASE_MS);
    process_signal(server, SIGTERM);
    cr_expect_eq(process_wait(server, CASE_MS), DATA_ERROR);
    cr_expect_not_null(strstr(process_output(server, ERR), "File too large"), "%s", process_output(server, ERR));
    cr_expect_null(strstr(process_output(server, ERR), "are in"));
    cr_expect_neq(access(model, F_OK), 0, "a part of a model was left");
}

/* Nor is what --json tells lost without a word. */
Test(malformed, full_output)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = temp_text("good", "1 1:1\n0 2:1\n"), *model = temp_path("m.safetensors");
    static const char TRAIN[] = "exec \"$0\" --listen tcp://127.0.0.1:0 --model logistic --steps 2 --local-workers 1 "
                                "--data \"$1\" --json --exit-when-done --export \"$2\" >/dev/full";
    static const char EVAL[] = "exec \"$0\" eval --model \"$2\" --data \"$1\" --json >/dev/full";
    static const struct expectation want = {DATA_ERROR, {"standard output"}};
    check("training", RUN(CASE_MS, "/bin/sh", "-c", TRAIN, program_path("dp-server"), data, model), &want);
    check("evaluation", RUN(CASE_MS, "/bin/sh", "-c", EVAL, program_path("dp-worker"), data, model), &want);
}

/* libuv and libzmq abort where no descriptor is left. */
Test(malformed, few_descriptors)
{
    NEED_PROGRAMS("dp-server");
    static const struct expectation want = {DATA_ERROR, {"files may be open", "ulimit -n"}};
    check("20 files",
          RUN(CASE_MS, "/bin/sh", "-c", "ulimit -n 20; exec \"$0\" --model linear", program_path("dp-server")), &want);
}

/* However little there is: OpenBLAS would ask for ever, at its loading as well. It works or it says why not. */
Test(malformed, little_address_space)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
#if defined(__SANITIZE_ADDRESS__)
    cr_skip_test("a sanitizer needs much address space");
#endif
    const char *data = temp_text("dense", "y,a,b\n1,1,0\n0,0,1\n"), *model = temp_path("m");
    const char *const export[] = {"--export", model, NULL};
    static const char SCRIPT[] = "ulimit -v \"$1\"; exec \"$0\" eval --model \"$2\" --data \"$3\"";
    static const char *const KIB[] = {"100000", "120000", "160000", "200000", "240000", "280000",
                                      "320000", "360000", "400000", "440000", "600000", "1000000"};
    cr_assert_eq(run_data(data, NULL, export).status, 0);
    bool worked = false;
    for (size_t i = 0; i < ARRAY_LEN(KIB); i++) {
        struct run_result r = RUN(CASE_MS, "/bin/sh", "-c", SCRIPT, program_path("dp-worker"), KIB[i], model, data);
        cr_expect(r.status == 0 || (r.status == DATA_ERROR && strstr(r.err, "out of memory") && !worked),
                  "%s KiB: status %d: %s", KIB[i], r.status, r.err);
        worked |= r.status == 0;
    }
    cr_assert(worked, "a megabyte of data needs no gigabyte");
}

/* Without standard streams a job goes on as ever, and nothing that is printed ends in a socket or in the model. */
Test(malformed, closed_streams)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = temp_text("good", "1 1:1\n0 2:1\n"), *model = temp_path("m"), *quiet = temp_path("q");
    static const char SCRIPT[] = "exec \"$0\" --listen tcp://127.0.0.1:0 --model logistic --steps 20 --data \"$1\" "
                                 "--local-workers 1 --exit-when-done --log-level debug --export \"$2\"";
    const char *server = program_path("dp-server");
    char closed[sizeof SCRIPT + 32];
    snprintf(closed, sizeof closed, "%s <&- >&- 2>&-", SCRIPT);
    struct run_result r = RUN(CASE_MS, "/bin/sh", "-c", SCRIPT, server, data, model);
    cr_assert_eq(r.status, 0, "%s", r.err);
    r = RUN(CASE_MS, "/bin/sh", "-c", closed, server, data, quiet);
    cr_assert_eq(r.status, 0);
    models_assert_same(model, quiet);
}

/* -- dp-worker -- */

static const struct option_case WORKER_OPTIONS[] = {
    {"no server", {"--data", "f"}, {USAGE_ERROR, {"--server", "is missing", "tcp://"}}},
    {"no name", {"--server", "tcp://127.0.0.1:1", "--data", "f", "--name", ""}, {USAGE_ERROR, {"--name", "is empty"}}},
    {"no data", {"--server", "tcp://127.0.0.1:1"}, {USAGE_ERROR, {"--data", "is missing"}}},
    {"no model", {"eval", "--data", "f"}, {USAGE_ERROR, {"--model", "is missing", "--export"}}},
    {"other command", {"evaluate", "--data", "f"}, {USAGE_ERROR, {"'evaluate'", "train, predict, eval"}}},
    {"server for eval", {"eval", "--data", "f", "--server", "x"}, {USAGE_ERROR, {"--server", "eval"}}},
    {"model to train", {"--data", "f", "--model", "x"}, {USAGE_ERROR, {"--model", "train"}}},
    {"unknown option", {"--severs", "x"}, {USAGE_ERROR, {"--severs", "--server"}}},
    {"endpoint", {"--data", "f", "--server", "localhost"}, {USAGE_ERROR, {"'localhost'", "such as tcp://"}}},
    {"port",
     {"--data", "f", "--server", "tcp://localhost:0"},
     {USAGE_ERROR, {"tcp://localhost:0", "1 to 65535", "such as tcp://"}}},
    {"labels of nothing",
     {"--data", "f", "--server", "tcp://127.0.0.1:1", "--eval-labels", "l"},
     {USAGE_ERROR, {"--eval-labels", "no --eval FILE"}}},
    {"groups of nothing",
     {"eval", "--data", "f", "--model", "m", "--group-size", "3"},
     {USAGE_ERROR, {"--group-size", "belongs to --group-lasso"}}},
};

Test(malformed, options_of_the_worker)
{
    NEED_PROGRAMS("dp-worker");
    for (size_t i = 0; i < ARRAY_LEN(WORKER_OPTIONS); i++) {
        const struct option_case *c = &WORKER_OPTIONS[i];
        check(c->name, run_program(CASE_MS, "dp-worker", c->options), &c->want);
    }
}

/* Stopped while it predicts: the status tells, and the file of before is still there. */
Test(malformed, stopped_prediction)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = temp_text("good", "1 1:1\n0 2:1\n"), *model = temp_path("m"), *pipe = temp_path("pipe");
    const char *output = temp_text("predicted", "before\n");
    const char *const export[] = {"--export", model, NULL};
    cr_assert_eq(run_data(data, NULL, export).status, 0);
    cr_assert_eq(mkfifo(pipe, 0600), 0);
    struct process *worker =
        PROCESS("dp-worker", "predict", "--model", model, "--data", pipe, "--format", "libsvm", "--output", output);
    int fd = open(pipe, O_WRONLY | O_CLOEXEC); /* waits until the worker reads: it has its signals by then */
    cr_assert_geq(fd, 0);
    process_signal(worker, SIGTERM);
    signal(SIGPIPE, SIG_IGN); /* it may have ended by now */
    (void)!write(fd, "1 1:1\n", 6);
    close(fd);
    cr_expect_eq(process_wait(worker, CASE_MS), 143, "%s", process_output(worker, ERR));
    cr_expect_str_eq(file_expect(output, NULL, CASE_MS), "before");
}

/* Nobody listens there; somebody does who is no dp-server; the name does not exist. Each ends with the status that says
 * that trying again may help. */
Test(malformed, wrong_server)
{
    NEED_PROGRAMS("dp-worker");
    char closed[64], silent[64];
    int closed_fd = port_take(false, closed, sizeof closed), silent_fd = port_take(true, silent, sizeof silent);
    const char *data = temp_text("good", "1 1:1\n0 2:1\n"), *nowhere = "tcp://no-such-host.invalid:7700";
    const struct expectation refused = {UNREACHABLE, {closed, "cannot reach"}};
    const struct expectation no_answer = {UNREACHABLE, {silent, "dp-server"}};
    const struct expectation unknown = {UNREACHABLE, {"no-such-host.invalid", "cannot reach"}};
    check("closed", RUN(CASE_MS, "dp-worker", "--server", closed, "--connect-timeout", "1", "--data", data), &refused);
    check("silent", RUN(CASE_MS, "dp-worker", "--server", silent, "--connect-timeout", "1", "--data", data),
          &no_answer);
    check("unknown", RUN(CASE_MS, "dp-worker", "--server", nowhere, "--connect-timeout", "1", "--data", data),
          &unknown);
    close(closed_fd);
    close(silent_fd);
}

/* A worker with other data than the job's is told so, and the job goes on without it. */
Test(malformed, other_data)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    const char *data = temp_text("good", "1 1:1\n0 2:1\n"), *other = temp_text("other", "1 1:1\n0 2:2\n");
    struct process *server = SERVER(endpoint, "--model", "logistic", "--steps", "1000000000");
    struct process *worker = PROCESS("dp-worker", "--server", endpoint, "--data", data);
    process_expect(server, ERR, "epoch", CASE_MS);
    static const struct expectation want = {DATA_ERROR,
                                            {"other", "not the job's", "good", "give every worker the same"}};
    check("other data", RUN(CASE_MS, "dp-worker", "--server", endpoint, "--data", other), &want);
    cr_expect_not(process_ended(server, 0) || process_ended(worker, 0));
    process_signal(server, SIGTERM);
    cr_expect_eq(process_wait(server, CASE_MS), 143);
    (void)process_wait(worker, CASE_MS);
}

/* -- models -- */

struct model_case {
    const char *name;
    const char *bytes;
    size_t size;
    struct expectation want;
};

#define HEADER(length, json) length "\0\0\0\0\0\0\0" json

static const struct model_case MODELS[] = {
    {"empty.safetensors", TEXT(""), {DATA_ERROR, {"empty.safetensors:", "no safetensors file", "give a model"}}},
    {"text.safetensors",
     TEXT("this is no model"),
     {DATA_ERROR, {"text.safetensors:", "no safetensors file", "give a model"}}},
    {"json.safetensors", TEXT(HEADER("\x04", "{\"a:")), {DATA_ERROR, {"json.safetensors:", "JSON"}}},
    {"none.safetensors", TEXT(HEADER("\x02", "{}")), {DATA_ERROR, {"none.safetensors:", "tensors"}}},
};

Test(malformed, models)
{
    NEED_PROGRAMS("dp-worker");
    const char *data = temp_text("good", "1 1:1\n0 2:1\n");
    for (size_t i = 0; i < ARRAY_LEN(MODELS); i++) {
        const struct model_case *c = &MODELS[i];
        const char *model = temp_file(c->name, c->bytes, c->size);
        check(c->name, RUN(CASE_MS, "dp-worker", "eval", "--model", model, "--data", data), &c->want);
    }
    static const struct expectation missing = {DATA_ERROR, {"missing.safetensors:", "No such file"}};
    check("missing", RUN(CASE_MS, "dp-worker", "predict", "--model", temp_path("missing.safetensors"), "--data", data),
          &missing);
}

/* A good model, and what does not fit it. */
Test(malformed, data_for_a_model)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = temp_text("good", "1 1:1\n0 2:1\n"), *model = temp_path("m.safetensors");
    const char *const export[] = {"--export", model, NULL};
    struct run_result r = run_data(data, NULL, export);
    cr_assert_eq(r.status, 0, "%s", r.err);
    static const struct expectation width = {DATA_ERROR, {"wide:1:", "index 3", "m.safetensors has 2", "take data"}};
    static const struct expectation label = {DATA_ERROR, {"label:1:", "label '5'", "take data"}};
    static const struct expectation syntax = {DATA_ERROR, {"bad:2:", "not a number"}};
    const char *wide = temp_text("wide", "1 3:1\n"), *other = temp_text("label", "5 1:1\n");
    const char *bad = temp_text("bad", "1 1:1\n0 2:x\n");
    check("wide", RUN(CASE_MS, "dp-worker", "eval", "--model", model, "--data", wide), &width);
    check("label", RUN(CASE_MS, "dp-worker", "eval", "--model", model, "--data", other), &label);
    check("bad", RUN(CASE_MS, "dp-worker", "predict", "--model", model, "--data", bad), &syntax);
}
