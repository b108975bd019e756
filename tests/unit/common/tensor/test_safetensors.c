/* Models on disk: what is written can be read back, and hostile files are refused with a reason. */
#include <criterion/criterion.h>

#include <math.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "common/tensor/safetensors.h"
#include "common/tensor/safetensors_read.h"
#include "tests/unit/support/files.h"
#include "tests/unit/support/leaks.h"

/* Gives runs of the array `arg` and checks how they are asked for. */
static const float *from_array(void *arg, uint64_t first, uint64_t count)
{
    cr_assert(count > 0 && count <= 4 && first + count <= 7);
    return (const float *)arg + first;
}

static const float *from_nowhere(void *arg, uint64_t first, uint64_t count)
{
    static const float values[4];
    (void)arg, (void)count;
    return first ? NULL : values;
}

static struct tensors two_tensors(void)
{
    struct tensors tensors = {0};
    dp_error err;
    cr_assert_eq(tensors_add(&tensors, "weight", 2, (uint64_t[]){2, 3}, INIT_ZEROS, 0, true, &err), DP_OK);
    cr_assert_eq(tensors_add(&tensors, "bias", 1, (uint64_t[]){1}, INIT_ZEROS, 0, false, &err), DP_OK);
    return tensors;
}

struct place {
    char folder[PATH_MAX];
    char path[PATH_MAX + 8];
};

static void place_make(struct place *place)
{
    folder_make(place->folder);
    snprintf(place->path, sizeof place->path, "%s/m", place->folder);
}

static void place_remove(const struct place *place)
{
    unlink(place->path);
    cr_assert_eq(rmdir(place->folder), 0, "a temporary file was left");
}

Test(meta, set_get_and_replace)
{
    struct safetensors_meta meta = {0};
    cr_assert_null(safetensors_meta_get(&meta, "a"));
    cr_assert_eq(safetensors_meta_set(&meta, "a", "%d", 1), DP_OK);
    cr_assert_eq(safetensors_meta_set(&meta, "b", "%s", "x"), DP_OK);
    cr_assert_eq(safetensors_meta_set(&meta, "a", "%d", 22), DP_OK);
    cr_assert_eq(meta.count, 2);
    cr_assert_str_eq(safetensors_meta_get(&meta, "a"), "22");
    for (int i = 2; i < SAFETENSORS_META_MAX; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        cr_assert_eq(safetensors_meta_set(&meta, key, "v"), DP_OK);
    }
    cr_assert_eq(safetensors_meta_set(&meta, "more", "v"), DP_RANGE);
    cr_assert_eq(safetensors_meta_set(&meta, "b", "y"), DP_OK);
    safetensors_meta_fini(&meta);
    ASSERT_NO_LEAKS();
}

Test(file, round_trip)
{
    struct place place;
    place_make(&place);
    struct tensors tensors = two_tensors();
    float theta[7] = {1, -0.0f, INFINITY, 1e-45f, NAN, 3, 4};
    struct safetensors_meta meta = {0};
    cr_assert_eq(safetensors_meta_set(&meta, "quote\"", "line\n\xc3\xa9 \\"), DP_OK);
    cr_assert_eq(safetensors_meta_set(&meta, "empty", "%s", ""), DP_OK);
    dp_error err = {0};
    for (uint64_t run = 1; run <= 4; run++)
        cr_assert_eq(safetensors_write(place.path, &tensors, 0, &meta, from_array, theta, run, &err), DP_OK, "%s",
                     err.text);
    struct safetensors model = {0};
    cr_assert_eq(safetensors_read(place.path, &model, &err), DP_OK, "%s", err.text);
    cr_assert_eq(model.tensors.count, 2);
    cr_assert(safetensors_find(&model, "weight") == 0 && safetensors_find(&model, "bias") == 1);
    cr_assert_eq(safetensors_find(&model, "none"), -1);
    cr_assert(model.tensors.list[0].rank == 2 && model.tensors.list[0].shape[0] == 2 &&
              model.tensors.list[0].shape[1] == 3);
    cr_assert_arr_eq(model.theta, theta, sizeof theta);
    cr_assert_eq((uintptr_t)model.theta % CACHE_LINE_BYTES, 0);
    cr_assert_str_eq(safetensors_meta_get(&model.meta, "quote\""), "line\n\xc3\xa9 \\");
    cr_assert_str_eq(safetensors_meta_get(&model.meta, "empty"), "");
    safetensors_fini(&model);
    safetensors_meta_fini(&meta);
    place_remove(&place);
    ASSERT_NO_LEAKS();
}

