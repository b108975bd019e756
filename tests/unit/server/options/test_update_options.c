/* Options of the update: impossible requests are usage errors that say why; what is possible becomes what was meant. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "server/options/check.h"
#include "server/options/options.h"
#include "tests/unit/support/leaks.h"

enum { WORDS_MAX = 24 };

/* Parses "--model linear TEXT", or TEXT if it names a model, and checks it. */
static dp_err check(const char *text, struct server_options *opts, dp_error *err)
{
    char copy[512], *words[WORDS_MAX] = {"dp-server", "--model", "linear"}, *rest = copy, *word;
    int count = strstr(text, "--model") ? 1 : 3;
    struct options given;
    enum option_outcome outcome;
    snprintf(copy, sizeof copy, "%s", text);
    while ((word = strsep(&rest, " ")))
        if (*word)
            words[count++] = word;
    *opts = (struct server_options){0};
    dp_err e = options_parse(&given, &server_option_table, opts, count, words, &outcome, err);
    if (e)
        return e;
    e = server_options_check(&given, opts, err);
    options_fini(&given);
    return e;
}

static const struct {
    const char *text, *says;
} REFUSED[] = {
    {"--optimizer ftrl --momentum 0.5", "option --momentum belongs to"},
    {"--optimizer ftrl --lr-schedule cosine", "ftrl has a rate of its own"},
    {"--optimizer ftrl --decay decoupled", "ftrl has l2 inside"},
    {"--optimizer ftrl --constraint nonneg", "projection would be forgotten"},
    {"--optimizer ftrl --group-lasso 1", "ftrl makes its weights"},
    {"--optimizer sgd --beta1 0.5", "option --beta1 belongs to --optimizer adam"},
    {"--optimizer adam --alpha 0.5", "option --alpha belongs to --optimizer rmsprop"},
    {"--optimizer adam --momentum 0.5", "not to adam"},
    {"--optimizer adam --beta 0.5", "adam's are --beta1 and --beta2"},
    {"--optimizer adamw --decay coupled", "use adam"},
    {"--optimizer lars --l1 0.1", "scaled by norms"},
    {"--optimizer lamb --group-lasso 0.1", "scaled by norms"},
    {"--optimizer lamb --decay decoupled", "l2 inside"},
    {"--optimizer newton", "newton"},
    {"--lr 0", "option --lr: 0 is out of range: it must be more than 0"},
    {"--lr 1e50", "option --lr: 1e50 is out of range"},
    {"--lr nan", "--lr"},
    {"--l2 nan", "not a number of at least 0"},
    {"--l2 inf", "not a number of at least 0"},
    {"--l2 -1", "not a number of at least 0"},
    {"--l1 0.1x", "0.1x"},
    {"--l1 0.1@", "names no tensor"},
    {"--l2 1 --l2 2", "twice for all tensors"},
    {"--l2 1@w --l2 2@w", "twice for tensor w"},
    {"--group-size 4", "belongs to --group-lasso"},
    {"--clip-value 1 --clip-norm 1", "exclude each other"},
    {"--lr-schedule inv-time", "needs --lr-decay"},
    {"--lr-decay 1", "belongs to --lr-schedule inv-sqrt, inv-time and ada-delay"},
    {"--lr-schedule cosine --lr-min 1", "more than --lr"},
    {"--lr-schedule ada-delay", "under bsp there is none"},
    {"--lr-schedule ada-delay --consistency ssp:0", "under bsp there is none"},
    {"--lr-schedule ada-delay --consistency async --optimizer ftrl", "ftrl has a rate of its own"},
    {"--delay-compensation 0.5", "under bsp none does"},
    {"--delay-compensation 0.5 --consistency ssp:0", "under bsp none does"},
    {"--delay-compensation 0.5 --consistency ssp:2 --optimizer lamb", "sums over all shards"},
    {"--delay-compensation 0.5 --consistency ssp:2 --sparse", "rows of tables commit once a step"},
    {"--delay-compensation 0.5 --data-mode local --features 3", "under bsp none does"},
    {"--delay-compensation -1 --consistency async", "--delay-compensation"},
    {"--delay-memory 5", "belongs to --delay-compensation"},
    {"--delay-memory 0 --delay-compensation 1 --consistency async", "--delay-memory"},
    {"--data-mode local --features 3 --lr-schedule cosine", "nobody knows how many steps"},
    {"--data-mode local --features 3 --lr-schedule one-cycle", "give --lr-period or --steps"},
    {"--data-mode local --features 3 --slots 2 --min-workers 3", "of --slots 2 2 cannot wait for 3"},
    {"--lr-gamma 2 --lr-schedule step", "--lr-gamma"},
    {"--lr-schedule cosine --lr-period-mult 2", "option --lr-period-mult belongs to --lr-period"},
    {"--constraint ball", "is not one of nonneg"},
    {"--constraint box=2:1", "empty: 2 is more than 1"},
    {"--constraint box=1", "a box is LO:HI"},
    {"--constraint box=:", "a box is LO:HI"},
    {"--constraint box=nan:1", "a box is LO:HI"},
    {"--constraint nonneg=1", "takes no argument"},
    {"--constraint l2-ball", "lacks its argument"},
    {"--constraint l2-ball=0", "more than 0"},
    {"--constraint simplex=nan", "finite"},
    {"--constraint linear=/nowhere/rows", "cannot read /nowhere/rows"},
    {"--constraint linear=/tmp", "cannot read /tmp: Is a directory"},
    {"--constraint linear=/dev/null", "/dev/null has no rows"},
    {"--constraint linear=/dev/zero", "/dev/zero: is no text: it has zero bytes"},
    {"--constraint l2-ball=1e-46", "so small that a 32-bit float has it as 0"},
    {"--constraint sum=-1e-400", "so small that a 32-bit float has it as 0"},
    {"--constraint box=-1e-46:1", "a box is LO:HI"},
    {"--lr 1e-46", "option --lr: 1e-46 is too small: as a 32-bit float it is 0; the smallest is 1.4e-45"},
    {"--lr 1e-400", "option --lr: 1e-400 is too small"},
    {"--l1 1e-46", "option --l1: '1e-46' is too small: as a 32-bit float it is 0"},
    {"--l2 1e-46@weight", "option --l2: '1e-46@weight' is too small"},
    {"--group-lasso 1e-400", "option --group-lasso: '1e-400' is too small"},
    {"--clip-norm 1e-46", "option --clip-norm: 1e-46 is too small"},
    {"--optimizer adam --eps 1e-46", "option --eps: 1e-46 is too small"},
    {"--constraint linear=/proc/version", "/proc/version:1: it begins with neither = nor <="},
    {"--constraint nonneg --constraint sum=1", "simplex=S is w >= 0 with sum S"},
    {"--constraint l2-ball=1 --constraint l1-ball=1", "not the projection on both"},
    {"--constraint box=-1:1 --constraint l2-ball=1", "not the projection on both"},
    {"--constraint unit-norm --constraint nonneg", "not the projection on both"},
    {"--constraint nonneg --constraint box=-2:-1", "exclude each other"},
    {"--constraint unit-norm --l1 0.1", "options --l1 and --constraint unit-norm on tensor 'weight'"},
    {"--constraint unit-norm --group-lasso 0.1", "rows of norm 1 are no convex set"},
    {"--optimizer adagrad --constraint unit-norm", "adagrad scales steps by coordinate"},
    {"--optimizer rmsprop --constraint unit-norm", "rmsprop scales steps by coordinate"},
    {"--optimizer adam --constraint unit-norm", "use sgd, momentum or nesterov, or max-norm"},
    {"--optimizer adamw --constraint unit-norm", "adamw scales steps"},
    {"--optimizer lamb --constraint unit-norm", "lamb scales steps"},
    {"--optimizer adam --group-lasso 1 --constraint max-norm=1", "their proximal step has no closed form"},
    {"--optimizer adagrad --group-lasso 1 --constraint l2-ball=1", "--group-lasso and --constraint l2-ball"},
    {"--optimizer adagrad --group-lasso 1 --constraint sum=1", "adagrad scales steps by coordinate"},
    {"--optimizer ftrl --constraint sum=1", "projection would be forgotten"},
    {"--constraint-method penalty", "belongs to --constraint"},
    {"--constraint nonneg --beta 2", "belongs to --constraint-method"},
    {"--constraint sum=1 --constraint-method penalty --rho-max 3", "belongs to --constraint-method augmented"},
    {"--constraint nonneg --constraint-method augmented", "a multiplier for each element"},
    {"--constraint simplex=1 --constraint-method augmented", "a multiplier for each element"},
    {"--constraint max-norm=1 --constraint-method penalty", "only projected"},
    {"--constraint sum=1 --constraint-method augmented --beta 2 --rho-max 1", "where rho starts"},
    {"--l2 0.1@nowhere", "no tensor 'nowhere'"},
    {"--l1 0.1@bias", "intercept"},
    {"--intercept off --constraint nonneg@bias", "no tensor 'bias'"},
    {"--constraint nonneg@nowhere", "no tensor 'nowhere'"},
    {"--constraint l2-ball=1 --constraint box=-1:1@weight", "not the projection on both"},
    {"--sparse --optimizer lars", "the norm of the whole of table 'weight'"},
    {"--sparse --clip-norm 1", "option --clip-norm"},
    {"--sparse --group-lasso 1", "option --group-lasso: rows of table 'weight'"},
    {"--sparse --constraint l2-ball=1", "changes rows that no sample touched"},
    {"--sparse --constraint sum=1 --constraint-method penalty", "penalties pull at every row"},
    {"--sparse --optimizer adam --constraint nonneg", "go on moving"},
    {"--sparse --constraint max-norm=1", "all of the vector 'weight' is one row"},
    {"--sparse --constraint unit-norm", "leave out --sparse, or bound each weight"},
    {"--sparse --model softmax --constraint unit-norm --l1 0.1", "no convex set"},
    {"--sparse --model softmax --optimizer adagrad --constraint unit-norm", "adagrad scales steps"},
    {"--sparse --lr 0.5 --l2 2 --constraint nonneg", "swings the rows of table 'weight' around 0"},
};

