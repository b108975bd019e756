/* Threads that log while the head draws its display: lines and drawings come out whole, and nothing races. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "server/show/progress.h"
#include "tests/stress/stress.h"

enum { THREADS = 3, LINES = 400, STEPS = 4000 };

static struct progress display;

static void hide(void)
{
    progress_hide(&display);
}

static void show(void)
{
    progress_show(&display);
}

static void *chatter(void *arg)
{
    for (int i = 0; i < LINES; i++)
        log_info("chatter thread=%d i=%d end", *(const int *)arg, i);
    return NULL;
}

/* A run of one epoch, at a simulated time at which every step is drawn. */
static void draw_run(void)
{
    progress_begin(&display, 0, &(struct progress_facts){1, STEPS, STEPS, false, false, false, false, 0, 0});
    for (uint64_t t = 0; t < STEPS; t++)
        progress_step(&display, 100 * (t + 1), 0, t, 1, 1, 0);
    progress_done(&display, 100 * STEPS, &(struct run_summary){0});
}

/* The visible part of a line: a carriage return overwrites what stands before it. */
static const char *visible(const char *line)
{
    const char *back = strrchr(line, '\r');
    const char *text = back ? back + 1 : line;
    return strncmp(text, "\x1b[K", 3) == 0 ? text + 3 : text;
}

/* Number of lines of the log; every one of them, and nothing else with its words, is whole. */
static int count_log_lines(char *text)
{
    int count = 0;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        const char *shown = visible(line);
        if (!strstr(line, "chatter"))
            continue;
        MUST(strncmp(shown, "INFO  ", 6) == 0, "a line begins with '%s'", shown);
        MUST(strcmp(shown + strlen(shown) - 4, " end") == 0, "a line ends with '%s'", shown);
        MUST(strstr(line, "chatter") == strstr(shown, "chatter"), "two lines in one: '%s'", line);
        count++;
    }
    return count;
}

int main(void)
{
    int ids[THREADS] = {0, 1, 2}, saved = dup(STDERR_FILENO);
    pthread_t threads[THREADS];
    FILE *file = tmpfile();
    MUST(file && saved >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0, "cannot redirect stderr");
    log_init("stress", LOG_INFO);
    progress_init(&display, PROGRESS_TABLE, stderr, stdout);
    log_set_display(hide, show);
    for (int i = 0; i < THREADS; i++)
        MUST(pthread_create(&threads[i], NULL, chatter, &ids[i]) == 0, "cannot start a thread");
    draw_run();
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    progress_fini(&display);
    dup2(saved, STDERR_FILENO);
    long bytes = lseek(fileno(file), 0, SEEK_END);
    AUTOFREE char *text = mem_array_zero((size_t)bytes + 1, 1);
    MUST(text && pread(fileno(file), text, (size_t)bytes, 0) == bytes, "cannot read what was written");
    int count = count_log_lines(text);
    MUST(count == THREADS * LINES, "%d of %d lines", count, THREADS * LINES);
    PASS("lines and drawings come out whole");
}
