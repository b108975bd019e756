/* The update on real data through the real programs: certified optima under L1, optimality conditions under
 * constraints, the same bits for any number of workers and shards under every rule, and a learning rate that is set on
 * the way. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/support/harness.h"

TestSuite(update, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { TIMEOUT_MS = 120000, ARGS_MAX = 48 };

#define LAMBDA "3.071158748195694e-05" /* 1 / (C n) for C = 1 and n = 32561 rows */
#define DIGITS "tests/data/digits/train.csv.gz"

/* Words of `text` behind args[count]; `room` holds them. */
static int add_words(const char **args, int count, const char *text, char *room, size_t size)
{
    char *word;
    snprintf(room, size, "%s", text);
    while ((word = strsep(&room, " ")))
        if (*word)
            args[count++] = word;
    args[count] = NULL;
    return count;
}

static json_t *run_json(const char *program, const char **args)
{
    struct run_result r = run_program(TIMEOUT_MS, program, args);
    cr_assert_eq(r.status, 0, "%s: %s", program, r.err);
    const char *last = strrchr(r.out, '{');
    json_t *object = last ? json_loads(last, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
    cr_assert_not_null(object, "%s: %s", program, r.out);
    return object;
}

/* Trains on a file with these options and evaluates with those; the objects that both print last. */
struct outcome {
    json_t *done, *eval;
};

static struct outcome train_and_eval(const char *data, const char *options, const char *terms)
{
    char room[1024], more[512];
    const char *model = temp_path("m.safetensors");
    const char *train[ARGS_MAX] = {
        "--listen", "tcp://127.0.0.1:0", "--json",   "--exit-when-done", "--export", model, "--data",
        data,       "--model",           "logistic", "--local-workers",  "2"};
    const char *eval[ARGS_MAX] = {"eval", "--model", model, "--data", data, "--json"};
    add_words(train, add_words(train, 12, options, room, sizeof room), terms, more, sizeof more);
    struct outcome outcome = {.done = run_json("dp-server", train)};
    add_words(eval, 6, terms, more, sizeof more);
    outcome.eval = run_json("dp-worker", eval);
    return outcome;
}

static void outcome_fini(struct outcome *outcome)
{
    json_decref(outcome->done);
    json_decref(outcome->eval);
}

static double number(const json_t *object, const char *key)
{
    cr_assert(json_is_number(json_object_get(object, key)), "%s", key);
    return json_number_value(json_object_get(object, key));
}

#define NEED_A9A(data)                          \
    NEED_PROGRAMS("dp-server", "dp-worker");    \
    const char *data = shared_file("data/a9a"); \
    if (!data)                                  \
    cr_skip_test("the shared data (a9a) are absent: there is no certified optimum to compare with")

/* With the plain rate instead of the effective one in the proximal step, the objective would be off by 1e-3. */
Test(update, l1_reaches_the_certified_optimum_with_exact_zeros)
{
    NEED_A9A(data);
    struct outcome o = train_and_eval(data,
                                      "--features 123 --intercept off --optimizer momentum --momentum 0.99 --lr 0.5 "
                                      "--batch 32561 --steps 2000",
                                      "--l1 " LAMBDA);
    double objective = number(o.eval, "objective");
    cr_assert(fabs(objective / 0.324275156495 - 1) <= 1e-4, "objective %.12g", objective);
    cr_assert_geq(number(o.eval, "sparsity"), 0.05);
    cr_assert_leq(number(o.eval, "stationarity"), 1e-4);
    cr_assert_float_eq(number(o.done, "objective"), objective, 1e-6, "what the server reports");
    cr_assert_float_eq(number(o.done, "sparsity"), number(o.eval, "sparsity"), 0.02);
    outcome_fini(&o);
}

Test(update, constraints_meet_their_conditions, .timeout = 1200)
{
    NEED_A9A(data);
    static const char *const TERMS[] = {"--constraint box=-0.3:0.3", "--constraint simplex=5", "--constraint l1-ball=8",
                                        "--constraint nonneg --constraint l2-ball=2"};
    for (size_t i = 0; i < sizeof TERMS / sizeof TERMS[0]; i++) {
        struct outcome o = train_and_eval(
            data,
            "--features 123 --intercept off --optimizer nesterov --momentum 0.9 --lr 0.5 --batch 32561 --steps 3000",
            TERMS[i]);
        cr_assert_leq(number(o.eval, "violation"), 1e-6, "%s", TERMS[i]);
        cr_assert_leq(number(o.eval, "stationarity"), 1e-4, "%s: %g", TERMS[i], number(o.eval, "stationarity"));
        outcome_fini(&o);
    }
}

/* Terms that one proximal operator joins, and projections in the metric of rules that scale steps: the end is the
 * optimum, whatever the rate, momentum and rule. */
Test(update, joined_terms_end_at_one_optimum, .timeout = 1200)
{
    NEED_A9A(data);
    static const char *const TERMS[] = {"--l1 1e-3 --l2 1e-2 --constraint sum=1", "--l1 1e-3 --constraint simplex=3",
                                        "--group-lasso 2e-3 --l2 1e-2 --group-size 3 --constraint nonneg",
                                        "--constraint l2-ball=1"};
    static const char *const RULES[] = {"--optimizer nesterov --momentum 0.9 --lr 0.5",
                                        "--optimizer momentum --momentum 0.5 --lr 2", "--optimizer adagrad --lr 0.3",
                                        "--optimizer adam --lr 0.02 --lr-schedule cosine"};
    for (size_t i = 0; i < sizeof TERMS / sizeof TERMS[0]; i++) {
        double best = 0;
        for (size_t r = 0; r < sizeof RULES / sizeof RULES[0]; r++) {
            char options[256];
            snprintf(options, sizeof options, "--features 123 --intercept off --batch 32561 --steps 1000 %s", RULES[r]);
            struct outcome o = train_and_eval(data, options, TERMS[i]);
            double objective = number(o.eval, "objective"), stationarity = number(o.eval, "stationarity");
            cr_assert_leq(stationarity, 2e-4, "%s %s: %g", TERMS[i], RULES[r], stationarity);
            best = r ? best : objective;
            cr_assert_float_eq(objective / best, 1, 1e-5, "%s %s: %.9g, not %.9g", TERMS[i], RULES[r], objective, best);
            outcome_fini(&o);
        }
    }
}

Test(update, terms_that_do_not_go_together_are_refused)
{
    NEED_PROGRAMS("dp-server");
    static const char *const TEXTS[] = {"--l1 0.1 --constraint unit-norm", "--optimizer adam --constraint unit-norm",
                                        "--optimizer adam --group-lasso 0.1 --constraint sum=1"};
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
        char room[256];
        const char *args[ARGS_MAX] = {"--listen", "tcp://127.0.0.1:0", "--model", "logistic"};
        add_words(args, 4, TEXTS[i], room, sizeof room);
        struct run_result r = run_program(TIMEOUT_MS, "dp-server", args);
        cr_assert_eq(r.status, 2, "%s: %d %s", TEXTS[i], r.status, r.err);
        cr_assert_not_null(strstr(r.err, "--constraint"), "%s: %s", TEXTS[i], r.err);
    }
}

