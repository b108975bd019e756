/* dp-ctl set: a setting of the running job. Thread: main. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/number.h"
#include "worker/ctl/command.h"

/* A setting's new value: a number, or where that is no number a text, else NULL. */
struct setting {
    const char *name;
    double value;
    const char *text;
};

static dp_err parse_setting(const char *name, const char *text, struct setting *ret_setting, dp_error *err)
{
    char *end = NULL;
    if (!name || !text)
        return dp_fail(err, DP_USAGE, "set what? dp-ctl set lr VALUE, dp-ctl set consistency MODE");
    *ret_setting = (struct setting){.name = name};
    if (strcmp(name, "consistency") == 0) {
        ret_setting->text = text;
        return DP_OK;
    }
    bool vanishes;
    ret_setting->value = float_parse(text, &end, &vanishes);
    if (end == text || *end)
        return dp_fail(err, DP_USAGE, "set %.64s: '%.64s' is not a number", name, text);
    if (!isfinite(ret_setting->value))
        return dp_fail(err, DP_USAGE, "set %.64s: %.64s is too large", name, text);
    if (vanishes)
        return dp_fail(err, DP_USAGE,
                       "set %.64s: %.64s is too small: as a 32-bit float it is 0; the smallest is 1.4e-45", name, text);
    return DP_OK;
}

static void print_setting_json(const struct setting *setting, const Dp__Applied *applied)
{
    printf("{\"set\":\"%s\",\"value\":", setting->name);
    if (setting->text)
        printf("\"%s\"", setting->text); /* the server has taken it: nothing is to be escaped */
    else
        printf("%.17g", setting->value);
    printf(",\"step\":%" PRIu64 ",\"train_step\":%" PRIu64 "}\n", applied->step, applied->train_step);
}

static void print_setting(const struct setting *setting, const Dp__Applied *applied)
{
    printf("%s is ", setting->name);
    if (setting->text)
        printf("%s", setting->text);
    else
        printf("%g", setting->value);
    printf(" from training step %" PRIu64 " on\n", applied->train_step);
}

static dp_err run(const struct ctl_call *call, dp_error *err)
{
    Dp__Set body = DP__SET__INIT;
    Dp__Header question = DP__HEADER__INIT;
    const Dp__Header *answer;
    struct setting setting = {.name = ""};
    dp_err e = parse_setting(call->words[0], call->words[1], &setting, err);
    if (e)
        return e;
    body.name = (char *)setting.name;
    body.value = setting.value;
    if (setting.text)
        body.text = (char *)setting.text;
    question.body_case = DP__HEADER__BODY_SET;
    question.set = &body;
    e = ctl_ask(call->connection, &question, DP__HEADER__BODY_APPLIED, NULL, &answer, err);
    if (!e)
        (call->json ? print_setting_json : print_setting)(&setting, answer->applied);
    return e;
}

const struct ctl_command ctl_set = {
    .name = "set",
    .uses = {{"set lr VALUE", "changes the learning rate while the job runs"},
             {"set consistency MODE", "likewise when slots commit: bsp, ssp:S or async"}},
    .words_max = 2,
    .run = run,
};
