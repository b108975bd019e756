/* Options: every source, precedence, every type's errors, the flat YAML file, help and reference. */
#include <criterion/criterion.h>

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "common/options/help.h"
#include "common/options/options.h"
#include "common/options/value.h"
#include "tests/unit/support/leaks.h"

struct fields {
    const char *config;
    const char *data;
    const char *listen;
    uint64_t batch;
    uint64_t seed;
    uint64_t port;
    double lr;
    double momentum;
    double l2;
    bool quiet;
    bool intercept;
    int model;
    int optimizer;
    struct option_list constraint;
};

#define FIELD(name) offsetof(struct fields, name)
static const struct option LIST[] = {
    {"job", "config", OPT_STRING, FIELD(config), "FILE", .help = "read options from a YAML file"},
    {"job", "data", OPT_STRING, FIELD(data), "FILE", .help = "training data"},
    {"daemon", "listen", OPT_STRING, FIELD(listen), "ENDPOINT", .dflt = "tcp://127.0.0.1:7700",
     .help = "where to listen"},
    {"job", "batch", OPT_U64, FIELD(batch), "B", 1, 1u << 20, "1024", "rows", .help = "rows of a minibatch"},
    {"job", "seed", OPT_U64, FIELD(seed), "S", .dflt = "1", .help = "seed of everything random"},
    {"daemon", "http-port", OPT_U64, FIELD(port), "PORT", 0, 65535, .help = "port of the metrics"},
    {"update", "lr", OPT_F64, FIELD(lr), "A", DBL_MIN, DBL_MAX, "0.1", .help = "learning rate"},
    {"update", "momentum", OPT_F64, FIELD(momentum), "M", 0, 1 - DBL_EPSILON / 2, "0.9", .help = "heavy-ball momentum"},
    {"update", "l2", OPT_F64, FIELD(l2), "X", 0, DBL_MAX, "0", .help = "ridge term"},
    {"daemon", "quiet", OPT_FLAG, FIELD(quiet), .help = "write nothing but errors"},
    {"job", "intercept", OPT_SWITCH, FIELD(intercept), .dflt = "on", .help = "whether the model has an intercept"},
    {"job", "model", OPT_CHOICE, FIELD(model), "MODEL", .choices = "linear|logistic|softmax",
     .help = "what is trained"},
    {"update", "optimizer", OPT_CHOICE, FIELD(optimizer), .dflt = "sgd", .choices = "sgd|momentum",
     .help = "update rule"},
    {"update", "constraint", OPT_LIST, FIELD(constraint), "KIND",
     .help = "a constraint on theta that needs a text long enough to be wrapped"},
};

static const struct option_table TABLE = {
    .program = "dp-test",
    .summary = "tests the options",
    .usage = "  dp-test [options] [COMMAND]",
    .topics = "job: what is trained\nupdate: how theta moves\ndaemon: where it listens\n",
    .footer = "example:\n  dp-test --lr 0.5\n",
    .list = LIST,
    .count = ARRAY_LEN(LIST),
    .operands_max = 2,
};

static struct options opts;
static struct fields fields;
static enum option_outcome outcome;
static dp_error error;

static dp_err parse_argv(char **argv)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    error = (dp_error){0};
    memset(&fields, 0x5a, sizeof fields);
    return options_parse(&opts, &TABLE, &fields, argc, argv, &outcome, &error);
}
#define PARSE(...) parse_argv((char *[]){"dp-test", __VA_ARGS__ __VA_OPT__(, ) NULL})
#define PARSE_OK(...) cr_assert_eq(PARSE(__VA_ARGS__), DP_OK, "%s", error.text)
/* The parse fails with exactly this text. */
#define PARSE_FAILS(want, ...)                      \
    do {                                            \
        cr_assert_eq(PARSE(__VA_ARGS__), DP_USAGE); \
        cr_assert_eq(error.code, DP_USAGE);         \
        cr_assert_str_eq(error.text, want);         \
    } while (0)

