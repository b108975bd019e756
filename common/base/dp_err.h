/* Error codes and error texts, shared by every floor and by users of libdp.
 *
 * A function that can fail returns a dp_err and, where a person will read it, fills a dp_error with a text that names
 * the file and line, the option or the peer, and what to do about it. Outputs are untouched on failure.
 * Thread: any. */
#ifndef DP_ERR_H
#define DP_ERR_H

#ifdef __cplusplus
extern "C" {
#endif

/* name, wire number (never reused), text, retryable (the same call may succeed later without anyone changing anything)
 */
#define DP_ERR_MAP(X)                                                  \
    X(OK, 0, "ok", 0)                                                  \
    X(NOMEM, 1, "out of memory", 1)                                    \
    X(USAGE, 2, "wrong usage", 0)                                      \
    X(IO, 3, "file cannot be read or written", 0)                      \
    X(DATA, 4, "malformed data", 0)                                    \
    X(MODEL, 5, "model and data do not fit", 0)                        \
    X(PROTO, 6, "malformed message", 0)                                \
    X(VERSION, 7, "protocol versions differ", 0)                       \
    X(UNREACHABLE, 8, "peer is unreachable", 1)                        \
    X(TIMEOUT, 9, "deadline passed", 1)                                \
    X(HELLO_REQUIRED, 10, "unknown session, say hello again", 1)       \
    X(INCARNATION, 11, "message of another incarnation of the job", 1) \
    X(STEP_DONE, 12, "the step is complete", 0)                        \
    X(JOB_DONE, 13, "the job is done", 0)                              \
    X(BUSY, 14, "over budget, send again later", 1)                    \
    X(REFUSED, 15, "refused", 0)                                       \
    X(SHUTDOWN, 16, "server is shutting down", 1)                      \
    X(SYSTEM, 17, "system call failed", 0)                             \
    X(RANGE, 18, "step, slot or slice out of range", 0)                \
    X(STOPPED, 19, "stopped by a signal", 0)                           \
    X(KEYS_UNKNOWN, 20, "unknown list of row ids, send it again", 1)   \
    X(STALLED, 21, "the job failed as a step was not completed", 0)    \
    X(DIVERGED, 30, "training diverged", 0)

typedef enum {
#define X(name, number, text, retryable) DP_##name = number,
    DP_ERR_MAP(X)
#undef X
} dp_err;

/* An error, for a person. `text` is one line, NUL-terminated, without a trailing newline. */
typedef struct {
    dp_err code;
    char text[640];
} dp_error;

#define DP_MUST_CHECK __attribute__((warn_unused_result))
#if defined(__GNUC__)
#define DP_API __attribute__((visibility("default")))
#else
#define DP_API
#endif

/* Static text of a code; "unknown error" for numbers outside the table. Never NULL. */
DP_API const char *dp_err_text(dp_err code);
/* Symbolic name ("STEP_DONE"). Never NULL. */
DP_API const char *dp_err_name(dp_err code);
/* 1 if a retry of the same call may succeed. */
DP_API int dp_err_retryable(dp_err code);
/* The code with this wire number, or DP_PROTO if there is none. */
DP_API dp_err dp_err_from_wire(unsigned number);
/* Process exit status for a code: 0 done, 1 data, model or a job that failed, 2 usage, 69 unreachable, 143 stopped. */
DP_API int dp_err_exit_status(dp_err code);

/* Fills *err (which may be NULL) and returns code: `return dp_fail(err, DP_DATA, "%s:%zu: ...", path, line);` */
DP_API dp_err dp_fail(dp_error *err, dp_err code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Puts "prefix: " before the text of an error that is already set; returns err->code. */
DP_API dp_err dp_fail_in(dp_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#ifdef __cplusplus
}
#endif
#endif
