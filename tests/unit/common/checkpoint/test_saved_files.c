/* Models and checkpoints read alike: elements and rows whatever files have them, and the checkpoint that a path means.
 */
#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "common/checkpoint/name.h"
#include "common/checkpoint/saved.h"
#include "tests/unit/support/files.h"
#include "tests/unit/support/leaks.h"

enum { A = 12, ROWS = 20, DIM = 2, STATES = 1, SLOTS = 4, FILES = 2, PATHS = PATH_MAX };

static char dir[PATHS];
static size_t told; /* damaged checkpoints */
static char told_text[sizeof((dp_error *)0)->text];

static void set_up(void)
{
    folder_make(dir);
    told = 0;
}

static void tear_down(void)
{
    folder_unmake(dir);
    ASSERT_NO_LEAKS();
}

TestSuite(saved_files, .init = set_up, .fini = tear_down);

static void tell(void *arg, const dp_error *err)
{
    cr_assert_eq(arg, &told);
    told++;
    snprintf(told_text, sizeof told_text, "%s", err->text);
}
static const struct checkpoint_damage DAMAGE = {tell, &told};

/* ---- a checkpoint of two files ---- */

static float element(uint64_t i)
{
    return (float)i + 0.5F;
}

/* A row's floats at the cut; those of its record are others where the part is current. */
static float now(uint64_t id, uint32_t d)
{
    return (float)(100 * id + d);
}

static void put(FILE *out, const void *data, size_t bytes)
{
    cr_assert_eq(fwrite(data, 1, bytes, out), bytes);
}

static void put_floats(FILE *out, uint64_t first, uint64_t count)
{
    for (int state = -1; state < STATES; state++)
        for (uint64_t i = first; i < first + count; i++) {
            const float x = state < 0 ? element(i) : -1;
            put(out, &x, sizeof x);
        }
}

/* Every third row of the part, the last first. */
static uint64_t put_rows(FILE *out, const struct shard_file_part *part)
{
    uint64_t rows = 0;
    for (uint64_t id = part->last + 1; id-- > part->first;) {
        if (id % 3 != 0)
            continue;
        rows++;
        if (!out)
            continue;
        const uint32_t words[] = {(uint32_t)id, (uint32_t)(id >> 32), 7};
        put(out, words, sizeof words);
        for (uint32_t i = 0; i < DIM * (1 + STATES); i++) {
            const float x = part->current || i >= DIM ? -2 : now(id, i);
            put(out, &x, sizeof x);
        }
        for (uint32_t d = 0; part->current && d < DIM; d++) {
            const float x = now(id, d);
            put(out, &x, sizeof x);
        }
    }
    return rows;
}

static struct manifest_file write_shard(const char *folder, uint32_t shard, uint64_t train_step)
{
    struct shard_file_range range = {"w", shard ? 5 : 0, shard ? A - 5 : 5};
    struct shard_file_part part = {"t", shard ? 8 : 0, shard ? ROWS - 1 : 7, 0, DIM, shard == 1};
    struct manifest_file file = {0};
    char path[2 * PATHS], *head, bytes[8192];
    size_t length;
    part.rows = put_rows(NULL, &part);
    struct shard_file_facts facts = {.step = 5,
                                     .train_step = train_step,
                                     .shard = shard,
                                     .slots = SLOTS,
                                     .states = STATES,
                                     .rule = "momentum",
                                     .range_count = 1,
                                     .part_count = 1,
                                     .ranges = &range,
                                     .parts = &part};
    snprintf(file.name, sizeof file.name, "shard-%u.safetensors", shard);
    snprintf(path, sizeof path, "%s/%s", folder, file.name);
    FILE *out = fopen(path, "w+b");
    cr_assert_not_null(out);
    cr_assert_eq(shard_file_head(&facts, &head, &length), DP_OK);
    put(out, head, length);
    free(head);
    put_floats(out, range.first, range.count);
    put_rows(out, &part);
    rewind(out);
    file.bytes = fread(bytes, 1, sizeof bytes, out);
    file.digest = XXH3_64bits(bytes, file.bytes);
    cr_assert_eq(fclose(out), 0);
    return file;
}

