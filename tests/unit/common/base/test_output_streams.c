/* stderr and stdout as outlets: lines printed in parts stay whole, what is left out is said in the stream's own form,
 * and an abort's last words get out. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/output.h"

TestSuite(output_streams, .timeout = 60);

enum { LINES = 50000, TEXT_MAX = 8 << 20 };

/* A pipe in place of descriptor `number` while the test prints; Criterion has its own back before it says anything. */
struct swap {
    int number, saved, from;
};

static struct swap swap_in(int number)
{
    int ends[2];
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    struct swap swap = {.number = number, .saved = fcntl(number, F_DUPFD_CLOEXEC, 10), .from = ends[0]};
    cr_assert_geq(dup2(ends[1], number), 0);
    close(ends[1]);
    return swap;
}

static void swap_out(const struct swap *swap)
{
    (void)dup2(swap->saved, swap->number);
    close(swap->saved);
}

static void *read_all(void *arg)
{
    size_t bytes = 0;
    char *text = malloc(TEXT_MAX);
    for (ssize_t n = 1; text && n > 0; bytes += n > 0 ? (size_t)n : 0)
        n = read(*(int *)arg, text + bytes, TEXT_MAX - 1 - bytes);
    if (text)
        text[bytes] = '\0';
    return text;
}

Test(output_streams, lines_of_stderr)
{
    dp_error err;
    pthread_t reader;
    void *text = NULL;
    struct swap swap = swap_in(STDERR_FILENO);
    FILE *before = stderr;
    dp_err e = output_start("dp-test", false, &err);
    for (int i = 0; i < LINES; i++) {
        fprintf(stderr, "line %d", i);
        fprintf(stderr, ", its end\n");
    }
    log_init("dp-test", LOG_INFO);
    log_warn("last of=all");
    bool started = pthread_create(&reader, NULL, read_all, &swap.from) == 0;
    output_end();
    swap_out(&swap);
    stderr = before;
    cr_assert(!e && started && pthread_join(reader, &text) == 0 && text);
    unsigned long lines = 0, left_out = 0, n;
    char *rest = text, *last = NULL;
    for (char *line; (line = strsep(&rest, "\n")) && *line; last = line)
        if (sscanf(line, "dp-test: %lu line", &n) == 1) {
            cr_assert_not_null(strstr(line, " left out: stderr was not read"), "%s", line);
            left_out += n;
        } else if (sscanf(line, "line %lu", &n) == 1) {
            cr_assert_not_null(strstr(line, ", its end"), "%s", line);
            lines++;
        }
    cr_assert_gt(left_out, 0);
    cr_assert_eq(lines + left_out, LINES);
    cr_assert_not_null(strstr(last, " last of=all"), "%s", last);
    free(text);
}

Test(output_streams, lines_of_json)
{
    dp_error err;
    pthread_t reader;
    void *text = NULL;
    struct swap out = swap_in(STDOUT_FILENO);
    FILE *before_err = stderr, *before_out = stdout;
    dp_err e = output_start("dp-test", true, &err);
    for (int i = 0; i < LINES; i++)
        printf("{\"event\":\"epoch\",\"text\":\"some more of it, so that the queue is full\",\"epoch\":%d}\n", i);
    bool started = pthread_create(&reader, NULL, read_all, &out.from) == 0;
    dp_err ended = output_end_json(&err);
    output_end();
    swap_out(&out);
    stderr = before_err;
    stdout = before_out;
    cr_assert(!e && !ended && started && pthread_join(reader, &text) == 0 && text);
    json_int_t lines = 0, left_out = 0, last = -1;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) && *line;) {
        json_t *object = json_loads(line, 0, NULL);
        cr_assert(json_is_object(object), "%s", line);
        const char *event = json_string_value(json_object_get(object, "event"));
        if (strcmp(event, "left_out") == 0)
            left_out += json_integer_value(json_object_get(object, "lines"));
        else
            last = json_integer_value(json_object_get(object, "epoch")), lines++;
        json_decref(object);
    }
    cr_assert_gt(left_out, 0);
    cr_assert_eq(lines + left_out, LINES);
    cr_assert_eq(last, LINES - 1);
    free(text);
}

Test(output_streams, last_words_before_an_abort)
{
    int ends[2], status = 0;
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
        dp_error err;
        (void)signal(SIGABRT, SIG_DFL); /* Criterion's handler is for its own */
        (void)dup2(ends[1], STDERR_FILENO);
        if (output_start("dp-test", false, &err))
            _exit(1);
        fprintf(stderr, "last words\n");
        abort();
    }
    close(ends[1]);
    char *text = read_all(&ends[0]);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    cr_assert_not_null(text);
    cr_assert_str_eq(text, "last words\n");
    free(text);
}
