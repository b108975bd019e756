/* The spec of a job: which options decide its result, and what a job that goes on may be given. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/util.h"
#include "common/options/options.h"
#include "server/options/check.h"
#include "server/options/spec.h"
#include "tests/unit/support/leaks.h"

enum { WORDS_MAX = 24 };

struct line {
    char text[512];
    struct options given;
    struct server_options opts;
};

static void line_init(struct line *line, const char *text)
{
    char *words[WORDS_MAX] = {"dp-server"}, *rest = line->text, *word;
    int count = 1;
    enum option_outcome outcome;
    dp_error err;
    *line = (struct line){0};
    snprintf(line->text, sizeof line->text, "%s", text);
    rest = line->text;
    while ((word = strsep(&rest, " ")))
        if (word[0])
            words[count++] = word;
    cr_assert_eq(options_parse(&line->given, &server_option_table, &line->opts, count, words, &outcome, &err), DP_OK,
                 "%s: %s", text, err.text);
    cr_assert_eq(server_options_check(&line->given, &line->opts, &err), DP_OK, "%s: %s", text, err.text);
}

static void line_fini(struct line *line)
{
    server_options_fini(&line->opts);
    options_fini(&line->given);
}

/* Begins a job with one command line and goes on with another. */
static dp_err go_on(const char *before, const char *after, dp_error *err)
{
    struct line a, b;
    line_init(&a, before);
    line_init(&b, after);
    json_t *spec = spec_of(&a.opts);
    char *text = json_dumps(spec, 0);
    json_t *read = json_loads(text, 0, NULL);
    dp_err e = spec_check(read, &b.opts, "DIR", err);
    free(text);
    json_decref(read);
    json_decref(spec);
    line_fini(&a);
    line_fini(&b);
    return e;
}

#define JOB "--model softmax --batch 1024 --seed 7 --l2 1e-3 "

static const struct {
    const char *before, *after, *says;
} OTHER[] = {
    {JOB, "--model softmax --batch 512 --seed 7 --l2 1e-3",
     "option --batch: the job in DIR has 1024, the command line 512; give --batch 1024, another --checkpoint-dir, or "
     "--resume never"},
    {JOB, "--model softmax --batch 1024 --seed 8 --l2 1e-3", "--seed: the job in DIR has 7, the command line 8"},
    {JOB, "--model softmax --batch 1024 --seed 7", "--l2: the job in DIR has 1e-3, the command line none; give --l2 "},
    {JOB, JOB "--l1 2", "--l1: the job in DIR has none, the command line 2; leave --l1 away, another"},
    {JOB, JOB "--slots 4", "--slots: the job in DIR has 8"},
    {JOB, JOB "--optimizer adam", "--optimizer: the job in DIR has sgd, the command line adam"},
    {JOB, JOB "--intercept off", "--intercept: the job in DIR has on"},
    {JOB, JOB "--sparse", "--sparse: the job in DIR has off, the command line on; give --sparse=off"},
    {JOB "--optimizer adam --beta1 0.8", JOB "--optimizer adam",
     "--beta1: the job in DIR has 0.8, the command line 0.9"},
    {JOB, JOB "--clip-norm 0.1", "--clip-norm: the job in DIR has 0, the command line 0.1"},
    {JOB, JOB "--shuffle block", "--shuffle: the job in DIR has rows"},
    {JOB, JOB "--constraint nonneg", "--constraint: the job in DIR has none"},
    {JOB "--lr-schedule cosine", JOB, "--lr-schedule: the job in DIR has cosine"},
    {JOB "--optimizer ftrl --lr 0.1", JOB "--optimizer ftrl --lr 0.2",
     "--lr: the job in DIR has 0.1, the command line"},
};

Test(spec, what_decides_the_result_must_be_the_same)
{
    for (size_t i = 0; i < ARRAY_LEN(OTHER); i++) {
        dp_error err = {0};
        cr_assert_eq(go_on(OTHER[i].before, OTHER[i].after, &err), DP_USAGE, "'%s' was taken", OTHER[i].after);
        cr_assert_not_null(strstr(err.text, OTHER[i].says), "'%s': %s", OTHER[i].after, err.text);
    }
    ASSERT_NO_LEAKS();
}

static void write_rows(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    cr_assert(file && fputs(text, file) >= 0 && fclose(file) == 0, "%s", path);
}

#define ROWS_JOB JOB "--constraint-method penalty "