/* DIR/step-N of a generation; its name is that of `named` steps. */
static void write_checkpoint(uint64_t train_step, uint64_t generation, uint64_t named, bool described)
{
    char name[CHECKPOINT_NAME_MAX], folder[PATHS + 50], path[PATHS + 80], *text;
    struct manifest_file files[FILES];
    size_t bytes;
    struct manifest m = {.generation = generation,
                         .incarnation = 1,
                         .step = 5,
                         .train_step = train_step,
                         .train_steps = 99,
                         .written_at = (char *)"2026-11-30T23:59:59Z",
                         .version = (char *)"0.1",
                         .spec = json_pack("{s:s}", "seed", "3"),
                         .join = (void *)"j",
                         .join_bytes = 1,
                         .numerics = (char *)"n",
                         .sums = json_object(),
                         .files = files,
                         .file_count = FILES};
    checkpoint_name(named, name);
    snprintf(folder, sizeof folder, "%s/%s", dir, name);
    cr_assert_eq(mkdir(folder, 0700), 0);
    for (uint32_t s = 0; s < FILES; s++)
        files[s] = write_shard(folder, s, train_step);
    const uint64_t w[] = {3, 4}, t[] = {ROWS, DIM};
    if (described) {
        cr_assert_eq(safetensors_meta_set(&m.model, "steps", "%" PRIu64, train_step), DP_OK);
        cr_assert_eq(tensors_add(&m.tensors, "w", 2, w, INIT_ZEROS, 0, true, NULL), DP_OK);
        cr_assert_eq(tensors_add_table(&m.tensors, "t", TENSOR_TABLE, 2, t, INIT_CONSTANT, 9, true, NULL), DP_OK);
    }
    cr_assert_eq(manifest_write(&m, &text, &bytes), DP_OK);
    snprintf(path, sizeof path, "%s/" CHECKPOINT_MANIFEST, folder);
    file_make(path, text, bytes);
    free(text);
    safetensors_meta_fini(&m.model);
    json_decref(m.spec);
    json_decref(m.sums);
}

static const char *path_of(uint64_t step, const char *file)
{
    static char path[PATHS + 100];
    char name[CHECKPOINT_NAME_MAX];
    checkpoint_name(step, name);
    snprintf(path, sizeof path, "%s/%s%s%s", dir, name, file[0] ? "/" : "", file);
    return path;
}

static void flip(const char *path, long at)
{
    FILE *file = fopen(path, "r+b");
    cr_assert(file && fseek(file, at, SEEK_SET) == 0);
    const int byte = fgetc(file);
    cr_assert(fseek(file, at, SEEK_SET) == 0 && fputc(byte ^ 1, file) != EOF && fclose(file) == 0);
}

/* ---- values ---- */

static float row_of_table(uint64_t id, uint32_t d)
{
    return id % 3 == 0 ? now(id, d) : 9;
}

struct seen {
    uint64_t ids, count; /* a bit for each */
};

static dp_err see(void *arg, uint64_t id, const float *row, dp_error *err)
{
    struct seen *seen = arg;
    (void)err;
    seen->ids |= UINT64_C(1) << id;
    seen->count++;
    for (uint32_t d = 0; d < DIM; d++)
        cr_assert_eq(row[d], now(id, d), "row %" PRIu64, id);
    return DP_OK;
}

