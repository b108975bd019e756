/* Settings by dp-ctl, on the disk: lines that a kill cuts short, and each byte that changes. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/util.h"
#include "server/store/folder.h"
#include "server/store/settings.h"
#include "server/store/stream.h"
#include "server/store/writer.h"
#include "tests/unit/support/files.h"
#include "tests/unit/support/leaks.h"

static char dir[PATH_MAX], path[PATH_MAX + 32];
static struct folder folder;
static struct writer *writer;

static void set_up(void)
{
    dp_error err;
    folder_make(dir);
    snprintf(path, sizeof path, "%s/settings.jsonl", dir);
    cr_assert_eq(folder_open(dir, "lock", "test", &folder, &err), DP_OK, "%s", err.text);
    cr_assert_eq(writer_start(&writer, &err), DP_OK, "%s", err.text);
}

static void tear_down(void)
{
    writer_stop(&writer);
    folder_close(&folder);
    folder_unmake(dir);
    ASSERT_NO_LEAKS();
}

TestSuite(settings, .init = set_up, .fini = tear_down);

static void nobody(void *arg)
{
    (void)arg;
}

static dp_err write_one(const struct setting_record *record, dp_error *err)
{
    struct setting_write *write;
    const struct stream_waker waker = {nobody, NULL};
    cr_assert_eq(settings_write(writer, &folder, record, &waker, &write), DP_OK);
    cr_assert(writer_idle(writer, 10000));
    cr_assert(setting_written(write, err));
    setting_write_free(&write);
    return err->code;
}

static struct setting_record rate(uint64_t number, uint64_t from, double lr)
{
    struct setting_record record = {.number = number, .name = SETTING_NAME_LR, .from = from};
    memcpy(&record.value, &lr, sizeof lr);
    return record;
}

static const char *text_of(size_t *ret_bytes)
{
    static char text[4096];
    FILE *file = fopen(path, "re");
    cr_assert(file);
    *ret_bytes = fread(text, 1, sizeof text, file);
    fclose(file);
    return text;
}

static void put_text(const char *text, size_t bytes)
{
    FILE *file = fopen(path, "we");
    cr_assert(file && fwrite(text, 1, bytes, file) == bytes && fclose(file) == 0);
}

static void expect(const struct setting_record *want, size_t count)
{
    struct setting_record *list;
    size_t found;
    dp_error err;
    cr_assert_eq(settings_read(&folder, &list, &found, &err), DP_OK, "%s", err.text);
    cr_assert_eq(found, count);
    for (size_t i = 0; i < count; i++)
        cr_assert(list[i].number == want[i].number && list[i].name == want[i].name && list[i].from == want[i].from &&
                      list[i].value == want[i].value,
                  "line %zu", i + 1);
    free(list);
}

static void write_three(struct setting_record list[3])
{
    dp_error err;
    list[0] = rate(1, 150, 0.1);
    list[1] = (struct setting_record){2, SETTING_NAME_CONSISTENCY, 160, 3};
    list[2] = rate(4, 200, 1e-300); /* the third could not be written */
    for (int i = 0; i < 3; i++)
        cr_assert_eq(write_one(&list[i], &err), DP_OK, "%s", err.text);
}

Test(settings, come_back_in_order)
{
    struct setting_record list[3];
    dp_error err;
    expect(NULL, 0); /* there is no file */
    write_three(list);
    expect(list, 3);
    cr_assert_eq(settings_clear(&folder, &err), DP_OK, "%s", err.text);
    expect(NULL, 0);
    cr_assert_eq(settings_clear(&folder, &err), DP_OK, "%s", err.text);
}

Test(settings, are_this_text)
{
    dp_error err;
    size_t bytes;
    const struct setting_record record = rate(1, 150, 0.1);
    cr_assert_eq(write_one(&record, &err), DP_OK, "%s", err.text);
    const char *text = text_of(&bytes);
    static const char BEGIN[] = "{\"number\":1,\"name\":\"lr\",\"from\":150,\"value\":\"3fb999999999999a\",\"xxh3\":\"";
    cr_assert_eq(strncmp(text, BEGIN, sizeof BEGIN - 1), 0, "%s", text);
}

/* A kill in the middle of a line: nobody was told that it is set. */
Test(settings, end_at_any_byte)
{
    struct setting_record list[3];
    char copy[4096];
    size_t bytes, whole = 0;
    dp_error err;
    write_three(list);
    memcpy(copy, text_of(&bytes), sizeof copy);
    for (size_t at = 0; at < bytes; at++) {
        put_text(copy, at);
        expect(list, whole);
        whole += copy[at] == '\n';
        const struct setting_record next = rate(9, 300, 0.5);
        struct setting_record want[4];
        memcpy(want, list, sizeof list);
        const size_t before = whole - (copy[at] == '\n');
        want[before] = next;
        cr_assert_eq(write_one(&next, &err), DP_OK, "%s", err.text);
        expect(want, before + 1);
    }
}

Test(settings, each_byte_counts)
{
    struct setting_record list[3], *read;
    char copy[4096];
    size_t bytes, count;
    dp_error err;
    write_three(list);
    memcpy(copy, text_of(&bytes), sizeof copy);
    for (size_t at = 0; at + 1 < bytes; at++) {
        copy[at] ^= 1;
        cr_assert_eq(settings_parse("FILE", copy, bytes, &read, &count, &err), DP_DATA, "byte %zu", at);
        cr_assert_eq(strncmp(err.text, "FILE:", 5), 0, "%s", err.text);
        copy[at] ^= 1;
    }
}

Test(settings, are_ascending)
{
    struct setting_record list[2] = {rate(2, 10, 0.1), rate(2, 20, 0.1)}, *read;
    size_t count;
    dp_error err;
    for (int i = 0; i < 2; i++)
        cr_assert_eq(write_one(&list[i], &err), DP_OK);
    cr_assert_eq(settings_read(&folder, &read, &count, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "settings.jsonl:2: is damaged"), "%s", err.text);
}

Test(settings, that_cannot_be_written_say_so)
{
    const struct setting_record record = rate(1, 10, 0.1);
    dp_error err;
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_eq(write_one(&record, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, path), "%s", err.text);
}
