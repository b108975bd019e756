/* Columns of a CSV file: headers, the label, ignored columns, and files that are matched with the schema of a model or
 * of training data. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "common/base/text.h"
#include "common/base/util.h"
#include "tests/unit/support/leaks.h"
#include "worker/data/data.h"

static dp_err parse(struct data_source source, const char *text, struct data *ret_data, dp_error *err)
{
    source.path = "f";
    return data_parse(&source, text, strlen(text), NULL, 0, ret_data, err);
}

static struct data must_parse(struct data_source source, const char *text)
{
    struct data data = {0};
    dp_error err = {0};
    cr_assert_eq(parse(source, text, &data, &err), DP_OK, "%s: %s", text, err.text);
    return data;
}

static void assert_bad(struct data_source source, const char *text, const char *says)
{
    struct data data = {0};
    dp_error err = {0};
    cr_assert_eq(parse(source, text, &data, &err), DP_DATA, "%s was accepted", text);
    cr_assert_not_null(strstr(err.text, says), "'%s' does not say '%s'", err.text, says);
}

/* Frees the data. */
static void assert_rows(struct data *data, uint64_t features, const float *labels, const float *values,
                        const char *note)
{
    cr_assert_eq(data->features, features);
    cr_assert_arr_eq(data->labels, labels, data->rows * sizeof *labels);
    cr_assert_arr_eq(data->values, values, data->rows * features * sizeof *values);
    if (note)
        cr_assert(data->note && strstr(data->note, note), "'%s' does not say '%s'", data->note, note);
    else
        cr_assert_null(data->note, "%s", data->note);
    data_fini(data);
}

/* ---- the label ---- */

/* Rows of columns of these kinds: w a whole number below 3, c a word of three, i the number of the row, f a fraction.
 */
static const char *made(const char *kinds, int rows)
{
    static char text[8192];
    size_t at = 0;
    text[0] = '\0';
    for (int r = 0; r < rows; r++)
        for (const char *kind = kinds; *kind; kind++) {
            const char *end = kind[1] ? "," : "\n";
            if (*kind == 'f')
                (void)str_append(text, sizeof text, &at, "%d.25%s", r, end);
            else
                (void)str_append(text, sizeof text, &at, "%s%d%s", *kind == 'c' ? "c" : "", *kind == 'i' ? r : r % 3,
                                 end);
        }
    return text;
}

/* Without a header, classes are the one column that is not of fractions, wherever it stands; else it is asked for. */
Test(label, stands_out_where_there_is_no_header)
{
    const struct data_source classes = {.label_use = LABEL_CLASSES};
    static const struct {
        const char *kinds;
        uint64_t at;
    } CASES[] = {{"wff", 0}, {"ffw", 2}, {"fcf", 1}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct data_source source = classes;
        source.header = strchr(CASES[i].kinds, 'c') ? DATA_HEADER_OFF : DATA_HEADER_AUTO;
        struct data data = must_parse(source, made(CASES[i].kinds, 30));
        cr_assert_eq(data.label_at, CASES[i].at);
        cr_assert_eq(data.features, 2);
        cr_assert_eq(data.label_set->labels.count, 3);
        cr_assert_not_null(strstr(data.note, "f has no header; the label is taken to be column"), "%s", data.note);
        data_fini(&data);
    }
    static const char ASK[] = "has no header that would say which of its";
    assert_bad(classes, made("wfw", 30), ASK);
    assert_bad(classes, made("ff", 30), ASK);
    assert_bad(classes, made("iff", 30), ASK); /* each value once: an index */
    assert_bad(classes, made("wff", 9), ASK);  /* too few to tell */
    assert_bad((struct data_source){.label_use = LABEL_VALUES}, made("wff", 30), ASK);
    ASSERT_NO_LEAKS();
}

