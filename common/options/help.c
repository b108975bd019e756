/* An option table as people read it: the overview, a topic, one option, and the Markdown reference. Lines stay within
 * 80 columns where words allow. Thread: any. */
#include "common/options/help.h"

#include <string.h>

#include "common/base/text.h"
#include "common/base/util.h"
#include "common/options/fields.h"
#include "common/options/value.h"
#include "common/options/wrap.h"

enum { HELP_LEFT_MAX = 28, HELP_TEXT_BYTES = 512 };

/* Larger limits are of no use to a reader. */
#define MAX_TOLD 1e12

/* The placeholder of the value: "FILE", "on|off", "a|b|c", or NULL for a flag. */
static const char *option_arg(const struct option *option)
{
    if (option->arg || option->type == OPT_FLAG)
        return option->arg;
    if (option->type == OPT_SWITCH)
        return "on|off";
    return option->choices ? option->choices : "VALUE";
}

static void option_left(const struct option *option, char *buf, size_t size)
{
    const char *arg = option_arg(option);
    snprintf(buf, size, "--%s%s%s", option->name, arg ? " " : "", arg ? arg : "");
}

/* The help line with choices (unless they are the placeholder), unit and default. */
static void option_text(const struct option *option, char *buf, size_t size)
{
    size_t at = 0;
    str_append(buf, size, &at, "%s", option->help);
    if (option->choices && option->arg)
        str_append(buf, size, &at, ": %s", option->choices);
    size_t notes = at;
    const char *separator = " (";
    if (option->unit) {
        str_append(buf, size, &at, "%s%s", separator, option->unit);
        separator = ", ";
    }
    /* A flag is off by default, which needs no words. */
    if (option->dflt && option->type != OPT_FLAG) {
        str_append(buf, size, &at, "%sdefault %s", separator, option->dflt);
        separator = ", ";
    }
    if (option->type == OPT_LIST) {
        str_append(buf, size, &at, "%srepeatable", separator);
        separator = ", ";
    }
    if (separator[0] == ',')
        str_append(buf, size, &at, ")");
    for (size_t i = notes + 1; i < at; i++)
        if (buf[i] == ' ')
            buf[i] = HARD_SPACE;
}

/* Columns that the left side of a topic's options takes (of all of them where topic is NULL). */
static size_t left_columns(const struct option_table *table, const char *topic)
{
    size_t columns = 0;
    for (size_t i = 0; i < table->count; i++) {
        char left[HELP_TEXT_BYTES];
        option_left(&table->list[i], left, sizeof left);
        if ((!topic || strcmp(table->list[i].topic, topic) == 0) && strlen(left) <= HELP_LEFT_MAX)
            columns = MAX(columns, strlen(left));
    }
    return columns;
}

static void print_option(FILE *out, const struct option *option, size_t columns)
{
    char left[HELP_TEXT_BYTES], text[HELP_TEXT_BYTES];
    option_left(option, left, sizeof left);
    option_text(option, text, sizeof text);
    fprintf(out, "  %s", left);
    size_t column = 2 + strlen(left);
    if (strlen(left) > columns) {
        fputc('\n', out);
        column = 0;
    }
    print_wrapped(out, column, columns + 4, text);
}

/* All options of a topic, or all where topic is NULL; how many there were. */
static size_t print_options(const struct option_table *table, const char *topic, FILE *out)
{
    size_t printed = 0, columns = left_columns(table, topic);
    for (size_t i = 0; i < table->count; i++) {
        if (topic && strcmp(table->list[i].topic, topic) != 0)
            continue;
        print_option(out, &table->list[i], columns);
        printed++;
    }
    return printed;
}

static void print_pages(const struct option_table *table, int columns, FILE *out)
{
    for (size_t i = 0; i < table->page_count; i++)
        fprintf(out, "  %-*s  %s\n", columns, table->pages[i].topic, table->pages[i].summary);
}

static void print_topics(const struct option_table *table, FILE *out)
{
    struct topic_line line;
    int columns = 0;
    for (const char *at = table->topics; topic_next(&at, &line);)
        columns = MAX(columns, line.name_bytes);
    for (size_t i = 0; i < table->page_count; i++)
        columns = MAX(columns, (int)strlen(table->pages[i].topic));
    fprintf(out, "options by topic (%s --help TOPIC):\n", table->program);
    for (const char *at = table->topics; topic_next(&at, &line);)
        fprintf(out, "  %-*.*s  %.*s\n", columns, line.name_bytes, line.name, line.text_bytes, line.text);
    print_pages(table, columns, out);
}