Test(saved_files, values_of_a_checkpoint_whatever_file_has_them)
{
    struct saved saved;
    dp_error err;
    float values[ROWS * DIM];
    write_checkpoint(4, 1, 4, true);
    cr_assert_eq(saved_open(dir, DAMAGE, &saved, &err), DP_OK, "%s", err.text);
    cr_assert(saved.is_checkpoint && saved_find(&saved, "w") == 0 && saved_find(&saved, "t") == 1);
    cr_assert_eq(saved_find(&saved, "v"), -1);
    for (uint64_t first = 0; first < A; first++)
        for (uint64_t count = 0; count <= A - first; count++) {
            cr_assert_eq(saved_read(&saved, 0, first, count, values, &err), DP_OK, "%s", err.text);
            for (uint64_t i = 0; i < count; i++)
                cr_assert_eq(values[i], element(first + i));
        }
    for (uint64_t first = 0; first < ROWS * DIM; first++) {
        const uint64_t count = MIN((uint64_t)5, ROWS * DIM - first);
        cr_assert_eq(saved_read(&saved, 1, first, count, values, &err), DP_OK, "%s", err.text);
        for (uint64_t i = first; i < first + count; i++)
            cr_assert_eq(values[i - first], row_of_table(i / DIM, i % DIM), "%" PRIu64, i);
    }
    struct seen seen = {0};
    cr_assert_eq(saved_rows(&saved, 1, 3, 12, (struct saved_taker){see, &seen}, &err), DP_OK);
    cr_assert_eq(seen.ids, 1 << 3 | 1 << 6 | 1 << 9 | 1 << 12);
    cr_assert_eq(seen.count, 4);
    cr_assert_eq(saved_row_count(&saved, 1), 7);
    cr_assert_eq(saved_elems(&saved.tensors.list[1]), ROWS * DIM);
    saved_close(&saved);
    saved_close(&saved); /* zeroed */
}

Test(saved_files, a_checkpoint_in_memory_is_a_model)
{
    struct saved saved;
    struct safetensors model;
    dp_error err;
    write_checkpoint(4, 1, 4, true);
    cr_assert_eq(saved_open(dir, DAMAGE, &saved, &err), DP_OK, "%s", err.text);
    cr_assert_eq(saved_load(&saved, &model, &err), DP_OK, "%s", err.text);
    cr_assert_eq(tensors_total(&model.tensors), A + ROWS * DIM);
    for (uint32_t i = 0; i < A; i++)
        cr_assert_eq(model.theta[i], element(i));
    for (uint32_t i = 0; i < ROWS * DIM; i++)
        cr_assert_eq(model.theta[A + i], row_of_table(i / DIM, i % DIM));
    cr_assert_str_eq(safetensors_meta_get(&model.meta, "steps"), "4");
    safetensors_fini(&model);
    saved_close(&saved);
}

/* ---- a model's file ---- */

static void write_model(const char *path, uint64_t ids)
{
    char text[512];
    uint64_t length;
    const int n = snprintf(text + 8, sizeof text - 8,
                           "{\"t.ids\":{\"dtype\":\"U64\",\"shape\":[%" PRIu64 "],\"data_offsets\":[0,%" PRIu64 "]},"
                           "\"t.values\":{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[%" PRIu64 ",%" PRIu64
                           "]},\"w\":{\"dtype\":\"F32\",\"shape\":[12],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}}",
                           ids, 8 * ids, 8 * ids, 8 * ids + 24, 8 * ids + 24, 8 * ids + 72);
    length = (uint64_t)n;
    memcpy(text, &length, 8);
    FILE *out = fopen(path, "wb");
    cr_assert_not_null(out);
    put(out, text, 8 + (size_t)n);
    for (uint64_t i = 0; i < ids; i++) {
        const uint64_t id = 2 + 3 * i;
        put(out, &id, sizeof id);
    }
    for (uint64_t i = 0; i < 3; i++)
        for (uint32_t d = 0; d < DIM; d++) {
            const float x = now(2 + 3 * i, d);
            put(out, &x, sizeof x);
        }
    for (uint64_t i = 0; i < A; i++) {
        const float x = element(i);
        put(out, &x, sizeof x);
    }
    cr_assert_eq(fclose(out), 0);
}

Test(saved_files, a_model_with_rows_by_id)
{
    struct saved saved;
    struct safetensors model;
    struct seen seen = {0};
    dp_error err;
    float values[A];
    char path[PATHS + 8];
    snprintf(path, sizeof path, "%s/m", dir);
    write_model(path, 3);
    cr_assert_eq(saved_open(path, DAMAGE, &saved, &err), DP_OK, "%s", err.text);
    cr_assert(!saved.is_checkpoint && saved.tensors.count == 2);
    cr_assert_eq(saved.tensors.list[0].kind, TENSOR_HASHED);
    cr_assert_str_eq(saved.tensors.list[0].name, "t");
    cr_assert_eq(saved_row_count(&saved, 0), 3);
    cr_assert_eq(saved_rows(&saved, 0, 0, 5, (struct saved_taker){see, &seen}, &err), DP_OK);
    cr_assert(seen.count == 2 && seen.ids == (1 << 2 | 1 << 5));
    cr_assert_eq(saved_read(&saved, 1, 3, A - 3, values, &err), DP_OK);
    for (uint32_t i = 3; i < A; i++)
        cr_assert_eq(values[i - 3], element(i));
    cr_assert_eq(saved_load(&saved, &model, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "has rows by id"), "%s", err.text);
    saved_close(&saved);
    write_model(path, 2);
    cr_assert_eq(saved_open(path, DAMAGE, &saved, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "does not have a row for each id"), "%s", err.text);
}

