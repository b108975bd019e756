/* The readers of data files: what they read, and what they say of files that are wrong. */
#include <criterion/criterion.h>

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>

#include "data.h"
#include "data_parse.h"
#include "files.h"
#include "leaks.h"

static dp_err parse(struct data_source source, const char *text, struct data *ret_data, dp_error *err)
{
    source.path = "f";
    return data_parse(&source, text, strlen(text), NULL, 0, ret_data, err);
}

static struct data must_parse(struct data_source source, const char *text)
{
    struct data data = {0};
    dp_error err = {0};
    cr_assert_eq(parse(source, text, &data, &err), DP_OK, "%s", err.text);
    return data;
}

/* number */

static float number(const char *text)
{
    float v = -77;
    const char *after = number_scan(text, text + strlen(text), &v);
    cr_assert_not_null(after, "%s", text);
    cr_assert_eq(*after, '\0', "%s", text);
    return v;
}

static void assert_bits(float a, float b, const char *text)
{
    cr_assert(memcmp(&a, &b, sizeof a) == 0, "%s: %a is not %a", text, (double)a, (double)b);
}

Test(number, equals_strtof_on_hard_cases)
{
    static const char *const CASES[] = {"0",
                                        "-0",
                                        "+0",
                                        "0e99999999999",
                                        "1",
                                        "-1",
                                        "+1",
                                        "1.",
                                        ".5",
                                        "-.5e1",
                                        "1e0",
                                        "1E+2",
                                        "1e-2",
                                        "007",
                                        "3.14159",
                                        "0.1",
                                        "0.3",
                                        "16777216",
                                        "16777217",
                                        "16777219",
                                        "33554435",
                                        "9007199254740993",
                                        "1.00000005960464477539",
                                        "1.000000059604644775390625",
                                        "1.0000000596046447753906250000000000000000000000000001",
                                        "1.0000001788139343261718749999999999999999999999999999",
                                        "1.1754943508222875e-38",
                                        "1.1754942e-38",
                                        "1e-45",
                                        "7.0064923216240853546186479164495806564013097093825788587853e-46",
                                        "7.0064923216240854e-46",
                                        "1e-46",
                                        "1e-99",
                                        "3.4028234663852886e38",
                                        "3.40282356e38",
                                        "340282346638528859811704183484516925440",
                                        "123456789012345678901",
                                        "0.000000000000000000000000000000000000000000001",
                                        "8388608.5",
                                        "8388609.5",
                                        "4194304.25",
                                        "1e22",
                                        "1e23",
                                        "9007199254740992e22",
                                        "0.00000000000000000000001",
                                        "12345678901234567e-5",
                                        "2.2250738585072014e-308"};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        assert_bits(number(CASES[i]), strtof(CASES[i], NULL), CASES[i]);
}

Test(number, equals_strtof_on_many)
{
    uint64_t state = 88172645463325252u;
    char text[64];
    for (int i = 0; i < 300000; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        int32_t bits = (int32_t)state;
        float f;
        memcpy(&f, &bits, sizeof f);
        if (!isfinite(f))
            continue;
        snprintf(text, sizeof text, i % 3 == 0 ? "%.6g" : i % 3 == 1 ? "%.9g" : "%.17g", (double)f);
        assert_bits(number(text), strtof(text, NULL), text);
        /* Midpoints between floats, and their neighbours. */
        double middle = (double)f + ((double)nextafterf(f, INFINITY) - (double)f) / 2;
        if (!isfinite((float)middle))
            continue;
        snprintf(text, sizeof text, "%.*g", 9 + i % 9, middle);
        assert_bits(number(text), strtof(text, NULL), text);
        snprintf(text, sizeof text, "%.*f", i % 12, (double)(int64_t)(state >> 40) / 1024.0);
        assert_bits(number(text), strtof(text, NULL), text);
    }
}

