/* Output that never blocks: what is left out is counted, said, and never the newest; no line is torn. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/outlet.h"
#include "common/base/util.h"

TestSuite(outlet, .timeout = 60);

enum { LINES = 20000, LINE_BYTES = 64, ROOM_BYTES = 16 << 10, PIPE_BYTES = 4096, TEXT_MAX = 4 << 20 };

static void note(char *buf, size_t size, uint64_t lines)
{
    snprintf(buf, size, "left out %llu\n", (unsigned long long)lines);
}

struct pipe_out {
    int ends[2];
    struct outlet *outlet;
};

static struct pipe_out open_pipe(void)
{
    struct pipe_out p;
    dp_error err;
    cr_assert_eq(pipe2(p.ends, O_CLOEXEC), 0);
    cr_assert_eq(fcntl(p.ends[1], F_SETPIPE_SZ, PIPE_BYTES), PIPE_BYTES);
    const struct outlet_options opts = {.fd = p.ends[1], .room_bytes = ROOM_BYTES, .note = note};
    cr_assert_eq(outlet_new(&opts, &p.outlet, &err), DP_OK);
    return p;
}

/* "line 7 .........\n", LINE_BYTES long. */
static void put_line(struct outlet *outlet, unsigned i)
{
    char line[LINE_BYTES + 1];
    memset(line, '.', sizeof line);
    line[snprintf(line, sizeof line, "line %u", i)] = ' ';
    line[LINE_BYTES - 1] = '\n';
    outlet_put(outlet, line, LINE_BYTES);
}

struct reader {
    int fd;
    int pause_ms; /* between two reads */
    char *text;   /* NUL-terminated, once it is joined */
};

static void *read_all(void *arg)
{
    struct reader *reader = arg;
    size_t bytes = 0;
    ssize_t n = 1;
    reader->text = malloc(TEXT_MAX);
    while (reader->text && n > 0) {
        n = read(reader->fd, reader->text + bytes, MIN((size_t)TEXT_MAX - 1 - bytes, (size_t)PIPE_BYTES));
        bytes += n > 0 ? (size_t)n : 0;
        (void)poll(NULL, 0, reader->pause_ms);
    }
    if (reader->text)
        reader->text[bytes] = '\0';
    return NULL;
}

struct told {
    unsigned lines, last;
    unsigned long long left_out, notes;
};

/* Every line is whole, and they ascend. */
static struct told check_lines(char *text)
{
    struct told told = {0};
    int at = -1;
    for (char *line; (line = strsep(&text, "\n")) && *line;) {
        unsigned long long left = 0;
        if (sscanf(line, "left out %llu", &left) == 1) {
            told.left_out += left;
            told.notes++;
            continue;
        }
        cr_assert_eq(sscanf(line, "line %u ", &told.last), 1, "%s", line);
        cr_assert_eq(strlen(line), LINE_BYTES - 1, "%s", line);
        cr_assert_gt((int)told.last, at);
        at = (int)told.last;
        told.lines++;
    }
    return told;
}

/* Ends the outlet with a thread that reads; what that has read. */
static struct told end_read(struct pipe_out *p, pthread_t thread, const struct reader *reader,
                            struct outlet_result *ret_result)
{
    *ret_result = outlet_end(&p->outlet, mono_ms());
    close(p->ends[1]);
    pthread_join(thread, NULL);
    return check_lines(reader->text);
}

Test(outlet, what_nobody_read_is_counted_and_the_newest_is_kept)
{
    struct pipe_out p = open_pipe();
    struct reader reader = {.fd = p.ends[0]};
    pthread_t thread;
    uint64_t begin_ms = mono_ms();
    for (unsigned i = 0; i < LINES; i++)
        put_line(p.outlet, i);
    cr_assert_lt(mono_ms() - begin_ms, 10000u, "putting waited");
    cr_assert_not(outlet_drained(p.outlet));
    cr_assert_eq(pthread_create(&thread, NULL, read_all, &reader), 0);
    struct outlet_result result;
    struct told told = end_read(&p, thread, &reader, &result);
    cr_assert_eq(result.unwritten, 0);
    cr_assert_eq(told.lines + told.left_out, LINES);
    cr_assert_eq(told.left_out, result.left_out);
    cr_assert_geq(told.left_out, LINES - (ROOM_BYTES + 2 * PIPE_BYTES) / LINE_BYTES);
    cr_assert_geq(told.notes, 1);
    cr_assert_eq(told.last, LINES - 1);
    free(reader.text);
}