Test(file, is_what_other_tools_expect)
{
    struct place place;
    place_make(&place);
    struct tensors tensors = two_tensors();
    float theta[7] = {0};
    struct safetensors_meta meta = {0};
    dp_error err = {0};
    cr_assert_eq(safetensors_meta_set(&meta, "format", "f"), DP_OK);
    cr_assert_eq(safetensors_write(place.path, &tensors, 0, &meta, from_array, theta, 4, &err), DP_OK);
    static const char HEADER[] = "{\"__metadata__\":{\"format\":\"f\"},"
                                 "\"weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                                 "\"bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[24,28]}}";
    unsigned char bytes[512];
    FILE *file = fopen(place.path, "rb");
    size_t n = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    cr_assert_eq((n - 28) % 64, 0);
    cr_assert(bytes[0] == n - 28 - 8 && bytes[1] == 0 && bytes[7] == 0);
    cr_assert_eq(memcmp(bytes + 8, HEADER, sizeof HEADER - 1), 0);
    for (size_t i = 8 + sizeof HEADER - 1; i < n - 28; i++)
        cr_assert_eq(bytes[i], ' ');
    safetensors_meta_fini(&meta);
    place_remove(&place);
}

Test(file, failures_leave_the_old_one)
{
    struct place place;
    place_make(&place);
    file_make(place.path, "old", 3);
    struct tensors tensors = two_tensors();
    struct safetensors_meta meta = {0};
    struct safetensors model;
    dp_error err = {0};
    cr_assert_eq(safetensors_write(place.path, &tensors, 0, &meta, from_nowhere, NULL, 4, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "not at hand"), "%s", err.text);
    cr_assert_eq(safetensors_meta_set(&meta, "bad", "\xff"), DP_OK);
    cr_assert_eq(safetensors_write(place.path, &tensors, 0, &meta, from_array, (float[7]){0}, 4, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "not UTF-8"), "%s", err.text);
    cr_assert_eq(safetensors_read(place.path, &model, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "is no safetensors file"), "%s", err.text);
    safetensors_meta_fini(&meta);
    place_remove(&place);
    cr_assert_eq(safetensors_read(place.path, &model, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "cannot be opened: No such file"), "%s", err.text);
    cr_assert_eq(safetensors_read("/", &model, &err), DP_IO);
    ASSERT_NO_LEAKS();
}

/* A file with this header and `data_bytes` zeros. */
static dp_err parse(const char *header, size_t data_bytes, struct safetensors *ret_model, dp_error *err)
{
    char bytes[4096] = {0};
    uint64_t length = strlen(header);
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, length);
    return safetensors_parse("f", bytes, 8 + length + data_bytes, ret_model, err);
}

#define W(shape, offsets) "\"w\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

Test(parse, tensors_in_the_order_of_their_data)
{
    struct safetensors model = {0};
    dp_error err = {0};
    cr_assert_eq(
        parse("{" W("[2]", "[4,12]") ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":0}} \n", 12,
              &model, &err),
        DP_OK, "%s", err.text);
    cr_assert(safetensors_find(&model, "b") == 0 && safetensors_find(&model, "w") == 1);
    safetensors_fini(&model);
    ASSERT_NO_LEAKS();
}