Test(number, refuses_what_is_no_finite_number)
{
    static const char *const CASES[] = {"",
                                        "-",
                                        "+",
                                        ".",
                                        "e5",
                                        "-e5",
                                        "nan",
                                        "NaN",
                                        "inf",
                                        "-Infinity",
                                        "1e39",
                                        "3.4028236e38",
                                        "-1e400",
                                        "x",
                                        " 1",
                                        "--1",
                                        "1e99999999999999999999"};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        float v = 5;
        cr_assert_null(number_scan(CASES[i], CASES[i] + strlen(CASES[i]), &v), "'%s'", CASES[i]);
        cr_assert_eq(v, 5.0f);
    }
    static const char *const ENDS_EARLY[] = {"0x10", "1e", "1e+", "1.2.3", "1,5", "1_000", "5f", "1 "};
    for (size_t i = 0; i < sizeof ENDS_EARLY / sizeof ENDS_EARLY[0]; i++) {
        float v;
        const char *text = ENDS_EARLY[i], *after = number_scan(text, text + strlen(text), &v);
        cr_assert(after && *after, "'%s'", text);
    }
}

Test(number, length_is_bounded)
{
    char text[NUMBER_CHARS_MAX + 2];
    memset(text, '3', sizeof text);
    memcpy(text, "0.", 2);
    float v = 0;
    cr_assert_not_null(number_scan(text, text + NUMBER_CHARS_MAX, &v));
    assert_bits(v, 1.0f / 3.0f, "1/3");
    cr_assert_null(number_scan(text, text + NUMBER_CHARS_MAX + 1, &v));
    cr_assert_not_null(strstr(number_fault(text, NUMBER_CHARS_MAX + 1), "400 characters"));
}

Test(number, is_free_of_the_locale)
{
    const char *const comma[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "C.UTF-8"};
    for (size_t i = 0; i < 4 && !setlocale(LC_ALL, comma[i]); i++)
        ;
    assert_bits(number("1.0000000596046447753906250000000000000000000000000001"), nextafterf(1, 2), "above the middle");
}

/* LIBSVM */

Test(libsvm, rows_columns_and_values)
{
    struct data data = must_parse((struct data_source){0},
                                  "+1 1:0.5 3:-2 \n\n# a comment\n-1\t2:1e-3\t# more 9:9\r\n \r\n0.25\n1 3:4");
    cr_assert_eq(data.rows, 4);
    cr_assert_eq(data.features, 3);
    cr_assert(data_is_sparse(&data));
    const float labels[] = {1, -1, 0.25f, 1}, values[] = {0.5f, -2, 1e-3f, 4};
    const uint64_t row_at[] = {0, 2, 3, 3, 4};
    const uint32_t columns[] = {0, 2, 1, 2};
    cr_assert_arr_eq(data.labels, labels, sizeof labels);
    cr_assert_arr_eq(data.values, values, sizeof values);
    cr_assert_arr_eq(data.row_at, row_at, sizeof row_at);
    cr_assert_arr_eq(data.columns, columns, sizeof columns);
    cr_assert_str_eq(data.name, "f");
    data_fini(&data);
    ASSERT_NO_LEAKS();
}

Test(libsvm, features_asked_for)
{
    struct data data = must_parse((struct data_source){.features = 9}, "1 2:1\n");
    cr_assert_eq(data.features, 9);
    data_fini(&data);
    data = must_parse((struct data_source){.features = 5, .format = DATA_LIBSVM}, "1 # only labels 1:1\n2\n");
    cr_assert_eq(data.row_at[2], 0);
    data_fini(&data);
    data = must_parse((struct data_source){.format = DATA_LIBSVM}, "\xef\xbb\xbf"
                                                                   "1 4294967295:1");
    cr_assert_eq(data.features, UINT32_MAX);
    data_fini(&data);
}

struct bad {
    const char *text;
    dp_err code;
    const char *says; /* the error's text begins with this */
};

static void assert_bad(struct data_source source, const struct bad *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct data data;
        memset(&data, 0x5a, sizeof data);
        struct data untouched = data;
        dp_error err = {0};
        dp_err e = parse(source, cases[i].text, &data, &err);
        cr_assert_eq(e, cases[i].code, "'%s': %s", cases[i].text, err.text);
        cr_assert_eq(err.code, e);
        cr_assert_eq(strncmp(err.text, cases[i].says, strlen(cases[i].says)), 0, "'%s': '%s' is not '%s'",
                     cases[i].text, err.text, cases[i].says);
        cr_assert_eq(memcmp(&data, &untouched, sizeof data), 0, "output touched on failure");
        cr_assert_eq(parse(source, cases[i].text, &data, NULL), e);
    }
    ASSERT_NO_LEAKS();
}