Test(label, is_the_one_column_that_is_named_so)
{
    static const char *const NAMES[] = {"label", "Label", "target", "TARGET", "class", "Class", "y", "Y"};
    static const float LABELS[] = {3, 6}, VALUES[] = {1, 2.5f, 4, 5};
    for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
        char text[80];
        snprintf(text, sizeof text, "a,b,%s\n1,2.5,3\n4,5,6\n", NAMES[i]);
        struct data data = must_parse((struct data_source){0}, text);
        cr_assert_eq(data.label_at, 2);
        cr_assert_str_eq(data.schema.label, NAMES[i]);
        cr_assert_str_eq(data.schema.names[1], "b");
        cr_assert(data.schema.format == SCHEMA_CSV && data.schema.count == 2 && data.schema.fields == 3);
        assert_rows(&data, 2, LABELS, VALUES, NULL);
    }
    ASSERT_NO_LEAKS();
}

Test(label, is_asked_for_where_it_is_not_said)
{
    assert_bad((struct data_source){0}, "a,b,c\n1,2,3\n", "no column is named label, target, class or y");
    assert_bad((struct data_source){0}, "a,b,c\n1,2,3\n", "--label-column ('a', 'b', 'c')");
    assert_bad((struct data_source){0}, "y,b,Label\n1,2,3\n", "column 0 ('y') and column 2 ('Label') may both be");
    assert_bad((struct data_source){0}, "1,2.5,3\n4,5,6\n", "has no header that would say which of its 3 columns");
    assert_bad((struct data_source){0}, "1,2.5,3\n4,5,6\n", "--label-column N, 0 for the first, -1 for the last");
    struct data data = must_parse((struct data_source){.label_column = "Label"}, "y,b,Label\n1,2,3\n");
    assert_rows(&data, 2, (const float[]){3}, (const float[]){1, 2}, NULL);
    ASSERT_NO_LEAKS();
}

/* ---- the header ---- */

Test(header, that_may_be_data_is_asked_for)
{
    static const struct {
        const char *text, *says;
    } CASES[] = {
        {"0,1,2\n1.5,2,0\n", "f:1: the first row, '0' and so on, numbers the columns: is it a header or data?"},
        {"0,1\n1.5,2\n", "numbers the columns"},
        {"2001,2002,2003\n1,2,3\n", "numbers the columns"},
        {"400.5,401,401.5,402\n1,2,3,4\n", "numbers the columns"},
        {"1.5,2.O,3\n4,5,6\n", "such as '2.O' (column 1) and '1.5' (column 0)"},
        {"1.5,l2,3\n4,5,6\n", "--header on to take the row as names, --header off"},
        {"0,1,label\n4,5,6\n", "'label' (column 2)"},
        {"5.1,3.5,Iris-setosa\n4,5,Iris-setosa\n", "or --label-column if the word is the label"},
        {",0,1,2\n0,4,5,6\n", "the first row has no name for column 0 and numbers the others"},
        {",a,b,y\n0,4,5,6\n", "f:1: column 0 ('') has no name (an index column, as pandas and R write it?)"},
        {"\"\",\"a\",\"y\"\n0,4,5\n", "--ignore-columns 0"},
        {"Unnamed: 0,a,y\n0,4,5\n", "column 0 ('Unnamed: 0') has no name"},
        {"a,,y\n0,4,5\n", "column 1 ('') has no name"},
        {"a,y,a\n0,4,5\n", "f:1: columns 0 and 2 are both named 'a'"},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++)
        assert_bad((struct data_source){0}, CASES[i].text, CASES[i].says);
    /* a word in the label's column, where the rows have numbers there */
    assert_bad((struct data_source){.label_column = "-1"}, "4.5,7,label\n4,5,6\n", "'label' (column 2) and '4.5'");
    ASSERT_NO_LEAKS();
}

/* Two fields are 0 and 1 by chance where the others are such as well. */
Test(header, that_is_data)
{
    struct data data = must_parse((struct data_source){.label_column = "0"}, "0,1\n1,0\n");
    cr_assert_eq(data.rows, 2);
    data_fini(&data);
    data = must_parse((struct data_source){.label_column = "0"}, "1,2,4\n1,0,7\n");
    cr_assert_eq(data.rows, 2);
    data_fini(&data);
}

