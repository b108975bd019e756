/* Manifests: what is read is exactly what was written, and no changed byte goes unnoticed, nor one of its files. */
#include <criterion/criterion.h>

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/checkpoint/manifest.h"
#include "tests/unit/support/files.h"
#include "tests/unit/support/leaks.h"

#define LEN(a) (sizeof(a) / sizeof *(a))

/* Rates that need all 17 digits, and the ends of the range. */
static struct schedule_change rates[] = {
    {3, 0.1}, {4, 1.0 / 3},     {5, DBL_MIN}, {6, DBL_TRUE_MIN}, {7, DBL_MAX}, {8, 0.30000000000000004},
    {9, 1},   {INT64_MAX, 1e-5}};
static unsigned char join[256];
static struct manifest_file files[] = {
    {"shard-0.safetensors", "", 12, 0x0123456789abcdef},
    {"shard-1.safetensors", "other host", INT64_MAX, UINT64_MAX},
};

static void add_tensors(struct tensors *tensors)
{
    static const uint64_t SHAPE[] = {7, 3, 2};
    cr_assert_eq(tensors_add(tensors, "w", 3, SHAPE, INIT_NORMAL, 0.1F, true, NULL), DP_OK);
    cr_assert_eq(tensors_add_table(tensors, "t", TENSOR_TABLE, 2, SHAPE, INIT_ZEROS, 0, false, NULL), DP_OK);
    cr_assert_eq(tensors_add_table(tensors, "h", TENSOR_HASHED, 1, SHAPE, INIT_CONSTANT, -0.0F, true, NULL), DP_OK);
}

static struct manifest sample(void)
{
    struct manifest m = {.generation = 3,
                         .incarnation = UINT64_C(0xfedcba9876543210),
                         .step = 130,
                         .train_step = 120,
                         .train_steps = INT64_MAX,
                         .written_at = (char *)"2026-11-30T23:59:59Z",
                         .version = (char *)"0.1 \"quoted\"",
                         .spec = json_pack("{s:s, s:s, s:s}", "batch", "1024", "model", "softmax", "note", "für\n\x7f"),
                         .join = join,
                         .join_bytes = sizeof join,
                         .numerics = (char *)"avx2/openblas",
                         .rates = {.count = LEN(rates), .room = LEN(rates), .list = rates},
                         .periods = {.count = 2, .list = {{0, 90}, {60, INT64_MAX}}},
                         .consistency = {.change_count = 2, .changes = {{0, 0}, {77, CONSISTENCY_STALENESS_MAX}}},
                         .sums = json_pack("{s:s, s:i}", "loss", "3ff0000000000000", "count", 12),
                         .files = files,
                         .file_count = LEN(files)};
    for (size_t i = 0; i < sizeof join; i++)
        join[i] = (unsigned char)(255 - i);
    cr_assert_eq(safetensors_meta_set(&m.model, "labels", "\"a,b\",für"), DP_OK);
    cr_assert_eq(safetensors_meta_set(&m.model, "steps", "120"), DP_OK);
    add_tensors(&m.tensors);
    return m;
}

static void sample_fini(struct manifest *m)
{
    safetensors_meta_fini(&m->model);
    json_decref(m->spec);
    json_decref(m->sums);
}

static char *sample_text(size_t *ret_bytes)
{
    char *text;
    struct manifest m = sample();
    cr_assert_eq(manifest_write(&m, &text, ret_bytes), DP_OK);
    sample_fini(&m);
    return text;
}

/* ---- round trip ---- */

static void expect_same_tensors(const struct tensors *a, const struct tensors *b)
{
    cr_assert_eq(a->count, b->count);
    for (uint32_t i = 0; i < a->count; i++) {
        const struct tensor *x = &a->list[i], *y = &b->list[i];
        cr_assert_str_eq(x->name, y->name);
        cr_assert(x->kind == y->kind && x->rank == y->rank && x->init == y->init && x->regularized == y->regularized);
        cr_assert_eq(memcmp(x->shape, y->shape, x->rank * sizeof *x->shape), 0);
        cr_assert_eq(memcmp(&x->init_arg, &y->init_arg, sizeof x->init_arg), 0);
        cr_assert(x->elems == y->elems && x->dim == y->dim && x->last_row == y->last_row);
    }
}