Test(parse, refuses_with_a_reason)
{
    static const struct {
        const char *header;
        size_t data_bytes;
        const char *says;
    } CASES[] = {
        {"{}", 0, "f: has no tensors"},
        {"[1]", 0, "f: is no safetensors file"},
        {"{", 0, "f: its header is no JSON"},
        {"{} x", 0, "f: its header is no JSON"},
        {"{\"\\u0000\":1}", 0, "f: its header is no JSON"},
        {"{\"a\":\"\xff\"}", 0, "f: its header is no JSON"},
        {"{" W("[1]", "[0,4]") "," W("[1]", "[0,4]") "}", 4, "f: its header is no JSON"},
        {"{\"__metadata__\":3}", 0, "f: __metadata__ is not an object of strings"},
        {"{\"__metadata__\":{\"a\":3}}", 0, "f: __metadata__ is not an object of strings"},
        {"{\"w\":3}", 0, "f: tensor 'w' has no data_offsets"},
        {"{\"w\\n\\u00e9\":3}", 0, "f: tensor 'w??\?' has no data_offsets"},
        {"{" W("[1]", "[0,4.0]") "}", 4, "f: tensor 'w' has no data_offsets"},
        {"{" W("[1]", "[-4,0]") "}", 4, "f: tensor 'w' has no data_offsets"},
        {"{" W("[1]", "[4,0]") "}", 4, "f: tensor 'w' has no data_offsets"},
        {"{" W("[1]", "[0,4,8]") "}", 8, "f: tensor 'w' has no data_offsets"},
        {"{" W("[1]", "[0,99999999999999999999]") "}", 4, "f: its header is no JSON"},
        {"{" W("[2]", "[0,8]") "}", 7, "f: truncated: tensor 'w' ends at byte 8 of the data, but there are 7"},
        {"{" W("[2]", "[0,4]") "}", 4, "f: tensor 'w' has 4 bytes, but its shape needs 8"},
        {"{" W("[1]", "[4,8]") "}", 8, "f: tensor 'w' begins at byte 4, but the one before it ends at 0"},
        {"{" W("[1]", "[0,4]") "}", 8, "f: 4 bytes follow the tensors"},
        {"{" W("[2]", "[0,8]") ",\"v\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8,
         "f: tensor 'v' begins at byte 4, but the one before it ends at 8"},
        {"{" W("[]", "[0,4]") "}", 4, "f: tensor w: rank 0"},
        {"{" W("[1,1,1,1,1]", "[0,4]") "}", 4, "f: tensor w: rank 5"},
        {"{" W("[0]", "[0,0]") "}", 0, "f: tensor w: a dimension is 0"},
        {"{" W("[4611686018427387905]", "[0,4]") "}", 4, "f: tensor w: a dimension is 0, or the model has more than"},
        {"{" W("[-1]", "[0,4]") "}", 4, "f: the shape of tensor 'w' is not made of integers"},
        {"{" W("[\"1\"]", "[0,4]") "}", 4, "f: the shape of tensor 'w' is not made of integers"},
        {"{\"w\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "f: tensor 'w' is not of dtype F32"},
        {"{\"w.ids\":{\"dtype\":\"U64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8,
         "f: tensor 'w.ids' is of dtype U64, as the row ids"},
        {"{\"w\":{\"dtype\":3,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "f: tensor 'w' is not of dtype F32"},
        {"{\"\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "f: tensor 0: a name must be"},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct safetensors model;
        dp_error err = {0};
        cr_assert_eq(parse(CASES[i].header, CASES[i].data_bytes, &model, &err), DP_DATA, "%s", CASES[i].header);
        cr_assert_eq(strncmp(err.text, CASES[i].says, strlen(CASES[i].says)), 0, "'%s' is not '%s'", err.text,
                     CASES[i].says);
        cr_assert_eq(parse(CASES[i].header, CASES[i].data_bytes, &model, NULL), DP_DATA);
    }
    ASSERT_NO_LEAKS();
}

Test(parse, bounds_on_counts_and_lengths)
{
    struct safetensors model;
    dp_error err = {0};
    char text[8192] = "{";
    size_t at = 1;
    for (int i = 0; i <= TENSOR_COUNT_MAX; i++)
        (void)str_append(text, sizeof text, &at, "%s\"t%d\":{\"data_offsets\":[0,0]}", i ? "," : "", i);
    (void)str_append(text, sizeof text, &at, "}");
    char bytes[8200];
    uint64_t length = at;
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, text, at);
    cr_assert_eq(safetensors_parse("f", bytes, 8 + at, &model, &err), DP_DATA);
    cr_assert_str_eq(err.text, "f: has more than 64 tensors");
    length = UINT64_MAX;
    memcpy(bytes, &length, 8);
    cr_assert_eq(safetensors_parse("f", bytes, 8 + at, &model, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "its header has 18446744073709551615 bytes"), "%s", err.text);
    for (size_t n = 0; n <= 8; n++)
        cr_assert_eq(safetensors_parse("f", bytes, n, &model, &err), DP_DATA);
    memcpy(text, "{\"__metadata__\":{", 17);
    at = 17;
    for (int i = 0; i <= SAFETENSORS_META_MAX; i++)
        (void)str_append(text, sizeof text, &at, "%s\"k%d\":\"\"", i ? "," : "", i);
    (void)str_append(text, sizeof text, &at, "}}");
    length = at;
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, text, at);
    cr_assert_eq(safetensors_parse("f", bytes, 8 + at, &model, &err), DP_DATA);
    cr_assert_str_eq(err.text, "f: has more than 32 keys of metadata");
    memset(bytes + 8, '[', 8000);
    bytes[8] = '{';
    length = 8000;
    memcpy(bytes, &length, 8);
    cr_assert_eq(safetensors_parse("f", bytes, 8008, &model, &err), DP_DATA);
    ASSERT_NO_LEAKS();
}