static bool has_config(const struct option_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->list[i].name, "config") == 0)
            return true;
    return false;
}

/* Without topics the options themselves stand in the overview. */
static void print_overview(const struct option_table *table, FILE *out)
{
    fprintf(out, "%s: %s\n\nusage:\n%s\n", table->program, table->summary, table->usage);
    if (table->usage[0] == '\0' || table->usage[strlen(table->usage) - 1] != '\n')
        fputc('\n', out);
    if (table->topics) {
        print_topics(table, out);
    } else {
        fprintf(out, "options:\n");
        print_options(table, NULL, out);
        if (table->page_count)
            fprintf(out, "\nfurther topics (%s --help TOPIC):\n", table->program);
        print_pages(table, 0, out);
    }
    if (table->footer) {
        fprintf(out, "\n%s", table->footer);
        if (table->footer[0] && table->footer[strlen(table->footer) - 1] != '\n')
            fputc('\n', out);
    }
    fprintf(out, "\nEach --some-option is also DP_SOME_OPTION in the environment%s.\n",
            has_config(table) ? "\nand a line 'some-option: value' of the file that --config names" : "");
}

static bool print_topic(const struct option_table *table, const char *topic, FILE *out)
{
    struct topic_line line;
    for (const char *at = table->topics; topic_next(&at, &line);) {
        if (topic_is(&line, topic)) {
            fprintf(out, "%s, %s: %.*s\n\n", table->program, topic, line.text_bytes, line.text);
            print_options(table, topic, out);
            return true;
        }
    }
    return false;
}

/* One option by its name, with or without dashes, with what else is known of it. */
static bool print_one(const struct option_table *table, const char *name, FILE *out)
{
    name += strspn(name, "-");
    for (size_t i = 0; i < table->count; i++) {
        const struct option *option = &table->list[i];
        if (strcmp(option->name, name) != 0)
            continue;
        char range[128];
        print_option(out, option, left_columns(table, option->topic));
        option_range_text(option, MAX_TOLD, range, sizeof range);
        if (range[0])
            fprintf(out, "  It takes %s.\n", range);
        return true;
    }
    return false;
}

bool options_help(const struct option_table *table, const char *topic, FILE *out)
{
    if (topic && strcmp(topic, "reference") == 0)
        options_reference(table, out);
    else if (!topic)
        print_overview(table, out);
    else
        return print_topic(table, topic, out) || fields_help(table, topic, out) || print_one(table, topic, out);
    return true;
}

/* --- Markdown --- */

/* Text of a table's cell: | would end it. */
static void print_cell(FILE *out, const char *text)
{
    for (; *text; text++)
        fprintf(out, *text == '|' ? "\\|" : "%c", *text);
}

static void print_reference_row(FILE *out, const struct option *option)
{
    char text[HELP_TEXT_BYTES];
    option_left(option, text, sizeof text);
    fprintf(out, "| `");
    print_cell(out, text);
    fprintf(out, "` | ");
    print_cell(out, option->help);
    if (option->choices && option->arg) {
        fprintf(out, ": ");
        print_cell(out, option->choices);
    }
    fprintf(out, "%s | ", option->type == OPT_LIST ? "; repeatable" : "");
    option_range_text(option, MAX_TOLD, text, sizeof text);
    fprintf(out, "%s%s%s | ", text, text[0] && option->unit ? " " : "", option->unit ? option->unit : "");
    print_cell(out, option->dflt && option->type != OPT_FLAG ? option->dflt : "");
    fprintf(out, " |\n");
}

static void print_reference_topic(const struct option_table *table, const struct topic_line *line, FILE *out)
{
    if (line)
        fprintf(out, "\n**%.*s**: %.*s\n", line->name_bytes, line->name, line->text_bytes, line->text);
    fprintf(out, "\n| option | meaning | range | default |\n|---|---|---|---|\n");
    for (size_t i = 0; i < table->count; i++)
        if (!line || topic_is(line, table->list[i].topic))
            print_reference_row(out, &table->list[i]);
}

void options_reference(const struct option_table *table, FILE *out)
{
    fprintf(out, "`%s`: %s.\n", table->program, table->summary);
    if (!table->topics)
        print_reference_topic(table, NULL, out);
    struct topic_line line;
    for (const char *at = table->topics; topic_next(&at, &line);)
        print_reference_topic(table, &line, out);
}