/* Its content counts: it may be moved, and written otherwise. */
Test(spec, a_file_of_rows_may_move_and_not_change)
{
    char dir[] = "/tmp/dp-spec-XXXXXX", a[64], b[64], before[256], after[256];
    dp_error err = {0};
    cr_assert_not_null(mkdtemp(dir));
    snprintf(a, sizeof a, "%s/a", dir);
    snprintf(b, sizeof b, "%s/b", dir);
    snprintf(before, sizeof before, ROWS_JOB "--constraint linear=%s@weight --constraint nonneg@bias", a);
    snprintf(after, sizeof after, ROWS_JOB "--constraint linear=%s@weight --constraint nonneg@bias", b);
    write_rows(a, "= 1 1:1 2:0.5\n<= 2 3:1\n");
    write_rows(b, "= 1.0   1:1 2:5e-1\n\n<= 2 3:1\n");
    cr_expect_eq(go_on(before, after, &err), DP_OK, "%s", err.text);
    static const char *const OTHER_ROWS[] = {"= 1 1:1 2:0.25\n<= 2 3:1\n", "= 1 1:1 2:0.5\n<= 2 4:1\n",
                                             "= 1 1:1 2:0.5\n= 2 3:1\n", "= 1 1:1 2:0.5\n<= 3 3:1\n",
                                             "= 1 1:1 2:0.5\n"};
    for (size_t i = 0; i < ARRAY_LEN(OTHER_ROWS); i++) {
        write_rows(b, OTHER_ROWS[i]);
        cr_expect_eq(go_on(before, after, &err), DP_USAGE, "%zu", i);
        cr_expect_not_null(strstr(err.text, "--constraint: the job in DIR has linear=FILE(xxh3:"), "%s", err.text);
    }
    snprintf(after, sizeof after, ROWS_JOB "--constraint linear=%s@bias --constraint nonneg@bias", a);
    cr_expect_eq(go_on(before, after, &err), DP_USAGE, "another tensor");
    unlink(a);
    unlink(b);
    rmdir(dir);
    ASSERT_NO_LEAKS();
}

/* A job of a version that did not know an option was one with its default. */
Test(spec, an_option_that_is_new_has_its_default)
{
    static const char *const NEW[] = {"clip-norm", "seed", "sparse", "intercept", "constraint", "beta1", "shuffle"};
    struct line line, other;
    dp_error err = {0};
    line_init(&line, "--model softmax");
    line_init(&other, "--model softmax --clip-norm 2");
    json_t *spec = spec_of(&line.opts);
    for (size_t i = 0; i < ARRAY_LEN(NEW); i++)
        cr_assert_eq(json_object_del(spec, NEW[i]), 0, "%s", NEW[i]);
    cr_expect_eq(spec_check(spec, &line.opts, "DIR", &err), DP_OK, "%s", err.text);
    cr_expect_eq(spec_check(spec, &other.opts, "DIR", &err), DP_USAGE);
    cr_expect_not_null(strstr(err.text, "leave --clip-norm away"), "%s", err.text);
    json_decref(spec);
    line_fini(&line);
    line_fini(&other);
    ASSERT_NO_LEAKS();
}

static const char *const MAY_CHANGE[] = {
    JOB "--lr 0.5",
    JOB "--steps 1000",
    JOB "--epochs 99",
    JOB "--consistency ssp:3",
    JOB "--shards 4 --min-shard-kib 0",
    JOB "--local-workers 3 --data a.csv",
    JOB "--listen tcp://127.0.0.1:0 --export m.st --exit-when-done --quiet",
    JOB "--checkpoint-dir ck --checkpoint-every 5 --keep-checkpoints 9 --resume require",
    JOB "--min-workers 2 --lease 5 --balance off --speculate off",
    "--l2 1e-3 --seed 7 --batch 1024 --model softmax",
};

Test(spec, what_does_not_may_change)
{
    for (size_t i = 0; i < ARRAY_LEN(MAY_CHANGE); i++) {
        dp_error err = {0};
        cr_assert_eq(go_on(JOB, MAY_CHANGE[i], &err), DP_OK, "'%s': %s", MAY_CHANGE[i], err.text);
    }
    ASSERT_NO_LEAKS();
}

