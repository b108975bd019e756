/* The spec of a job; see spec.h. Thread: head. */
#include "server/options/spec.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/base/text.h"
#include "common/base/util.h"

enum { VALUE_MAX = 4096 };

/* Options of the topics below that do not say what is computed, or may change it from a step on. */
static const char *const MAY_CHANGE[] = {"epochs", "steps", "mixed-numerics", "consistency", "lr", "lr-period"};

static bool is_of_spec(const struct option *option)
{
    return strcmp(option->topic, "job") == 0 || strcmp(option->topic, "update") == 0;
}

/* Ftrl's state is only defined for a constant rate. */
static bool may_change(const struct option *option, const struct server_options *opts)
{
    if (opts->setup.rule == &rule_ftrl && strcmp(option->name, "lr") == 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(MAY_CHANGE); i++)
        if (strcmp(option->name, MAY_CHANGE[i]) == 0)
            return true;
    return false;
}

/* The name of choice `number` of "a|b|c". */
static void choice_text(const char *choices, int number, char *text)
{
    const char *at = choices;
    for (int i = 0; i < number && at; i++) {
        at = strchr(at, '|');
        at = at ? at + 1 : NULL;
    }
    snprintf(text, VALUE_MAX, "%.*s", number >= 0 && at ? (int)strcspn(at, "|") : 0, number >= 0 && at ? at : "");
}

static void list_text(const struct option_list *list, char *text)
{
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < list->count; i++)
        (void)str_append(text, VALUE_MAX, &at, "%s%s", i ? " " : "", list->values[i]);
}

/* The digest of the rows, whatever the file's blanks and comments are. 0 when out of memory. */
static uint64_t linear_digest(const struct linear *linear)
{
    XXH3_state_t *state = XXH3_createState();
    uint64_t digest = 0;
    if (!state || XXH3_64bits_reset(state) != XXH_OK) {
        XXH3_freeState(state);
        return 0;
    }
    for (uint32_t r = 0; r < linear->count; r++) {
        const struct linear_row *row = &linear->rows[r];
        const uint64_t facts[] = {row->equality, row->count};
        (void)XXH3_64bits_update(state, facts, sizeof facts);
        (void)XXH3_64bits_update(state, &row->bound, sizeof row->bound);
        (void)XXH3_64bits_update(state, row->index, row->count * sizeof *row->index);
        (void)XXH3_64bits_update(state, row->value, row->count * sizeof *row->value);
    }
    digest = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return digest;
}

/* A file may move, and another may take its name: its content counts. */
static void constraints_text(const struct server_options *opts, char *text)
{
    const struct constraints *constraints = &opts->setup.constraints;
    const struct option_list *given = &opts->update.constraint;
    size_t at = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < constraints->count; i++) {
        const struct constraint *c = &constraints->list[i];
        const char *blank = i ? " " : "";
        if (c->kind == CONSTRAINT_LINEAR)
            (void)str_append(text, VALUE_MAX, &at, "%slinear=FILE(xxh3:%016" PRIx64 ")%s%s", blank,
                             linear_digest(&c->linear), c->tensor[0] ? "@" : "", c->tensor);
        else
            (void)str_append(text, VALUE_MAX, &at, "%s%s", blank, given->values[i]);
    }
}

/* The fewest digits that are the number again. */
static void number_text(double number, char *text)
{
    int digits = 1;
    do
        snprintf(text, VALUE_MAX, "%.*g", digits, number);
    while (strtod(text, NULL) != number && ++digits <= DBL_DECIMAL_DIG);
}

/* Options whose value is found out where they are not given, or is more than their text. */
static bool settled_text(const struct option *option, const struct server_options *opts, char *text)
{
    if (strcmp(option->name, "lr") == 0)
        number_text(opts->setup.params.schedule.lr, text);
    else if (strcmp(option->name, "data-mode") == 0)
        snprintf(text, VALUE_MAX, "%s", opts->local ? "local" : "shared");
    else if (strcmp(option->name, "constraint") == 0)
        constraints_text(opts, text);
    else
        return false;
    return true;
}

