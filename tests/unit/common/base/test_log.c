/* Logging: what a line looks like, that lines of threads do not mix, escaping, cutting, display hooks, rate limit. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "tests/unit/support/leaks.h"

/* stderr goes to a temporary file between capture_begin and capture_end. */
static int capture_fd = -1;
static int capture_saved = -1;

static void capture_begin(void)
{
    char name[] = "/tmp/dp-test-log-XXXXXX";
    capture_fd = mkstemp(name);
    cr_assert_geq(capture_fd, 0);
    unlink(name);
    capture_saved = dup(STDERR_FILENO);
    dup2(capture_fd, STDERR_FILENO);
}

/* The text that was written, on the heap. */
static char *capture_end(void)
{
    dup2(capture_saved, STDERR_FILENO);
    close(capture_saved);
    off_t bytes = lseek(capture_fd, 0, SEEK_END);
    char *text = calloc(1, (size_t)bytes + 1);
    cr_assert_not_null(text);
    cr_assert_eq(pread(capture_fd, text, (size_t)bytes, 0), bytes);
    close(capture_fd);
    return text;
}

/* The part of a line after "LEVEL time program[pid] ". */
static const char *event_of(const char *line)
{
    const char *at = strstr(line, "] ");
    cr_assert_not_null(at, "no head in '%s'", line);
    return at + 2;
}

Test(log, line_has_level_time_program_and_event)
{
    log_init("dp-test", LOG_INFO);
    capture_begin();
    log_info("shard_ready shard=%d endpoint=%s", 2, "tcp://127.0.0.1:7701");
    char *text = capture_end();
    int year = 0, millis = -1, pid = 0, used = 0;
    cr_assert_eq(sscanf(text, "INFO  %d-%*2d-%*2dT%*2d:%*2d:%*2d.%3dZ dp-test[%d] %n", &year, &millis, &pid, &used), 3,
                 "%s", text);
    cr_assert(year >= 2020 && millis >= 0 && pid == getpid());
    cr_assert_str_eq(text + used, "shard_ready shard=2 endpoint=tcp://127.0.0.1:7701\n");
    free(text);
    ASSERT_NO_LEAKS();
}

/* The text of a line behind its head; valid until the next call. */
#define LOGGED(...) (capture_begin(), log_info(__VA_ARGS__), event_kept(capture_end()))

static const char *event_kept(char *text)
{
    static char event[2048];
    snprintf(event, sizeof event, "%s", event_of(text));
    free(text);
    return event;
}

/* A value ends where it ends, whatever a peer calls itself. */
Test(log, values_cannot_be_forged)
{
    static const char NAME[] = "a\" level=\"x\\";
    log_init("dp-test", LOG_INFO);
    cr_assert_str_eq(LOGGED("joined worker=\"%s\" n=%d", NAME, 3), "joined worker=\"a\\\" level=\\\"x\\\\\" n=3\n");
    cr_assert_str_eq(LOGGED("joined worker=%s n=%d", NAME, 3), "joined worker=\"a\\\" level=\\\"x\\\\\" n=3\n");
    cr_assert_str_eq(LOGGED("joined worker=%s", "host:1"), "joined worker=host:1\n");
    cr_assert_str_eq(LOGGED("joined worker=%s", ""), "joined worker=\"\"\n");
    cr_assert_str_eq(LOGGED("joined worker=%s n=1", "a=b"), "joined worker=\"a=b\" n=1\n");
    cr_assert_str_eq(LOGGED("text=\"line %s of %.2s\"", "\n\"", "abc"), "text=\"line \\n\\\" of ab\"\n");
}

Test(log, numbers_are_those_of_printf)
{
    char want[512];
    log_init("dp-test", LOG_INFO);
#define SAME(...) (snprintf(want, sizeof want, __VA_ARGS__), strcat(want, "\n"), strcmp(LOGGED(__VA_ARGS__), want) == 0)
    cr_expect(SAME("a=%d b=%u c=%5d%% d=%-4u|", -7, 7u, 12, 3u));
    cr_expect(SAME("a=%ld b=%lu c=%lld d=%llu", -1L, ~0UL, -2LL, ~0ULL));
    cr_expect(SAME("a=%zu b=%zd c=%td d=%jd", (size_t)9, (ssize_t)-9, (ptrdiff_t)-3, (intmax_t)-4));
    cr_expect(SAME("a=%.3f b=%g c=%e d=%9.2g", 1.5, 0.1, 1e300, -2.5));
    cr_expect(SAME("a=%x b=%#lx c=%08X d=%hhu e=%c f=%p", 255u, 255UL, 48879u, (unsigned char)200, 'x', (void *)want));
}