Test(outlet, an_end_that_nobody_reads_is_bounded)
{
    struct pipe_out p = open_pipe();
    for (unsigned i = 0; i < LINES; i++)
        put_line(p.outlet, i);
    uint64_t begin_ms = mono_ms();
    struct outlet_result result = outlet_end(&p.outlet, begin_ms);
    cr_assert_null(p.outlet);
    cr_assert_lt(mono_ms() - begin_ms, 4000u);
    cr_assert_geq(mono_ms() - begin_ms, 1400u);
    cr_assert_geq(result.unwritten, 1);
    cr_assert_geq(result.unwritten + result.left_out, LINES - 2 * PIPE_BYTES / LINE_BYTES);
    cr_assert_eq(result.error, 0);
}

/* It takes 4 KiB every 400 ms, so 16 KiB take longer than the time for all but the newest. */
Test(outlet, a_slow_reader_gets_the_newest_line)
{
    struct pipe_out p = open_pipe();
    struct reader reader = {.fd = p.ends[0], .pause_ms = 400};
    pthread_t thread;
    for (unsigned i = 0; i < LINES; i++)
        put_line(p.outlet, i);
    cr_assert_eq(pthread_create(&thread, NULL, read_all, &reader), 0);
    struct outlet_result result;
    struct told told = end_read(&p, thread, &reader, &result);
    cr_assert_eq(result.unwritten, 0);
    cr_assert_eq(told.lines + told.left_out, LINES);
    cr_assert_eq(told.last, LINES - 1);
    free(reader.text);
}

/* One that waits is drawn over by the next, and is nobody's loss. */
Test(outlet, drawings_are_not_left_out)
{
    struct pipe_out p = open_pipe();
    struct reader reader = {.fd = p.ends[0]};
    pthread_t thread;
    char fill[PIPE_BYTES];
    memset(fill, 'x', sizeof fill);
    fill[sizeof fill - 1] = '\n';
    outlet_put(p.outlet, fill, sizeof fill);
    outlet_put(p.outlet, "stuck\n", 6);
    for (unsigned i = 0; i < LINES; i++) {
        char row[LINE_BYTES];
        int n = snprintf(row, sizeof row, "\rrow %u\x1b[K", i);
        outlet_put(p.outlet, row, (size_t)n);
    }
    cr_assert_eq(pthread_create(&thread, NULL, read_all, &reader), 0);
    struct outlet_result result = outlet_end(&p.outlet, mono_ms());
    close(p.ends[1]);
    pthread_join(thread, NULL);
    cr_assert_eq(result.unwritten + result.left_out, 0);
    const char *behind = strchr(reader.text, '\n') + 1;
    cr_assert_str_eq(behind, "stuck\n\rrow 19999\x1b[K");
    free(reader.text);
}

Test(outlet, a_reader_who_is_gone)
{
    struct pipe_out p = open_pipe();
    close(p.ends[0]);
    for (unsigned i = 0; i < 100; i++)
        put_line(p.outlet, i);
    struct outlet_result result = outlet_end(&p.outlet, mono_ms());
    cr_assert_eq(result.error, EPIPE);
    cr_assert_eq(result.unwritten, 100);
}

Test(outlet, a_full_disk)
{
    struct outlet *outlet = NULL;
    dp_error err;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        cr_skip_test("/dev/full is absent");
    const struct outlet_options opts = {.fd = fd, .room_bytes = ROOM_BYTES, .note = note};
    cr_assert_eq(outlet_new(&opts, &outlet, &err), DP_OK);
    for (unsigned i = 0; i < 100; i++)
        put_line(outlet, i);
    struct outlet_result result = outlet_end(&outlet, mono_ms());
    cr_assert_eq(result.error, ENOSPC);
    cr_assert_eq(result.unwritten, 100);
}

/* O_NONBLOCK belongs to all processes that share the pipe, so one of them may have set it. */
Test(outlet, a_pipe_that_another_made_non_blocking)
{
    struct pipe_out p = open_pipe();
    struct reader reader = {.fd = p.ends[0]};
    pthread_t thread;
    cr_assert_eq(fcntl(p.ends[1], F_SETFL, O_WRONLY | O_NONBLOCK), 0);
    cr_assert_eq(pthread_create(&thread, NULL, read_all, &reader), 0);
    for (unsigned i = 0; i < LINES; i++) {
        put_line(p.outlet, i);
        while (i % 100 == 0 && !outlet_drained(p.outlet))
            sched_yield();
    }
    struct outlet_result result;
    struct told told = end_read(&p, thread, &reader, &result);
    cr_assert_eq(result.unwritten + result.left_out, 0);
    cr_assert_eq(told.lines, LINES);
    free(reader.text);
}

/* The descriptor is as it was: others share it. */
Test(outlet, flags_are_left_alone)
{
    struct pipe_out p = open_pipe();
    put_line(p.outlet, 0);
    (void)outlet_end(&p.outlet, mono_ms());
    cr_assert_eq(fcntl(p.ends[1], F_GETFL) & O_NONBLOCK, 0);
}