static void raw_text(const struct option *option, const struct server_options *opts, char *text)
{
    if (settled_text(option, opts, text))
        return;
    const void *field = (const char *)opts + option->field;
    const char *string = option->type == OPT_STRING ? *(const char *const *)field : NULL;
    switch (option->type) {
    case OPT_STRING:
        snprintf(text, VALUE_MAX, "%s", string ? string : "");
        break;
    case OPT_U64:
        snprintf(text, VALUE_MAX, "%" PRIu64, *(const uint64_t *)field);
        break;
    case OPT_F64:
        number_text(*(const double *)field, text);
        break;
    case OPT_FLAG:
    case OPT_SWITCH:
        snprintf(text, VALUE_MAX, "%s", *(const bool *)field ? "on" : "off");
        break;
    case OPT_CHOICE:
        choice_text(option->choices, *(const int *)field, text);
        break;
    case OPT_LIST:
        list_text(field, text);
        break;
    }
}

/* As JSON takes it: names of files may be no UTF-8. */
static void value_text(const struct option *option, const struct server_options *opts, char *text)
{
    char raw[VALUE_MAX];
    raw_text(option, opts, raw);
    text_clean(text, VALUE_MAX, raw);
}

json_t *spec_of(const struct server_options *opts)
{
    json_t *spec = json_object();
    char text[VALUE_MAX];
    for (size_t i = 0; spec && i < server_option_table.count; i++) {
        const struct option *option = &server_option_table.list[i];
        if (!is_of_spec(option))
            continue;
        value_text(option, opts, text);
        if (json_object_set_new(spec, option->name, json_string(text))) {
            json_decref(spec);
            return NULL;
        }
    }
    return spec;
}

/* An option that the job's version of dp did not know had its default. */
static const char *value_before(const json_t *spec, const struct option *option)
{
    const char *text = json_string_value(json_object_get(spec, option->name));
    if (text)
        return text;
    if (option->type == OPT_FLAG || option->type == OPT_SWITCH)
        return option->dflt && strcmp(option->dflt, "on") == 0 ? "on" : "off";
    return option->dflt ? option->dflt : option->type == OPT_U64 || option->type == OPT_F64 ? "0" : "";
}

static bool differs(const json_t *spec, const struct option *option, const struct server_options *opts, char *text)
{
    value_text(option, opts, text);
    return strcmp(value_before(spec, option), text) != 0;
}

static const char *shown(const char *text)
{
    return text && text[0] ? text : "none";
}

/* `before`: NULL where the job is of a version that does not know the option. */
static dp_err refuse(const struct option *option, const char *before, const char *now, const char *dir, dp_error *err)
{
    const bool named = before && before[0];
    return dp_fail(err, DP_USAGE,
                   "option --%s: the job in %.150s has %.80s, the command line %.80s; %s%s%s%.80s, another "
                   "--checkpoint-dir, or --resume never",
                   option->name, dir, shown(before), shown(now), named ? "give --" : "leave --", option->name,
                   named ? (option->type == OPT_FLAG ? "=" : " ") : " away", named ? before : "");
}

dp_err spec_check(const json_t *spec, const struct server_options *opts, const char *dir, dp_error *err)
{
    char text[VALUE_MAX];
    for (size_t i = 0; i < server_option_table.count; i++) {
        const struct option *option = &server_option_table.list[i];
        if (!is_of_spec(option) || may_change(option, opts) || !differs(spec, option, opts, text))
            continue;
        return refuse(option, json_string_value(json_object_get(spec, option->name)), text, dir, err);
    }
    return DP_OK;
}

bool spec_number(const json_t *spec, const char *option, double *ret_number)
{
    const char *text = json_string_value(json_object_get(spec, option));
    char *end;
    double number = text ? strtod(text, &end) : 0;
    if (!text || !text[0] || *end || !isfinite(number))
        return false;
    *ret_number = number;
    return true;
}

bool spec_differs(const json_t *spec, const struct server_options *opts, const char *option)
{
    char text[VALUE_MAX];
    int i = option_find(&server_option_table, option, strlen(option));
    return i >= 0 && differs(spec, &server_option_table.list[i], opts, text);
}