Test(update_options, impossible_requests_say_why)
{
    for (size_t i = 0; i < ARRAY_LEN(REFUSED); i++) {
        struct server_options opts;
        dp_error err = {0};
        dp_err e = check(REFUSED[i].text, &opts, &err);
        cr_assert(e == DP_USAGE || e == DP_IO || e == DP_DATA, "%s: %d", REFUSED[i].text, e);
        cr_assert_not_null(strstr(err.text, REFUSED[i].says), "%s: %s", REFUSED[i].text, err.text);
    }
    ASSERT_NO_LEAKS();
}

/* Pairs with a proximal operator of their own, and rules with their own metric. */
Test(update_options, terms_that_go_together)
{
    static const char *const SETS[] = {"nonneg",    "box=-1:1",  "max-norm=1", "l2-ball=1",
                                       "l1-ball=1", "simplex=1", "sum=1",      "nonneg --constraint l2-ball=1"};
    static const char *const RULES[] = {"sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"};
    for (size_t s = 0; s < ARRAY_LEN(SETS); s++)
        for (size_t r = 0; r < ARRAY_LEN(RULES); r++)
            for (int terms = 0; terms < 4; terms++) {
                struct server_options opts;
                dp_error err = {0};
                char text[200];
                bool groups = terms > 1, scales = r > 2, elements = s < 2;
                snprintf(text, sizeof text, "--optimizer %s --constraint %s%s%s", RULES[r], SETS[s],
                         terms & 1 ? " --l1 0.1" : "", groups ? " --group-lasso 0.1" : "");
                dp_err want = groups && scales && !elements ? DP_USAGE : DP_OK;
                cr_assert_eq(check(text, &opts, &err), want, "%s: %s", text, err.text);
                if (!want)
                    server_options_fini(&opts);
            }
    struct server_options opts;
    dp_error err = {0};
    cr_assert_eq(check("--sparse --model softmax --constraint max-norm=1", &opts, &err), DP_OK, "%s", err.text);
    server_options_fini(&opts);
    ASSERT_NO_LEAKS();
}