/* A rate that is the rule's own is the same as that one, given. */
Test(spec, a_rate_is_known_where_it_is_not_given)
{
    struct line a, b;
    double lr = 0;
    line_init(&a, JOB "--optimizer adam");
    json_t *spec = spec_of(&a.opts);
    cr_assert(spec_number(spec, "lr", &lr));
    cr_assert_eq(lr, 0.001);
    line_init(&b, JOB "--optimizer adam --lr 0.001");
    cr_assert_not(spec_differs(spec, &b.opts, "lr"));
    line_fini(&b);
    line_init(&b, JOB "--optimizer adam --lr 0.0010000001");
    cr_assert(spec_differs(spec, &b.opts, "lr"));
    line_fini(&b);
    cr_assert_not(spec_number(spec, "model", &lr));
    cr_assert_not(spec_number(spec, "no-such-option", &lr));
    json_decref(spec);
    line_fini(&a);
    ASSERT_NO_LEAKS();
}

/* ---- --checkpoint-every and its like ---- */

static dp_err parse(const char *text, struct checkpoint_options *ret_opts, dp_error *err)
{
    char copy[256], *words[WORDS_MAX] = {"dp-server"}, *rest = copy, *word;
    int count = 1;
    struct options given;
    struct server_options opts = {0};
    enum option_outcome outcome;
    snprintf(copy, sizeof copy, "%s", text);
    while ((word = strsep(&rest, " ")))
        if (word[0])
            words[count++] = word;
    dp_err e = options_parse(&given, &server_option_table, &opts, count, words, &outcome, err);
    if (e)
        return e;
    e = server_options_check(&given, &opts, err);
    *ret_opts = opts.checkpoints;
    if (!e)
        server_options_fini(&opts);
    options_fini(&given);
    return e;
}

#define DIR "--model linear --checkpoint-dir ck "

static const struct {
    const char *text;
    uint64_t steps;
    double seconds;
} EVERY[] = {
    {DIR, 0, 60},
    {DIR "--checkpoint-every 500", 500, 0},
    {DIR "--checkpoint-every 1", 1, 0},
    {DIR "--checkpoint-every 30s", 0, 30},
    {DIR "--checkpoint-every 0.5s", 0, 0.5},
    {DIR "--checkpoint-every 31536000s", 0, 31536000},
};

Test(checkpoint_options, every_so_many_steps_or_seconds)
{
    for (size_t i = 0; i < ARRAY_LEN(EVERY); i++) {
        struct checkpoint_options opts;
        dp_error err;
        cr_assert_eq(parse(EVERY[i].text, &opts, &err), DP_OK, "%s: %s", EVERY[i].text, err.text);
        cr_assert_eq(opts.every_steps, EVERY[i].steps, "%s", EVERY[i].text);
        cr_assert_eq(opts.every_s, EVERY[i].seconds, "%s", EVERY[i].text);
        cr_assert_eq(opts.keep, 3);
    }
}

static const struct {
    const char *text, *says;
} WRONG[] = {
    {"--model linear --checkpoint-every 5", "option --checkpoint-every belongs to --checkpoint-dir DIR"},
    {"--model linear --keep-checkpoints 5", "option --keep-checkpoints belongs to --checkpoint-dir DIR"},
    {"--model linear --resume require", "option --resume belongs to --checkpoint-dir DIR"},
    {"--model linear --checkpoint-dir=", "option --checkpoint-dir: is empty"},
    {DIR "--checkpoint-every 0", "option --checkpoint-every: '0' is neither"},
    {DIR "--checkpoint-every 0s", "'0s' is neither"},
    {DIR "--checkpoint-every -5", "'-5' is neither"},
    {DIR "--checkpoint-every 1.5", "'1.5' is neither"},
    {DIR "--checkpoint-every 5m", "'5m' is neither"},
    {DIR "--checkpoint-every s", "'s' is neither"},
    {DIR "--checkpoint-every .s", "'.s' is neither"},
    {DIR "--checkpoint-every nan", "'nan' is neither"},
    {DIR "--checkpoint-every 0x10", "'0x10' is neither"},
    {DIR "--checkpoint-every 1e400s", "'1e400s' is neither"},
    {DIR "--checkpoint-every 99999999999999999999", "is neither"},
    {DIR "--checkpoint-every 5ss", "'5ss' is neither"},
    {DIR "--keep-checkpoints 0", "option --keep-checkpoints: 0 is out of range"},
    {DIR "--resume maybe", "option --resume: 'maybe'"},
};

Test(checkpoint_options, mistakes)
{
    for (size_t i = 0; i < ARRAY_LEN(WRONG); i++) {
        struct checkpoint_options opts;
        dp_error err = {0};
        cr_assert_eq(parse(WRONG[i].text, &opts, &err), DP_USAGE, "'%s' was taken", WRONG[i].text);
        cr_assert_not_null(strstr(err.text, WRONG[i].says), "'%s': %s", WRONG[i].text, err.text);
    }
}
