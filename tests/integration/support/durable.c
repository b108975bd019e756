/* Folders of checkpoints; see durable.h. */
#include "tests/integration/support/durable.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/util.h"
#include "tests/integration/support/harness_impl.h"

enum { ARGS = 100 };

const char *durable_data(void)
{
    return source_file("tests/data/digits/train.csv.gz");
}

const char *durable_quiet_model(void)
{
    const char *path = temp_path("quiet.safetensors");
    struct run_result r = RUN(DURABLE_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", DURABLE_JOB, "--quiet",
                              "--local-workers", "1", "--data", durable_data(), "--export", path);
    cr_assert_eq(r.status, 0, "%s", r.err);
    return path;
}

const char *durable_endpoint(void)
{
    char text[64];
    unsigned pid = (unsigned)getpid();
    snprintf(text, sizeof text, "tcp://127.%u.%u.%u:17699", 64 + (pid >> 16) % 64, (pid >> 8) % 256, pid % 256);
    return harness_keep(text);
}

static bool has_option(const char *const *list, const char *option)
{
    for (; *list; list++)
        if (strcmp(*list, option) == 0)
            return true;
    return false;
}

/* Adds DURABLE_JOB but for options of `list`, and then the list. */
static void add_job(const char **args, size_t count, const char *const *list)
{
    static const char *const JOB[] = {DURABLE_JOB, NULL};
    size_t i = 0;
    for (; JOB[i] && JOB[i + 1]; i += 2)
        if (!has_option(list, JOB[i])) {
            args[count++] = JOB[i];
            args[count++] = JOB[i + 1];
        }
    args[count++] = JOB[i]; /* --exit-when-done, the last, has no value */
    for (; *list && count + 1 < ARGS; list++)
        args[count++] = *list;
}

struct process *durable_server(const char *dir, const char *const *more)
{
    static unsigned number;
    char name[64];
    snprintf(name, sizeof name, "durable-port-%u", number++);
    const char *port = temp_path(name),
               *list[ARGS] = {"--json", "--listen", durable_endpoint(), "--port-file", port, "--checkpoint-dir", dir};
    add_job(list, 7, more);
    struct process *server = process_start("dp-server", list);
    cr_assert_not_null(file_expect(port, server, DURABLE_MS), "%s", process_output(server, ERR));
    return server;
}

struct process *durable_worker(const char *data, const char *name)
{
    return PROCESS("dp-worker", DURABLE_WORKER(durable_endpoint(), data, name));
}

uint64_t durable_expect_checkpoint(struct process *server)
{
    const char *line = process_expect_next(server, OUT, "\"event\":\"checkpoint\"", DURABLE_MS);
    json_t *event = json_loads(line, 0, NULL);
    uint64_t step = (uint64_t)json_integer_value(json_object_get(event, "step"));
    json_decref(event);
    return step;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

struct durable_folder durable_list(const char *dir)
{
    struct durable_folder list = {.count = 0};
    DIR *folder = opendir(dir);
    cr_assert_not_null(folder, "%s", dir);
    for (const struct dirent *entry; (entry = readdir(folder));) {
        const char *name = entry->d_name;
        list.hidden += name[0] == '.' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
        if (strlen(name) == 17 && strncmp(name, "step-", 5) == 0 && list.count < ARRAY_LEN(list.steps))
            list.steps[list.count++] = strtoull(name + 5, NULL, 10);
    }
    closedir(folder);
    qsort(list.steps, list.count, sizeof *list.steps, by_number);
    return list;
}

const char *durable_file(const char *dir, uint64_t step, const char *file)
{
    char path[HARNESS_PATH_MAX];
    (void)!snprintf(path, sizeof path, "%s/step-%012" PRIu64 "%s%s", dir, step, file[0] ? "/" : "", file);
    return harness_keep(path);
}

const char *durable_copy(const char *dir, const char *name)
{
    const char *to = temp_path(name);
    struct run_result r = RUN(DURABLE_MS, "/bin/cp", "-r", dir, to);
    cr_assert_eq(r.status, 0, "%s", r.err);
    return to;
}

void durable_flip(const char *path, long at)
{
    FILE *file = fopen(path, "r+");
    cr_assert_not_null(file, "%s", path);
    cr_assert_eq(fseek(file, at, SEEK_SET), 0);
    int byte = getc(file);
    cr_assert_neq(byte, EOF, "%s has no byte %ld", path, at);
    cr_assert_eq(fseek(file, at, SEEK_SET), 0);
    putc(~byte & 0xff, file);
    cr_assert_eq(fclose(file), 0);
}

size_t durable_events(const char *dir, const char *event)
{
    char path[HARNESS_PATH_MAX], *line = NULL;
    size_t room = 0, count = 0;
    (void)!snprintf(path, sizeof path, "%s/log.jsonl", dir);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    while (getline(&line, &room, file) >= 0) {
        json_t *object = json_loads(line, 0, NULL);
        const char *kind = json_string_value(json_object_get(object, "event"));
        cr_assert(kind && json_string_value(json_object_get(object, "at")), "no event: %s", line);
        count += strcmp(kind, event) == 0;
        json_decref(object);
    }
    free(line);
    fclose(file);
    return count;
}

void durable_expect_end(struct process *process)
{
    cr_assert_eq(process_wait(process, DURABLE_MS), 0, "%s", process_output(process, ERR));
}

void durable_kill(struct process *process)
{
    process_signal(process, SIGKILL);
    cr_assert_eq(process_wait(process, DURABLE_MS), 128 + SIGKILL);
}

const char *durable_half_done(void)
{
    const char *dir = temp_path("half");
    struct process *server = DURABLE_SERVER(dir, "--checkpoint-every", "30");
    (void)durable_worker(durable_data(), "half");
    for (int i = 0; i < 3; i++)
        (void)durable_expect_checkpoint(server);
    durable_kill(server);
    cr_assert_geq(durable_list(dir).count, 2);
    return dir;
}

struct run_result durable_run(const char *dir, const char *model, const char *const *list)
{
    const char *args[ARGS] = {"--listen", "tcp://127.0.0.1:0", "--checkpoint-dir", dir, "--export", model,
                              "--data",   durable_data()};
    size_t count = 8;
    if (!has_option(list, "--local-workers")) {
        args[count++] = "--local-workers";
        args[count++] = "1";
    }
    add_job(args, count, list);
    return run_program(DURABLE_MS, "dp-server", args);
}