Test(libsvm, errors_name_the_line_and_what_to_do)
{
    static const struct bad CASES[] = {
        {"", DP_DATA, "f: is empty"},
        {"\n\n# x\n", DP_DATA, "f: has no rows"},
        {"1\n2\n", DP_DATA, "f: no row has a feature"},
        {"1 1:1\n1 0:3\n", DP_DATA, "f:2: index 0: LIBSVM indices begin with 1; add 1"},
        {"1 2:1 1:1\n", DP_DATA, "f:1: index 1 after 2: indices must be ascending"},
        {"1 2:1 2:1\n", DP_DATA, "f:1: index 2 after 2: an index may stand once"},
        {"1 1:x\n", DP_DATA, "f:1: the value 'x' of index 1 is not a number"},
        {"1 1:\n", DP_DATA, "f:1: the value '' of index 1 is empty"},
        {"1 1:nan\n", DP_DATA, "f:1: the value 'nan' of index 1 is not a finite number"},
        {"1 1:-inf\n", DP_DATA, "f:1: the value '-inf' of index 1 is not a finite number"},
        {"1 1:1e39\n", DP_DATA, "f:1: the value '1e39' of index 1 is too large"},
        {"1 1:1x\n", DP_DATA, "f:1: the value '1x' of index 1 is not a number"},
        {"1 1:2:3\n", DP_DATA, "f:1: the value '2:3' of index 1 is not a number"},
        {"nan 1:1\n", DP_DATA, "f:1: label 'nan' is not a finite number"},
        {"x 1:1\n", DP_DATA, "f:1: label 'x' is not a number"},
        {"1 1:1\n\n\n2:1 3:1\n", DP_DATA, "f:4: the line begins with '2:1', so its label is missing"},
        {"1,2 1:1\n", DP_DATA, "f:1: label '1,2': several labels"},
        {"1 qid:3 1:1\n", DP_DATA, "f:1: 'qid:3': query ids are for ranking"},
        {"1 3\n", DP_DATA, "f:1: '3' is not INDEX:VALUE"},
        {"1 -3:1\n", DP_DATA, "f:1: '-3:1' is not INDEX:VALUE"},
        {"1 :1\n", DP_DATA, "f:1: ':1' is not INDEX:VALUE"},
        {"1 a\x01\xff:1\n", DP_DATA, "f:1: 'a\\x01\\xff:1' is not INDEX:VALUE"},
        {"1 4294967296:1\n", DP_DATA, "f:1: '4294967296:1': the index is larger than 4294967295"},
        {"1 99999999999999999999999:1\n", DP_DATA, "f:1: '99999999999999999999999:1': the index is larger"},
    };
    assert_bad((struct data_source){.format = DATA_LIBSVM}, CASES, sizeof CASES / sizeof CASES[0]);
    static const struct bad WIDE[] = {
        {"1 1:1\n1 4:1\n", DP_DATA, "f:2: index 4, but there are 3 features; set --features"}};
    assert_bad((struct data_source){.features = 3}, WIDE, 1);
}

/* CSV */

static void assert_matrix(struct data *data, uint64_t rows, uint64_t features, const float *labels, const float *values)
{
    cr_assert_eq(data->rows, rows);
    cr_assert_eq(data->features, features);
    cr_assert(!data_is_sparse(data) && !data->columns);
    cr_assert_arr_eq(data->labels, labels, rows * sizeof *labels);
    cr_assert_arr_eq(data->values, values, rows * features * sizeof *values);
    cr_assert_eq((uintptr_t)data->values % 64, 0);
    data_fini(data);
}

