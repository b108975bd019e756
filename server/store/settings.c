/* Settings by dp-ctl, on the disk; see settings.h. Thread: as stated. */
#include "server/store/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/base/util.h"
#include "common/checkpoint/hex.h"
#include "common/tensor/history.h"
#include "server/store/folder.h"
#include "server/store/stream.h"
#include "server/store/writer.h"

enum { FILE_MODE = 0666, LINE_MAX_BYTES = 256 };
static const size_t FILE_BYTES_MAX = (size_t)256 << 20;
static const char FILE_NAME[] = "settings.jsonl", SEAL[] = ",\"xxh3\":\"";
static const char *const NAMES[] = {"lr", "consistency"};

/* ---- lines ---- */

static uint64_t digest_of(const char *text, size_t bytes)
{
    return XXH3_64bits(text, bytes);
}

/* With its newline; returns its length. */
static size_t line_write(const struct setting_record *record, char text[LINE_MAX_BYTES])
{
    int n = snprintf(text, LINE_MAX_BYTES,
                     "{\"number\":%" PRIu64 ",\"name\":\"%s\",\"from\":%" PRIu64 ",\"value\":\"%016" PRIx64 "\"",
                     record->number, NAMES[record->name], record->from, record->value);
    n += snprintf(text + n, LINE_MAX_BYTES - (size_t)n, "%s%016" PRIx64 "\"}\n", SEAL, digest_of(text, (size_t)n));
    return (size_t)n;
}

static bool name_read(const char *text, enum setting_name *ret_name)
{
    for (size_t i = 0; text && i < ARRAY_LEN(NAMES); i++)
        if (strcmp(text, NAMES[i]) == 0) {
            *ret_name = (enum setting_name)i;
            return true;
        }
    return false;
}

static bool value_is_good(const struct setting_record *record)
{
    double lr;
    memcpy(&lr, &record->value, sizeof lr);
    return record->name == SETTING_NAME_LR ? isfinite(lr) && lr > 0 : record->value <= CONSISTENCY_STALENESS_MAX;
}

/* A line is what line_write makes of it, digest and all. */
static bool line_read(const char *text, size_t bytes, struct setting_record *ret_record)
{
    struct setting_record record = {0};
    char again[LINE_MAX_BYTES];
    json_t *json = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, NULL);
    bool good = json_read_count(json_object_get(json, "number"), INT64_MAX, &record.number) &&
                json_read_count(json_object_get(json, "from"), INT64_MAX, &record.from) &&
                name_read(json_string_value(json_object_get(json, "name")), &record.name) &&
                hex_read_number(json_object_get(json, "value"), &record.value) && value_is_good(&record);
    json_decref(json);
    if (!good || line_write(&record, again) != bytes || memcmp(text, again, bytes) != 0)
        return false;
    *ret_record = record;
    return true;
}

static dp_err damaged(const char *name, size_t line, dp_error *err)
{
    return dp_fail(err, DP_DATA,
                   "%.400s:%zu: is damaged: dp-ctl has set what cannot be read; remove the file to go on without what "
                   "was set since the last checkpoint",
                   name, line);
}

dp_err settings_parse(const char *name, const char *text, size_t bytes, struct setting_record **ret_list,
                      size_t *ret_count, dp_error *err)
{
    size_t count = 0, lines = 0;
    for (size_t i = 0; i < bytes; i++)
        lines += text[i] == '\n';
    struct setting_record *list = mem_array(lines, sizeof *list);
    if (!list)
        return dp_fail(err, DP_NOMEM, "out of memory to read %.400s", name);
    for (size_t at = 0, length; count < lines; at += length, count++) {
        length = (size_t)((const char *)memchr(text + at, '\n', bytes - at) - (text + at)) + 1;
        if (!line_read(text + at, length, &list[count]) ||
            list[count].number <= (count > 0 ? list[count - 1].number : 0)) {
            free(list);
            return damaged(name, count + 1, err);
        }
    }
    *ret_list = list;
    *ret_count = count;
    return DP_OK;
}

