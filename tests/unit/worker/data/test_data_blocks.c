/* Data by blocks: the rows, labels and fingerprint of the same file read whole, with a budget for a part of it; and
 * what is said of files and budgets that will not do. */
#include <criterion/criterion.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/mem.h"
#include "tests/unit/support/files.h"
#include "tests/unit/support/leaks.h"
#include "worker/data/blocks.h"

static char folder[PATH_MAX], path[PATH_MAX + 8];
static struct data_source source; /* of the file, for one test */

static void begin(void)
{
    folder_make(folder);
    snprintf(path, sizeof path, "%s/d", folder);
    source = (struct data_source){.path = path, .label_use = LABEL_CLASSES};
}

static void end(void)
{
    unlink(path);
    cr_assert_eq(rmdir(folder), 0, "a file was left");
    ASSERT_NO_LEAKS();
}

TestSuite(blocks, .init = begin, .fini = end);

enum { ROWS = 1000, BLOCK = 64 };

/* Comments, blank lines and an end without a newline stand between the rows. */
static void make_libsvm(void)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    for (int r = 0; r < ROWS; r++) {
        fprintf(file, "%d", r % 3);
        for (int k = 0; k < r % 7; k++)
            fprintf(file, " %d:%d.5", 1 + k * 5 + r % 4, r + k);
        if (r + 1 < ROWS)
            fprintf(file, "%s\n", r % 10 ? "" : " # a comment\n\n# 1 1:1");
    }
    fclose(file);
}

static void make_csv(const char *header)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(header, file);
    for (int r = 0; r < ROWS; r++)
        fprintf(file, "%d,%d.25,%d%s", r % 5, r, -r, r % 8 ? "\n" : "\n  \n");
    fclose(file);
}

static struct data_blocks *must_open(uint64_t budget_bytes)
{
    struct data_blocks *blocks = NULL;
    dp_error err = {0};
    const struct data_blocks_shape shape = {BLOCK, 2, budget_bytes};
    cr_assert_eq(data_blocks_open(&source, &shape, &blocks, &err), DP_OK, "%s", err.text);
    return blocks;
}

static void assert_row(const struct data *want, uint64_t row, const struct data *got, uint64_t at)
{
    cr_assert_eq(got->classes[at], want->classes[row]);
    if (!data_is_sparse(want)) {
        cr_assert_arr_eq(got->values + at * want->features, want->values + row * want->features,
                         want->features * sizeof *want->values);
        return;
    }
    uint64_t n = want->row_at[row + 1] - want->row_at[row];
    cr_assert_eq(got->row_at[at + 1] - got->row_at[at], n);
    cr_assert_arr_eq(got->values + got->row_at[at], want->values + want->row_at[row], n * sizeof *want->values);
    cr_assert_arr_eq(got->columns + got->row_at[at], want->columns + want->row_at[row], n * sizeof *want->columns);
}

/* All rows in some order that goes back and forth, in pieces, with room for a few blocks. */
static void assert_same_as_whole(void)
{
    struct data whole = {0};
    dp_error err = {0};
    cr_assert_eq(data_read(&source, &whole, &err), DP_OK, "%s", err.text);
    struct data_blocks *blocks = must_open(8 << 10);
    struct data_blocks_facts facts = data_blocks_facts(blocks);
    cr_assert_eq(facts.rows, ROWS);
    cr_assert_eq(facts.features, whole.features);
    cr_assert_eq(facts.sparse, data_is_sparse(&whole));
    cr_assert_eq(facts.fingerprint, data_fingerprint(&whole));
    cr_assert(label_list_same(&facts.labels->labels, &whole.label_set->labels), "in the order of the file");
    cr_assert_arr_eq(facts.labels->places, whole.label_set->places,
                     facts.labels->labels.count * sizeof *facts.labels->places);
    struct gathered gathered = {0};
    uint64_t rows[100];
    for (uint64_t first = 0; first < ROWS; first += 100) {
        for (uint64_t i = 0; i < 100; i++)
            rows[i] = (first + i) * 387 % ROWS;
        cr_assert_eq(data_blocks_gather(blocks, rows, 100, &gathered, &err), DP_OK, "%s", err.text);
        cr_assert_eq(gathered.data.rows, 100);
        for (uint64_t i = 0; i < 100; i++)
            assert_row(&whole, rows[i], &gathered.data, i);
    }
    gathered_fini(&gathered);
    data_blocks_free(&blocks);
    data_fini(&whole);
}