static void expect_same(const struct manifest *a, const struct manifest *b)
{
    cr_assert_eq(a->generation, b->generation);
    cr_assert_eq(a->incarnation, b->incarnation);
    cr_assert(a->step == b->step && a->train_step == b->train_step && a->train_steps == b->train_steps);
    cr_assert_str_eq(a->written_at, b->written_at);
    cr_assert_str_eq(a->version, b->version);
    cr_assert_str_eq(a->numerics, b->numerics);
    cr_assert(json_equal(a->spec, b->spec));
    cr_assert(json_equal(a->sums, b->sums));
    cr_assert_eq(a->join_bytes, b->join_bytes);
    cr_assert_eq(memcmp(a->join, b->join, a->join_bytes), 0);
    cr_assert_eq(a->rates.count, b->rates.count);
    for (size_t i = 0; i < a->rates.count; i++) {
        cr_assert_eq(a->rates.list[i].from, b->rates.list[i].from);
        cr_assert_eq(memcmp(&a->rates.list[i].lr, &b->rates.list[i].lr, sizeof(double)), 0, "rate %zu", i);
    }
    cr_assert_eq(a->periods.count, b->periods.count);
    for (uint32_t i = 0; i < a->periods.count; i++)
        cr_assert(a->periods.list[i].from == b->periods.list[i].from &&
                  a->periods.list[i].period == b->periods.list[i].period);
    cr_assert_eq(a->consistency.change_count, b->consistency.change_count);
    for (uint32_t i = 0; i < a->consistency.change_count; i++)
        cr_assert(a->consistency.changes[i].from == b->consistency.changes[i].from &&
                  a->consistency.changes[i].staleness == b->consistency.changes[i].staleness);
    cr_assert_eq(a->model.count, b->model.count);
    for (size_t i = 0; i < a->model.count; i++)
        cr_assert_str_eq(a->model.values[i], safetensors_meta_get(&b->model, a->model.keys[i]));
    expect_same_tensors(&a->tensors, &b->tensors);
    cr_assert_eq(a->file_count, b->file_count);
    for (size_t i = 0; i < a->file_count; i++) {
        cr_assert_str_eq(a->files[i].name, b->files[i].name);
        cr_assert_str_eq(a->files[i].member, b->files[i].member);
        cr_assert(a->files[i].bytes == b->files[i].bytes && a->files[i].digest == b->files[i].digest);
    }
}

Test(manifest, comes_back_as_it_was)
{
    struct manifest m = sample(), back;
    size_t bytes, again_bytes;
    char *text, *again;
    dp_error err;
    cr_assert_eq(manifest_write(&m, &text, &bytes), DP_OK);
    cr_assert_eq(manifest_parse("m", text, bytes, &back, &err), DP_OK, "%s", err.text);
    expect_same(&back, &m);
    cr_assert_eq(manifest_write(&back, &again, &again_bytes), DP_OK);
    cr_assert(bytes == again_bytes && memcmp(text, again, bytes) == 0);
    manifest_fini(&back);
    manifest_fini(&back); /* zeroed */
    free(text);
    free(again);
    sample_fini(&m);
    ASSERT_NO_LEAKS();
}

