/* Temporary files and files that appear. */
#include "tests/integration/support/harness.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/util.h"
#include "tests/integration/support/harness_impl.h"

struct kept {
    struct kept *next;
    char text[];
};

static char folder[HARNESS_PATH_MAX];
static struct kept *kept;

const char *harness_keep(const char *text)
{
    size_t bytes = strlen(text) + 1;
    struct kept *k = malloc(sizeof *k + bytes);
    cr_assert(k);
    memcpy(k->text, text, bytes);
    k->next = kept;
    kept = k;
    return k->text;
}

void files_init(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/dp-test-XXXXXX", tmp ? tmp : "/tmp");
    cr_assert(mkdtemp(folder), "cannot make a folder %s", folder);
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    remove(path);
    return 0;
}

void folder_remove(void)
{
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void files_fini(void)
{
    folder_remove();
    while (kept) {
        struct kept *next = kept->next;
        free(kept);
        kept = next;
    }
}

const char *temp_path(const char *name)
{
    char path[2 * HARNESS_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return harness_keep(path);
}

const char *temp_file(const char *name, const void *data, size_t bytes)
{
    const char *path = temp_path(name);
    FILE *file = fopen(path, "wb");
    cr_assert(file && fwrite(data, 1, bytes, file) == bytes && fclose(file) == 0, "cannot write %s", path);
    return path;
}

const char *temp_text(const char *name, const char *text)
{
    return temp_file(name, text, strlen(text));
}

const char *temp_separable(void)
{
    char text[2048];
    size_t at = 0;
    for (int i = 0; i < 40; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%d 1:%d.5 2:1\n", i % 2 ? 1 : -1,
                               i % 2 ? 1 + i % 5 : -2 - i % 5);
    return temp_text("separable.svm", text);
}

/* The first line of a file if it is whole, else NULL. */
static const char *first_line(const char *path)
{
    char line[HARNESS_PATH_MAX];
    FILE *file = fopen(path, "r");
    if (!file)
        return NULL;
    bool got = fgets(line, sizeof line, file);
    fclose(file);
    size_t length = got ? strlen(line) : 0;
    if (length == 0 || line[length - 1] != '\n')
        return NULL;
    line[length - 1] = '\0';
    return harness_keep(line);
}

/* Waits for any change in the folder that is watched; false once the deadline has passed or the writer has ended. */
static bool watch_wait(int watch, int writer, uint64_t deadline_ms)
{
    char events[4096];
    uint64_t now_ms = mono_ms();
    struct pollfd fds[] = {{.fd = watch, .events = POLLIN}, {.fd = writer, .events = POLLIN}};
    if (now_ms >= deadline_ms || poll(fds, ARRAY_LEN(fds), (int)(deadline_ms - now_ms)) <= 0 || fds[1].revents)
        return false;
    return read(watch, events, sizeof events) > 0;
}

const char *file_expect(const char *path, const struct process *writer, uint32_t timeout_ms)
{
    uint64_t deadline_ms = mono_ms() + timeout_ms;
    char *copy = strdup(path);
    cr_assert(copy);
    int watch = inotify_init1(IN_CLOEXEC);
    cr_assert_geq(inotify_add_watch(watch, dirname(copy), IN_MOVED_TO | IN_CLOSE_WRITE | IN_MODIFY), 0);
    free(copy);
    int pidfd = writer ? pidfd_open(process_pid(writer), 0) : -1;
    bool alive = !writer || pidfd >= 0;
    const char *line = first_line(path);
    while (!line && alive) {
        alive = watch_wait(watch, pidfd, deadline_ms);
        line = first_line(path);
    }
    close(watch);
    if (pidfd >= 0)
        close(pidfd);
    return line;
}

const char *source_file(const char *name)
{
    char path[HARNESS_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", DP_SOURCE_ROOT, name);
    return harness_keep(path);
}

const char *shared_file(const char *name)
{
    char path[HARNESS_PATH_MAX];
    const char *shared = getenv("DP_SHARED");
    snprintf(path, sizeof path, "%s/%s", shared ? shared : DP_SOURCE_ROOT "/../shared", name);
    return access(path, R_OK) == 0 ? harness_keep(path) : NULL;
}