Test(csv, forms_of_one_matrix)
{
    static const struct {
        const char *text, *label_column;
    } CASES[] = {
        {"1,2,3\n-4,5.5,6e1\n", NULL},
        {"1,2,3\r\n\r\n-4,5.5,6e1", NULL},
        {"\xef\xbb\xbf 1 , 2 ,3 \n\n\n-4,\t5.5,6e1\n\n", NULL},
        {"a,b,c\n1,2,3\n-4,5.5,6e1\n", NULL},
        {"a,label,c\n2,1,3\n5.5,-4,6e1\n", NULL},
        {"a,\"label\",c\n2,1,3\n5.5,-4,6e1\n", NULL},
        {"a,b,c\n2,3,1\n5.5,6e1,-4\n", "c"},
        {"a,label,c\n2,3,1\n5.5,6e1,-4\n", "-1"},
        {"a,b,\"the \"\"c\"\", or\nso\"\n2,3,1\n5.5,6e1,-4\n", "the \"c\", or\nso"},
        {"2,1,3\n5.5,-4,6e1\n", "1"},
        {"2,1,3\n5.5,-4,6e1\n", "-2"},
        {"1;2;3\n-4;5.5;6e1\n", NULL},
        {"1\t2\t3\n-4\t5.5\t6e1\n", NULL},
        {"\"1\",\"2\",\"3\"\n\"-4\", \"5.5\" ,\"6e1\"\r\n", NULL},
        {"x:y,\"a;b\",c\n1,2,3\n-4,5.5,6e1\n", NULL},
    };
    static const float LABELS[] = {1, -4}, VALUES[] = {2, 3, 5.5f, 60};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct data data = must_parse(
            (struct data_source){.label_column = CASES[i].label_column, .features = i % 2 ? 2 : 0}, CASES[i].text);
        assert_matrix(&data, 2, 2, LABELS, VALUES);
    }
    ASSERT_NO_LEAKS();
}

Test(csv, errors_name_line_and_column)
{
    static const struct bad CASES[] = {
        {"a,b\n", DP_DATA, "f: has a header and no rows"},
        {"\n \r\n", DP_DATA, "f: has no rows"},
        {"1\n2\n", DP_DATA, "f:1: one column only"},
        {"1,2\n3,x\n", DP_DATA, "f:2: column 1: 'x' is not a number"},
        {"1,2\nx,3\n", DP_DATA, "f:2: column 0, the label: 'x' is not a number"},
        {"a,b\n1,2\n3,x\n", DP_DATA, "f:3: column 1 ('b'): 'x' is not a number"},
        {"1,2\n3,\n", DP_DATA, "f:2: column 1: '' is empty"},
        {"1,,3\n", DP_DATA, "f:1: column 1: '' is empty"},
        {"1,nan\n", DP_DATA, "f:1: column 1: 'nan' is not a finite number"},
        {"1,2\n1,NA\n", DP_DATA, "f:2: column 1: 'NA' is not a finite number"},
        {"1,2\ninf,3\n", DP_DATA, "f:2: column 0, the label: 'inf' is not a finite number"},
        {"1,2\n1,1e39\n", DP_DATA, "f:2: column 1: '1e39' is too large"},
        {"1,2\n1,2,3\n", DP_DATA, "f:2: more than 2 fields, but the first row has 2"},
        {"1,2,3\n\n1,2\n", DP_DATA, "f:3: 2 fields, but the first row has 3"},
        {"1,2\n3,", DP_DATA, "f:2: column 1: '' is empty"},
        {"1,2\n3", DP_DATA, "f:2: 1 fields, but the first row has 2"},
        {"1,\"2\n3,4\n", DP_DATA, "f:1: a quoted field has no closing quote"},
        {"1,2\n3,\"4\"5\n", DP_DATA, "f:2: text after the closing quote"},
        {"a,\"b\nb\"\n1,2\n3,x\n", DP_DATA, "f:4: column 1 ('b\\x0ab'): 'x' is not a number"},
        {"1,2\n3,4 5\n", DP_DATA, "f:2: column 1: '4 5' is not a number"},
    };
    assert_bad((struct data_source){.format = DATA_CSV}, CASES, sizeof CASES / sizeof CASES[0]);
    static const struct bad COLUMN[] = {
        {"a,b\n1,2\n", DP_USAGE,
         "f: --label-column 'z' is none of its 2 columns; give 0 to 1, -1 for the last, or a "
         "name of the header ('a', 'b')"},
        {"1,2\n", DP_USAGE, "f: --label-column 'z' is none of its 2 columns"},
        {"1 1:2\n", DP_USAGE, "f: --label-column is for CSV files, and this is read as libsvm"},
    };
    assert_bad((struct data_source){.label_column = "z"}, COLUMN, 3);
    assert_bad((struct data_source){.label_column = "2"},
               &(struct bad){"1,2\n", DP_USAGE, "f: --label-column '2' is none of its 2 columns"}, 1);
    assert_bad((struct data_source){.features = 3},
               &(struct bad){"1,2\n", DP_DATA, "f: has 1 features (2 columns, one of them the label), but there are 3"},
               1);
}