static dp_err parse_yaml(const char *text)
{
    error = (dp_error){0};
    return options_parse_text(&opts, &TABLE, &fields, "job.yaml", text, strlen(text), &error);
}
#define YAML_OK(yaml) cr_assert_eq(parse_yaml(yaml), DP_OK, "%s", error.text)
#define YAML_FAILS(want, yaml)                    \
    do {                                          \
        cr_assert_eq(parse_yaml(yaml), DP_USAGE); \
        cr_assert_str_eq(error.text, want);       \
    } while (0)

/* --- sources --- */

Test(options, defaults)
{
    PARSE_OK();
    cr_assert_eq(outcome, OPT_RUN);
    cr_assert(fields.config == NULL && fields.data == NULL);
    cr_assert_str_eq(fields.listen, "tcp://127.0.0.1:7700");
    cr_assert(fields.batch == 1024 && fields.seed == 1 && fields.port == 0);
    cr_assert(fields.lr == 0.1 && fields.momentum == 0.9 && fields.l2 == 0);
    cr_assert(!fields.quiet && fields.intercept);
    cr_assert(fields.model == -1 && fields.optimizer == 0);
    cr_assert(fields.constraint.count == 0);
    cr_assert(opts.operand_count == 0 && opts.operands[0] == NULL);
    cr_assert_eq(options_source(&opts, "lr"), OPT_FROM_DEFAULT);
    options_fini(&opts);
    ASSERT_NO_LEAKS();
}

Test(options, a_short_one_is_known_where_the_long_one_is)
{
    PARSE_FAILS("unknown option '-v': options are written --name; see dp-test --help", "-v");
    options_fini(&opts);
}

Test(options, arguments_of_every_type)
{
    PARSE_OK("--data", "a.svm", "--listen=tcp://*:0", "--batch", "32", "--lr=1e-3", "--l2", "3.071158748195694e-05",
             "--quiet", "--intercept", "off", "--model=softmax", "--optimizer", "momentum", "--constraint", "nonneg",
             "--constraint=box=0,1", "--constraint", "simplex");
    cr_assert_str_eq(fields.data, "a.svm");
    cr_assert_str_eq(fields.listen, "tcp://*:0");
    cr_assert(fields.batch == 32 && fields.lr == 1e-3 && fields.l2 == 3.071158748195694e-05);
    cr_assert(fields.quiet && !fields.intercept && fields.model == 2 && fields.optimizer == 1);
    cr_assert_eq(fields.constraint.count, 3);
    cr_assert_str_eq(fields.constraint.values[0], "nonneg");
    cr_assert_str_eq(fields.constraint.values[1], "box=0,1");
    cr_assert_str_eq(fields.constraint.values[2], "simplex");
    cr_assert_eq(options_source(&opts, "lr"), OPT_FROM_ARGS);
    options_fini(&opts);
    ASSERT_NO_LEAKS();
}

Test(options, what_is_given_twice_is_an_error_that_names_both_values)
{
    PARSE_FAILS("option --lr: is given twice, as '1' and as '2'; give it once", "--lr", "1", "--lr", "2");
    PARSE_FAILS("option --lr: is given twice, as '1' and as '1'; give it once", "--lr=1", "--lr", "1");
    PARSE_FAILS("option --data: is given twice, as 'a' and as '-'; give it once", "--data", "a", "--l2=1", "--data=-");
    PARSE_FAILS("option --quiet: is given twice, as 'on' and as 'off'; give it once", "--quiet", "--quiet=off");
    PARSE_FAILS("option --intercept: is given twice, as 'on' and as 'off'; give it once", "--intercept", "on",
                "--intercept=off");
    PARSE_FAILS("option --model: is given twice, as 'linear' and as 'softmax'; give it once", "--model", "linear",
                "--model=softmax");
    PARSE_FAILS("option --config: is given twice, as 'a' and as 'b'; give it once", "--config", "a", "--config", "b");
    PARSE_OK("--constraint", "nonneg", "--constraint", "nonneg");
    cr_assert_eq(fields.constraint.count, 2);
    options_fini(&opts);
    setenv("DP_LR", "0.25", 1); /* another source is no second time */
    PARSE_OK("--lr", "2");
    cr_assert_eq(fields.lr, 2);
    unsetenv("DP_LR");
    options_fini(&opts);
    ASSERT_NO_LEAKS();
}

