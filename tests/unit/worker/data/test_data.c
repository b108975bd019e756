/* The readers of data files: what they read, and what they say of files that are wrong. IDX: test_idx.c. */
#include <criterion/criterion.h>

#include <stdint.h>
#include <string.h>
#include <xxhash.h>
#include <zlib.h>

#include "common/base/mem.h"
#include "tests/unit/support/files.h"
#include "tests/unit/support/leaks.h"
#include "worker/data/data.h"
#include "worker/data/hash.h"

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
        {"1 4294967296:1\n", DP_DATA,
         "f:1: '4294967296:1': the index is larger than 4294967295; dp-server --hash-bits N takes any 64-bit number"},
        {"1 99999999999999999999999:1\n", DP_DATA, "f:1: '99999999999999999999999:1': the index is larger"},
    };
    assert_bad((struct data_source){.format = DATA_LIBSVM}, CASES, sizeof CASES / sizeof CASES[0]);
    static const struct bad WIDE[] = {
        {"1 1:1\n1 4:1\n", DP_DATA,
         "f:2: index 4, but the job has 3 features; take data of the same kind, or start dp-server with"}};
    assert_bad((struct data_source){.features = 3}, WIDE, 1);
}

/* Hashed features */

/* The low bits of XXH64 over 8 little-endian bytes: a model's columns depend on it for ever. */
Test(hash, columns_are_pinned)
{
    cr_assert_eq(data_hash_column(0, 31, 0), XXH64("\0\0\0\0\0\0\0\0", 8, 0) & 0x7fffffff);
    cr_assert_eq(data_hash_column(0x0102, 20, 7), XXH64("\2\1\0\0\0\0\0\0", 8, 7) & 0xfffff);
    cr_assert_eq(data_hash_column(1, 16, 1), 38665);
    cr_assert_eq(data_hash_column(UINT64_MAX, 24, 42), 11825106);
}

Test(hash, any_numbers_in_any_order_become_ascending_columns)
{
    struct data_source source = {.hash_bits = 16, .hash_seed = 3};
    struct data data = must_parse(source, "1 18446744073709551615:2 0:-3 77:4\n-1\n1 77:0.5 77:0.25\n");
    cr_assert_eq(data.features, 1 << 16);
    cr_assert_eq(data.rows, 3);
    const uint64_t indices[] = {UINT64_MAX, 0, 77};
    const float values[] = {2, -3, 4};
    for (size_t i = 0; i < 3; i++) {
        uint32_t column = data_hash_column(indices[i], 16, 3);
        uint64_t at = 0;
        while (at < 3 && data.columns[at] != column)
            at++;
        cr_assert(at < 3 && data.values[at] == values[i], "feature %zu", i);
    }
    cr_assert(data.columns[0] < data.columns[1] && data.columns[1] < data.columns[2]);
    cr_assert(data.row_at[1] == 3 && data.row_at[2] == 3 && data.row_at[3] == 4, "equal ones are one entry");
    cr_assert_eq(data.values[3], 0.75f);
    data_fini(&data);
    ASSERT_NO_LEAKS();
}

/* With one bit, every row falls to two columns: the sums say what was added to what. */
Test(hash, what_falls_together_adds_up)
{
    struct data data = must_parse((struct data_source){.hash_bits = 1, .hash_seed = 5}, "1 1:1 2:2 3:4 4:8 5:16\n");
    float want[2] = {0};
    for (uint64_t i = 0; i < 5; i++)
        want[data_hash_column(i + 1, 1, 5)] += (float)(1 << i);
    cr_assert_eq(data.row_at[1], 2);
    cr_assert_arr_eq(data.values, want, sizeof want);
    data_fini(&data);
}

Test(hash, the_seed_changes_the_columns_and_so_the_fingerprint)
{
    const char *text = "1 1:1 9:1\n";
    struct data a = must_parse((struct data_source){.hash_bits = 20, .hash_seed = 1}, text);
    struct data b = must_parse((struct data_source){.hash_bits = 20, .hash_seed = 2}, text);
    cr_assert_neq(data_fingerprint(&a), data_fingerprint(&b));
    data_fini(&a);
    data_fini(&b);
}

