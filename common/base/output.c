/* See output.h. Invariant: before output_start and after its end, nothing stands between a stream and its descriptor,
 * or all that is printed is dropped. */
#include "common/base/output.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/human.h"
#include "common/base/outlet.h"

enum {
    TEXT_ROOM_BYTES = 256 << 10,
    JSON_ROOM_BYTES = 1 << 20,
    STREAM_BYTES = 16 << 10, /* a stream's buffer, which is flushed at each newline */
    PARTIAL_MAX = 1 << 20,   /* of a line that comes in parts */
    ABORT_MS = 500,
    ABORT_LOOK_MS = 5,
};

/* One of the two streams. */
struct output {
    int fd;
    FILE *stream;
    struct outlet *outlet; /* NULL: not started, or ended */
    bool ended;
    char *partial; /* of a line that comes in parts */
    size_t partial_bytes;
};

static struct output text_out = {.fd = STDERR_FILENO}, json_out = {.fd = STDOUT_FILENO};
static const char *output_program = "dp";
static uint64_t ending_ms; /* when the first of the two was ended; 0: none was */

/* ---- notes on what was left out ---- */

static void text_note(char *buf, size_t size, uint64_t lines)
{
    const char *clear = isatty(STDERR_FILENO) ? "\r\x1b[K" : "";
    snprintf(buf, size, "%s%s: %" PRIu64 " line%s left out: stderr was not read\n", clear, output_program, lines,
             human_s(lines));
}

static void json_note(char *buf, size_t size, uint64_t lines)
{
    snprintf(buf, size, "{\"event\":\"left_out\",\"lines\":%" PRIu64 ",\"reason\":\"standard output was not read\"}\n",
             lines);
}

/* ---- streams ---- */

/* Puts the part that is kept, with bytes[n] behind it. */
static void put_joined(struct output *out, const char *bytes, size_t n)
{
    if (out->partial_bytes == 0) {
        outlet_put(out->outlet, bytes, n);
        return;
    }
    char *whole = realloc(out->partial, out->partial_bytes + n);
    if (!whole)
        return;
    memcpy(whole + out->partial_bytes, bytes, n);
    outlet_put(out->outlet, whole, out->partial_bytes + n);
    out->partial = whole;
    out->partial_bytes = 0;
}

/* The end of what was printed that is no line: a drawing, or the begin of a line. */
static void put_tail(struct output *out, const char *bytes, size_t n)
{
    bool drawing = out->partial_bytes == 0 && bytes[0] == '\r';
    char *more = drawing || out->partial_bytes + n > PARTIAL_MAX ? NULL : realloc(out->partial, out->partial_bytes + n);
    if (!more) {
        put_joined(out, bytes, n);
        return;
    }
    memcpy(more + out->partial_bytes, bytes, n);
    out->partial = more;
    out->partial_bytes += n;
}

static ssize_t stream_write(void *cookie, const char *bytes, size_t n)
{
    struct output *out = cookie;
    size_t at = 0;
    while (out->outlet && at < n) {
        const char *end = memchr(bytes + at, '\n', n - at);
        size_t piece = end ? (size_t)(end + 1 - (bytes + at)) : n - at;
        if (end)
            put_joined(out, bytes + at, piece);
        else
            put_tail(out, bytes + at, piece);
        at += piece;
    }
    return (ssize_t)n;
}

static dp_err output_open(struct output *out, size_t room, void (*note)(char *, size_t, uint64_t), dp_error *err)
{
    const struct outlet_options opts = {.fd = out->fd, .room_bytes = room, .note = note};
    out->stream = fopencookie(out, "w", (cookie_io_functions_t){.write = stream_write});
    if (!out->stream || setvbuf(out->stream, NULL, _IOLBF, STREAM_BYTES))
        return dp_fail(err, DP_NOMEM, "out of memory for output");
    return outlet_new(&opts, &out->outlet, err);
}

/* ---- start ---- */

/* The message of assert is still in a queue. The thread that aborts waits for it, and no longer than ABORT_MS. */
static void on_abort(int number)
{
    (void)number;
    for (int ms = 0; ms < ABORT_MS && text_out.outlet && !outlet_drained(text_out.outlet); ms += ABORT_LOOK_MS)
        (void)poll(NULL, 0, ABORT_LOOK_MS);
}

dp_err output_start(const char *program, bool json, dp_error *err)
{
    output_program = program;
    dp_err e = output_open(&text_out, TEXT_ROOM_BYTES, text_note, err);
    if (e)
        return e;
    stderr = text_out.stream; /* a variable in glibc */
    (void)sigaction(SIGABRT, &(struct sigaction){.sa_handler = on_abort, .sa_flags = (int)SA_RESETHAND}, NULL);
    if (!json)
        return DP_OK;
    e = output_open(&json_out, JSON_ROOM_BYTES, json_note, err);
    if (e)
        return e;
    (void)fflush(stdout);
    stdout = json_out.stream;
    return DP_OK;
}

void output_line(const char *line, size_t bytes)
{
    if (text_out.outlet) {
        outlet_put(text_out.outlet, line, bytes);
        return;
    }
    ssize_t n;
    do
        n = text_out.ended ? 0 : write(STDERR_FILENO, line, bytes);
    while (n < 0 && errno == EINTR);
}

int output_fd(FILE *stream)
{
    if (stream == text_out.stream && stream)
        return text_out.fd;
    if (stream == json_out.stream && stream)
        return json_out.fd;
    return fileno(stream);
}

/* ---- the end ---- */

static struct outlet_result output_close(struct output *out)
{
    (void)fflush(out->stream);
    if (out->partial_bytes > 0)
        put_joined(out, "\n", 1);
    if (ending_ms == 0)
        ending_ms = mono_ms();
    struct outlet *outlet = out->outlet;
    struct outlet_result result = outlet_end(&outlet, ending_ms);
    out->outlet = NULL;
    out->ended = true;
    free(out->partial);
    out->partial = NULL;
    return result;
}

static dp_err tell_part(int why, dp_error *err)
{
    return dp_fail(err, DP_IO, "standard output took only a part of what --json told: %s", strerror(why));
}

dp_err output_end_json(dp_error *err)
{
    if (json_out.ended)
        return DP_OK;
    if (!json_out.outlet)
        return fflush(stdout) || ferror(stdout) ? tell_part(errno, err) : DP_OK;
    struct outlet_result result = output_close(&json_out);
    if (result.unwritten > 0 && result.error)
        return tell_part(result.error, err);
    if (result.unwritten > 0)
        fprintf(stderr, "%s: the last %" PRIu64 " line%s of --json left out: standard output was not read\n",
                output_program, result.unwritten, human_s(result.unwritten));
    return DP_OK;
}

void output_end(void)
{
    if (text_out.outlet)
        (void)output_close(&text_out);
}
