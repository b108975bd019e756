/* Labels: what is a number and what a word, order, texts and lists. Readers: test_data.c. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "common/tensor/label_list.h"
#include "tests/unit/support/leaks.h"

Test(label, numbers)
{
    static const struct {
        const char *text;
        double value;
    } CASES[] = {{"0", 0},
                 {"-0", 0},
                 {"+1", 1},
                 {"1.", 1},
                 {".5", 0.5},
                 {"1e3", 1000},
                 {"-2E-1", -0.2},
                 {"0.1", 0.1},
                 {"0.1000000000000000055511151231257827", 0.1},
                 {"0.10000000000000000000000000", 0.1},
                 {"0.30000000000000004", 0.1 + 0.2},
                 {"16777217", 16777217},
                 {"9007199254740992", 0x1p53},
                 {"9007199254740994", 0x1p53 + 2},
                 {"18446744073709551616", 0x1p64},
                 {"-0018446744073709551616", -0x1p64},
                 {"-9007199254740992", -0x1p53},
                 {"1e22", 1e22},
                 {"1.7976931348623157e308", 1.7976931348623157e308},
                 {"5e-324", 5e-324}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct label_token token;
        const char *fault = label_read(CASES[i].text, strlen(CASES[i].text), &token);
        cr_assert_null(fault, "%s %s", CASES[i].text, fault);
        cr_assert(!token.word && token.value == CASES[i].value && !signbit(token.value - CASES[i].value), "%s is %.17g",
                  CASES[i].text, token.value);
        cr_assert(token.n == strlen(CASES[i].text) && token.at == CASES[i].text);
    }
}

/* A whole number that no double holds is a word, however it begins. */
Test(label, words)
{
    static const char *const CASES[][2] = {
        {"yes", "yes"},
        {"1e", "1e"},
        {"0x1p3", "0x1p3"},
        {"1,5", "1,5"},
        {"1 2", "1 2"},
        {"nano", "nano"},
        {"-", "-"},
        {"e5", "e5"},
        {"9007199254740993", "9007199254740993"},
        {"+009007199254740993", "9007199254740993"},
        {"-9007199254740993", "-9007199254740993"},
        {"18446744073709551615", "18446744073709551615"},
        {"9007199254740994000", "9007199254740994000"},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct label_token token;
        cr_assert_null(label_read(CASES[i][0], strlen(CASES[i][0]), &token), "%s", CASES[i][0]);
        cr_assert(token.word && token.value == 0, "%s", CASES[i][0]);
        cr_assert(token.n == strlen(CASES[i][1]) && memcmp(token.at, CASES[i][1], token.n) == 0, "%s", CASES[i][0]);
    }
}

Test(label, faults)
{
    static const char *const CASES[][2] = {{"", "is empty"},
                                           {"NaN", "is not a finite"},
                                           {"-inf", "is not a finite"},
                                           {"n/a", "is not a finite"},
                                           {"1e309", "is too large"},
                                           {"1e-330", "has more digits"},
                                           {"9007199254740993.0", "has more digits"},
                                           {"9007199254740993e0", "has more digits"},
                                           {"a\tb", "has characters"},
                                           {"\xe9t\xe9", "has characters"}};
    struct label_token token;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        const char *fault = label_read(CASES[i][0], strlen(CASES[i][0]), &token);
        cr_assert(fault && strncmp(fault, CASES[i][1], strlen(CASES[i][1])) == 0, "%s %s", CASES[i][0], fault);
    }
    char many[LABEL_TEXT_MAX + 1];
    memset(many, '1', sizeof many);
    cr_assert_not_null(label_read(many, sizeof many, &token));
    cr_assert_null(label_read(many, sizeof many - 1, &token));
}

Test(label, numbers_in_few_digits)
{
    static const struct {
        double value;
        const char *text;
    } CASES[] = {{0, "0"},
                 {-1, "-1"},
                 {0.1, "0.1"},
                 {1.0 / 3, "0.3333333333333333"},
                 {16777217, "16777217"},
                 {1e15, "1e+15"},
                 {1e14, "100000000000000"},
                 {0x1p53, "9007199254740992"},
                 {2.5e-7, "2.5e-07"}};
    char buf[LABEL_NUMBER_CHARS];
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++)
        cr_assert_str_eq(label_number_text(CASES[i].value, buf), CASES[i].text);
}

Test(label, what_json_takes_for_a_number)
{
    static const char *const YES[] = {"0", "-1", "10", "0.5", "1.0", "1e5", "-2.5E+07"};
    static const char *const NO[] = {"", "+1", "01", "1.", ".5", "-", "1e", "1e+", "0x1", "yes"};
    for (size_t i = 0; i < ARRAY_LEN(YES); i++)
        cr_assert(label_json_number(YES[i]), "%s", YES[i]);
    for (size_t i = 0; i < ARRAY_LEN(NO); i++)
        cr_assert(!label_json_number(NO[i]), "%s", NO[i]);
}

