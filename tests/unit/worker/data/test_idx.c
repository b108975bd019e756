/* The reader of IDX files: types, dimensions, and the label file that belongs to one. */
#include <criterion/criterion.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/support/files.h"
#include "tests/unit/support/leaks.h"
#include "worker/data/data.h"
#include "worker/data/idx.h"

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

/* Labels as classes are what a text file would have: also ints that no float holds, and floats without their tail. */
Test(idx, labels_as_classes)
{
    static const struct {
        unsigned type;
        const char *bytes;
        size_t n;
        const char *labels[2];
    } CASES[] = {
        {0x08, "\x03\xff", 2, {"3", "255"}},
        {0x0c, "\x01\0\0\1\x01\0\0\0", 8, {"16777217", "16777216"}},
        {0x0d, "\x3d\xcc\xcc\xcd\x42\xc8\0\0", 8, {"0.1", "100"}},
        {0x0e, "\x3f\xb9\x99\x99\x99\x99\x99\x9a\x43\x40\0\0\0\0\0\0", 16, {"0.1", "9007199254740992"}},
    };
    struct bytes images = idx_make(0x08, 2, (unsigned[]){2, 1}, "ab", 2);
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct bytes labels = idx_make(CASES[i].type, 1, (unsigned[]){2}, CASES[i].bytes, CASES[i].n);
        struct data_source source = {.path = "i", .labels_path = "l", .label_use = LABEL_CLASSES};
        struct data data;
        dp_error err = {0};
        cr_assert_eq(data_parse(&source, images.b, images.n, labels.b, labels.n, &data, &err), DP_OK, "%s", err.text);
        cr_assert(data.classes[0] == 0 && data.classes[1] == 1 && data.label_set->labels.count == 2);
        for (int k = 0; k < 2; k++)
            cr_assert_str_eq(data.label_set->labels.list[k].text, CASES[i].labels[k]);
        data_fini(&data);
    }
    struct bytes labels = idx_make(0x0d, 1, (unsigned[]){2}, "\x7f\xc0\0\0\0\0\0\0", 8);
    struct data_source source = {.path = "i", .labels_path = "l", .label_use = LABEL_CLASSES};
    struct data data;
    dp_error err = {0};
    cr_assert_eq(data_parse(&source, images.b, images.n, labels.b, labels.n, &data, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "l: row 0, the label: 'nan' is not a finite number"), "%s", err.text);
    ASSERT_NO_LEAKS();
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
        {idx_make(0x0d, 2, (unsigned[]){1, 1}, "\x7f\xc0\0\0", 4), labels, 0, "l: has 2 labels, but i has 1 row"},
        {idx_make(0x0d, 2, (unsigned[]){2, 1}, "\0\0\0\0\x7f\xc0\0\0", 8), labels, 0,
         "i: row 1, column 0 is not a finite"},
        {idx_make(0x0e, 2, (unsigned[]){2, 1}, "\x7e\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16), labels, 0,
         "i: row 0, column 0 is too large"},
        {images, images, 0, "l: has 2 dimensions, but a label file has one"},
        {images, {{1, 2, 3, 4}, 4}, 0, "l: is no IDX file"},
        {images, {{0}, 0}, 0, "l: is no IDX file"},
        {images, {{0, 0, 7, 1}, 4}, 0, "l: IDX type 0x07 is unknown"},
        {images, labels, 3, "i: has 1 feature, but the job has 3"},
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

Test(idx, file_with_its_labels)
{
    char folder[PATH_MAX], images[PATH_MAX + 32], labels[PATH_MAX + 32];
    folder_make(folder);
    snprintf(images, sizeof images, "%s/images-idx3-ubyte", folder);
    snprintf(labels, sizeof labels, "%s/labels-idx1-ubyte", folder);
    struct bytes b = idx_make(0x08, 3, (unsigned[]){2, 2, 1}, "\x00\xff\xff\x00", 4);
    file_make(images, b.b, b.n);
    struct data data;
    dp_error err = {0};
    cr_assert_eq(data_read(&(struct data_source){.path = images}, &data, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "give its name with --labels"), "%s", err.text);
    b = idx_make(0x08, 1, (unsigned[]){2}, "\x07\x09", 2);
    file_make(labels, b.b, b.n);
    cr_assert_eq(data_read(&(struct data_source){.path = images}, &data, &err), DP_OK, "%s", err.text);
    assert_matrix(&data, 2, 2, (float[]){7, 9}, (float[]){0, 1, 1, 0});
    struct data_source source = {.path = images, .labels_path = images};
    cr_assert_eq(data_read(&source, &data, &err), DP_DATA);
    unlink(images), unlink(labels), rmdir(folder);
    ASSERT_NO_LEAKS();
}