/* ---- the checkpoint at a path ---- */

static void expect_chosen(const char *path, uint64_t train_step, uint64_t generation, size_t damaged)
{
    struct checkpoint_chosen chosen;
    dp_error err;
    told = 0;
    cr_assert_eq(checkpoint_choose(path, DAMAGE, &chosen, &err), DP_OK, "%s", err.text);
    cr_assert(chosen.manifest.train_step == train_step && chosen.manifest.generation == generation,
              "step %" PRIu64 ", generation %" PRIu64, chosen.manifest.train_step, chosen.manifest.generation);
    cr_assert_str_eq(chosen.path, path_of(train_step, ""));
    cr_assert_eq(told, damaged, "%zu", told);
    manifest_fini(&chosen.manifest);
}

static void expect_none(const char *path, dp_err code, const char *says)
{
    struct checkpoint_chosen chosen;
    dp_error err;
    told = 0;
    cr_assert_eq(checkpoint_choose(path, DAMAGE, &chosen, &err), code);
    cr_assert_not_null(strstr(err.text, says), "'%s' is not in: %s", says, err.text);
}

/* A job that began anew has fewer steps than the one before. */
Test(saved_files, the_latest_generation_comes_first_then_the_farthest_step)
{
    expect_none(dir, DP_DATA, "is a folder without a checkpoint");
    write_checkpoint(30, 1, 30, true);
    write_checkpoint(10, 2, 10, true);
    write_checkpoint(20, 2, 20, true);
    expect_chosen(dir, 20, 2, 0);
    flip(path_of(20, "shard-1.safetensors"), 700);
    expect_chosen(dir, 10, 2, 1);
    cr_assert_not_null(strstr(told_text, "shard-1.safetensors"), "%s", told_text);
    cr_assert_eq(unlink(path_of(10, "shard-0.safetensors")), 0);
    expect_chosen(dir, 30, 1, 2);
    flip(path_of(30, CHECKPOINT_MANIFEST), 50);
    expect_none(dir, DP_DATA, "none of them is whole");
    cr_assert_eq(told, 3);
}

Test(saved_files, a_folder_of_its_own_is_taken_or_nothing)
{
    char link[PATHS + 8];
    write_checkpoint(10, 1, 10, true);
    write_checkpoint(20, 1, 20, true);
    expect_chosen(path_of(10, ""), 10, 1, 0);
    flip(path_of(20, "shard-0.safetensors"), 700);
    expect_none(path_of(20, ""), DP_DATA, "shard-0.safetensors");
    cr_assert_eq(told, 0);
    snprintf(link, sizeof link, "%s/mine", dir);
    cr_assert_eq(rename(path_of(10, ""), link), 0);
    struct checkpoint_chosen chosen;
    dp_error err;
    cr_assert_eq(checkpoint_choose(link, DAMAGE, &chosen, &err), DP_OK, "%s", err.text);
    manifest_fini(&chosen.manifest);
    expect_none(path_of(99, ""), DP_IO, "No such file");
}

Test(saved_files, a_checkpoint_of_another_name_or_age_is_not_used)
{
    struct saved saved;
    dp_error err;
    write_checkpoint(10, 1, 40, true);
    expect_none(dir, DP_DATA, "none of them is whole");
    cr_assert_not_null(strstr(told_text, "is of training step 10"), "%s", told_text);
    write_checkpoint(50, 1, 50, false);
    cr_assert_eq(saved_open(dir, DAMAGE, &saved, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "an older dp has written it"), "%s", err.text);
}