/* The format of files that people have. */
Test(manifest, is_this_text)
{
    static const char TEXT[] = "{\n"
                               "  \"format\": \"dp-checkpoint-1\",\n"
                               "  \"dp_version\": \"1\",\n"
                               "  \"written_at\": \"2026-11-30T23:59:59Z\",\n"
                               "  \"generation\": 1,\n"
                               "  \"step\": 5,\n"
                               "  \"train_step\": 4,\n"
                               "  \"train_steps\": 9,\n"
                               "  \"settings\": 3,\n"
                               "  \"incarnation\": \"0000000000000002\",\n"
                               "  \"numerics\": \"n\",\n"
                               "  \"spec\": {},\n"
                               "  \"model\": {\n    \"classes\": \"2\"\n  },\n"
                               "  \"tensors\": [\n"
                               "    {\n"
                               "      \"name\": \"w\",\n"
                               "      \"kind\": \"dense\",\n"
                               "      \"shape\": [\n        3\n      ],\n"
                               "      \"init\": 1,\n"
                               "      \"init_arg\": \"3fe0000000000000\",\n"
                               "      \"regularized\": true\n"
                               "    }\n"
                               "  ],\n"
                               "  \"rates\": [\n    [\n      2,\n      0.10000000000000001\n    ]\n  ],\n"
                               "  \"consistency\": [],\n"
                               "  \"sums\": {},\n"
                               "  \"files\": [\n"
                               "    {\n"
                               "      \"name\": \"shard-0.safetensors\",\n"
                               "      \"member\": \"\",\n"
                               "      \"bytes\": 12,\n"
                               "      \"xxh3\": \"0123456789abcdef\"\n"
                               "    }\n"
                               "  ],\n"
                               "  \"join\": \"00ff\",\n";
    struct manifest m = {.generation = 1,
                         .incarnation = 2,
                         .step = 5,
                         .train_step = 4,
                         .train_steps = 9,
                         .settings = 3,
                         .written_at = (char *)"2026-11-30T23:59:59Z",
                         .version = (char *)"1",
                         .spec = json_object(),
                         .join = (void *)"\x00\xff",
                         .join_bytes = 2,
                         .numerics = (char *)"n",
                         .rates = {.count = 1, .list = (struct schedule_change[]){{2, 0.1}}},
                         .sums = json_object(),
                         .files = files,
                         .file_count = 1};
    char want[sizeof TEXT + 64], *text;
    size_t bytes;
    cr_assert_eq(safetensors_meta_set(&m.model, "classes", "2"), DP_OK);
    cr_assert_eq(tensors_add(&m.tensors, "w", 1, (uint64_t[]){3}, INIT_CONSTANT, 0.5F, true, NULL), DP_OK);
    snprintf(want, sizeof want, "%s  \"xxh3\": \"%016" PRIx64 "\"\n}\n", TEXT,
             (uint64_t)XXH3_64bits(TEXT, sizeof TEXT - 1));
    cr_assert_eq(manifest_write(&m, &text, &bytes), DP_OK);
    cr_assert_eq(bytes, strlen(want));
    cr_assert_eq(memcmp(text, want, bytes), 0, "%.*s", (int)bytes, text);
    free(text);
    sample_fini(&m);
    ASSERT_NO_LEAKS();
}

/* ---- damage ---- */

Test(manifest, every_changed_byte_is_found)
{
    size_t bytes;
    char *text = sample_text(&bytes);
    struct manifest m;
    dp_error err;
    for (size_t i = 0; i < bytes; i++)
        for (int flip = 1; flip < 256; flip++) {
            text[i] = (char)(text[i] ^ flip);
            cr_assert_eq(manifest_parse("the manifest", text, bytes, &m, &err), DP_DATA, "byte %zu", i);
            text[i] = (char)(text[i] ^ flip);
        }
    cr_assert_str_eq(err.text, "the manifest: is damaged: its bytes do not have its digest");
    free(text);
    ASSERT_NO_LEAKS();
}

Test(manifest, every_length_is_found)
{
    size_t bytes;
    char *text = sample_text(&bytes), *longer = calloc(bytes + 1, 1);
    struct manifest m;
    dp_error err;
    for (size_t cut = 0; cut < bytes; cut++) {
        char *exact = malloc(cut + !cut); /* so that a byte read beyond it is seen */
        memcpy(exact, text, cut);
        cr_assert_eq(manifest_parse("m", exact, cut, &m, &err), DP_DATA, "%zu", cut);
        free(exact);
    }
    memcpy(longer, text, bytes);
    longer[bytes] = '\n';
    cr_assert_eq(manifest_parse("m", longer, bytes + 1, &m, &err), DP_DATA);
    free(longer);
    free(text);
    ASSERT_NO_LEAKS();
}

/* ---- texts that are sealed, but none of ours ---- */

static dp_err parse_sealed(const json_t *json, struct manifest *ret_manifest, dp_error *err)
{
    char *body = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    size_t length = strlen(body) - 2, room = length + 64;
    char *text = malloc(room);
    int n = snprintf(text, room, "%.*s,\n", (int)length, body);
    n += snprintf(text + n, room - (size_t)n, "  \"xxh3\": \"%016" PRIx64 "\"\n}\n",
                  (uint64_t)XXH3_64bits(text, (size_t)n));
    dp_err e = manifest_parse("m", text, (size_t)n, ret_manifest, err);
    free(text);
    free(body);
    return e;
}

