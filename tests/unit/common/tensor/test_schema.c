/* Lists of names: copies, JSON and back, order; and what of untrusted texts is refused. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "common/tensor/schema.h"
#include "tests/unit/support/leaks.h"

static char *NAMES[] = {"b", "a \"quoted\"", "\xc3\xa9", ""};

Test(schema, lists_survive_json)
{
    size_t count = 0;
    char *text = schema_list_text(NAMES, 4);
    cr_assert_str_eq(text, "[\"b\",\"a \\\"quoted\\\"\",\"\xc3\xa9\",\"\"]");
    char **list = schema_list_parse(text, 4, &count);
    cr_assert(list && count == 4);
    for (size_t i = 0; i < 4; i++)
        cr_assert_str_eq(list[i], NAMES[i]);
    free(list);
    cr_assert_null(schema_list_parse(text, 3, &count), "more than are allowed");
    free(text);
    ASSERT_NO_LEAKS();
}

Test(schema, texts_that_are_no_list)
{
    char text[SCHEMA_NAME_BYTES_MAX + 8] = "[\"";
    size_t count = 7;
    memset(text + 2, 'x', SCHEMA_NAME_BYTES_MAX + 1);
    strcpy(text + 3 + SCHEMA_NAME_BYTES_MAX, "\"]");
    const char *const BAD[] = {"",  "{}", "[1]", "[\"a\"", "[\"a\\u0000b\"]", "[\"a\\nb\"]", "[null]", "[\"\\u009b\"]",
                               text};
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++)
        cr_assert_null(schema_list_parse(BAD[i], 100, &count), "%s", BAD[i]);
    cr_assert_eq(count, 7);
    ASSERT_NO_LEAKS();
}

Test(schema, names_are_found)
{
    uint64_t *sorted = schema_sort(NAMES, 4), at = 9;
    for (size_t i = 0; i < 4; i++)
        cr_assert(schema_find(NAMES, sorted, 4, NAMES[i], &at) && at == i);
    cr_assert_not(schema_find(NAMES, sorted, 4, "B", &at));
    cr_assert_not(schema_find(NAMES, sorted, 0, "b", &at));
    free(sorted);
    struct schema from = {
        .format = SCHEMA_CSV, .count = 4, .names = NAMES, .label = "y", .ignored = NAMES + 1, .ignored_count = 1};
    struct schema copy;
    cr_assert_eq(schema_copy(&from, &copy), DP_OK);
    cr_assert(copy.names != from.names && strcmp(copy.names[2], NAMES[2]) == 0 && strcmp(copy.label, "y") == 0);
    cr_assert_str_eq(copy.ignored[0], NAMES[1]);
    schema_fini(&copy);
    ASSERT_NO_LEAKS();
}

Test(schema, labels_by_name)
{
    static const char *const YES[] = {"label", "Label", "TARGET", "class", "y", "Y"};
    static const char *const NO[] = {"", "labels", "y1", "yy", " y", "classes"};
    char text[SCHEMA_LABEL_TEXT_BYTES], name[200] = "";
    for (size_t i = 0; i < ARRAY_LEN(YES); i++)
        cr_assert(schema_names_label(YES[i]) && !schema_names_label(NO[i]));
    cr_assert_str_eq(schema_label_text("y", 3, text), "column 'y'");
    cr_assert_str_eq(schema_label_text(NULL, 3, text), "column 3");
    memset(name, 'n', sizeof name - 1);
    cr_assert_not_null(strstr(schema_label_text(name, 0, text), "nnn...'"), "%s", text);
}