Test(csv, many_columns_are_listed_as_far_as_there_is_room)
{
    char text[4000] = "first";
    for (int i = 0; i < 200; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), ",column_%d", i);
    dp_error err = {0};
    struct data data;
    cr_assert_eq(parse((struct data_source){.label_column = "none"}, text, &data, &err), DP_USAGE);
    cr_assert_not_null(strstr(err.text, "'first', 'column_0'"), "%s", err.text);
    cr_assert_not_null(strstr(err.text, ", ...)"), "%s", err.text);
}

/* format by content */

Test(detect, by_the_first_line_that_tells)
{
    struct data data = must_parse((struct data_source){0}, "# c, c\n\n1\n-1 3:1\n");
    cr_assert(data_is_sparse(&data) && data.rows == 2);
    data_fini(&data);
    data = must_parse((struct data_source){0}, "\n1,2\n3,4\n");
    cr_assert(!data_is_sparse(&data) && data.rows == 2);
    data_fini(&data);
    dp_error err = {0};
    cr_assert_eq(parse((struct data_source){0}, "1 a:1\n", &data, &err), DP_DATA);
    cr_assert_str_eq(err.text, "f:1: 'a:1' is not INDEX:VALUE with an index of 1 or more (read as libsvm by its "
                               "content; --format overrides)");
    cr_assert_eq(parse((struct data_source){.labels_path = "l"}, "1 1:1\n", &data, &err), DP_USAGE);
}

/* IDX */

struct bytes {
    unsigned char b[64];
    size_t n;
};

static struct bytes idx_make(unsigned type, unsigned rank, const unsigned *dims, const void *values, size_t size)
{
    struct bytes out = {{0, 0, (unsigned char)type, (unsigned char)rank}, 4};
    for (unsigned i = 0; i < rank; i++)
        for (int shift = 24; shift >= 0; shift -= 8)
            out.b[out.n++] = (unsigned char)(dims[i] >> shift);
    memcpy(out.b + out.n, values, size);
    out.n += size;
    return out;
}

static dp_err idx_of(struct bytes images, struct bytes labels, uint64_t features, struct data *ret_data, dp_error *err)
{
    struct data_source source = {.path = "i", .labels_path = "l", .features = features};
    return data_parse(&source, images.b, images.n, labels.b, labels.n, ret_data, err);
}

Test(idx, types)
{
    struct bytes labels = idx_make(0x08, 1, (unsigned[]){2}, "\x03\xff", 2);
    static const float LABELS[] = {3, 255};
    static const struct {
        unsigned type;
        const char *bytes;
        size_t n;
        float values[4];
    } CASES[] = {
        {0x08, "\x00\x01\x80\xff", 4, {0, 1.0f / 255.0f, 128.0f / 255.0f, 1}},
        {0x09, "\x00\x01\x80\xff", 4, {0, 1, -128, -1}},
        {0x0b, "\x00\x00\x00\x01\x80\x00\xff\xff", 8, {0, 1, -32768, -1}},
        {0x0c, "\0\0\0\0\0\0\1\0\x80\0\0\0\xff\xff\xff\xff", 16, {0, 256, -2147483648.0f, -1}},
        {0x0d, "\0\0\0\0\x3f\x80\0\0\xbf\0\0\0\0\0\0\1", 16, {0, 1, -0.5f, 0x1p-149f}},
        {0x0e,
         "\0\0\0\0\0\0\0\0\x3f\xf0\0\0\0\0\0\0\xbf\xe0\0\0\0\0\0\0\x3f\xf0\0\0\x10\0\0\1",
         32,
         {0, 1, -0.5f, 0x1.000002p0f}},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct data data;
        dp_error err = {0};
        struct bytes images = idx_make(CASES[i].type, 3, (unsigned[]){2, 1, 2}, CASES[i].bytes, CASES[i].n);
        cr_assert_eq(idx_of(images, labels, i % 2 ? 2 : 0, &data, &err), DP_OK, "%s", err.text);
        assert_matrix(&data, 2, 2, LABELS, CASES[i].values);
    }
    ASSERT_NO_LEAKS();
}