static json_t *sample_json(void)
{
    size_t bytes;
    char *text = sample_text(&bytes);
    json_t *json = json_loadb(text, bytes, 0, NULL);
    cr_assert_not_null(json);
    json_object_del(json, "xxh3");
    free(text);
    return json;
}

/* `value`: JSON of the member; NULL: it is missing. */
static void expect_wrong(const char *member, const char *value)
{
    struct manifest m;
    dp_error err;
    char want[128];
    json_t *json = sample_json();
    if (value)
        json_object_set_new(json, member, json_loads(value, JSON_DECODE_ANY, NULL));
    else
        json_object_del(json, member);
    snprintf(want, sizeof want, "m: member '%s' is missing or wrong", member);
    cr_assert_eq(parse_sealed(json, &m, &err), DP_DATA, "%s: %s", member, value ? value : "missing");
    cr_assert_str_eq(err.text, want, "%s: %s", member, value ? value : "missing");
    json_decref(json);
}

Test(manifest, a_sealed_one_is_read)
{
    struct manifest m, want = sample();
    dp_error err;
    json_t *json = sample_json();
    cr_assert_eq(parse_sealed(json, &m, &err), DP_OK, "%s", err.text);
    expect_same(&m, &want);
    manifest_fini(&m);
    sample_fini(&want);
    json_decref(json);
    ASSERT_NO_LEAKS();
}

Test(manifest, members_that_are_missing)
{
    static const char *const MEMBERS[] = {"generation", "step",        "train_step", "train_steps", "incarnation",
                                          "written_at", "dp_version",  "numerics",   "spec",        "sums",
                                          "rates",      "consistency", "join",       "files"};
    for (size_t i = 0; i < LEN(MEMBERS); i++) {
        expect_wrong(MEMBERS[i], NULL);
        expect_wrong(MEMBERS[i], "null");
        expect_wrong(MEMBERS[i], "true");
    }
    ASSERT_NO_LEAKS();
}

Test(manifest, members_that_are_wrong)
{
    static const char *const WRONG[][2] = {
        {"generation", "-1"},
        {"step", "1.5"},
        {"train_step", "\"7\""},
        {"incarnation", "7"},
        {"incarnation", "\"7\""},
        {"spec", "[]"},
        {"rates", "[[1, 0.5], [1, 0.5]]"},
        {"rates", "[[2, 0.5], [1, 0.5]]"},
        {"rates", "[[1, 0]]"},
        {"rates", "[[1, -0.5]]"},
        {"rates", "[[1]]"},
        {"rates", "[7]"},
        {"rates", "{}"},
        {"periods", "[[1, 7]]"},
        {"periods", "[[0, 0]]"},
        {"periods", "[[0, 7], [0, 8]]"},
        {"periods", "[7]"},
        {"periods", "{}"},
        {"consistency", "[[1, 33]]"},
        {"consistency", "[[1, 0], [1, 0]]"},
        {"consistency", "[[-1, 0]]"},
        {"model", "[]"},
        {"model", "{\"labels\": 7}"},
        {"tensors", "{}"},
        {"tensors", "[7]"},
        {"tensors", "[{\"name\": \"w\", \"kind\": \"none\", \"shape\": [3], \"init\": 0, \"init_arg\": "
                    "\"0000000000000000\", \"regularized\": true}]"},
        {"tensors", "[{\"name\": \"w\", \"kind\": \"dense\", \"shape\": [0], \"init\": 0, \"init_arg\": "
                    "\"0000000000000000\", \"regularized\": true}]"},
        {"tensors", "[{\"name\": \"w\", \"kind\": \"dense\", \"shape\": [3], \"init\": 9, \"init_arg\": "
                    "\"0000000000000000\", \"regularized\": true}]"},
        {"tensors", "[{\"name\": \"w\", \"kind\": \"dense\", \"shape\": [3], \"init\": 1, \"init_arg\": "
                    "\"7ff0000000000000\", \"regularized\": true}]"},
        {"join", "\"0\""},
        {"join", "\"zz\""},
        {"files", "[]"},
        {"files", "[{\"name\": \"\", \"member\": \"\", \"bytes\": 1, \"xxh3\": \"0000000000000000\"}]"},
        {"files", "[{\"name\": \"../a\", \"member\": \"\", \"bytes\": 1, \"xxh3\": \"0000000000000000\"}]"},
        {"files", "[{\"name\": \"a/b\", \"member\": \"\", \"bytes\": 1, \"xxh3\": \"0000000000000000\"}]"},
        {"files", "[{\"name\": \"..\", \"member\": \"\", \"bytes\": 1, \"xxh3\": \"0000000000000000\"}]"},
        {"files", "[{\"name\": \"a\\u001b\", \"member\": \"\", \"bytes\": 1, \"xxh3\": \"0000000000000000\"}]"},
        {"files", "[{\"name\": \"a\", \"bytes\": 1, \"xxh3\": \"0000000000000000\"}]"},
        {"files", "[{\"name\": \"a\", \"member\": \"\", \"bytes\": -1, \"xxh3\": \"0000000000000000\"}]"},
        {"files", "[{\"name\": \"a\", \"member\": \"\", \"bytes\": 1, \"xxh3\": \"0\"}]"},
        {"files", "[{\"name\": \"0123456789012345678901234567890123456789012345678901234567890123\", \"member\": \"\", "
                  "\"bytes\": 1, \"xxh3\": \"0000000000000000\"}]"},
    };
    for (size_t i = 0; i < LEN(WRONG); i++)
        expect_wrong(WRONG[i][0], WRONG[i][1]);
    ASSERT_NO_LEAKS();
}