Test(blocks, libsvm_is_what_it_is_as_a_whole)
{
    make_libsvm();
    assert_same_as_whole();
}

Test(blocks, csv_is_what_it_is_as_a_whole)
{
    make_csv("");
    source.label_column = "0";
    assert_same_as_whole();
    source.label_column = NULL;
    make_csv("label,a,b\n");
    assert_same_as_whole();
}

static void assert_refused_as(enum data_format format, dp_err code, const char *says)
{
    struct data_blocks *blocks = NULL;
    dp_error err = {0};
    source.format = format;
    const struct data_blocks_shape shape = {BLOCK, 2, 1 << 20};
    cr_assert_eq(data_blocks_open(&source, &shape, &blocks, &err), code, "%s", err.text);
    cr_assert_not_null(strstr(err.text, says), "'%s' does not say '%s'", err.text, says);
}

static void assert_refused(dp_err code, const char *says)
{
    assert_refused_as(DATA_AUTO, code, says);
}

/* By the names of a model in another order, with columns that are not read. */
Test(blocks, csv_for_a_schema)
{
    static char *names[] = {"c", "b"};
    static const struct schema WANT = {
        .format = SCHEMA_CSV, .count = 2, .names = names, .label = "t", .fields = 3, .label_at = 0};
    source.want = &WANT;
    source.want_of = "the job";
    make_csv("t,b,c\n");
    assert_same_as_whole();
    struct data_blocks *blocks = must_open(8 << 10);
    const struct data *found = data_blocks_facts(blocks).found;
    cr_assert_str_eq(found->schema.names[0], "c");
    cr_assert_eq(found->label_at, 0);
    data_blocks_free(&blocks);
    make_csv("t,c,b\n");
    assert_same_as_whole();
    make_csv("c,t,d\n");
    assert_refused(DP_DATA, "lacks 1 column of the job: 'b'");
    make_csv("");
    assert_refused(DP_DATA, "has no header, and the job knows its columns by name");
}

/* A file that is read by blocks is questioned like one that is read whole. */
Test(blocks, csv_whose_columns_are_not_clear)
{
    make_csv("");
    assert_refused(DP_DATA, "has no header that would say which of its 3 columns is the label");
    make_csv("0,1,2\n");
    assert_refused(DP_DATA, ":1: the first row, '0' and so on, numbers the columns");
    make_csv("1,2.O,7\n");
    assert_refused(DP_DATA, ":1: the first row has words and numbers");
    make_csv(",a,y\n");
    assert_refused(DP_DATA, ":1: column 0 ('') has no name");
    make_csv("a,b,c\n");
    assert_refused(DP_DATA, "no column is named label, target, class or y");
    source.header = DATA_HEADER_ON;
    source.label_column = "0";
    make_csv("0,1,2\n");
    assert_same_as_whole();
    source.ignore = "2";
    assert_same_as_whole();
}

/* Names of columns that are longer than what is read at a time. */
Test(blocks, csv_with_a_long_header)
{
    enum { LONG = 3 << 20 };
    AUTOFREE char *header = mem_array(LONG + 16, 1);
    memset(header, 'x', LONG);
    memcpy(header, "label,", 6);
    strcpy(header + LONG, ",b\n");
    make_csv(header);
    assert_same_as_whole();
}

/* In a block of their own, before it is known how many features there are. */
Test(blocks, rows_without_a_feature)
{
    FILE *file = fopen(path, "w");
    for (int r = 0; r < ROWS; r++)
        fputs(r < 3 * BLOCK ? "1\n" : "0 3:1.5\n", file);
    fclose(file);
    assert_same_as_whole();
}

Test(blocks, what_will_not_do)
{
    struct data_blocks *blocks = NULL;
    dp_error err = {0};
    file_make(path, "\x1f\x8b\x08", 3);
    assert_refused(DP_DATA, "is gzip, of which no block can be read alone: unpack it");
    file_make(path, "", 0);
    assert_refused(DP_DATA, "is empty");
    file_make(path, "# nothing\n\n", 11);
    assert_refused(DP_DATA, "has no rows");
    make_csv("label,a,b\n");
    const struct data_blocks_shape shape = {BLOCK, 2, 1000};
    cr_assert_eq(data_blocks_open(&source, &shape, &blocks, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "3 blocks of 64 rows are used side by side and need 1 MiB"), "%s", err.text);
}

Test(blocks, no_row_has_a_feature)
{
    FILE *file = fopen(path, "w");
    for (int r = 0; r < ROWS; r++)
        fputs("1\n", file);
    fclose(file);
    assert_refused_as(DATA_LIBSVM, DP_DATA, "no row has a feature");
}