/* ---- the file; thread: the head's, before a job runs ---- */

static dp_err cannot(const struct folder *folder, const char *what, dp_error *err)
{
    return dp_fail(err, DP_IO, "%.400s/%s: cannot be %s: %s", folder->path, FILE_NAME, what, strerror(errno));
}

dp_err settings_read(const struct folder *folder, struct setting_record **ret_list, size_t *ret_count, dp_error *err)
{
    char path[PATH_MAX + sizeof FILE_NAME];
    char *text = NULL;
    size_t bytes = 0;
    *ret_list = NULL;
    *ret_count = 0;
    int fd = openat(folder->fd, FILE_NAME, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? DP_OK : cannot(folder, "read", err);
    snprintf(path, sizeof path, "%s/%s", folder->path, FILE_NAME);
    dp_err e = file_load(fd, path, FILE_BYTES_MAX, &text, &bytes, err);
    close(fd);
    if (!e)
        e = settings_parse(path, text, bytes, ret_list, ret_count, err);
    free(text);
    return e;
}

dp_err settings_clear(const struct folder *folder, dp_error *err)
{
    if (unlinkat(folder->fd, FILE_NAME, 0) && errno != ENOENT)
        return cannot(folder, "removed", err);
    return DP_OK;
}

/* ---- a line is appended ---- */

struct setting_write {
    struct writer_task task; /* first */
    const struct folder *folder;
    struct setting_record record;
    struct stream_waker done;
    atomic_bool ended;
    dp_error err;
};

/* Cuts off what a kill has left behind the last newline. -1 and errno. */
static int drop_open_line(int fd)
{
    char last[LINE_MAX_BYTES];
    off_t size = lseek(fd, 0, SEEK_END), from = MAX(size - (off_t)sizeof last, 0);
    ssize_t n = size < 0 ? -1 : pread(fd, last, (size_t)(size - from), from);
    if (n < 0)
        return -1;
    while (n > 0 && last[n - 1] != '\n')
        n--;
    return from + n == size ? 0 : ftruncate(fd, from + n);
}

static dp_err append(const struct setting_write *write, int fd, dp_error *err)
{
    char line[LINE_MAX_BYTES];
    size_t bytes = line_write(&write->record, line);
    if (drop_open_line(fd))
        return cannot(write->folder, "written", err);
    dp_err e = file_write_all(fd, line, bytes, err);
    if (e)
        return dp_fail_in(err, "%.300s/%s", write->folder->path, FILE_NAME);
    if (fdatasync(fd))
        return cannot(write->folder, "written to the disk", err);
    return write->record.number == 1 ? folder_sync(write->folder, err) : DP_OK; /* the file's name */
}

/* Thread: the writer's. */
static void work(struct writer_task *task)
{
    struct setting_write *write = (struct setting_write *)(void *)task;
    const struct stream_waker done = write->done;
    int fd = openat(write->folder->fd, FILE_NAME, O_RDWR | O_CREAT | O_APPEND | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC,
                    FILE_MODE);
    write->err.code = fd < 0 ? cannot(write->folder, "written", &write->err) : append(write, fd, &write->err);
    if (fd >= 0)
        close(fd);
    atomic_store(&write->ended, true);
    done.wake(done.arg);
}

dp_err settings_write(struct writer *writer, const struct folder *folder, const struct setting_record *record,
                      const struct stream_waker *done, struct setting_write **ret_write)
{
    struct setting_write *write = mem_array_zero(1, sizeof *write);
    if (!write)
        return DP_NOMEM;
    write->task.work = work;
    write->folder = folder;
    write->record = *record;
    write->done = *done;
    *ret_write = write;
    writer_do(writer, &write->task);
    return DP_OK;
}

bool setting_written(const struct setting_write *write, dp_error *ret_err)
{
    if (!atomic_load(&write->ended))
        return false;
    *ret_err = write->err;
    return true;
}

void setting_write_free(struct setting_write **write)
{
    free(*write);
    *write = NULL;
}
