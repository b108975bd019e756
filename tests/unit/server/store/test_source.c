/* First values of a job out of the files of a checkpoint: from whatever files have them, and with a word about what is
 * missing or of another job. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "server/step/first_values.h"
#include "server/store/folder.h"
#include "common/checkpoint/manifest.h"
#include "common/checkpoint/shard_file.h"
#include "server/store/source.h"
#include "tests/unit/support/files.h"
#include "tests/unit/support/leaks.h"
#include "tests/unit/support/manifests.h"

enum { A = 12, B = 5, ELEMS = A + B, ROWS = 30, DIM = 2, STATES = 1, ROW_WORDS = 3 + DIM * (1 + STATES), SLOTS = 9 };
enum { STEP = 20, TRAIN_STEP = 17, FILES_MAX = 3, LIST_MAX = 4 };

/* A file of the checkpoint; lists end where count or dim is 0. */
struct sheet {
    struct shard_file_range ranges[LIST_MAX];
    struct shard_file_part parts[LIST_MAX];
    struct shard_file_arrivals arrivals[LIST_MAX];
    const char *rule;
    uint64_t train_step;
    uint32_t states;
    double mu;
};

static struct folder folder;
static struct manifest_file files[FILES_MAX];
static uint32_t file_count;

static void set_up(void)
{
    char dir[PATH_MAX];
    dp_error err;
    folder_make(dir);
    file_count = 0;
    memset(files, 0, sizeof files);
    cr_assert_eq(folder_open(dir, "lock", "test", &folder, &err), DP_OK, "%s", err.text);
    cr_assert_eq(folder_begin(&folder, TRAIN_STEP, &err), DP_OK, "%s", err.text);
}

static void tear_down(void)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%s", folder.path);
    folder_close(&folder);
    folder_unmake(dir);
    ASSERT_NO_LEAKS();
}

TestSuite(source, .init = set_up, .fini = tear_down);

/* ---- a checkpoint whose values say what they are ---- */

static float value(const char *tensor, int state, uint64_t elem)
{
    return (float)(tensor[0] * 1000 + (state + 1) * 100 + (int)elem);
}

static void add_floats(FILE *out, const struct sheet *sheet, int state)
{
    for (const struct shard_file_range *r = sheet->ranges; r->count > 0; r++)
        for (uint64_t i = 0; i < r->count; i++) {
            const float x = value(r->tensor, state, r->first + i);
            cr_assert_eq(fwrite(&x, sizeof x, 1, out), 1);
        }
}

/* Every third row, the last ones first, as none need be in order. */
static uint64_t rows_of(const struct shard_file_part *part, FILE *out)
{
    uint64_t rows = 0;
    for (uint64_t id = part->last + 1; id-- > part->first;) {
        if (id % 3 != 0)
            continue;
        uint32_t words[ROW_WORDS] = {(uint32_t)id, 0, (uint32_t)id + 1};
        for (uint32_t i = 3; i < ROW_WORDS; i++)
            words[i] = (uint32_t)id * 10 + i;
        cr_assert(!out || fwrite(words, sizeof words, 1, out) == 1);
        rows++;
    }
    return rows;
}

static void write_file(struct sheet sheet)
{
    struct shard_file_facts facts = {.step = STEP,
                                     .train_step = sheet.train_step ? sheet.train_step : TRAIN_STEP,
                                     .shard = file_count,
                                     .slots = SLOTS,
                                     .states = sheet.states ? sheet.states : STATES,
                                     .ranges = sheet.ranges,
                                     .parts = sheet.parts,
                                     .arrivals = sheet.arrivals,
                                     .multipliers.mu[0] = sheet.mu};
    struct manifest_file *file = &files[file_count];
    char path[PATH_MAX], *head;
    size_t bytes;
    (void)str_copy(facts.rule, sizeof facts.rule, sheet.rule ? sheet.rule : "momentum");
    while (sheet.ranges[facts.range_count].count)
        facts.range_count++;
    for (; sheet.parts[facts.part_count].dim; facts.part_count++)
        sheet.parts[facts.part_count].rows = rows_of(&sheet.parts[facts.part_count], NULL);
    while (sheet.arrivals[facts.arrival_count].count)
        facts.arrival_count++;
    cr_assert_eq(shard_file_head(&facts, &head, &bytes), DP_OK);
    folder_shard_file(file_count++, file->name);
    cr_assert(folder_draft_path(&folder, TRAIN_STEP, file->name, path));
    FILE *out = fopen(path, "wb");
    cr_assert(out && fwrite(head, 1, bytes, out) == bytes);
    for (int state = -1; state < (int)facts.states; state++)
        add_floats(out, &sheet, state);
    for (uint32_t p = 0; p < facts.part_count; p++)
        rows_of(&sheet.parts[p], out);
    cr_assert_eq(fclose(out), 0);
    free(head);
}