Test(hash, errors)
{
    static const struct bad CASES[] = {
        {"1 18446744073709551616:1\n", DP_DATA, "f:1: '18446744073709551616:1': the index is larger than 18446744"},
        {"1 x:1\n", DP_DATA, "f:1: 'x:1' is not INDEX:VALUE with an index of 0 or more"},
        {"1 1:3e38 2:3e38 3:3e38\n", DP_DATA, "f: row 1: features that were hashed to one column have a sum"},
        {"1,2\n", DP_DATA, "f: features are hashed, which is for LIBSVM files, and this is read as csv"},
    };
    assert_bad((struct data_source){.hash_bits = 1}, CASES, sizeof CASES / sizeof CASES[0]);
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
        {"1,2,4\n-4,5.5,6e1\n", "0"},
        {"1,2,4\r\n\r\n-4,5.5,6e1", "0"},
        {"\xef\xbb\xbf 1 , 2 ,4 \n\n\n-4,\t5.5,6e1\n\n", "0"},
        {"Y,b,c\n1,2,4\n-4,5.5,6e1\n", NULL},
        {"a,label,c\n2,1,4\n5.5,-4,6e1\n", NULL},
        {"a,\"label\",c\n2,1,4\n5.5,-4,6e1\n", NULL},
        {"a,b,c\n2,4,1\n5.5,6e1,-4\n", "c"},
        {"a,label,c\n2,4,1\n5.5,6e1,-4\n", "-1"},
        {"a,b,\"the \"\"c\"\", or\nso\"\n2,4,1\n5.5,6e1,-4\n", "the \"c\", or\nso"},
        {"2,1,4\n5.5,-4,6e1\n", "1"},
        {"2,1,4\n5.5,-4,6e1\n", "-2"},
        {"1;2;4\n-4;5.5;6e1\n", "0"},
        {"1\t2\t4\n-4\t5.5\t6e1\n", "0"},
        {"\"1\",\"2\",\"4\"\n\"-4\", \"5.5\" ,\"6e1\"\r\n", "0"},
        {"x:y,\"a;b\",c\n1,2,4\n-4,5.5,6e1\n", "x:y"},
    };
    static const float LABELS[] = {1, -4}, VALUES[] = {2, 4, 5.5f, 60};
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
        {"a,b\n1,2\n3,x\n", DP_DATA,
         "f:3: column 1 ('b'): 'x' is not a number; correct it, or leave the column out by --ignore-columns"},
        {"1,2\n3,\n", DP_DATA, "f:2: column 1: '' is empty"},
        {"1,,3\n", DP_DATA, "f:1: column 1: '' is empty"},
        {"1,nan\n", DP_DATA, "f:1: column 1: 'nan' is not a finite number"},
        {"1,2\n1,NA\n", DP_DATA, "f:2: column 1: 'NA' is not a finite number"},
        {"1,2\ninf,3\n", DP_DATA, "f:2: column 0, the label: 'inf' is not a finite number"},
        {"1,2\n1,1e39\n", DP_DATA, "f:2: column 1: '1e39' is too large"},
        {"1,2\n1,2,3\n", DP_DATA, "f:2: more than 2 fields, but the first row has 2"},
        {"1,2,4\n\n1,2\n", DP_DATA, "f:3: 2 fields, but the first row has 3"},
        {"1,2,4\n3 5,2\n", DP_DATA, "f:2: 2 fields, but the first row has 3"},
        {"1,2,4\n1,x,2,4\n", DP_DATA, "f:2: 4 fields, but the first row has 3"},
        {"1,2,4\n1,x,2\n", DP_DATA, "f:2: column 1: 'x' is not a number"},
        {"1,2\n3,", DP_DATA, "f:2: column 1: '' is empty"},
        {"1,2\n3", DP_DATA, "f:2: 1 field, but the first row has 2"},
        {"1,\"2\n3,4\n", DP_DATA, "f:1: a quoted field has no closing quote"},
        {"1,2\n3,\"4\"5\n", DP_DATA, "f:2: text after the closing quote"},
        {"a,\"b\nb\"\n1,2\n3,x\n", DP_DATA, "f:4: column 1 ('b\\x0ab'): 'x' is not a number"},
        {"1,2\n3,4 5\n", DP_DATA, "f:2: column 1: '4 5' is not a number"},
    };
    assert_bad((struct data_source){.format = DATA_CSV, .label_column = "0"}, CASES, sizeof CASES / sizeof CASES[0]);
    static const struct bad COLUMN[] = {
        {"a,b\n1,2\n", DP_DATA,
         "f: --label-column 'z' is none of its 2 columns; give 0 to 1, -1 for the last, or a "
         "name of the header ('a', 'b')"},
        {"1,2\n", DP_DATA, "f: --label-column 'z' is none of its 2 columns"},
        {"1 1:2\n", DP_DATA, "f: --label-column is for CSV files, and this is read as libsvm"},
    };
    assert_bad((struct data_source){.label_column = "z"}, COLUMN, 3);
    assert_bad((struct data_source){.label_column = "2"},
               &(struct bad){"1,2\n", DP_DATA, "f: --label-column '2' is none of its 2 columns"}, 1);
    assert_bad(
        (struct data_source){.features = 3, .label_column = "0"},
        &(struct bad){"1,2\n", DP_DATA, "f: has 1 feature (2 columns, one of them the label), but the job has 3"}, 1);
}