Test(options, a_text_must_not_be_empty)
{
    PARSE_FAILS("option --data: is empty; give a value, or leave it out", "--data", "");
    PARSE_FAILS("option --data: is empty; give a value, or leave it out", "--data=");
    PARSE_FAILS("option --constraint: is empty; give a value, or leave it out", "--constraint=");
    PARSE_FAILS("option --seed: '' is not a whole number of 0 or more", "--seed=");
    PARSE_FAILS("option --lr: '' is not a number", "--lr", "");
    PARSE_FAILS("option --quiet: '' is neither on nor off", "--quiet=");
    PARSE_FAILS("option --model: '' is none of linear|logistic|softmax", "--model", "");
    YAML_FAILS("job.yaml:2: data: is empty; give a value, or leave it out", "lr: 1\ndata: ''\n");
    YAML_FAILS("job.yaml:3: constraint: is empty; give a value, or leave it out", "constraint:\n- nonneg\n- \"\"\n");
}

/* A pattern without quotes is several arguments by the time that a program sees it. */
Test(options, more_values_than_one_name_their_option)
{
    PARSE_FAILS("unexpected argument 'part-2': --data takes one value, which is 'part-1'", "a", "b", "--data", "part-1",
                "part-2", "part-3");
    PARSE_FAILS("unexpected argument 'c'", "a", "b", "--data=part-1", "c");
    PARSE_FAILS("unexpected argument 'd'", "a", "--quiet", "c", "d");
}

Test(options, operands_and_the_end_of_options)
{
    PARSE_OK("status", "--lr", "2", "--", "--quiet");
    cr_assert_eq(opts.operand_count, 2);
    cr_assert_str_eq(opts.operands[0], "status");
    cr_assert_str_eq(opts.operands[1], "--quiet");
    cr_assert_null(opts.operands[2]);
    cr_assert(!fields.quiet);
    options_fini(&opts);
    PARSE_OK("-", "-0.5");
    cr_assert_eq(opts.operand_count, 2);
    options_fini(&opts);
    PARSE_FAILS("unexpected argument 'c'", "a", "b", "c");
    PARSE_FAILS("unexpected argument 'lr'; did you mean '--lr'?", "a", "b", "lr", "0.5");
}

Test(options, a_flag_takes_no_separate_value)
{
    PARSE_OK("--quiet", "off");
    cr_assert(fields.quiet);
    cr_assert_str_eq(opts.operands[0], "off");
    options_fini(&opts);
}

Test(options, negative_numbers_and_single_dashes_are_values)
{
    PARSE_FAILS("option --l2: -1 is out of range: it must be at least 0", "--l2", "-1");
    PARSE_FAILS("option --l2: -.5e1 is out of range: it must be at least 0", "--l2", "-.5e1");
    PARSE_OK("--data", "-", "--constraint", "-x");
    cr_assert_str_eq(fields.data, "-");
    cr_assert_str_eq(fields.constraint.values[0], "-x");
    options_fini(&opts);
}

Test(options, environment)
{
    setenv("DP_LR", "0.25", 1);
    setenv("DP_QUIET", "true", 1);
    setenv("DP_HTTP_PORT", "7780", 1);
    setenv("DP_CONSTRAINT", "nonneg", 1);
    setenv("DP_UNHEARD_OF", "1", 1);
    setenv("DP_BATCH", "", 1);
    PARSE_OK("--http-port", "1");
    cr_assert(fields.lr == 0.25 && fields.quiet && fields.port == 1 && fields.batch == 1024);
    cr_assert_eq(fields.constraint.count, 1);
    cr_assert_eq(options_source(&opts, "lr"), OPT_FROM_ENV);
    cr_assert_eq(options_source(&opts, "http-port"), OPT_FROM_ARGS);
    cr_assert_eq(options_source(&opts, "batch"), OPT_FROM_DEFAULT);
    options_fini(&opts);
    setenv("DP_LR", "abc", 1);
    PARSE_FAILS("environment DP_LR: 'abc' is not a number", "x");
    ASSERT_NO_LEAKS();
}