static dp_err try_open(struct values_source **source, dp_error *err)
{
    manifest_commit(&folder, STEP, TRAIN_STEP, 100, files, file_count);
    return source_open(&folder, TRAIN_STEP, source, err);
}

static struct shard_job job_of(const struct update_rule *rule, uint32_t dim)
{
    const uint64_t a = A, b = B, rows[] = {ROWS, dim};
    dp_error err;
    struct shard_job job = {.plan = {.slots = SLOTS}, .rule = rule};
    cr_assert_eq(tensors_add(&job.tensors, "a", 1, &a, INIT_ZEROS, 0, true, &err), DP_OK);
    cr_assert_eq(tensors_add_table(&job.tensors, "t", TENSOR_TABLE, 2, rows, INIT_ZEROS, 0, true, &err), DP_OK);
    cr_assert_eq(tensors_add(&job.tensors, "b", 1, &b, INIT_ZEROS, 0, true, &err), DP_OK);
    return job;
}

/* A job that begins with the files written so far. */
static struct shard_job begin(void)
{
    struct shard_job job = job_of(&rule_momentum, DIM);
    dp_error err;
    cr_assert_eq(try_open(&job.from, &err), DP_OK, "%s", err.text);
    return job;
}

/* ---- dense tensors ---- */

static dp_err read_range(const struct shard_job *job, uint64_t first, uint64_t count, dp_error *err)
{
    float theta[ELEMS], momentum[ELEMS], *state[UPDATE_STATE_MAX] = {momentum};
    dp_err e = first_values_range(job, (struct range){first, count}, theta, state, err);
    for (uint64_t i = 0; !e && i < count; i++) {
        const uint64_t at = first + i;
        const char *tensor = at < A ? "a" : "b";
        cr_assert_eq(theta[i], value(tensor, -1, at < A ? at : at - A), "element %d", (int)at);
        cr_assert_eq(momentum[i], value(tensor, 0, at < A ? at : at - A), "state %d", (int)at);
    }
    return e;
}

Test(source, any_range_is_read_from_any_files)
{
    dp_error err;
    write_file((struct sheet){.ranges = {{"a", 7, 5}, {"b", 0, 2}}});
    write_file((struct sheet){.ranges = {{"a", 0, 3}}});
    write_file((struct sheet){.ranges = {{"b", 2, 3}, {"a", 3, 4}}});
    struct shard_job job = begin();
    for (uint64_t first = 0; first < ELEMS; first++)
        for (uint64_t count = 1; first + count <= ELEMS; count++)
            cr_assert_eq(read_range(&job, first, count, &err), DP_OK, "%s", err.text);
    source_close(&job.from);
    source_close(&job.from);
}

Test(source, elements_that_are_missing_are_named)
{
    dp_error err;
    write_file((struct sheet){.ranges = {{"a", 0, 12}, {"b", 0, 2}}});
    write_file((struct sheet){.ranges = {{"b", 3, 2}}});
    struct shard_job job = begin();
    cr_assert_eq(read_range(&job, 0, A + 2, &err), DP_OK, "%s", err.text);
    cr_assert_eq(read_range(&job, 0, ELEMS, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "element 2 of tensor 'b'"), "%s", err.text);
    source_close(&job.from);
}