Test(header, is_what_the_option_says)
{
    struct data_source source = {.header = DATA_HEADER_ON, .label_column = "2"};
    static const float LABELS[] = {2, 6}, VALUES[] = {0, 1, 4, 5};
    struct data data = must_parse(source, "0,1,2\n4,5,6\n");
    cr_assert_str_eq(data.schema.names[1], "1");
    assert_rows(&data, 2, LABELS + 1, VALUES + 2, NULL);
    data = must_parse(source, "0,1.O,2\n4,5,6\n");
    assert_rows(&data, 2, LABELS + 1, VALUES + 2, NULL);
    source.header = DATA_HEADER_OFF;
    data = must_parse(source, "0,1,2\n4,5,6\n");
    cr_assert(!data.schema.names && !data.schema.label && data.schema.fields == 3 && data.schema.label_at == 2);
    assert_rows(&data, 2, LABELS, VALUES, NULL);
    assert_bad(source, "0,1.O,2\n4,5,6\n", "f:1: column 1: '1.O' is not a number");
    assert_bad((struct data_source){.header = DATA_HEADER_ON}, "1 1:2\n", "--header is for CSV files");
    ASSERT_NO_LEAKS();
}

/* Latin-1, a line break, a quote: names that can be stored and found again. */
Test(header, names_are_text)
{
    struct data data = must_parse((struct data_source){0}, "gr\xf6\xdf"
                                                           "e,\"a\n\"\"b\",\xc3\xa9,y\n1,2,4,0\n");
    cr_assert_str_eq(data.schema.names[0], "gr\\xf6\\xdfe");
    cr_assert_str_eq(data.schema.names[1], "a\\x0a\"b");
    cr_assert_str_eq(data.schema.names[2], "\xc3\xa9");
    data_fini(&data);
    char text[1200] = "y,";
    memset(text + 2, 'x', 500);
    text[502] = ',';
    memset(text + 503, 'x', 501);
    strcpy(text + 1004, "\n1,2,4\n");
    data = must_parse((struct data_source){0}, text);
    cr_assert_leq(strlen(data.schema.names[0]), SCHEMA_NAME_BYTES_MAX);
    cr_assert_neq(strcmp(data.schema.names[0], data.schema.names[1]), 0, "a hash keeps long names apart");
    data_fini(&data);
    ASSERT_NO_LEAKS();
}

/* ---- columns that are not read ---- */

Test(ignored, columns_may_have_any_text)
{
    static const float LABELS[] = {3, 6}, VALUES[] = {1, 4};
    static const struct {
        const char *ignore, *text;
    } CASES[] = {
        {"id", "id,a,y\nx1,1,3\n,4,6\n"},
        {"0", ",a,y\n0,1,3\n1,4,6\n"},
        {"-2, id", "a,id,b,y\n1,,7,3\n4,,8,6\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct data data = must_parse((struct data_source){.ignore = CASES[i].ignore}, CASES[i].text);
        cr_assert_gt(data.schema.ignored_count, 0);
        assert_rows(&data, 1, LABELS, VALUES, NULL);
    }
    struct data data = must_parse((struct data_source){.ignore = "0", .label_column = "2"}, "9,1,3\n8,4,6\n");
    cr_assert_str_eq(data.schema.ignored[0], "0");
    assert_rows(&data, 1, LABELS, VALUES, NULL);
    assert_bad((struct data_source){.ignore = "z"}, "a,y\n1,2\n", "--ignore-columns: 'z' is none of its 2 columns");
    assert_bad((struct data_source){.ignore = "y", .label_column = "y"}, "a,y\n1,2\n", "column 1 ('y') is the label");
    assert_bad((struct data_source){.ignore = "a"}, "a,y\n1,2\n", "none of its 2 columns is a feature");
    ASSERT_NO_LEAKS();
}

/* All fields but one are empty: the text is shorter than its fields are many. */
Test(ignored, rows_may_be_nearly_empty)
{
    char text[4096] = "y,a";
    for (int i = 0; i < 20; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), ",i%d", i);
    for (int r = 0; r < 50; r++)
        strcat(text, "\n1,2,,,,,,,,,,,,,,,,,,,,");
    char ignore[100] = "2";
    for (int i = 3; i < 22; i++)
        snprintf(ignore + strlen(ignore), sizeof ignore - strlen(ignore), ",%d", i);
    struct data data = must_parse((struct data_source){.ignore = ignore}, text);
    cr_assert(data.rows == 50 && data.features == 1 && data.values[49] == 2);
    data_fini(&data);
}