Test(csv, many_columns_are_listed_as_far_as_there_is_room)
{
    char text[4000] = "first";
    for (int i = 0; i < 200; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), ",column_%d", i);
    dp_error err = {0};
    struct data data;
    cr_assert_eq(parse((struct data_source){.label_column = "none"}, text, &data, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "'first', 'column_0'"), "%s", err.text);
    cr_assert_not_null(strstr(err.text, ", ...)"), "%s", err.text);
}

/* format by content */

Test(detect, by_the_first_line_that_tells)
{
    struct data data = must_parse((struct data_source){0}, "# c, c\n\n1\n-1 3:1\n");
    cr_assert(data_is_sparse(&data) && data.rows == 2);
    data_fini(&data);
    data = must_parse((struct data_source){.label_column = "0"}, "\n1,2\n3,4\n");
    cr_assert(!data_is_sparse(&data) && data.rows == 2);
    data_fini(&data);
    dp_error err = {0};
    cr_assert_eq(parse((struct data_source){0}, "1 a:1\n", &data, &err), DP_DATA);
    cr_assert_str_eq(err.text, "f:1: 'a:1' is not INDEX:VALUE with an index of 1 or more (read as libsvm by its "
                               "content; --format overrides)");
    /* a mistake that the options alone show is one of usage, a mistake that only the file shows is one of data */
    cr_assert_eq(parse((struct data_source){.labels_path = "l"}, "1 1:1\n", &data, &err), DP_DATA);
    cr_assert_eq(parse((struct data_source){.labels_path = "l", .format = DATA_LIBSVM}, "1 1:1\n", &data, &err),
                 DP_USAGE);
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

/* fingerprint and labels */

Test(facts, fingerprint_sees_content_only)
{
    static const char *const TEXTS[] = {"1 1:1 3:2\n0 2:1\n",    "1 1:1 3:2\n0 3:1\n",    "1 1:1 3:2\n1 2:1\n",
                                        "1 1:1 3:2 \n0 2:1.5\n", "1 1:1\n0 2:1 3:2\n",    "1,1,0,2\n0,0,1,0\n",
                                        "1,1,0,2,0,1,0\n",       "1,1,0,2,0\n0,0,1,0,0\n"};
    enum { N = sizeof TEXTS / sizeof TEXTS[0] };
    uint64_t hashes[N];
    for (size_t i = 0; i < N; i++) {
        const struct data_source source = {.label_column = strchr(TEXTS[i], ',') ? "0" : NULL};
        struct data data = must_parse(source, TEXTS[i]);
        hashes[i] = data_fingerprint(&data);
        data_fini(&data);
        for (size_t k = 0; k < i; k++)
            cr_assert_neq(hashes[i], hashes[k], "%zu and %zu", i, k);
    }
    struct data data = must_parse((struct data_source){.features = 50}, "# x\n1.0 1:1e0 3:2\n\n0 2:1");
    cr_assert_eq(data_fingerprint(&data), hashes[0]);
    data_fini(&data);
}

/* The labels in order, as one text. */
static void assert_labels(const struct data *data, const char *want)
{
    struct label_list labels = {0};
    char show[LABEL_LIST_TEXT];
    cr_assert_eq(label_set_sorted(data->label_set, &labels), DP_OK);
    cr_assert(label_list_ascends(&labels));
    cr_assert_str_eq(label_list_show(&labels, show), want);
    label_list_fini(&labels);
}

static const struct data_source CLASSES = {.label_use = LABEL_CLASSES};

Test(facts, labels_are_distinct_and_in_order)
{
    static const struct {
        const char *text, *labels;
    } CASES[] = {
        {"3,0\n-0,0\n-1.5,0\n0,0\n3,0\n7,0\n", "-1.5, -0, 3, 7"},
        {"+1 1:1\n-1 1:2\n1.0 1:3\n1e0 1:1\n", "-1, +1"},
        {"16777217 1:1\n16777216 1:2\n123456789 1:3\n", "16777216, 16777217, 123456789"},
        {"0.3 1:1\n0.1 1:2\n0.30 1:2\n", "0.1, 0.3"},
        {"9007199254740993 1:1\n9007199254740992 1:1\n+9007199254740993 1:1\n09007199254740993 1:1\n",
         "9007199254740992, 9007199254740993"},
        {"9007199254740994 1:1\n1e300 1:1\n", "9007199254740994, 1e300"},
        {"yes 1:1\nno 1:2\n7 1:2\nyes 1:4 # no\n", "7, no, yes"},
        {"a,y\n1,True\n2,False\n", "False, True"},
        {"y;b\n\" Iris \"\"v\"\" \";1\nIris;2\nZ\xc3\xbcrich;3\n2024-01-02;3\n",
         "2024-01-02, Iris, Iris \"v\", Z\xc3\xbcrich"},
        {"0x10 1:1\n1_000 1:1\n1e 1:1\n- 1:1\n. 1:1\n", "-, ., 0x10, 1_000, 1e"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct data_source source = CLASSES;
        source.label_column = strchr(CASES[i].text, ':') || i > 0 ? NULL : "0";
        struct data data = must_parse(source, CASES[i].text);
        cr_assert_null(data.labels);
        assert_labels(&data, CASES[i].labels);
        data_fini(&data);
    }
    ASSERT_NO_LEAKS();
}

Test(facts, rows_have_the_number_of_their_label)
{
    struct data data = must_parse(CLASSES, "\n7 1:1\nx 1:1\n7.0 1:2\n");
    const uint32_t classes[] = {0, 1, 0};
    cr_assert_arr_eq(data.classes, classes, sizeof classes);
    cr_assert_eq(data.label_set->places[1].line, 3);
    cr_assert_eq(data.label_set->places[1].row, 2);
    data_fini(&data);
}

/* A hole is no label for classes, and a word is none for numbers. */
Test(facts, labels_that_are_none)
{
    static const struct bad CASES[] = {
        {"1 1:1\nnan 1:1\n", DP_DATA, "f:2: label 'nan' is not a finite number"},
        {"-inf 1:1\n", DP_DATA, "f:1: label '-inf' is not a finite number"},
        {"1e999 1:1\n", DP_DATA, "f:1: label '1e999' is too large for a 64-bit float"},
        {"0.30000000000000000001 1:1\n", DP_DATA, "f:1: label '0.30000000000000000001' has more digits than"},
        {"1e-400 1:1\n", DP_DATA, "f:1: label '1e-400' has more digits than a 64-bit float holds"},
        {"\xfe\xfd 1:1\n", DP_DATA, "f:1: label '\\xfe\\xfd' has characters that cannot be printed"},
        {"y,b\n,1\n", DP_DATA, "f:2: column 0 ('y'), the label: '' is empty"},
        {"y,b\n\" \",1\n", DP_DATA, "f:2: column 0 ('y'), the label: '' is empty"},
        {"y,b\n\"a\nb\",1\n", DP_DATA, "f:2: column 0 ('y'), the label: 'a\\x0ab' has characters that cannot"},
    };
    assert_bad(CLASSES, CASES, sizeof CASES / sizeof CASES[0]);
    char text[300];
    memset(text, 'a', sizeof text);
    memcpy(text + 129, " 1:1\n", sizeof " 1:1\n");
    assert_bad(CLASSES, &(struct bad){text, DP_DATA, "f:1: label 'aaaaaa"}, 1);
    static const struct bad VALUES[] = {
        {"yes 1:1\n", DP_DATA, "f:1: label 'yes' is not a number, which --model linear needs; words are classes for"},
        {"y,b\n1,2\nyes,1\n", DP_DATA, "f:3: column 0 ('y'), the label: 'yes' is not a number, which --model"},
    };
    assert_bad((struct data_source){0}, VALUES, sizeof VALUES / sizeof VALUES[0]);
}

/* Twice rounded, by way of a double, this would be the float above: 1 + 2^-24 + 2^-60. */
Test(facts, values_are_rounded_once)
{
    struct data data = must_parse((struct data_source){0}, "1.000000059604644776257986 1:1\n");
    cr_assert_eq(data.labels[0], 0x1.000002p0f);
    data_fini(&data);
}

Test(facts, labels_that_are_passed_over)
{
    struct data data =
        must_parse((struct data_source){.label_use = LABEL_PASSED}, "yes 1:1\n1e999 1:1\n\xff 1:2\n1 1:1\n");
    cr_assert(data.rows == 4 && !data.labels && !data.classes);
    data_fini(&data);
    assert_bad((struct data_source){.label_use = LABEL_PASSED},
               &(struct bad){"nan 1:1\n", DP_DATA, "f:1: label 'nan' is not a finite number"}, 1);
}

Test(facts, more_labels_than_classes_can_be)
{
    AUTOFREE char *text = mem_array(LABELS_MAX + 1, 12);
    cr_assert_not_null(text);
    size_t at = 0;
    for (int i = 0; i <= LABELS_MAX; i++)
        at += (size_t)snprintf(text + at, 12, "%d 1:1\n", i * 3);
    assert_bad(CLASSES,
               &(struct bad){text, DP_DATA, "f:65537: label '196608' is one more than 65536 different labels; are"}, 1);
}

/* A label goes into the fingerprint by its value, not by its spelling or first place. */
Test(facts, fingerprints_of_classes)
{
    static const char *const TEXTS[] = {"1 1:1\n0 1:1\n",       "0 1:1\n1 1:1\n", "a 1:1\n0 1:1\n",
                                        "a 1:1\nb 1:1\n",       "b 1:1\na 1:1\n", "1 1:1\n16777216 1:1\n",
                                        "1 1:1\n16777217 1:1\n"};
    enum { N = sizeof TEXTS / sizeof TEXTS[0] };
    uint64_t hashes[N];
    for (size_t i = 0; i < N; i++) {
        struct data data = must_parse(CLASSES, TEXTS[i]);
        hashes[i] = data_fingerprint(&data);
        data_fini(&data);
        for (size_t k = 0; k < i; k++)
            cr_assert_neq(hashes[i], hashes[k], "%zu and %zu", i, k);
    }
    struct data data = must_parse(CLASSES, "+1.0 1:1\n-0 1:1\n");
    cr_assert_eq(data_fingerprint(&data), hashes[0]);
    data_fini(&data);
}

/* real files */

Test(real, digits)
{
    char path[PATH_MAX];
    struct data data;
    dp_error err = {0};
    struct data_source source = {.path = source_path(path, "tests/data/digits/train.csv.gz"),
                                 .label_use = LABEL_CLASSES};
    cr_assert_eq(data_read(&source, &data, &err), DP_OK, "%s", err.text);
    cr_assert(data.rows == 1438 && data.features == 64 && !data_is_sparse(&data));
    assert_labels(&data, "0, 1, 2, 3, 4, 5, 6, 7, 8, 9");
    data_fini(&data);
}

Test(real, a9a)
{
    char path[PATH_MAX];
    SKIP_WITHOUT_SHARED(path, "data/a9a");
    struct data data;
    dp_error err = {0};
    struct data_source source = {.path = path, .label_use = LABEL_CLASSES};
    cr_assert_eq(data_read(&source, &data, &err), DP_OK, "%s", err.text);
    cr_assert(data.rows == 32561 && data.features == 123 && data_is_sparse(&data));
    assert_labels(&data, "-1, +1");
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

/* Rows without a label, as predict may get them. */

Test(unlabelled, libsvm_lines_begin_with_an_index_or_with_a_label_that_is_passed_over)
{
    struct data data = must_parse((struct data_source){.unlabelled = true}, "1:0.5 3:-2\n\n7 2:4\n");
    const float labels[] = {0, 0}, values[] = {0.5f, -2, 4};
    const uint64_t row_at[] = {0, 2, 3};
    cr_assert_eq(data.rows, 2);
    cr_assert_arr_eq(data.labels, labels, sizeof labels);
    cr_assert_arr_eq(data.values, values, sizeof values);
    cr_assert_arr_eq(data.row_at, row_at, sizeof row_at);
    data_fini(&data);
    ASSERT_NO_LEAKS();
}

Test(unlabelled, every_column_of_a_csv_is_a_feature)
{
    struct data data = must_parse((struct data_source){.unlabelled = true}, "label,b\n1,2\n3,4\n");
    const float values[] = {1, 2, 3, 4};
    cr_assert_eq(data.features, 2);
    cr_assert_arr_eq(data.values, values, sizeof values);
    cr_assert_eq(data.labels[1], 0);
    data_fini(&data);
    data = must_parse((struct data_source){.unlabelled = true}, "5\n6\n");
    cr_assert_eq(data.features, 1);
    cr_assert_eq(data.rows, 2);
    data_fini(&data);
    ASSERT_NO_LEAKS();
}

Test(unlabelled, a_label_column_besides_is_a_mistake)
{
    struct data data;
    dp_error err;
    cr_assert_eq(parse((struct data_source){.unlabelled = true, .label_column = "1"}, "1,2\n", &data, &err), DP_USAGE);
    cr_assert_not_null(strstr(err.text, "--no-labels"), "%s", err.text);
}

/* A signal's flag ends a reader within some thousand lines. */
Test(stop, ends_the_readers)
{
    static const char *const LINES[] = {"1 1:2\n", "1,2\n"};
    enum { COUNT = 10000 };
    volatile int stop = 1;
    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(LINES[i]);
        char *text = malloc(COUNT * n + 1);
        for (size_t line = 0; line < COUNT; line++)
            memcpy(text + line * n, LINES[i], n + 1);
        struct data data;
        dp_error err;
        cr_assert_eq(parse((struct data_source){.stop = &stop, .label_column = i ? "0" : NULL}, text, &data, &err),
                     DP_STOPPED);
        free(text);
    }
    ASSERT_NO_LEAKS();
}
