/* The job's log: lines of JSON, appended whole, also after one that a kill cut short. */
#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/store/folder.h"
#include "server/store/journal.h"
#include "server/store/writer.h"
#include "tests/unit/support/leaks.h"

static char dir[] = "/tmp/dp-journal-XXXXXX", path[64];

static void make_dir(void)
{
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/log.jsonl", dir);
}

static void remove_dir(void)
{
    char lock[64];
    snprintf(lock, sizeof lock, "%s/lock", dir);
    (void)!remove(path);
    (void)!unlink(lock);
    cr_assert_eq(rmdir(dir), 0);
}

/* A server that opens the log, tells of two events, and ends. */
static void tell_two(void)
{
    struct folder folder;
    struct writer *writer;
    struct journal *journal;
    dp_error err;
    cr_assert_eq(folder_open(dir, "lock", "test", &folder, &err), DP_OK, "%s", err.text);
    cr_assert_eq(writer_start(&writer, &err), DP_OK, "%s", err.text);
    cr_assert_eq(journal_open(&folder, writer, &journal, &err), DP_OK, "%s", err.text);
    journal_add(journal, "started", NULL);
    journal_add(journal, "checkpoint", json_pack("{s:I, s:s}", "train_step", (json_int_t)500, "path", "a \"b\"\n"));
    writer_stop(&writer);
    journal_close(&journal);
    folder_close(&folder);
}

static char *file_text(void)
{
    static char text[4096];
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    return text;
}

static json_t *line_at(char *text, int number)
{
    char *line = text;
    for (int i = 0; i < number; i++) {
        line = strchr(line, '\n');
        cr_assert_not_null(line, "no line %d", number);
        line++;
    }
    json_t *json = json_loadb(line, strcspn(line, "\n"), 0, NULL);
    cr_assert_not_null(json, "line %d is not JSON: %s", number, line);
    return json;
}

static void expect_event(char *text, int number, const char *event)
{
    json_t *json = line_at(text, number);
    const char *at = json_string_value(json_object_get(json, "at"));
    cr_assert_str_eq(json_string_value(json_object_get(json, "event")), event);
    cr_assert_eq(strlen(at), strlen("2026-11-30T23:59:59.123Z"));
    cr_assert_eq(at[23], 'Z');
    json_decref(json);
}

Test(journal, lines_are_appended)
{
    make_dir();
    tell_two();
    tell_two();
    char *text = file_text();
    static const char *const EVENTS[] = {"started", "checkpoint", "started", "checkpoint"};
    for (int i = 0; i < 4; i++)
        expect_event(text, i, EVENTS[i]);
    json_t *json = line_at(text, 1);
    cr_assert_eq(json_integer_value(json_object_get(json, "train_step")), 500);
    cr_assert_str_eq(json_string_value(json_object_get(json, "path")), "a \"b\"\n");
    json_decref(json);
    cr_assert_eq(text[strlen(text) - 1], '\n');
    remove_dir();
    ASSERT_NO_LEAKS();
}

Test(journal, a_line_that_was_cut_short_is_closed)
{
    static const char HALF[] = "{\"at\":\"2026-11-30T23:5";
    make_dir();
    FILE *file = fopen(path, "w");
    fputs(HALF, file);
    fclose(file);
    tell_two();
    char *text = file_text();
    cr_assert_eq(strncmp(text, HALF, strlen(HALF)), 0);
    cr_assert_eq(text[strlen(HALF)], '\n');
    expect_event(text, 1, "started");
    expect_event(text, 2, "checkpoint");
    remove_dir();
}

/* Nobody reads a pipe: opening it must not wait. */
Test(journal, a_pipe_is_no_log)
{
    struct folder folder;
    struct journal *journal = NULL;
    dp_error err;
    make_dir();
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(folder_open(dir, "lock", "test", &folder, &err), DP_OK, "%s", err.text);
    cr_assert_eq(journal_open(&folder, NULL, &journal, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "log.jsonl"), "%s", err.text);
    cr_assert_null(journal);
    folder_close(&folder);
    remove_dir();
    ASSERT_NO_LEAKS();
}

/* No room for all of a line: it is cut short, and the next one begins anew once there is room. */
Test(journal, a_full_disk_costs_lines_alone)
{
    const struct rlimit small = {.rlim_cur = 100, .rlim_max = RLIM_INFINITY};
    struct rlimit before;
    signal(SIGXFSZ, SIG_IGN);
    make_dir();
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    tell_two(); /* the first has some 60 bytes */
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    tell_two();
    char *text = file_text();
    expect_event(text, 0, "started");
    expect_event(text, 2, "started");
    expect_event(text, 3, "checkpoint");
    remove_dir();
}