Test(idx, errors)
{
    const struct bytes labels = idx_make(0x08, 1, (unsigned[]){2}, "\x01\x02", 2);
    const struct bytes images = idx_make(0x08, 2, (unsigned[]){2, 1}, "\x01\x02", 2);
    struct {
        struct bytes images, labels;
        uint64_t features;
        const char *says;
    } cases[] = {
        {idx_make(0x08, 2, (unsigned[]){2, 2}, "abc", 3), labels, 0,
         "i: its IDX header says 4 bytes of values, but 3 "
         "follow it, so it is truncated"},
        {idx_make(0x08, 2, (unsigned[]){2, 1}, "abc", 3), labels, 0,
         "i: its IDX header says 2 bytes of values, but 3 "},
        {idx_make(0x08, 2, (unsigned[]){0, 1}, "", 0), labels, 0, "i: dimension 0 of its IDX header is 0"},
        {idx_make(0x08, 3, (unsigned[]){1, 0, 4}, "", 0), labels, 0, "i: dimension 1 of its IDX header is 0"},
        {idx_make(0x0e, 3, (unsigned[]){1u << 31, 1u << 31, 1u << 31}, "", 0), labels, 0,
         "i: the dimensions of its IDX header are too"},
        {idx_make(0x08, 1, (unsigned[]){2}, "ab", 2), labels, 0, "i: has one dimension, which is a label file"},
        {idx_make(0x08, 9, (unsigned[]){1, 1, 1, 1, 1, 1, 1, 1, 1}, "a", 1), labels, 0,
         "i: 9 dimensions in its IDX header"},
        {idx_make(0x08, 0, NULL, "", 0), labels, 0, "i: 0 dimensions in its IDX header"},
        {{{0, 0, 8, 3, 0, 0}, 6}, labels, 0, "i: ends within its IDX header"},
        {idx_make(0x0d, 2, (unsigned[]){1, 1}, "\x7f\xc0\0\0", 4), labels, 0, "l: has 2 labels, but i has 1 rows"},
        {idx_make(0x0d, 2, (unsigned[]){2, 1}, "\0\0\0\0\x7f\xc0\0\0", 8), labels, 0,
         "i: row 1, column 0 is not a finite"},
        {idx_make(0x0e, 2, (unsigned[]){2, 1}, "\x7e\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16), labels, 0,
         "i: row 0, column 0 is too large"},
        {images, images, 0, "l: has 2 dimensions, but a label file has one"},
        {images, {{1, 2, 3, 4}, 4}, 0, "l: is no IDX file"},
        {images, {{0}, 0}, 0, "l: is no IDX file"},
        {images, {{0, 0, 7, 1}, 4}, 0, "l: IDX type 0x07 is unknown"},
        {images, labels, 3, "i: has 1 features, but there are 3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct data data;
        dp_error err = {0};
        cr_assert_eq(idx_of(cases[i].images, cases[i].labels, cases[i].features, &data, &err), DP_DATA, "%s",
                     cases[i].says);
        cr_assert_eq(strncmp(err.text, cases[i].says, strlen(cases[i].says)), 0, "'%s' is not '%s'", err.text,
                     cases[i].says);
    }
    ASSERT_NO_LEAKS();
}

Test(idx, label_file_by_name)
{
    static const char *const CASES[][2] = {
        {"train-images-idx3-ubyte", "train-labels-idx1-ubyte"},
        {"/images/t10k-images.idx3-ubyte.gz", "/images/t10k-labels.idx1-ubyte.gz"},
        {"idx3/my_images", "idx3/my_labels"},
    };
    for (size_t i = 0; i < 3; i++) {
        char *path = NULL;
        dp_error err;
        cr_assert_eq(idx_labels_path(CASES[i][0], &path, &err), DP_OK);
        cr_assert_str_eq(path, CASES[i][1]);
        free(path);
    }
    char *path = NULL;
    dp_error err;
    cr_assert_eq(idx_labels_path("images/digits", &path, &err), DP_USAGE);
    cr_assert_not_null(strstr(err.text, "--labels"));
}

/* files */

static void gzip_make(const char *path, const void *bytes, size_t size, const char *mode)
{
    gzFile file = gzopen(path, mode);
    cr_assert_eq(gzwrite(file, bytes, (unsigned)size), (int)size);
    cr_assert_eq(gzclose(file), Z_OK);
}

static dp_err read_file(const char *path, struct data *ret_data, dp_error *err)
{
    return data_read(&(struct data_source){.path = path}, ret_data, err);
}

Test(files, plain_and_gzip_give_the_same)
{
    char folder[PATH_MAX], plain[PATH_MAX + 16], gzip[PATH_MAX + 16];
    folder_make(folder);
    snprintf(plain, sizeof plain, "%s/plain", folder);
    snprintf(gzip, sizeof gzip, "%s/gzip", folder);
    file_make(plain, "1 1:2\n2 2:3\n", 12);
    gzip_make(gzip, "1 1:2\n", 6, "wb");
    gzip_make(gzip, "2 2:3\n", 6, "ab"); /* two members */
    struct data a, b;
    dp_error err = {0};
    cr_assert_eq(read_file(plain, &a, &err), DP_OK, "%s", err.text);
    cr_assert_eq(read_file(gzip, &b, &err), DP_OK, "%s", err.text);
    cr_assert_eq(data_fingerprint(&a), data_fingerprint(&b));
    cr_assert_str_eq(b.name, gzip);
    data_fini(&a), data_fini(&b);
    unlink(plain), unlink(gzip), rmdir(folder);
    ASSERT_NO_LEAKS();
}

Test(files, truncated_and_damaged_gzip)
{
    char folder[PATH_MAX], path[PATH_MAX + 16], text[4000], bytes[4000];
    folder_make(folder);
    snprintf(path, sizeof path, "%s/f.gz", folder);
    size_t size = 0;
    for (unsigned i = 0; size < sizeof text - 32; i++)
        size += (size_t)snprintf(text + size, sizeof text - size, "%u 1:%u\n", i % 2, i * 2654435761u);
    gzip_make(path, text, size, "wb");
    FILE *file = fopen(path, "rb");
    size_t packed = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    struct data data;
    dp_error err = {0};
    for (size_t n = 2; n < packed; n += n < packed - 20 ? 37 : 1) {
        file_make(path, bytes, n);
        cr_assert_eq(read_file(path, &data, &err), DP_DATA, "%zu of %zu bytes", n, packed);
        cr_assert_not_null(strstr(err.text, "the gzip file is truncated"), "%zu of %zu bytes: %s", n, packed, err.text);
    }
    bytes[packed / 2] ^= 0x10;
    file_make(path, bytes, packed);
    cr_assert_eq(read_file(path, &data, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "the gzip file is damaged"), "%s", err.text);
    unlink(path), rmdir(folder);
    ASSERT_NO_LEAKS();
}

Test(files, that_cannot_be_read)
{
    char folder[PATH_MAX], path[PATH_MAX + 16];
    folder_make(folder);
    snprintf(path, sizeof path, "%s/absent", folder);
    struct data data;
    dp_error err = {0};
    cr_assert_eq(read_file(path, &data, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "absent: cannot be opened: No such file or directory"), "%s", err.text);
    cr_assert_eq(read_file(folder, &data, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "cannot be read: Is a directory"), "%s", err.text);
    file_make(path, "", 0);
    cr_assert_eq(read_file(path, &data, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "is empty"), "%s", err.text);
    unlink(path), rmdir(folder);
    ASSERT_NO_LEAKS();
}

Test(files, a_long_path_leaves_room_for_the_message)
{
    char path[1000];
    memset(path, 'p', sizeof path);
    memcpy(path + sizeof path - 6, "/file", 6);
    struct data_source source = {.path = path};
    struct data data;
    dp_error err = {0};
    cr_assert_eq(data_parse(&source, "1 0:1\n", 6, NULL, 0, &data, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "/file:1: index 0: LIBSVM"), "%s", err.text);
}

Test(files, idx_with_its_labels)
{
    char folder[PATH_MAX], images[PATH_MAX + 32], labels[PATH_MAX + 32];
    folder_make(folder);
    snprintf(images, sizeof images, "%s/images-idx3-ubyte.gz", folder);
    snprintf(labels, sizeof labels, "%s/labels-idx1-ubyte.gz", folder);
    struct bytes b = idx_make(0x08, 3, (unsigned[]){2, 2, 1}, "\x00\xff\xff\x00", 4);
    gzip_make(images, b.b, b.n, "wb");
    struct data data;
    dp_error err = {0};
    cr_assert_eq(read_file(images, &data, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "give its name with --labels"), "%s", err.text);
    b = idx_make(0x08, 1, (unsigned[]){2}, "\x07\x09", 2);
    gzip_make(labels, b.b, b.n, "wb");
    cr_assert_eq(read_file(images, &data, &err), DP_OK, "%s", err.text);
    assert_matrix(&data, 2, 2, (float[]){7, 9}, (float[]){0, 1, 1, 0});
    struct data_source source = {.path = images, .labels_path = images};
    cr_assert_eq(data_read(&source, &data, &err), DP_DATA);
    unlink(images), unlink(labels), rmdir(folder);
    ASSERT_NO_LEAKS();
}

/* fingerprint and labels */

Test(facts, fingerprint_sees_content_only)
{
    static const char *const TEXTS[] = {"1 1:1 3:2\n0 2:1\n",    "1 1:1 3:2\n0 3:1\n",    "1 1:1 3:2\n1 2:1\n",
                                        "1 1:1 3:2 \n0 2:1.5\n", "1 1:1\n0 2:1 3:2\n",    "1,1,0,2\n0,0,1,0\n",
                                        "1,1,0,2,0,1,0\n",       "1,1,0,2,0\n0,0,1,0,0\n"};
    enum { N = sizeof TEXTS / sizeof TEXTS[0] };
    uint64_t hashes[N];
    for (size_t i = 0; i < N; i++) {
        struct data data = must_parse((struct data_source){0}, TEXTS[i]);
        hashes[i] = data_fingerprint(&data);
        data_fini(&data);
        for (size_t k = 0; k < i; k++)
            cr_assert_neq(hashes[i], hashes[k], "%zu and %zu", i, k);
    }
    struct data data = must_parse((struct data_source){.features = 50}, "# x\n1.0 1:1e0 3:2\n\n0 2:1");
    cr_assert_eq(data_fingerprint(&data), hashes[0]);
    data_fini(&data);
}

Test(facts, labels_are_distinct_and_ascending)
{
    struct data data = must_parse((struct data_source){0}, "3,0\n-0,0\n-1.5,0\n0,0\n3,0\n7,0\n");
    double *labels = NULL;
    size_t count = 0;
    dp_error err = {0};
    cr_assert_eq(data_labels(&data, 10, &labels, &count, &err), DP_OK);
    const double want[] = {-1.5, 0, 3, 7};
    cr_assert_eq(count, 4);
    cr_assert_arr_eq(labels, want, sizeof want);
    free(labels);
    labels = NULL;
    cr_assert_eq(data_labels(&data, 4, &labels, &count, &err), DP_OK);
    free(labels);
    labels = NULL;
    cr_assert_eq(data_labels(&data, 3, &labels, &count, &err), DP_MODEL);
    cr_assert_str_eq(err.text, "f: has more than 3 different labels; are they classes?");
    cr_assert_null(labels);
    data_fini(&data);
    ASSERT_NO_LEAKS();
}

/* real files */

Test(real, digits)
{
    char path[PATH_MAX];
    struct data data;
    dp_error err = {0};
    cr_assert_eq(read_file(source_path(path, "tests/data/digits/train.csv.gz"), &data, &err), DP_OK, "%s", err.text);
    cr_assert(data.rows == 1438 && data.features == 64 && !data_is_sparse(&data));
    double *labels = NULL;
    size_t count = 0;
    cr_assert_eq(data_labels(&data, 10, &labels, &count, &err), DP_OK, "%s", err.text);
    cr_assert_eq(count, 10);
    free(labels);
    data_fini(&data);
}

Test(real, a9a)
{
    char path[PATH_MAX];
    SKIP_WITHOUT_SHARED(path, "data/a9a");
    struct data data;
    dp_error err = {0};
    cr_assert_eq(read_file(path, &data, &err), DP_OK, "%s", err.text);
    cr_assert(data.rows == 32561 && data.features == 123 && data_is_sparse(&data));
    double *labels = NULL;
    size_t count = 0;
    cr_assert_eq(data_labels(&data, 2, &labels, &count, &err), DP_OK, "%s", err.text);
    cr_assert(count == 2 && labels[0] == -1.0 && labels[1] == 1.0);
    free(labels);
    data_fini(&data);
}

Test(real, agaricus)
{
    char path[PATH_MAX];
    SKIP_WITHOUT_SHARED(path, "data/agaricus.train");
    struct data data;
    dp_error err = {0};
    cr_assert_eq(read_file(path, &data, &err), DP_OK, "%s", err.text);
    cr_assert(data.rows == 6513 && data.features == 126);
    data_fini(&data);
}