static struct shard_job settle(const char *text, dp_err want, const char *says)
{
    struct server_options opts;
    dp_error err = {0};
    uint64_t weight[2] = {100, 6}, bias = 6;
    struct shard_job core = {.plan = {.train_rows = 100, .batch = 10, .train_steps = 50, .slots = 1}};
    cr_assert_eq(check(text, &opts, &err), DP_OK, "%s: %s", text, err.text);
    cr_assert_eq(tensors_add(&core.tensors, "weight", 2, weight, INIT_ZEROS, 0, true, &err), DP_OK);
    cr_assert_eq(tensors_add(&core.tensors, "bias", 1, &bias, INIT_ZEROS, 0, false, &err), DP_OK);
    cr_assert_eq(update_settle(&opts.setup, &core, &err), want, "%s: %s", text, err.text);
    if (says)
        cr_assert_not_null(strstr(err.text, says), "%s: %s", text, err.text);
    server_options_fini(&opts);
    return core;
}

Test(update_options, defaults_are_the_rules_own)
{
    static const double LRS[] = {0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 0.1, 0.1, 0.001};
    char text[64];
    for (int i = 0; i < UPDATE_RULES; i++) {
        snprintf(text, sizeof text, "--optimizer %s", update_rule_at(i)->name);
        struct shard_job core = settle(text, DP_OK, NULL);
        cr_assert_eq(core.rule, update_rule_at(i));
        cr_assert_eq(core.params.schedule.lr, LRS[i]);
        cr_assert_eq(core.regular[0].l2, core.rule == &rule_adamw ? 0.01 : 0, "torch's AdamW decays");
        cr_assert_eq(core.regular[1].l2, 0);
    }
    ASSERT_NO_LEAKS();
}