Test(log, levels_filter)
{
    capture_begin();
    log_init("dp-test", LOG_WARN);
    log_error("a");
    log_warn("b");
    log_info("c");
    log_debug("d");
    char *text = capture_end();
    const char *second = strchr(text, '\n') + 1;
    cr_assert_str_eq(event_of(second), "b\n");
    cr_assert_eq(strncmp(text, "ERROR ", 6), 0);
    cr_assert_eq(strncmp(second, "WARN  ", 6), 0);
    free(text);
}

Test(log, control_characters_are_escaped)
{
    log_init("dp-test", LOG_INFO);
    capture_begin();
    log_info("x text=\"%s\"", "a\nb\r\t\x1b[2J\x7f \xc2\x9b \xc3\xbc");
    char *text = capture_end();
    cr_assert_str_eq(event_of(text), "x text=\"a\\nb\\r\\t\\x1b[2J\\x7f \\xc2\\x9b \xc3\xbc\"\n");
    free(text);
}

Test(log, long_lines_are_cut)
{
    log_init("dp-test", LOG_INFO);
    char big[3000];
    memset(big, 'y', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    capture_begin();
    log_info("x %s", big);
    memset(big, '\x01', sizeof big - 1);
    log_info("x %s", big);
    char *text = capture_end();
    char *second = strchr(text, '\n') + 1;
    cr_assert_leq(second - text, 1024);
    cr_assert_leq(strlen(second), 1024);
    cr_assert_eq(strncmp(second - 5, "y...\n", 5), 0);
    cr_assert_str_eq(second + strlen(second) - 4, "...\n");
    free(text);
}

static void *chatter(void *arg)
{
    for (int i = 0; i < 200; i++)
        log_info("chatter thread=%d i=%d end", *(const int *)arg, i);
    return NULL;
}

Test(log, lines_of_threads_do_not_mix)
{
    log_init("dp-test", LOG_INFO);
    pthread_t threads[4];
    int ids[4] = {0, 1, 2, 3};
    capture_begin();
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, chatter, &ids[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    char *text = capture_end();
    int next[4] = {0};
    size_t lines = 0;
    for (char *at = text; *at; lines++) {
        char *newline = strchr(at, '\n');
        cr_assert_not_null(newline);
        *newline = '\0';
        int thread = -1, i = -1, used = 0;
        cr_assert_eq(sscanf(event_of(at), "chatter thread=%d i=%d end%n", &thread, &i, &used), 2);
        cr_assert(event_of(at)[used] == '\0' && i == next[thread]++);
        at = newline + 1;
    }
    cr_assert_eq(lines, 800);
    free(text);
    ASSERT_NO_LEAKS();
}

static void hide(void)
{
    cr_assert_eq(write(STDERR_FILENO, "<", 1), 1);
}

static void show(void)
{
    cr_assert_eq(write(STDERR_FILENO, ">", 1), 1);
}

Test(log, display_is_hidden_around_a_line)
{
    log_init("dp-test", LOG_INFO);
    log_set_display(hide, show);
    capture_begin();
    log_info("one");
    log_debug("not written");
    log_set_display(NULL, NULL);
    log_info("two");
    char *text = capture_end();
    cr_assert_eq(text[0], '<');
    char *end = strchr(text, '\n');
    cr_assert_eq(strncmp(end, "\n>INFO", 6), 0, "%s", text);
    cr_assert_null(strchr(end + 2, '<'));
    free(text);
}

Test(log, limiter_counts_what_it_leaves_out)
{
    struct log_limit limit = {.per_second = 2};
    uint64_t left_out = 99;
    cr_assert(log_limit_pass(&limit, 5, &left_out) && left_out == 0);
    cr_assert(log_limit_pass(&limit, 6, &left_out));
    for (int i = 0; i < 5; i++)
        cr_assert(!log_limit_pass(&limit, 7, &left_out));
    cr_assert(log_limit_pass(&limit, 100000, &left_out));
    cr_assert_eq(left_out, 5);
    cr_assert(log_limit_pass(&limit, 100001, &left_out));
    cr_assert_eq(left_out, 0);
    cr_assert(!log_limit_pass(&limit, 100999, &left_out));
    cr_assert(log_limit_pass(&limit, 101000, &left_out));
    cr_assert_eq(left_out, 1);
}

Test(log, limiter_of_zero_passes_nothing)
{
    struct log_limit limit = {0};
    uint64_t left_out = 0;
    cr_assert(!log_limit_pass(&limit, 0, &left_out));
    cr_assert(!log_limit_pass(&limit, 5000, &left_out));
}