static struct label_list list_of(const char *text)
{
    struct label_list labels = {0};
    dp_error err = {0};
    cr_assert_eq(label_list_parse(text, &labels, &err), DP_OK, "%s: %s", text, err.text);
    return labels;
}

/* Given, in order, and as it is written again. */
Test(label_list, order_and_text)
{
    static const char *const CASES[][3] = {
        {"b,10,a,9,-1", "-1, 9, 10, a, b", "-1,9,10,a,b"},
        {" no , yes ", "no, yes", "no,yes"},
        {"\"a,b\", \"c \"\"d\"\"\"", "a,b, c \"d\"", "\"a,b\",\"c \"\"d\"\"\""},
        {"True,False", "False, True", "False,True"},
        {"+1,-1", "-1, +1", "-1,+1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct label_list labels = list_of(CASES[i][0]);
        char show[LABEL_LIST_TEXT];
        label_list_sort(&labels);
        cr_assert(label_list_ascends(&labels));
        cr_assert_str_eq(label_list_show(&labels, show), CASES[i][1]);
        AUTOFREE char *text = label_list_text(&labels);
        cr_assert_str_eq(text, CASES[i][2]);
        struct label_list again = list_of(text);
        cr_assert(label_list_same(&labels, &again));
        for (size_t k = 0; k < labels.count; k++)
            cr_assert_eq(label_list_find(&labels, &again.list[k]), (ptrdiff_t)k);
        label_list_fini(&labels);
        label_list_fini(&again);
    }
    ASSERT_NO_LEAKS();
}

Test(label_list, what_is_no_list)
{
    static const char *const CASES[] = {"", "a,", ",a", "a,,b", "a,nan", "\"a", "\"a\"b,c", "a,\x01"};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct label_list labels = {0};
        dp_error err = {0};
        cr_assert_eq(label_list_parse(CASES[i], &labels, &err), DP_RANGE, "%s", CASES[i]);
        cr_assert(err.text[0] && !labels.list);
    }
    ASSERT_NO_LEAKS();
}

/* A list has no rows to remove. */
Test(label_list, faults_of_a_list_have_remedies_for_lists)
{
    static const char *const CASES[][2] = {
        {"a,,b", "a label of the list is empty; put one comma between two labels"},
        {"a,", "a label of the list is empty; put one comma between two labels"},
        {"a,nan", "'nan' stands for a missing value and is no label; leave it out"},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct label_list labels = {0};
        dp_error err = {0};
        cr_assert_eq(label_list_parse(CASES[i][0], &labels, &err), DP_RANGE);
        cr_assert_str_eq(err.text, CASES[i][1]);
    }
    ASSERT_NO_LEAKS();
}

Test(label_list, many_are_shown_in_part)
{
    struct label_list labels = {0};
    dp_error err = {0};
    double values[1000];
    char show[LABEL_LIST_TEXT];
    for (int i = 0; i < 1000; i++)
        values[i] = i;
    cr_assert_eq(label_list_take(values, NULL, 1000, &labels, &err), DP_OK);
    label_list_show(&labels, show);
    cr_assert(strncmp(show, "0, 1, 2, ", 9) == 0 && strcmp(show + strlen(show) - 5, ", ...") == 0, "%s", show);
    cr_assert(!label_list_has_texts(&labels) && !label_list_has_words(&labels));
    label_list_fini(&labels);
    ASSERT_NO_LEAKS();
}

Test(label_list, from_the_wire)
{
    struct label_list labels = {0};
    dp_error err = {0};
    const char *const texts[] = {"no", "+1"}, *const holes[] = {"no", "nan"};
    cr_assert_eq(label_list_take(NULL, texts, 2, &labels, &err), DP_OK);
    cr_assert(label_list_has_texts(&labels) && label_list_has_words(&labels) && labels.list[1].value == 1);
    label_list_fini(&labels);
    cr_assert_eq(label_list_take(NULL, texts + 1, 1, &labels, &err), DP_OK);
    cr_assert(label_list_has_texts(&labels) && !label_list_has_words(&labels));
    label_list_fini(&labels);
    cr_assert_eq(label_list_take(NULL, holes, 2, &labels, &err), DP_RANGE);
    cr_assert_eq(label_list_take((double[]){1, (double)NAN}, NULL, 2, &labels, &err), DP_RANGE);
    ASSERT_NO_LEAKS();
}
