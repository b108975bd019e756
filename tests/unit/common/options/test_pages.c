/* Tables of JSON members: a page of --help, and Markdown. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/util.h"
#include "common/options/fields.h"
#include "common/options/help.h"
#include "tests/unit/support/leaks.h"

static const struct field MEMBERS[] = {
    {"top", "n", FIELD_INTEGER | FIELD_NULL, "rows", "a|b"},
    {"top", "list", FIELD_LIST | FIELD_OBJECT | FIELD_MAYBE, NULL,
     "a text that is too long for the line which it begins on"},
    {"a b", NULL, 0, NULL, "two places"},
    {"a b", "map", FIELD_MAP | FIELD_NUMBER, NULL, "numbers by name"},
};
static const struct field_table PAGES[] = {{"top", "what it prints", MEMBERS, ARRAY_LEN(MEMBERS)}};
static const struct option OPTIONS[] = {{.topic = "one", .name = "top", .type = OPT_FLAG, .help = "an option"}};
static const struct option_table PROGRAM = {
    .program = "dp-test",
    .summary = "tests",
    .usage = "  dp-test\n",
    .topics = "one: of options\n",
    .list = OPTIONS,
    .count = 1,
    .pages = PAGES,
    .page_count = 1,
};

static char *help(const char *topic, bool want)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    cr_assert_eq(options_help(&PROGRAM, topic, out), want);
    fclose(out);
    return text;
}

static void assert_help(const char *topic, const char *want)
{
    char *text = help(topic, true);
    cr_assert_str_eq(text, want);
    free(text);
    ASSERT_NO_LEAKS();
}

Test(pages, for_people)
{
    assert_help("top", "dp-test, top: what it prints\n"
                       "\n"
                       "top:\n"
                       "  n     a|b (integer or null, rows)\n"
                       "  list  a text that is too long for the line which it begins on (list of\n"
                       "        objects, may be missing)\n"
                       "\n"
                       "a, b: two places\n"
                       "  map   numbers by name (object of numbers)\n");
}

Test(pages, for_a_readme)
{
    assert_help("reference top",
                "**top**\n"
                "\n"
                "| member | type | content |\n"
                "|---|---|---|\n"
                "| `n` | integer or null, rows | a\\|b |\n"
                "| `list` | list of objects, optional | a text that is too long for the line which it begins on |\n"
                "\n"
                "**a, b**: two places\n"
                "\n"
                "| member | type | content |\n"
                "|---|---|---|\n"
                "| `map` | object of numbers | numbers by name |\n");
}

Test(pages, beside_topics)
{
    assert_help(NULL, "dp-test: tests\n\nusage:\n  dp-test\n\n"
                      "options by topic (dp-test --help TOPIC):\n"
                      "  one  of options\n"
                      "  top  what it prints\n"
                      "\nEach --some-option is also DP_SOME_OPTION in the environment.\n");
    free(help("reference bottom", false));
    assert_help("--top", "  --top  an option\n");
}

Test(pages, without_topics)
{
    struct option_table small = PROGRAM;
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    small.topics = NULL;
    cr_assert(options_help(&small, NULL, out));
    fclose(out);
    cr_assert_str_eq(text, "dp-test: tests\n\nusage:\n  dp-test\n\n"
                           "options:\n"
                           "  --top  an option\n"
                           "\nfurther topics (dp-test --help TOPIC):\n"
                           "  top  what it prints\n"
                           "\nEach --some-option is also DP_SOME_OPTION in the environment.\n");
    free(text);
}