/* The name is one that no program has; another program's, an empty one and other variables pass. */
Test(options, a_misspelt_variable_is_told)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    clearenv();
    setenv("DP_LEARNING_RATE", "1", 1);
    setenv("DP_CLIPNORM", "1", 1);
    setenv("DP_FEATURES", "3", 1);
    setenv("DP_NONE", "", 1);
    setenv("DPX_LR", "1", 1);
    options_env_check(&TABLE, out);
    fclose(out);
    cr_assert_not_null(strstr(text, "test: environment DP_CLIPNORM: no option has this name, it is ignored; did you "
                                    "mean 'DP_CLIP_NORM'?\n"),
                       "%s", text);
    cr_assert_not_null(strstr(text, "test: environment DP_LEARNING_RATE: no option has this name, it is ignored\n"),
                       "%s", text);
    cr_assert_null(strstr(text, "FEATURES"), "%s", text);
    cr_assert_null(strstr(text, "NONE"), "%s", text);
    cr_assert_null(strstr(text, "DPX"), "%s", text);
    free(text);
    ASSERT_NO_LEAKS();
}

/* A file of its own; the name goes to path[32]. */
static void file_make(char *path, const char *text)
{
    str_copy(path, 32, "/tmp/dp-test-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(file_write_all(fd, text, strlen(text), NULL), DP_OK);
    close(fd);
}

Test(options, precedence_is_args_env_file_default)
{
    char path[32];
    file_make(path, "lr: 3\nbatch: 3\nseed: 3\nconstraint: [a, b]\n");
    setenv("DP_LR", "2", 1);
    setenv("DP_BATCH", "2", 1);
    PARSE_OK("--config", path, "--lr", "1", "--constraint", "c");
    cr_assert(fields.lr == 1 && fields.batch == 2 && fields.seed == 3 && fields.momentum == 0.9);
    cr_assert(fields.constraint.count == 1);
    cr_assert_str_eq(fields.constraint.values[0], "c");
    cr_assert_eq(options_source(&opts, "seed"), OPT_FROM_FILE);
    cr_assert_eq(options_source(&opts, "config"), OPT_FROM_ARGS);
    options_fini(&opts);
    setenv("DP_CONFIG", path, 1);
    PARSE_OK();
    cr_assert(fields.lr == 2 && fields.batch == 2 && fields.seed == 3 && fields.constraint.count == 2);
    options_fini(&opts);
    unlink(path);
    ASSERT_NO_LEAKS();
}

Test(options, files_that_cannot_be_read)
{
    PARSE_FAILS("option --config: cannot read '/no/such.yaml': No such file or directory", "--config", "/no/such.yaml");
    PARSE_FAILS("option --config: cannot read '/tmp': Is a directory", "--config=/tmp");
    PARSE_FAILS("option --config: '/dev/zero' is larger than 1 MiB, so it is no option file", "--config", "/dev/zero");
    setenv("DP_CONFIG", "/no/such.yaml", 1);
    PARSE_FAILS("environment DP_CONFIG: cannot read '/no/such.yaml': No such file or directory", "x");
    PARSE_OK("--config", "/dev/null");
    options_fini(&opts);
    ASSERT_NO_LEAKS();
}

/* --- errors --- */

Test(options, unknown_names_and_suggestions)
{
    PARSE_FAILS("unknown option '--lrr'; did you mean '--lr'?", "--lrr", "1");
    PARSE_FAILS("unknown option '--bacth'; did you mean '--batch'?", "--bacth=1");
    PARSE_FAILS("unknown option '--http_port'; did you mean '--http-port'?", "--http_port", "1");
    PARSE_FAILS("unknown option '--mom'; did you mean '--momentum'?", "--mom", "1");
    PARSE_FAILS("unknown option '--halp'; did you mean '--help'?", "--halp");
    PARSE_FAILS("unknown option '--learning-rate'; did you mean '--lr'?", "--learning-rate", "1");
    PARSE_FAILS("unknown option '--batch-size'; did you mean '--batch'?", "--batch-size=1");
    PARSE_FAILS("unknown option '--zebra'; see dp-test --help", "--zebra");
    PARSE_FAILS("unknown option '--'; see dp-test --help", "--=5");
    PARSE_FAILS("unknown option '-x': options are written --name; see dp-test --help", "-x");
}

Test(options, missing_values)
{
    PARSE_FAILS("option --lr: needs a value (A)", "--lr");
    PARSE_FAILS("option --data: needs a value (FILE), but '--lr' follows", "--data", "--lr", "1");
    PARSE_FAILS("option --optimizer: needs a value (sgd|momentum)", "--optimizer");
    PARSE_FAILS("option --intercept: needs a value (on|off), but '--' follows", "--intercept", "--");
}

Test(options, whole_numbers)
{
    PARSE_FAILS("option --batch: 'abc' is not a whole number of 1 or more", "--batch", "abc");
    PARSE_FAILS("option --batch: '' is not a whole number of 1 or more", "--batch=");
    PARSE_FAILS("option --batch: '-1' is not a whole number of 1 or more", "--batch", "-1");
    PARSE_FAILS("option --batch: '1.5' is not a whole number of 1 or more", "--batch", "1.5");
    PARSE_FAILS("option --batch: ' 1' is not a whole number of 1 or more", "--batch", " 1");
    PARSE_FAILS("option --batch: '0x10' is not a whole number of 1 or more", "--batch", "0x10");
    PARSE_FAILS("option --batch: 0 is out of range: it must be 1 to 1048576", "--batch", "0");
    PARSE_FAILS("option --batch: 1048577 is out of range: it must be 1 to 1048576", "--batch", "1048577");
    PARSE_FAILS("option --seed: 18446744073709551616 is out of range: it must be 0 to 18446744073709551615", "--seed",
                "18446744073709551616");
    PARSE_OK("--seed", "18446744073709551615", "--http-port", "65535");
    cr_assert(fields.seed == UINT64_MAX && fields.port == 65535);
    options_fini(&opts);
}

Test(options, numbers)
{
    PARSE_FAILS("option --lr: 'abc' is not a number", "--lr", "abc");
    PARSE_FAILS("option --lr: 7e-46 is too small: as a 32-bit float it is 0; the smallest is 1.4e-45", "--lr", "7e-46");
    PARSE_OK("--lr", "1.4e-45");
    PARSE_OK("--l2", "0e-400");
    PARSE_FAILS("option --lr: '1,5' is not a number", "--lr", "1,5");
    PARSE_FAILS("option --lr: '1e' is not a number", "--lr", "1e");
    PARSE_FAILS("option --lr: 'nan' is not a number", "--lr", "nan");
    PARSE_FAILS("option --lr: 'inf' is not a number", "--lr", "inf");
    PARSE_FAILS("option --lr: '0x1p3' is not a number", "--lr", "0x1p3");
    PARSE_FAILS("option --lr: '' is not a number", "--lr=");
    PARSE_FAILS("option --lr: 1e999 is out of range: it must be more than 0", "--lr", "1e999");
    PARSE_FAILS("option --lr: 0 is out of range: it must be more than 0", "--lr", "0");
    PARSE_FAILS("option --momentum: 1 is out of range: it must be 0 to less than 1", "--momentum", "1");
    PARSE_OK("--momentum", "0.999999", "--lr", "1E+2");
    cr_assert(fields.momentum == 0.999999 && fields.lr == 100);
    options_fini(&opts);
}

Test(options, switches_and_choices)
{
    PARSE_FAILS("option --intercept: 'maybe' is neither on nor off", "--intercept", "maybe");
    PARSE_FAILS("option --quiet: 'loud' is neither on nor off", "--quiet=loud");
    PARSE_FAILS("option --model: 'logstic' is none of linear|logistic|softmax; did you mean 'logistic'?", "--model",
                "logstic");
    PARSE_FAILS("option --model: 'tree' is none of linear|logistic|softmax", "--model", "tree");
    PARSE_FAILS("option --model: 'linear|logistic' is none of linear|logistic|softmax", "--model", "linear|logistic");
    PARSE_FAILS("option --model: '' is none of linear|logistic|softmax", "--model=");
}

Test(options, odd_texts_are_shown_on_one_short_line)
{
    PARSE_FAILS("option --lr: 'a?b??[0m' is not a number", "--lr", "a\nb\x7f\x1b[0m");
    char big[500];
    memset(big, '7', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    cr_assert_eq(PARSE("--lr", "1", big, big, big), DP_USAGE);
    cr_assert_eq(PARSE("--batch", big), DP_USAGE);
    cr_assert_lt(strlen(error.text), 160);
    cr_assert_not_null(strstr(error.text, "777... is out of range"), "%s", error.text);
    char name[600] = "--";
    memset(name + 2, 'n', 500);
    cr_assert_eq(PARSE(name), DP_USAGE);
    cr_assert_lt(strlen(error.text), 200);
}

Test(options, first_error_is_told)
{
    PARSE_FAILS("unknown option '--zebra'; see dp-test --help", "--zebra", "--lr");
}

/* --- YAML --- */

Test(yaml, scalars_lists_and_comments)
{
    YAML_OK("# a job\n---\nlr: 1e-2\ndata: 'a b.svm'\nquiet: on\nintercept: false\nmodel: softmax\n"
            "constraint:\n  - nonneg\n  - \"x:\\ty\"\nlisten: \"x\"\nseed: 7 # lucky\n...\n");
    cr_assert(fields.lr == 0.01 && fields.quiet && !fields.intercept && fields.model == 2 && fields.seed == 7);
    cr_assert_str_eq(fields.data, "a b.svm");
    cr_assert_str_eq(fields.listen, "x");
    cr_assert_eq(fields.constraint.count, 2);
    cr_assert_str_eq(fields.constraint.values[1], "x:\ty");
    cr_assert_eq(options_source(&opts, "lr"), OPT_FROM_FILE);
    options_fini(&opts);
    YAML_OK("{lr: 2, constraint: []}");
    cr_assert(fields.lr == 2 && fields.constraint.count == 0);
    options_fini(&opts);
    YAML_OK("constraint: alone\n");
    cr_assert_eq(fields.constraint.count, 1);
    options_fini(&opts);
    ASSERT_NO_LEAKS();
}

Test(yaml, empty_files)
{
    const char *const texts[] = {"", "\n\n", "# nothing\n", "---\n", "--- ~\n", "{}"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        YAML_OK(texts[i]);
        cr_assert_eq(fields.lr, 0.1);
        options_fini(&opts);
    }
    ASSERT_NO_LEAKS();
}

Test(yaml, errors_name_file_and_line)
{
    YAML_FAILS("job.yaml:2: lr: 'abc' is not a number", "seed: 1\nlr: abc\n");
    YAML_FAILS("job.yaml:2: unknown option 'bacth'; did you mean 'batch'?", "seed: 1\nbacth: 3\n");
    YAML_FAILS("job.yaml:1: unknown option 'zebra'; see dp-test --help", "zebra: 3\n");
    YAML_FAILS("job.yaml:1: unknown option 'a?b'; see dp-test --help", "\"a\\nb\": 3\n");
    YAML_FAILS("job.yaml:3: 'lr' is given twice", "lr: 1\nseed: 1\nlr: 1\n");
    YAML_FAILS("job.yaml:1: 'lr' takes one value, not a list", "lr: [1]\n");
    YAML_FAILS("job.yaml:1: a file cannot name another one with 'config'", "config: x.yaml\n");
    YAML_FAILS("job.yaml:2: a map within the map: the file is flat, 'option: value' a line", "lr:\n  a: 1\n");
    YAML_FAILS("job.yaml:2: a map within the map: the file is flat, 'option: value' a line", "constraint:\n  - a: 1\n");
    YAML_FAILS("job.yaml:1: a list within a list", "constraint: [[a]]\n");
    YAML_FAILS("job.yaml:1: lr: has no value; give one or leave the key out", "lr:\nseed: 1\n");
    YAML_FAILS("job.yaml:1: data: has no value; give one or leave the key out", "data: ~\n");
    YAML_FAILS("job.yaml:2: constraint: has no value; give one or leave the key out", "constraint: [a,\n null]\n");
    YAML_FAILS("job.yaml:1: anchors are not supported in a flat file", "lr: &x 1\n");
    YAML_FAILS("job.yaml:1: anchors are not supported in a flat file", "constraint: &x [a]\n");
    YAML_FAILS("job.yaml:1: anchors are not supported in a flat file", "&x {lr: 1}\n");
    YAML_FAILS("job.yaml:2: aliases are not supported in a flat file", "seed: 1\nlr: *x\n");
    YAML_FAILS("job.yaml:1: tags are not supported in a flat file", "lr: !!float 1\n");
    YAML_FAILS("job.yaml:1: expected lines of 'option: value'", "just words\n");
    YAML_FAILS("job.yaml:1: expected lines of 'option: value'", "- lr\n- 1\n");
    YAML_FAILS("job.yaml:1: expected lines of 'option: value'", "? [lr]\n: 1\n");
    YAML_FAILS("job.yaml:3: a second document; a file has one", "---\nlr: 1\n---\nseed: 1\n");
    YAML_FAILS("job.yaml:1: a text holds a NUL character", "data: \"a\\0b\"\n");
    ASSERT_NO_LEAKS();
}

Test(yaml, syntax_errors_name_file_and_line)
{
    const char *const texts[] = {"lr: 1\n\tseed: 1\n", "lr: 1\nconstraint: [1\n", "lr: 1\n'a", "data: 1\n a: b: c\n"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        cr_assert_eq(parse_yaml(texts[i]), DP_USAGE);
        cr_assert_eq(strncmp(error.text, "job.yaml:", 9), 0, "%s", error.text);
        cr_assert_not_null(strstr(error.text, ": bad YAML: "), "%s", error.text);
    }
    cr_assert_eq(parse_yaml("lr: 1\nseed: \xff\xff\n"), DP_USAGE);
    cr_assert_eq(strncmp(error.text, "job.yaml:2: ", 12), 0, "%s", error.text);
    char deep[20000];
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    cr_assert_eq(parse_yaml(deep), DP_USAGE);
    ASSERT_NO_LEAKS();
}

Test(yaml, long_lists)
{
    char text[4096] = "constraint: [";
    size_t at = strlen(text);
    for (int i = 0; i < 500; i++)
        str_append(text, sizeof text, &at, "%d,", i);
    str_append(text, sizeof text, &at, "]");
    YAML_OK(text);
    cr_assert_eq(fields.constraint.count, 500);
    cr_assert_str_eq(fields.constraint.values[499], "499");
    options_fini(&opts);
    ASSERT_NO_LEAKS();
}

/* --- help --- */

static char *help_text(const char *topic, bool want)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    cr_assert_eq(options_help(&TABLE, topic, out), want);
    fclose(out);
    return text;
}

static void assert_help(const char *topic, const char *want)
{
    char *text = help_text(topic, true);
    cr_assert_str_eq(text, want);
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
        cr_assert_leq(strcspn(line, "\n"), 80);
    free(text);
}

Test(help, overview)
{
    assert_help(NULL, "dp-test: tests the options\n"
                      "\n"
                      "usage:\n"
                      "  dp-test [options] [COMMAND]\n"
                      "\n"
                      "options by topic (dp-test --help TOPIC):\n"
                      "  job     what is trained\n"
                      "  update  how theta moves\n"
                      "  daemon  where it listens\n"
                      "\n"
                      "example:\n"
                      "  dp-test --lr 0.5\n"
                      "\n"
                      "Each --some-option is also DP_SOME_OPTION in the environment\n"
                      "and a line 'some-option: value' of the file that --config names.\n");
}

/* A setting of a running program has the bounds of the option. */
Test(set_later, has_the_bounds_of_the_option)
{
    dp_error err;
    cr_assert_eq(options_check_number(&TABLE, "lr", 0.5, "set", &err), DP_OK);
    cr_assert_eq(options_check_number(&TABLE, "lr", 1.4e-45, "set", &err), DP_OK);
    cr_assert_eq(options_check_number(&TABLE, "lr", 1e-46, "set", &err), DP_USAGE);
    cr_assert_str_eq(err.text, "set: 1e-46 is too small: as a 32-bit float it is 0; the smallest is 1.4e-45");
    cr_assert_eq(options_check_number(&TABLE, "lr", 0, "set", &err), DP_USAGE);
}

Test(help, topic)
{
    assert_help("update", "dp-test, update: how theta moves\n"
                          "\n"
                          "  --lr A                    learning rate (default 0.1)\n"
                          "  --momentum M              heavy-ball momentum (default 0.9)\n"
                          "  --l2 X                    ridge term (default 0)\n"
                          "  --optimizer sgd|momentum  update rule (default sgd)\n"
                          "  --constraint KIND         a constraint on theta that needs a text long enough\n"
                          "                            to be wrapped (repeatable)\n");
}

Test(help, one_option)
{
    assert_help("--momentum", "  --momentum M              heavy-ball momentum (default 0.9)\n"
                              "  It takes 0 to less than 1.\n");
    assert_help("model", "  --model MODEL       what is trained: linear|logistic|softmax\n");
    free(help_text("nonsense", false));
}

Test(help, without_topics_the_options_are_listed)
{
    struct option_table small = TABLE;
    small.topics = NULL;
    small.list = &LIST[3];
    small.count = 2;
    small.footer = NULL;
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    cr_assert(options_help(&small, NULL, out));
    fclose(out);
    cr_assert_str_eq(text, "dp-test: tests the options\n"
                           "\n"
                           "usage:\n"
                           "  dp-test [options] [COMMAND]\n"
                           "\n"
                           "options:\n"
                           "  --batch B  rows of a minibatch (rows, default 1024)\n"
                           "  --seed S   seed of everything random (default 1)\n"
                           "\n"
                           "Each --some-option is also DP_SOME_OPTION in the environment.\n");
    free(text);
}

Test(help, reference)
{
    char *text = help_text("reference", true);
    cr_assert_not_null(strstr(text, "`dp-test`: tests the options.\n\n**job**: what is trained\n\n"
                                    "| option | meaning | range | default |\n|---|---|---|---|\n"));
    cr_assert_not_null(strstr(text, "| `--batch B` | rows of a minibatch | 1 to 1048576 rows | 1024 |\n"), "%s", text);
    cr_assert_not_null(strstr(text, "| `--model MODEL` | what is trained: linear\\|logistic\\|softmax |  |  |\n"));
    cr_assert_not_null(strstr(text, "| `--optimizer sgd\\|momentum` | update rule |  | sgd |\n"));
    cr_assert_not_null(strstr(text, "| `--lr A` | learning rate | more than 0 | 0.1 |\n"));
    free(text);
}

/* stdout of a parse, on the heap. */
static char *parse_output(char **argv)
{
    char name[] = "/tmp/dp-test-XXXXXX";
    int fd = mkstemp(name), saved = dup(STDOUT_FILENO);
    cr_assert(fd >= 0 && saved >= 0);
    unlink(name);
    fflush(stdout);
    dup2(fd, STDOUT_FILENO);
    dp_err e = parse_argv(argv);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    cr_assert_eq(e, DP_OK, "%s", error.text);
    char *text = calloc(1, 8192);
    cr_assert(text && pread(fd, text, 8191, 0) >= 0);
    close(fd);
    options_fini(&opts);
    return text;
}
#define OUTPUT(...) parse_output((char *[]){"dp-test", __VA_ARGS__, NULL})

Test(help, from_the_command_line)
{
    char *text = OUTPUT("--help");
    cr_assert(outcome == OPT_HELP && strstr(text, "options by topic"));
    free(text);
    text = OUTPUT("--zebra", "--lr", "--quiet", "-h");
    cr_assert(outcome == OPT_HELP && strstr(text, "options by topic"));
    free(text);
    text = OUTPUT("--help", "job");
    cr_assert_eq(strncmp(text, "dp-test, job: ", 14), 0);
    free(text);
    text = OUTPUT("--help=lr");
    cr_assert_not_null(strstr(text, "--lr A"));
    free(text);
    text = OUTPUT("--lr", "1", "--version");
    cr_assert(outcome == OPT_VERSION);
    cr_assert_str_eq(text, "dp-test " DP_VERSION_TEXT "\n");
    free(text);
    PARSE_FAILS("option --help: there is no topic 'jobs'; did you mean 'job'?", "--help", "jobs");
    PARSE_FAILS("option --help: there is no topic 'zebra'; --help alone lists them", "--help", "zebra");
    struct option_table flat = TABLE;
    flat.topics = NULL;
    char *argv[] = {"dp-test", "--help", "zebra"};
    cr_assert_eq(options_parse(&opts, &flat, &fields, 3, argv, &outcome, &error), DP_USAGE);
    cr_assert_str_eq(error.text, "option --help: there is no option 'zebra'; --help alone lists them");
    ASSERT_NO_LEAKS();
}