Test(manifest, more_than_a_job_has)
{
    char many[CONSISTENCY_CHANGES_MAX * 16 + 64];
    size_t at = (size_t)snprintf(many, sizeof many, "[");
    for (int i = 0; i <= CONSISTENCY_CHANGES_MAX; i++)
        at += (size_t)snprintf(many + at, sizeof many - at, "%s[%d, 1]", i ? "," : "", i);
    snprintf(many + at, sizeof many - at, "]");
    expect_wrong("consistency", many);
    ASSERT_NO_LEAKS();
}

Test(manifest, of_another_format)
{
    struct manifest m;
    dp_error err;
    json_t *json = sample_json();
    json_object_set_new(json, "format", json_string("dp-checkpoint-2"));
    cr_assert_eq(parse_sealed(json, &m, &err), DP_DATA);
    cr_assert_str_eq(err.text, "m: is no manifest that this version of dp reads (format 'dp-checkpoint-2', not "
                               "'dp-checkpoint-1')");
    json_object_del(json, "format");
    cr_assert_eq(parse_sealed(json, &m, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "format 'none'"), "%s", err.text);
    json_decref(json);
    json = json_array(); /* sealed, and no JSON */
    cr_assert_eq(parse_sealed(json, &m, &err), DP_DATA);
    json_decref(json);
    ASSERT_NO_LEAKS();
}

/* ---- on the disk ---- */

static char dir[PATH_MAX];