Test(update, same_bits_for_any_workers_and_shards)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char *const JOBS[] = {
        "--optimizer adam --lr 0.01 --l1 1e-3 --clip-norm 0.5",
        "--optimizer adagrad --group-lasso 0.01 --lr-schedule cosine --warmup-steps 5",
        "--optimizer ftrl --l1 1e-3 --l2 1e-3",
        "--optimizer lars --lr 1 --l2 1e-3",
        "--optimizer lamb --lr 0.01 --l2 1e-2 --clip-value 0.1",
        "--optimizer nesterov --lr 0.001 --constraint l1-ball=3 --constraint max-norm=0.2@bias",
        "--optimizer rmsprop --constraint sum=1 --constraint-method augmented --multiplier-every 5",
        "--optimizer momentum --lr 0.001 --l1 1e-2 --group-lasso 1e-2 --constraint sum=1",
        "--optimizer adam --l1 1e-3 --constraint simplex=1",
        "--optimizer adagrad --constraint l2-ball=0.1",
    };
    static const char *const CLUSTERS[] = {"--local-workers 1 --shards 1", "--local-workers 3 --shards 2",
                                           "--local-workers 2 --shards 5",
                                           "--local-workers 2 --shards 3 --min-shard-kib 1"};
    for (size_t j = 0; j < sizeof JOBS / sizeof JOBS[0]; j++) {
        const char *want = NULL;
        for (size_t c = 0; c < sizeof CLUSTERS / sizeof CLUSTERS[0]; c++) {
            char name[32], job[512], cluster[64];
            snprintf(name, sizeof name, "j%zu-c%zu.safetensors", j, c);
            const char *path = temp_path(name);
            const char *args[ARGS_MAX] = {"--listen", "tcp://127.0.0.1:0",
                                          "--quiet",  "--exit-when-done",
                                          "--export", path,
                                          "--data",   source_file(DIGITS),
                                          "--model",  "softmax",
                                          "--epochs", "2",
                                          "--batch",  "100"};
            add_words(args, add_words(args, 14, JOBS[j], job, sizeof job), CLUSTERS[c], cluster, sizeof cluster);
            struct run_result r = run_program(TIMEOUT_MS, "dp-server", args);
            cr_assert_eq(r.status, 0, "%s: %s", JOBS[j], r.err);
            if (want)
                models_assert_same(want, path);
            else
                want = path;
        }
    }
}