Test(index, a_feature_that_counts_the_rows_is_told)
{
    char text[400] = "id,a,y\n";
    for (int r = 0; r < 12; r++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%d,%d,1\n", r, r * r);
    struct data data = must_parse((struct data_source){0}, text);
    cr_assert(data.note && strstr(data.note, "column 'id' of f, a feature, counts the rows"), "%s", data.note);
    data_fini(&data);
    data = must_parse((struct data_source){.label_column = "2"}, strchr(text, '\n') + 1);
    cr_assert(data.note && strstr(data.note, "column 0 of f"), "%s", data.note);
    data_fini(&data);
    data = must_parse((struct data_source){.ignore = "id"}, text);
    cr_assert_null(data.note);
    data_fini(&data);
    ASSERT_NO_LEAKS();
}

/* ---- for a schema ---- */

static char *X[] = {"x1", "x2"};
static const struct schema NAMED = {
    .format = SCHEMA_CSV, .count = 2, .names = X, .label = "t", .fields = 3, .label_at = 2};
static const struct schema NUMBERED = {.format = SCHEMA_CSV, .count = 2, .fields = 3, .label_at = 2};
static const struct schema LIBSVM = {.format = SCHEMA_LIBSVM, .count = 2, .label_at = SCHEMA_NO_LABEL};
static const struct schema OLD = {.count = 2, .label_at = SCHEMA_NO_LABEL};

static const float T[] = {3, 6}, ZERO[] = {0, 0}, X12[] = {1, 2, 4, 5.5f};

static struct data_source source_for(const struct schema *want)
{
    return (struct data_source){.want = want, .want_of = "the model m", .extra_option = true};
}

Test(match, by_name_in_any_order)
{
    static const char *const FILES[] = {"x1,x2,t\n1,2,3\n4,5.5,6\n", "x2,x1,t\n2,1,3\n5.5,4,6\n",
                                        "t,x2,x1\n3,2,1\n6,5.5,4\n"};
    for (size_t i = 0; i < ARRAY_LEN(FILES); i++) {
        struct data data = must_parse(source_for(&NAMED), FILES[i]);
        cr_assert_str_eq(data.schema.names[0], "x1");
        assert_rows(&data, 2, T, X12, NULL);
    }
    assert_bad(source_for(&NAMED), "x1,t\n1,2\n", "f: lacks 1 column of the model m: 'x2'");
    assert_bad(source_for(&NAMED), "a,b,t\n1,2,3\n", "lacks 2 columns of the model m: 'x1', 'x2'");
    assert_bad(source_for(&NAMED), "x1,x2,x1,t\n1,2,3,4\n", "columns 0 and 2 are both named 'x1'");
    assert_bad(source_for(&NAMED), "t,x1,x2,t\n1,2,3,4\n", "columns 0 and 3 are both named 't'");
    assert_bad(source_for(&NAMED), "x1,x2,y\n1,2,3\n", "f: has no column 't', the label of the model m");
    ASSERT_NO_LEAKS();
}

Test(match, columns_that_the_model_lacks)
{
    static const char TEXT[] = "x1,z,x2,t,w\n1,a,2,3,\n4,b,5.5,6,\n";
    struct data_source source = source_for(&NAMED);
    assert_bad(source, TEXT, "f:1: column 1 ('z') is not among the columns of the model m; --extra-features ignore");
    source.extra_ignored = true;
    struct data data = must_parse(source, TEXT);
    assert_rows(&data, 2, T, X12, "2 columns of f that the model m lacks are passed over: 'z', 'w'");
    data = must_parse(source, "x1,z,z,x2,t\n1,a,b,2,3\n4,c,d,5.5,6\n"); /* twice, but not read */
    data_fini(&data);
    struct schema want = NAMED;
    want.ignored = (char *[]){"z", "w"};
    want.ignored_count = 2;
    data = must_parse(source_for(&want), TEXT);
    assert_rows(&data, 2, T, X12, NULL);
    source = source_for(&NAMED);
    source.ignore = "z,4";
    data = must_parse(source, TEXT);
    assert_rows(&data, 2, T, X12, NULL);
    source.ignore = "0"; /* an index of the training data, that is not here */
    data = must_parse(source, "x1,x2,t\n1,2,3\n4,5.5,6\n");
    assert_rows(&data, 2, T, X12, NULL);
    source.ignore = "x1";
    assert_bad(source, "x1,x2,t\n1,2,3\n",
               "lacks 1 column of the model m: 'x1' (left out by --ignore-columns) (its columns:");
    source = source_for(&NAMED);
    source.label_column = "x2";
    assert_bad(source, "x1,x2\n1,2\n", "lacks 1 column of the model m: 'x2' (taken as the label) (its columns:");
    ASSERT_NO_LEAKS();
}

Test(match, rows_without_a_label)
{
    struct data_source source = source_for(&NAMED);
    source.label_optional = true;
    struct data data = must_parse(source, "x2,x1\n2,1\n5.5,4\n");
    cr_assert_eq(data.label_at, SCHEMA_NO_LABEL);
    assert_rows(&data, 2, ZERO, X12, "f has no column 't', so its rows are taken as without labels");
    source.unlabelled = true;
    data = must_parse(source, "x2,t,x1\n2,?,1\n5.5,?,4\n");
    assert_rows(&data, 2, ZERO, X12, NULL);
    source = source_for(&NUMBERED);
    assert_bad(source, "1,2\n4,5.5\n", "has 2 columns, but the model m was trained with 3, the label (column 2) among");
    source.label_optional = true;
    data = must_parse(source, "1,2\n4,5.5\n");
    assert_rows(&data, 2, ZERO, X12, "one column less");
    assert_bad(source, "a,y\n1,2\n", "has 2 columns, but the model m was trained with 3");
    source = source_for(&LIBSVM);
    source.label_optional = true;
    data = must_parse(source, "1,2\n4,5.5\n");
    assert_rows(&data, 2, ZERO, X12, "as many columns as the model m has features");
    ASSERT_NO_LEAKS();
}

Test(match, by_place_of_a_headerless_model)
{
    struct data_source source = source_for(&NUMBERED);
    struct data data = must_parse(source, "1,2,3.5\n4,5.5,6\n");
    assert_rows(&data, 2, (const float[]){3.5f, 6}, X12, NULL);
    data = must_parse(source, "a,b,c\n1,2,3\n4,5.5,6\n");
    assert_rows(&data, 2, T, X12, "the model m stores no column names, so the columns of f are taken in their order");
    assert_bad(source, "y,b,c\n1,2,3\n", "column 0 ('y') is named like a label, and that of the model m is column 2");
    assert_bad(source, "1,2,3,7\n", "has 4 columns, but the model m was trained with 3");
    source.label_column = "0";
    data = must_parse(source, "3,1,2\n6,4,5.5\n");
    assert_rows(&data, 2, T, X12, NULL);
    struct schema want = NUMBERED; /* of rows with an index in front */
    want.ignored = (char *[]){"0"};
    want.ignored_count = 1;
    want.fields = 4;
    want.label_at = 3;
    data = must_parse(source_for(&want), "1,4,5.5,6\n9,4,5,6\n");
    assert_rows(&data, 2, (const float[]){6, 6}, (const float[]){4, 5.5f, 4, 5}, NULL);
    source = source_for(&want);
    source.label_optional = true;
    assert_bad(source, "1,2,3.5\n", "has 3 columns, but the model m was trained with 4");
    want.ignored = (char *[]){"3"}; /* behind, of rows that begin with the label */
    want.label_at = 0;
    source = source_for(&want);
    source.unlabelled = true;
    data = must_parse(source, "1,2,9\n4,5.5,8\n");
    assert_rows(&data, 2, ZERO, X12, NULL);
    ASSERT_NO_LEAKS();
}

Test(match, a_file_without_a_header_for_a_model_with_names)
{
    struct data_source source = source_for(&NAMED);
    assert_bad(source, "1,2,3.5\n4,5.5,6\n", "has no header, and the model m knows its columns by name");
    assert_bad(source, "1,2,3.5\n4,5.5,6\n", "--header off to take the columns in their order");
    source.header = DATA_HEADER_OFF;
    struct data data = must_parse(source, "1,2,3\n4,5.5,6\n");
    cr_assert_str_eq(data.schema.names[0], "x1");
    assert_rows(&data, 2, T, X12, "the columns of f are taken in their order for 'x1' to 'x2' of the model m");
    ASSERT_NO_LEAKS();
}

Test(match, names_that_are_numbers_are_found)
{
    struct schema want = NAMED;
    want.names = (char *[]){"0", "1"};
    want.label = "2";
    struct data data = must_parse(source_for(&want), "1,0,2\n2,1,3\n5.5,4,6\n");
    assert_rows(&data, 2, T, X12, NULL);
}

Test(match, idx_is_scaled_and_others_are_not)
{
    struct schema images = LIBSVM;
    images.format = SCHEMA_IDX;
    struct data data = must_parse(source_for(&images), "3 1:1 2:2\n");
    cr_assert(data.note && strstr(data.note, "f is libsvm, and the model m is not; bytes of IDX are scaled"));
    data_fini(&data);
    data = must_parse(source_for(&images), "x1,x2,y\n1,2,3\n4,5.5,6\n");
    assert_rows(&data, 2, T, X12, "bytes of IDX are scaled by 1/255");
    data = must_parse(source_for(&LIBSVM), "3 1:1 2:2\n");
    cr_assert_null(data.note, "%s", data.note);
    data_fini(&data);
    ASSERT_NO_LEAKS();
}

Test(match, formats_that_differ)
{
    struct data data = must_parse(source_for(&NAMED), "3 1:1 2:2\n");
    cr_assert(data.note && strstr(data.note, "which is libsvm, are taken in their order for 'x1' to 'x2'"));
    data_fini(&data);
    data = must_parse(source_for(&LIBSVM), "x1,x2,y\n1,2,3\n4,5.5,6\n");
    assert_rows(&data, 2, T, X12, "stores no column names");
    assert_bad(source_for(&LIBSVM), "x1,x2,x3,y\n1,2,3,4\n", "has 3 features, but the model m has 2");
    assert_bad(source_for(&OLD), "1,2,3.5\n4,5.5,6\n", "give --label-column N");
    struct data_source source = source_for(&OLD);
    source.label_column = "-1";
    data = must_parse(source, "1,2,3.5\n4,5.5,6\n");
    data_fini(&data);
    ASSERT_NO_LEAKS();
}

Test(match, libsvm_indices_that_the_model_lacks)
{
    struct data_source source = source_for(&LIBSVM);
    source.features = 2;
    assert_bad(source, "1 1:1\n0 2:1 7:1 9:3\n", "f:2: index 7, but the model m has 2 features");
    assert_bad(source, "1 1:1\n0 2:1 7:1 9:3\n", "--extra-features ignore");
    source.extra_ignored = true;
    struct data data = must_parse(source, "1 1:1\n0 2:1 7:1 9:3\n1 5:1\n");
    const uint64_t row_at[] = {0, 1, 2, 2};
    cr_assert(data.features == 2 && data.rows == 3);
    cr_assert_arr_eq(data.row_at, row_at, sizeof row_at);
    cr_assert_str_eq(data.note, "3 entries of f with an index above 2 are passed over");
    data_fini(&data);
    assert_bad(source, "1 1:1 9:x\n", "'x' of index 9 is not a number");
    ASSERT_NO_LEAKS();
}
