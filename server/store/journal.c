/* The job's log; see journal.h. Invariant: the file's last byte is a newline, or `open_line` is set. Thread: as
 * stated. */
#include "server/store/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "server/store/folder.h"
#include "server/store/writer.h"

enum { FILE_MODE = 0666, TIME_MAX = 40, LINES_MAX = 10000 /* that may wait for the disk */ };

struct journal {
    struct writer *writer;
    int fd;
    atomic_uint waiting; /* lines */
    /* the writer's */
    bool open_line; /* the line before was cut short */
    bool warned;
};

struct line {
    struct writer_task task; /* first */
    struct journal *journal;
    size_t bytes;
    char text[]; /* begins with a newline, for a line before that has none */
};

/* ---- thread: the writer's ---- */

/* All of it, in one write where that can be: lines of two servers would not mix. */
static bool append(int fd, const char *text, size_t bytes, size_t *ret_done)
{
    size_t done = 0;
    for (ssize_t n = 1; done < bytes && n > 0; done += n > 0 ? (size_t)n : 0)
        do
            n = write(fd, text + done, bytes - done);
        while (n < 0 && errno == EINTR);
    *ret_done = done;
    return done == bytes;
}

static void write_line(struct writer_task *task)
{
    struct line *line = (struct line *)(void *)task;
    struct journal *journal = line->journal;
    size_t done, skip = journal->open_line ? 0 : 1;
    errno = 0;
    if (append(journal->fd, line->text + skip, line->bytes - skip, &done)) {
        journal->open_line = false;
    } else {
        journal->open_line |= done > 0;
        if (!journal->warned)
            log_warn("job-log-lost file=log.jsonl reason=\"%s\"", errno ? strerror(errno) : "it was cut short");
        journal->warned = true;
    }
    atomic_fetch_sub(&journal->waiting, 1);
    free(line);
}

/* ---- thread: head ---- */

/* A line that a kill cut short. */
static bool ends_open(int fd, off_t bytes)
{
    char last = '\n';
    return bytes > 0 && pread(fd, &last, 1, bytes - 1) == 1 && last != '\n';
}

dp_err journal_open(const struct folder *folder, struct writer *writer, struct journal **ret_journal, dp_error *err)
{
    struct stat st;
    struct journal *journal = mem_array_zero(1, sizeof *journal);
    if (!journal)
        return dp_fail(err, DP_NOMEM, "out of memory for the job's log");
    int fd = openat(folder->fd, "log.jsonl", O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, FILE_MODE);
    bool good = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    if (!good) {
        dp_err e = dp_fail(err, DP_IO, "option --checkpoint-dir: %.400s/log.jsonl: cannot be written: %s", folder->path,
                           fd < 0 ? strerror(errno) : "it is no file");
        if (fd >= 0)
            close(fd);
        free(journal);
        return e;
    }
    *journal = (struct journal){.writer = writer, .fd = fd, .open_line = ends_open(fd, st.st_size)};
    *ret_journal = journal;
    return DP_OK;
}

static json_t *time_now(void)
{
    char text[TIME_MAX], whole[TIME_MAX + 8];
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(whole, sizeof whole, "%s.%03dZ", text, (int)(now.tv_nsec / 1000000));
    return json_string(whole);
}

/* {"at": ..., "event": ..., ...facts} as text, heap. NULL when out of memory. */
static char *line_text(const char *event, json_t *facts)
{
    json_t *json = json_pack("{s:o, s:s}", "at", time_now(), "event", event);
    char *text = json && (!facts || json_object_update(json, facts) == 0) ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return text;
}

void journal_add(struct journal *journal, const char *event, json_t *facts)
{
    const bool room = atomic_load(&journal->waiting) < LINES_MAX;
    char *text = room ? line_text(event, facts) : NULL;
    size_t length = text ? strlen(text) : 0;
    struct line *line = text ? mem_array(1, sizeof *line + length + 3) : NULL;
    json_decref(facts);
    if (line) {
        atomic_fetch_add(&journal->waiting, 1);
        *line = (struct line){.task.work = write_line, .journal = journal, .bytes = length + 2};
        snprintf(line->text, length + 3, "\n%s\n", text);
        writer_do(journal->writer, &line->task);
    } else {
        log_warn("job-log-lost event=%s reason=\"%s\"", event, room ? "out of memory" : "the disk does not answer");
    }
    free(text);
}

void journal_close(struct journal **journal)
{
    if (*journal) {
        close((*journal)->fd);
        free(*journal);
    }
    *journal = NULL;
}