static const char *at(const char *name)
{
    static char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void make_dir(void)
{
    folder_make(dir);
}

static void remove_dir(void)
{
    static const char *const NAMES[] = {"manifest.json", "a", "b"};
    for (size_t i = 0; i < LEN(NAMES); i++)
        unlink(at(NAMES[i]));
    cr_assert_eq(rmdir(dir), 0, "%s", strerror(errno));
    ASSERT_NO_LEAKS();
}

TestSuite(manifest_files, .init = make_dir);

Test(manifest_files, is_read)
{
    size_t bytes;
    char *text = sample_text(&bytes);
    struct manifest m, want = sample();
    dp_error err;
    file_make(at("manifest.json"), text, bytes);
    cr_assert_eq(manifest_read(at("manifest.json"), &m, &err), DP_OK, "%s", err.text);
    expect_same(&m, &want);
    manifest_fini(&m);
    sample_fini(&want);
    free(text);
    remove_dir();
}

Test(manifest_files, that_cannot_be_read)
{
    struct manifest m;
    dp_error err;
    cr_assert_eq(manifest_read(at("manifest.json"), &m, &err), DP_IO);
    cr_assert(strstr(err.text, at("manifest.json")) && strstr(err.text, strerror(ENOENT)), "%s", err.text);
    cr_assert_eq(manifest_read(dir, &m, &err), DP_IO);
    cr_assert_eq(mkfifo(at("manifest.json"), 0600), 0); /* nobody writes it */
    cr_assert_eq(manifest_read(at("manifest.json"), &m, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "it is no file"), "%s", err.text);
    unlink(at("manifest.json"));
    file_make(at("manifest.json"), "", 0);
    cr_assert_eq(manifest_read(at("manifest.json"), &m, &err), DP_DATA);
    cr_assert_eq(truncate(at("manifest.json"), (off_t)1 << 40), 0);
    cr_assert_eq(manifest_read(at("manifest.json"), &m, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "it has 1099511627776 bytes"), "%s", err.text);
    remove_dir();
}

static const char A[] = "0123456789abcdef0123456789abcdef", B[] = "";

static struct manifest_file two[2];

static struct manifest with_two_files(void)
{
    two[0] = (struct manifest_file){"a", "", sizeof A - 1, XXH3_64bits(A, sizeof A - 1)};
    two[1] = (struct manifest_file){"b", "other", sizeof B - 1, XXH3_64bits(B, sizeof B - 1)};
    file_make(at("a"), A, sizeof A - 1);
    file_make(at("b"), B, sizeof B - 1);
    return (struct manifest){.files = two, .file_count = 2};
}

Test(manifest_files, whole_ones_are_verified)
{
    struct manifest m = with_two_files();
    dp_error err;
    cr_assert_eq(manifest_verify(&m, dir, NULL, &err), DP_OK, "%s", err.text);
    cr_assert_eq(manifest_verify(&m, dir, "", &err), DP_OK, "%s", err.text);
    unlink(at("b")); /* another server's, on its own disk */
    cr_assert_eq(manifest_verify(&m, dir, "", &err), DP_OK, "%s", err.text);
    cr_assert_eq(manifest_verify(&m, dir, "other", &err), DP_IO);
    cr_assert_eq(manifest_verify(&m, dir, NULL, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, at("b")), "%s", err.text);
    remove_dir();
}

Test(manifest_files, every_changed_byte_of_a_file_is_found)
{
    struct manifest m = with_two_files();
    dp_error err;
    char changed[sizeof A];
    for (size_t i = 0; i < 8 * (sizeof A - 1); i++) {
        memcpy(changed, A, sizeof A);
        changed[i / 8] = (char)(changed[i / 8] ^ 1 << i % 8);
        file_make(at("a"), changed, sizeof A - 1);
        cr_assert_eq(manifest_verify(&m, dir, NULL, &err), DP_DATA, "bit %zu", i);
    }
    cr_assert_not_null(strstr(err.text, at("a")), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "is damaged: its bytes do not have the digest"), "%s", err.text);
    remove_dir();
}

Test(manifest_files, every_length_of_a_file_is_found)
{
    struct manifest m = with_two_files();
    dp_error err;
    for (size_t cut = 0; cut < sizeof A - 1; cut++) {
        file_make(at("a"), A, cut);
        cr_assert_eq(manifest_verify(&m, dir, NULL, &err), DP_DATA, "%zu", cut);
    }
    cr_assert_not_null(strstr(err.text, "it has 31 bytes, its manifest says 32"), "%s", err.text);
    file_make(at("a"), A, sizeof A); /* with its NUL */
    cr_assert_eq(manifest_verify(&m, dir, NULL, &err), DP_DATA);
    file_make(at("a"), A, sizeof A - 1);
    file_make(at("b"), "x", 1);
    cr_assert_eq(manifest_verify(&m, dir, NULL, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, at("b")), "%s", err.text);
    remove_dir();
}

/* No more descriptors: the file may be whole. */
Test(manifest, a_fault_that_is_not_the_file_s_is_told_apart)
{
    struct manifest m = {0};
    struct rlimit before;
    dp_error err;
    char path[PATH_MAX];
    source_path(path, "meson.build");
    cr_assert_eq(manifest_read("/nowhere/manifest.json", &m, &err), DP_IO);
    cr_assert_eq(manifest_read(path, &m, &err), DP_DATA);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, before.rlim_max}), 0);
    dp_err e = manifest_read(path, &m, &err);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    cr_assert_eq(e, DP_SYSTEM);
    cr_assert_not_null(strstr(err.text, path), "%s", err.text);
}

Test(manifest_files, a_pipe_is_not_waited_for)
{
    struct manifest m = with_two_files();
    dp_error err;
    unlink(at("a"));
    cr_assert_eq(mkfifo(at("a"), 0600), 0);
    cr_assert_eq(manifest_verify(&m, dir, NULL, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, at("a")), "%s", err.text);
    remove_dir();
}