/* Though both kinds of rows have three fields, each by its own. */
Test(blocks, the_delimiter_is_that_of_the_first_row)
{
    FILE *file = fopen(path, "w");
    for (int r = 0; r < 2 * BLOCK; r++)
        fputs(r < BLOCK ? "1,2,4\n" : "1;2;4\n", file);
    fclose(file);
    source.label_column = "0";
    assert_refused(DP_DATA, ":65: ");
}

Test(blocks, a_broken_line_behind_a_header_of_two_lines)
{
    make_csv("label,\"a\nb\",c\n");
    assert_same_as_whole();
    FILE *file = fopen(path, "a");
    fputs("1,2,x\n", file);
    fclose(file);
    char says[32];
    snprintf(says, sizeof says, ":%d: ", 2 + ROWS + ROWS / 8 + 1);
    assert_refused(DP_DATA, says);
}

/* A line far behind the first block is named as itself. */
Test(blocks, a_broken_line)
{
    make_csv("label,a,b\n");
    FILE *file = fopen(path, "a");
    fputs("1,2,x\n", file);
    fclose(file);
    char says[32];
    snprintf(says, sizeof says, ":%d: ", 1 + ROWS + ROWS / 8 + 1);
    assert_refused(DP_DATA, says);
}

/* A file that changes under us is not trained on. `change` gets the file's times from before. */
static void assert_notices(void (*change)(const struct timespec times[2]))
{
    make_csv("");
    source.label_column = "0";
    struct data_blocks *blocks = must_open(8 << 10);
    struct gathered gathered = {0};
    dp_error err = {0};
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(data_blocks_gather(blocks, (const uint64_t[]){0}, 1, &gathered, &err), DP_OK, "%s", err.text);
    change((const struct timespec[]){st.st_atim, st.st_mtim});
    cr_assert_eq(data_blocks_gather(blocks, (const uint64_t[]){ROWS - 1}, 1, &gathered, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "has changed while it was being read"), "%s", err.text);
    cr_assert_not_null(strstr(err.text, path), "%s", err.text);
    gathered_fini(&gathered);
    data_blocks_free(&blocks);
}

static void shrink(const struct timespec times[2])
{
    cr_assert_eq(truncate(path, 100), 0);
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void grow(const struct timespec times[2])
{
    FILE *file = fopen(path, "a");
    fputs("1,2,3\n", file);
    fclose(file);
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void touch(const struct timespec times[2])
{
    const struct timespec later[2] = {times[0], {times[1].tv_sec + 1, 0}};
    cr_assert_eq(utimensat(AT_FDCWD, path, later, 0), 0);
}

/* One digit in the last row, so that all that the readers check is as before. */
static void change_a_digit(const struct timespec times[2])
{
    FILE *file = fopen(path, "r+");
    cr_assert_eq(fseek(file, -2, SEEK_END), 0);
    int digit = fgetc(file);
    cr_assert(digit >= '0' && digit <= '9');
    cr_assert_eq(fseek(file, -2, SEEK_END), 0);
    fputc(digit == '9' ? '0' : digit + 1, file);
    fclose(file);
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

Test(blocks, a_file_that_shrinks)
{
    assert_notices(shrink);
}

Test(blocks, a_file_that_grows)
{
    assert_notices(grow);
}

Test(blocks, a_file_that_is_touched)
{
    assert_notices(touch);
}

Test(blocks, a_file_of_which_one_digit_changes)
{
    assert_notices(change_a_digit);
}

/* An open file stays, whatever becomes of its name. */
Test(blocks, a_file_that_is_removed)
{
    make_csv("");
    source.label_column = "0";
    struct data_blocks *blocks = must_open(8 << 10);
    struct gathered gathered = {0};
    dp_error err = {0};
    cr_assert_eq(unlink(path), 0);
    make_csv("label,a,b\n"); /* and another comes in its place */
    cr_assert_eq(data_blocks_gather(blocks, (const uint64_t[]){ROWS - 1}, 1, &gathered, &err), DP_OK, "%s", err.text);
    gathered_fini(&gathered);
    data_blocks_free(&blocks);
}

Test(blocks, files_that_are_no_text)
{
    file_make(path, "BZh91AY&SY", 10);
    assert_refused(DP_DATA, "is compressed by bzip2");
    file_make(path,
              "\xff\xfe"
              "1\0,\0",
              6);
    assert_refused(DP_DATA, "is UTF-16");
}