/* As many versions as the memory holds of 606 parameters. */
Test(update_options, delay_memory)
{
    struct shard_job core = settle("--consistency ssp:2 --delay-compensation 0.5 --delay-memory 3", DP_OK, NULL);
    cr_assert_eq(core.params.compensation, 0.5);
    cr_assert_eq(core.past, (3 << 20) / (606 * 4));
    core = settle("--consistency ssp:2 --delay-compensation 0", DP_OK, NULL);
    cr_assert_eq(core.past, 0);
}

Test(update_options, tensors)
{
    struct shard_job core = settle("--l2 0.1 --l2 0.3@weight --l1 0.2 --group-lasso 1", DP_OK, NULL);
    cr_assert_eq(core.regular[0].l2, 0.3);
    cr_assert_eq(core.regular[0].l1, 0.2);
    cr_assert_eq(core.regular[0].group_size, 6, "a row");
    cr_assert_eq(core.tensors.list[0].unit, 6);
    cr_assert_eq(core.regular[1].l1, 0, "intercepts are left out");
    cr_assert_eq(core.tensors.list[1].unit, 1);
    core = settle("--constraint max-norm=1 --group-lasso 1 --group-size 3", DP_OK, NULL);
    cr_assert_eq(core.tensors.list[0].unit, 6);
    core = settle("--constraint l2-ball=1 --constraint nonneg@bias", DP_OK, NULL);
    cr_assert_eq(core.constraints.list[0].mask, 1);
    cr_assert_eq(core.constraints.list[1].mask, 2);
    core = settle("--lr-schedule cosine --warmup-steps 5", DP_OK, NULL);
    cr_assert_eq(core.params.schedule.period, 45);
    (void)settle("--group-lasso 1 --group-size 7", DP_USAGE, "does not divide");
    (void)settle("--group-lasso 1 --group-size 4 --constraint max-norm=1", DP_USAGE, "does not divide a row");
    (void)settle("--group-lasso 1 --group-size 12 --constraint max-norm=1", DP_USAGE,
                 "use a --group-size within a row");
    core = settle("--group-lasso 1 --group-size 3 --constraint max-norm=1", DP_OK, NULL);
    cr_assert_eq(core.tensors.list[0].unit, 6);
}

