/* Logging: one line per event on stderr, `LEVEL time program[pid] event key=value ...`. Libraries return errors;
 * programs log them once. Thread: any. */
#ifndef DP_COMMON_BASE_LOG_H
#define DP_COMMON_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Events above `level` are not written. `program` ("dp-server") is borrowed for ever. */
void log_init(const char *program, enum log_level level);

/* `fmt` is "event key=value key=\"a text\" ...". Cut at 1 KiB; quotes, backslashes and control characters of the
 * arguments are escaped, so that what a peer has said is one value (log_format.h). */
void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

/* Called before every line and after it, by the thread that logs and by one at a time, so that a progress display can
 * take its own line off the terminal and put it back. They must not log. NULL for none. Set before threads start. */
void log_set_display(void (*hide)(void), void (*show)(void));

/* At most `per_second` of the events that share this limiter are written in a window of a second (a window starts with
 * the first event after the last one's end); how many were left out is said with the next one that is written. A
 * limiter belongs to one thread. Zero-initialize but for per_second. */
struct log_limit {
    uint32_t per_second;
    uint32_t in_window;
    uint64_t window_ms;
    uint64_t left_out;
};
/* True if the event may be written now; *ret_left_out is how many were suppressed since the last one that was. */
bool log_limit_pass(struct log_limit *limit, uint64_t now_ms, uint64_t *ret_left_out);

#endif