Test(update, lr_is_set_at_a_named_step)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128];
    struct process *server =
        SERVER(endpoint, "--model", "softmax", "--shards", "3", "--batch", "50", "--epochs", "400", "--lr", "0.001",
               "--local-workers", "2", "--data", source_file(DIGITS), "--exit-when-done", "--json");
    process_expect(server, OUT, "\"lr\":0.001", TIMEOUT_MS);
    struct run_result r = RUN(TIMEOUT_MS, "dp-ctl", "--server", endpoint, "set", "lr", "0.0005", "--json");
    cr_assert_eq(r.status, 0, "%s", r.err);
    json_t *object = json_loads(r.out, 0, NULL);
    cr_assert_eq(json_number_value(json_object_get(object, "value")), 0.0005);
    cr_assert_gt(json_integer_value(json_object_get(object, "train_step")), 0);
    json_decref(object);
    process_expect_next(server, OUT, "\"lr\":0.0005", TIMEOUT_MS);
    r = RUN(TIMEOUT_MS, "dp-ctl", "--server", endpoint, "status");
    cr_assert_not_null(strstr(r.out, "update     sgd, lr 0.0005, l2"), "%s", r.out);
    /* a value that --lr refuses cannot be set either */
    static const char *const WRONG[] = {"-1", "0", "1e50"};
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        r = RUN(TIMEOUT_MS, "dp-ctl", "--server", endpoint, "set", "lr", WRONG[i]);
        cr_assert_eq(r.status, 2, "%s", r.err);
        cr_assert_not_null(strstr(r.err, "is out of range: it must be more than 0, at most 1e+30"), "%s", r.err);
    }
    static const char *const NO_NUMBERS[] = {"0x1p-4", " 1", "nan", "inf", "", "1e"};
    for (size_t i = 0; i < sizeof NO_NUMBERS / sizeof *NO_NUMBERS; i++) {
        r = RUN(TIMEOUT_MS, "dp-ctl", "--server", endpoint, "set", "lr", NO_NUMBERS[i]);
        cr_assert_eq(r.status, 2, "%s", r.err);
        cr_assert_not_null(strstr(r.err, "is not a number"), "%s", r.err);
    }
    static const char *const VANISH[] = {"1e-46", "1e-400"};
    for (size_t i = 0; i < sizeof VANISH / sizeof *VANISH; i++) {
        r = RUN(TIMEOUT_MS, "dp-ctl", "--server", endpoint, "set", "lr", VANISH[i]);
        cr_assert_eq(r.status, 2, "%s", r.err);
        cr_assert_not_null(strstr(r.err, "is too small: as a 32-bit float it is 0"), "%s", r.err);
    }
    process_signal(server, 15);
    (void)process_wait(server, TIMEOUT_MS);
}