Test(source, of_another_rule_are_refused)
{
    dp_error err;
    write_file((struct sheet){.ranges = {{"a", 0, A}}, .rule = "adam", .states = 2});
    write_file((struct sheet){.ranges = {{"b", 0, B}}});
    struct shard_job job = begin();
    cr_assert_eq(read_range(&job, A, B, &err), DP_OK);
    cr_assert_eq(read_range(&job, 0, 1, &err), DP_DATA);
    cr_assert(strstr(err.text, "'adam'") && strstr(err.text, "'momentum'"), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "shard-0.safetensors"), "%s", err.text);
    source_close(&job.from);
}

/* ---- rows ---- */

struct taken {
    uint64_t rows;
    bool seen[ROWS];
};

static dp_err take(void *arg, const uint32_t *words, uint64_t count, dp_error *err)
{
    struct taken *taken = arg;
    (void)err;
    for (uint64_t i = 0; i < count; i++, taken->rows++) {
        const uint32_t *row = words + i * ROW_WORDS, id = row[0];
        cr_assert(id < ROWS && id % 3 == 0 && !taken->seen[id] && row[1] == 0 && row[2] == id + 1);
        for (uint32_t w = 3; w < ROW_WORDS; w++)
            cr_assert_eq(row[w], id * 10 + w);
        taken->seen[id] = true;
    }
    return DP_OK;
}

static dp_err read_rows(const struct shard_job *job, uint64_t first, uint64_t last, dp_error *err)
{
    struct taken taken = {0};
    dp_err e = first_values_rows(job, 1, first, last, (struct rows_taker){take, &taken}, err);
    for (uint64_t id = 0; !e && id < ROWS; id++)
        cr_assert_eq(taken.seen[id], first <= id && id <= last && id % 3 == 0, "row %d of %d to %d", (int)id,
                     (int)first, (int)last);
    return e;
}

Test(source, rows_of_any_ids_are_read_from_any_parts)
{
    dp_error err;
    write_file((struct sheet){.parts = {{"t", 10, 14, 0, DIM, false}, {"t", 15, 15, 0, DIM, false}}});
    write_file((struct sheet){.parts = {{"t", 16, ROWS - 1, 0, DIM, false}, {"t", 0, 9, 0, DIM, false}}});
    struct shard_job job = begin();
    for (uint64_t first = 0; first < ROWS; first++)
        for (uint64_t last = first; last < ROWS; last++)
            cr_assert_eq(read_rows(&job, first, last, &err), DP_OK, "%s", err.text);
    source_close(&job.from);
}

Test(source, rows_that_are_missing_are_named)
{
    dp_error err;
    write_file((struct sheet){.parts = {{"t", 0, 9, 0, DIM, false}, {"t", 11, ROWS - 1, 0, DIM, false}}});
    struct shard_job job = begin(), wide = job_of(&rule_momentum, DIM + 1);
    cr_assert_eq(read_rows(&job, 11, 20, &err), DP_OK, "%s", err.text);
    cr_assert_eq(read_rows(&job, 0, 9, &err), DP_OK, "%s", err.text);
    cr_assert_eq(read_rows(&job, 5, 20, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "row 10 of table 't'"), "%s", err.text);
    wide.from = job.from;
    cr_assert_eq(read_rows(&wide, 0, 5, &err), DP_DATA);
    cr_assert(strstr(err.text, "table 't'") && strstr(err.text, "shard-0"), "%s", err.text);
    source_close(&job.from);
}

/* ---- arrivals ---- */

static struct metrics sums[] = {{3, 0.5, 2}, {1, 0.25, 0}};
static uint8_t some[] = {0x05, 0x01, 0x00, 0x00}, others[] = {0x05, 0x00, 0x00, 0x01};

