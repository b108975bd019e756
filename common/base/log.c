/* Logging. Invariants: a line is built whole and leaves in one write(2), so lines of several threads or processes never
 * mix; a line never holds a control character but the newline that ends it. If output.h has stderr, nothing here waits
 * for its reader. Thread: any. */
#include "common/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common/base/log_format.h"
#include "common/base/output.h"
#include "common/base/text.h"

/* A line is shorter than PIPE_BUF, so that the kernel keeps it whole on a pipe that several processes share. */
enum { LOG_LINE_BYTES = 1024, LOG_WINDOW_MS = 1000 };

static const char *const LEVEL_TAGS[] = {"ERROR", "WARN ", "INFO ", "DEBUG"};

static const char *log_program = "dp";
static _Atomic int log_level_now = LOG_INFO;
/* Held from hide to show: a second line must not be written between another's hide and show. */
static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;
static void (*log_hide)(void);
static void (*log_show)(void);

void log_init(const char *program, enum log_level level)
{
    log_program = program;
    atomic_store_explicit(&log_level_now, (int)level, memory_order_relaxed);
}

static bool is_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

void log_set_display(void (*hide)(void), void (*show)(void))
{
    log_hide = hide;
    log_show = show;
}

/* Bytes at `text` that a terminal could take for a command: 1 for C0 and DEL, 2 for C1 in UTF-8, else 0. */
static size_t control_bytes(const char *text)
{
    unsigned char a = (unsigned char)text[0], b = (unsigned char)text[1];
    if (a < 0x20 || a == 0x7f)
        return 1;
    return a == 0xc2 && b >= 0x80 && b < 0xa0 ? 2 : 0;
}

/* Appends `text` to line[size] with control characters as \n, \r, \t or \xHH; false once it was cut. */
static bool append_escaped(char *line, size_t size, size_t *at, const char *text)
{
    bool whole = true;
    while (*text && whole) {
        size_t n = control_bytes(text);
        if (n == 0)
            whole = str_append(line, size, at, "%c", *text);
        else if (*text == '\n' || *text == '\r' || *text == '\t')
            whole = str_append(line, size, at, "\\%c", *text == '\n' ? 'n' : *text == '\r' ? 'r' : 't');
        else
            for (size_t i = 0; i < n && whole; i++)
                whole = str_append(line, size, at, "\\x%02x", (unsigned char)text[i]);
        text += n ? n : 1;
    }
    return whole;
}

/* "INFO  2024-05-31T12:00:00.123Z dp-server[4711] ", in UTC. */
static void append_head(char *line, size_t size, size_t *at, enum log_level level)
{
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    str_append(line, size, at, "%s %04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s[%d] ", LEVEL_TAGS[level], tm.tm_year + 1900,
               tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec / 1000000, log_program,
               (int)getpid());
}

/* A line that cannot be written has nowhere else to be told. */
static void line_write(const char *line, size_t bytes)
{
    pthread_mutex_lock(&log_mutex);
    if (log_hide)
        log_hide();
    output_line(line, bytes);
    if (log_show)
        log_show();
    pthread_mutex_unlock(&log_mutex);
}

void log_write(enum log_level level, const char *fmt, ...)
{
    if (!is_enabled(level))
        return;
    int saved_errno = errno;
    char text[LOG_LINE_BYTES];
    va_list args;
    va_start(args, fmt);
    bool formatted = log_format(text, sizeof text, fmt, args);
    va_end(args);

    static const char CUT[] = "...";
    char line[LOG_LINE_BYTES];
    size_t at = 0;
    append_head(line, sizeof line, &at, level);
    /* Room for the mark of a cut line and the newline stays free. */
    bool whole = append_escaped(line, sizeof line - sizeof CUT - 1, &at, text);
    if (!whole || !formatted)
        str_append(line, sizeof line, &at, "%s", CUT);
    line[at++] = '\n';
    line_write(line, at);
    errno = saved_errno;
}

bool log_limit_pass(struct log_limit *limit, uint64_t now_ms, uint64_t *ret_left_out)
{
    if (now_ms - limit->window_ms >= LOG_WINDOW_MS) {
        limit->window_ms = now_ms;
        limit->in_window = 0;
    }
    if (limit->in_window >= limit->per_second) {
        limit->left_out++;
        return false;
    }
    limit->in_window++;
    *ret_left_out = limit->left_out;
    limit->left_out = 0;
    return true;
}