/* A length in steps ends within the job's 50, or the error names both numbers. */
Test(update_options, nothing_lasts_longer_than_the_job)
{
    static const char *const FIT[] = {
        "--warmup-steps 50",
        "--warmup-steps 49 --lr-schedule cosine",
        "--warmup-steps 20 --lr-schedule cosine --lr-period 30",
        "--lr-schedule one-cycle --lr-period 50",
        "--lr-schedule step --lr-step-size 49",
        "--lr-schedule exponential --warmup-steps 49",
        "--constraint sum=1 --constraint-method augmented --multiplier-every 50",
    };
    static const struct {
        const char *text, *says;
    } BEYOND[] = {
        {"--warmup-steps 51", "option --warmup-steps: 51 steps are more than the 50 of the job"},
        {"--warmup-steps 50 --lr-schedule cosine", "after 50 steps none of the job's 50 is left for --lr-schedule"},
        {"--lr-schedule cosine --lr-period 51", "option --lr-period: 51 steps, after 0 of --warmup-steps, do not end"},
        {"--lr-schedule one-cycle --lr-period 31 --warmup-steps 20", "do not end within the 50 of the job"},
        {"--lr-schedule step --lr-step-size 50", "first falls 50 steps after 0 of --warmup-steps, and the job has 50"},
        {"--lr-schedule step --lr-step-size 30 --warmup-steps 20", "30 steps after 20 of --warmup-steps"},
        {"--lr-schedule step", "option --lr-step-size: the rate first falls 1000 steps"},
        {"--constraint sum=1 --constraint-method augmented --multiplier-every 51", "--multiplier-every: 51 steps are"},
    };
    for (size_t i = 0; i < ARRAY_LEN(FIT); i++)
        (void)settle(FIT[i], DP_OK, NULL);
    for (size_t i = 0; i < ARRAY_LEN(BEYOND); i++)
        (void)settle(BEYOND[i].text, DP_USAGE, BEYOND[i].says);
    ASSERT_NO_LEAKS();
}

/* A table is no part of theta, so it has no elements there; its rows are what groups and constraints mean. */
Test(update_options, tables)
{
    static const char *const TEXTS[] = {
        "--group-lasso 0.1",      "--group-lasso 0.1 --group-size 3",          "--constraint max-norm=1",
        "--constraint unit-norm", "--group-lasso 0.1 --constraint max-norm=1",
    };
    const uint64_t shape[2] = {100, 6};
    for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++)
        for (int hashed = 0; hashed < 2; hashed++) {
            struct server_options opts;
            struct shard_job core = {.plan = {.train_rows = 100, .batch = 10, .train_steps = 50, .slots = 1}};
            dp_error err = {0};
            cr_assert_eq(check(TEXTS[i], &opts, &err), DP_OK, "%s", err.text);
            cr_assert_eq(tensors_add_table(&core.tensors, "table", hashed ? TENSOR_HASHED : TENSOR_TABLE,
                                           hashed ? 1 : 2, hashed ? shape + 1 : shape, INIT_ZEROS, 0, true, &err),
                         DP_OK, "%s", err.text);
            cr_assert_eq(update_settle(&opts.setup, &core, &err), DP_OK, "%s: %s", TEXTS[i], err.text);
            if (!strstr(TEXTS[i], "size"))
                cr_assert_eq(core.regular[0].group_size, 6, "%s", TEXTS[i]);
            for (uint32_t c = 0; c < core.constraints.count; c++)
                cr_assert_eq(constraint_unit(&core.constraints.list[c], &core.tensors.list[0]), 6);
            server_options_fini(&opts);
        }
    ASSERT_NO_LEAKS();
}