Test(source, slots_that_have_come_are_those_of_all_parts_of_a_range)
{
    struct first_arrivals got;
    dp_error err;
    write_file((struct sheet){.ranges = {{"a", 0, 10}}, .arrivals = {{0, 6, 2, sums, some}, {6, 4, 2, sums, some}}});
    write_file((struct sheet){.ranges = {{"a", 10, 2}}, .arrivals = {{10, 2, 2, sums, others}}});
    struct shard_job job = begin();
    cr_assert_eq(first_values_arrivals(&job, (struct range){2, 8}, &got, &err), DP_OK, "%s", err.text);
    cr_assert(got.open == 2 && got.accepted_bytes == 2 && memcmp(got.accepted, some, sizeof some) == 0);
    cr_assert(got.sums[0].count == 3 && got.sums[0].loss == 0.5 && got.sums[1].count == 1);
    cr_assert_eq(first_values_arrivals(&job, (struct range){10, 2}, &got, &err), DP_OK);
    cr_assert_eq(memcmp(got.accepted, others, sizeof others), 0);
    cr_assert_eq(first_values_arrivals(&job, (struct range){12, 2}, &got, &err), DP_OK);
    cr_assert_eq(got.open, 0);
    cr_assert_eq(first_values_arrivals(&job, (struct range){9, 2}, &got, &err), DP_REFUSED, "other slots");
    cr_assert_not_null(strstr(err.text, "--shards"), "%s", err.text);
    cr_assert_eq(first_values_arrivals(&job, (struct range){11, 2}, &got, &err), DP_REFUSED, "none of some elements");
    job.plan.slots++;
    cr_assert_eq(first_values_arrivals(&job, (struct range){0, 1}, &got, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "9 slots"), "%s", err.text);
    source_close(&job.from);
}

/* Between elements of other slots, and at the ends of what has any. */
Test(source, cuts_are_where_slots_change)
{
    static const uint64_t WANT[] = {2, 5, 9, 9, 11, 13, 17};
    uint64_t *cuts;
    size_t count;
    dp_error err;
    write_file((struct sheet){.arrivals = {{5, 2, 2, sums, some}, {13, 4, 2, sums, some}}});
    write_file((struct sheet){.arrivals = {{0, 2, 2, sums, some}, {9, 2, 2, sums, others}, {7, 2, 2, sums, some}}});
    struct shard_job job = begin();
    cr_assert_eq(source_cuts(job.from, &cuts, &count, &err), DP_OK);
    cr_assert_eq(count, ARRAY_LEN(WANT));
    cr_assert_arr_eq(cuts, WANT, sizeof WANT);
    free(cuts);
    source_close(&job.from);
}

Test(source, a_job_that_commits_whole_steps_has_no_cuts)
{
    uint64_t *cuts;
    size_t count;
    dp_error err;
    write_file((struct sheet){.ranges = {{"a", 0, A}}});
    struct shard_job job = begin();
    cr_assert_eq(source_cuts(job.from, &cuts, &count, &err), DP_OK);
    cr_assert_eq(count, 0);
    free(cuts);
    source_close(&job.from);
}

Test(source, multipliers_are_of_a_shard_that_has_elements)
{
    struct multipliers m;
    write_file((struct sheet){.parts = {{"t", 0, 9, 0, DIM, false}}, .mu = 1});
    write_file((struct sheet){.ranges = {{"a", 0, 1}}, .mu = 2});
    struct shard_job job = begin();
    first_values_multipliers(&job, &m);
    cr_assert_eq(m.mu[0], 2);
    source_close(&job.from);
}

/* ---- files ---- */

Test(source, a_file_of_another_checkpoint_is_refused)
{
    struct values_source *source = NULL;
    dp_error err;
    write_file((struct sheet){.ranges = {{"a", 0, A}}});
    write_file((struct sheet){.ranges = {{"b", 0, B}}, .train_step = TRAIN_STEP + 1});
    cr_assert_eq(try_open(&source, &err), DP_DATA);
    cr_assert(strstr(err.text, "shard-1.safetensors") && strstr(err.text, "training step 18"), "%s", err.text);
    cr_assert_null(source);
}

Test(source, a_file_that_is_missing_is_named)
{
    struct values_source *source = NULL;
    char path[PATH_MAX];
    dp_error err;
    write_file((struct sheet){.ranges = {{"a", 0, A}}});
    write_file((struct sheet){.ranges = {{"b", 0, B}}});
    cr_assert(folder_draft_path(&folder, TRAIN_STEP, "shard-1.safetensors", path) && unlink(path) == 0);
    cr_assert_eq(try_open(&source, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "shard-1.safetensors"), "%s", err.text);
    cr_assert_eq(source_open(&folder, TRAIN_STEP + 1, &source, &err), DP_IO, "no such checkpoint");
    cr_assert_null(source);
}
