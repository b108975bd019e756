/* dp_err and util: error texts, memory, strings, blobs, and files that are replaced as a whole or not at all. */
#include <criterion/criterion.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/dp_err.h"
#include "common/base/entropy.h"
#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/base/process.h"
#include "common/base/text.h"
#include "tests/unit/support/leaks.h"

Test(err, codes_names_and_wire_numbers)
{
    cr_assert_str_eq(dp_err_name(DP_STEP_DONE), "STEP_DONE");
    cr_assert_str_eq(dp_err_text(DP_OK), "ok");
    cr_assert_str_eq(dp_err_text((dp_err)999), "unknown error");
    cr_assert_str_eq(dp_err_name((dp_err)999), "UNKNOWN");
    cr_assert_eq(dp_err_from_wire(12), DP_STEP_DONE);
    cr_assert_eq(dp_err_from_wire(4000000000u), DP_PROTO);
    cr_assert(dp_err_retryable(DP_BUSY) && !dp_err_retryable(DP_DATA) && !dp_err_retryable((dp_err)999));
}

Test(err, exit_statuses)
{
    cr_assert_eq(dp_err_exit_status(DP_OK), 0);
    cr_assert_eq(dp_err_exit_status(DP_JOB_DONE), 0);
    cr_assert_eq(dp_err_exit_status(DP_DATA), 1);
    cr_assert_eq(dp_err_exit_status(DP_IO), 1);
    cr_assert_eq(dp_err_exit_status(DP_USAGE), 2);
    cr_assert_eq(dp_err_exit_status(DP_UNREACHABLE), 69);
    cr_assert_eq(dp_err_exit_status(DP_STOPPED), 143);
}

Test(err, fail_formats_and_returns_the_code)
{
    dp_error err = {0};
    cr_assert_eq(dp_fail(&err, DP_DATA, "%s:%d: bad", "f", 3), DP_DATA);
    cr_assert_eq(err.code, DP_DATA);
    cr_assert_str_eq(err.text, "f:3: bad");
    cr_assert_eq(dp_fail(NULL, DP_IO, "x"), DP_IO);
    cr_assert_eq(dp_fail(&err, DP_IO, "outer: %s", err.text), DP_IO);
    cr_assert_str_eq(err.text, "outer: f:3: bad");
    cr_assert_eq(dp_fail_in(&err, "most %s", "outer"), DP_IO);
    cr_assert_str_eq(err.text, "most outer: outer: f:3: bad");
}

Test(err, long_texts_are_cut_and_terminated)
{
    dp_error err = {0};
    char big[2000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    cr_assert_eq(dp_fail(&err, DP_DATA, "%s", big), DP_DATA);
    cr_assert_eq(strlen(err.text), sizeof err.text - 1);
    cr_assert_eq(dp_fail_in(&err, "%s", big), DP_DATA);
    cr_assert_lt(strlen(err.text), sizeof err.text);
}

Test(util, memory_is_aligned_and_sizes_cannot_overflow)
{
    for (size_t n = 0; n < 70; n += 23) {
        AUTOFREE float *p = mem_array_zero(n, sizeof *p);
        cr_assert_not_null(p);
        cr_assert_eq((uintptr_t)p % CACHE_LINE_BYTES, 0);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(p[i], 0.0f);
    }
    volatile size_t half = SIZE_MAX / 2;
    cr_assert_null(mem_array(half, 3));
    cr_assert_null(mem_array(half, 2));
    cr_assert_null(mem_array_zero(SIZE_MAX - half, 1));
    void *p = mem_array(1, 1);
    mem_freep(&p);
    cr_assert_null(p);
    mem_freep(&p);
    ASSERT_NO_LEAKS();
}

Test(util, pages_are_zeroed_and_their_own)
{
    const size_t huge = 2 << 20, sizes[] = {1, 4096, 4097, huge - 1, huge - huge / 4, huge, 3 * huge + 5};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *a = mem_pages_new(sizes[i]), *b = mem_pages_new(sizes[i]);
        cr_assert(a && b);
        cr_assert_eq((uintptr_t)a % 4096, 0);
        if (sizes[i] >= huge)
            cr_assert_eq((uintptr_t)a % huge, 0);
        for (size_t k = 0; k < sizes[i]; k++)
            cr_assert_eq(a[k] | b[k], 0);
        memset(a, 1, sizes[i]);
        cr_assert(b[0] == 0 && b[sizes[i] - 1] == 0);
        mem_pages_free(a, sizes[i]);
        cr_assert(b[0] == 0 && b[sizes[i] - 1] == 0);
        mem_pages_free(b, sizes[i]);
    }
    cr_assert_null(mem_pages_new(0));
    cr_assert_null(mem_pages_new(SIZE_MAX - 5));
    mem_pages_free(NULL, 1);
}

Test(util, clocks_go_on_and_entropy_is_never_zero)
{
    uint64_t a = mono_ns(), b = mono_ns();
    cr_assert_leq(a, b);
    cr_assert_leq(a / 1000000u, mono_ms());
    uint64_t x = entropy_u64(), y = entropy_u64();
    cr_assert(x != 0 && y != 0 && x != y);
}

/* Each test is a process of its own. */
Test(util, closed_standard_streams_are_taken)
{
    int copy = dup(STDERR_FILENO);
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        close(fd);
    stdio_reserve();
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    bool fails =
        write(STDOUT_FILENO, "x", 1) < 0 && write(STDERR_FILENO, "x", 1) < 0 && read(STDIN_FILENO, (char[1]){0}, 1) < 0;
    dup2(copy, STDOUT_FILENO);
    dup2(copy, STDERR_FILENO);
    cr_assert_gt(next, STDERR_FILENO);
    cr_assert(fails, "a closed stream was taken for one that works");
}

Test(util, too_few_descriptors_are_told)
{
    dp_error err = {0};
    struct rlimit limit = {20, 30};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(descriptors_ensure(30, &err), DP_OK, "%s", err.text);
    cr_assert(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 30);
    cr_assert_eq(descriptors_ensure(31, &err), DP_SYSTEM);
    cr_assert(strstr(err.text, "30") && strstr(err.text, "31") && strstr(err.text, "ulimit"), "%s", err.text);
}

/* As under ulimit -v: no room for a stack. */
Test(util, too_few_threads_are_told)
{
    dp_error err = {0};
    unsigned long pages = 0;
#if defined(__SANITIZE_ADDRESS__)
    cr_skip_test("a sanitizer cannot do with a limited address space");
#endif
    cr_assert_eq(threads_ensure(2, &err), DP_OK, "%s", err.text);
    FILE *f = fopen("/proc/self/statm", "r");
    cr_assert(f && fscanf(f, "%lu", &pages) == 1);
    fclose(f);
    rlim_t bytes = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + (1 << 20);
    cr_assert_eq(setrlimit(RLIMIT_AS, &(struct rlimit){bytes, RLIM_INFINITY}), 0);
    cr_assert_eq(threads_ensure(8, &err), DP_SYSTEM);
    cr_assert(strstr(err.text, "of 8 threads") && strstr(err.text, "ulimit"), "%s", err.text);
}

static int released;

static void count_release(void *owner)
{
    released += *(int *)owner;
}

Test(util, blob_is_released_once)
{
    int weight = 1;
    struct blob b = {"abc", 3, &weight, count_release};
    blob_release(&b);
    blob_release(&b);
    cr_assert(released == 1 && b.data == NULL && b.bytes == 0);
}

Test(util, strings_never_run_over)
{
    char buf[8] = "";
    size_t at = 0;
    cr_assert(str_append(buf, sizeof buf, &at, "%d", 123));
    cr_assert(str_append(buf, sizeof buf, &at, "%s", "4567"));
    cr_assert_eq(at, 7);
    cr_assert(!str_append(buf, sizeof buf, &at, "8"));
    cr_assert_str_eq(buf, "1234567");
    at = 8;
    cr_assert(!str_append(buf, sizeof buf, &at, "8"));
    char dst[4];
    cr_assert(str_copy(dst, sizeof dst, "abc"));
    cr_assert_str_eq(dst, "abc");
    cr_assert(!str_copy(dst, sizeof dst, "abcd"));
    cr_assert_str_eq(dst, "abc");
}

/* A folder of its own for the file tests. */
static char folder[64];

static void folder_make(void)
{
    snprintf(folder, sizeof folder, "/tmp/dp-test-base-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
}

static int folder_entries(void)
{
    DIR *dir = opendir(folder);
    cr_assert_not_null(dir);
    int n = 0;
    for (struct dirent *e; (e = readdir(dir));)
        n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void folder_remove(void)
{
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (e->d_name[0] != '.' && unlink(e->d_name))
            rmdir(e->d_name);
    closedir(dir);
    rmdir(folder);
}

static dp_err write_text(void *arg, int fd, dp_error *err)
{
    return file_write_all(fd, arg, strlen(arg), err);
}

static dp_err write_half_and_fail(void *arg, int fd, dp_error *err)
{
    dp_err e = file_write_all(fd, arg, 2, err);
    return e ? e : dp_fail(err, DP_DATA, "gave up");
}

static dp_err write_and_lose_fd(void *arg, int fd, dp_error *err)
{
    (void)arg;
    (void)err;
    close(fd);
    return DP_OK;
}

static void assert_content(const char *path, const char *want)
{
    char got[64] = "";
    int fd = open(path, O_RDONLY);
    cr_assert_geq(fd, 0);
    ssize_t n = read(fd, got, sizeof got - 1);
    close(fd);
    cr_assert(n >= 0);
    cr_assert_str_eq(got, want);
}

TestSuite(file, .init = folder_make, .fini = folder_remove);

Test(file, replace_creates_and_overwrites)
{
    dp_error err = {0};
    cr_assert_eq(file_replace("a", write_text, (char[]){"first"}, &err), DP_OK, "%s", err.text);
    assert_content("a", "first");
    cr_assert_eq(file_replace("./a", write_text, (char[]){"2nd"}, &err), DP_OK, "%s", err.text);
    assert_content("a", "2nd");
    struct stat st;
    cr_assert_eq(stat("a", &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0644);
    cr_assert_eq(folder_entries(), 1);
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    cr_assert_eq(lstat(path, &st), 0);
    return st.st_mode;
}

Test(file, replace_keeps_modes_and_links)
{
    dp_error err = {0};
    const mode_t before = umask(0027);
    cr_assert_eq(file_replace("a", write_text, (char[]){"first"}, &err), DP_OK, "%s", err.text);
    cr_assert_eq(mode_of("a") & 0777, 0640, "what umask leaves");
    cr_assert_eq(chmod("a", 0606), 0);
    cr_assert_eq(symlink("a", "link"), 0);
    cr_assert_eq(file_replace("link", write_text, (char[]){"2nd"}, &err), DP_OK, "%s", err.text);
    assert_content("a", "2nd");
    cr_assert_eq(mode_of("a") & 0777, 0606, "what it was");
    cr_assert(S_ISLNK(mode_of("link")));
    cr_assert_eq(folder_entries(), 2);
    umask(before);
}

Test(file, a_failing_writer_changes_nothing)
{
    dp_error err = {0};
    cr_assert_eq(file_replace("a", write_text, (char[]){"first"}, &err), DP_OK);
    cr_assert_eq(file_replace("a", write_half_and_fail, (char[]){"other"}, &err), DP_DATA);
    cr_assert_str_eq(err.text, "a: gave up");
    cr_assert_eq(file_replace("a", write_half_and_fail, (char[]){"other"}, NULL), DP_DATA);
    assert_content("a", "first");
    cr_assert_eq(folder_entries(), 1);
}

Test(file, a_lost_descriptor_is_an_io_error)
{
    dp_error err = {0};
    cr_assert_eq(file_replace("a", write_and_lose_fd, NULL, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, strerror(EBADF)), "%s", err.text);
    cr_assert_eq(folder_entries(), 0);
}

Test(file, an_absent_folder_is_named)
{
    dp_error err = {0};
    cr_assert_eq(file_replace("no/such/a", write_text, (char[]){"x"}, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "no/such/a"), "%s", err.text);
    cr_assert_not_null(strstr(err.text, strerror(ENOENT)), "%s", err.text);
    cr_assert_eq(file_replace_check("no/such/a", &err), DP_IO);
}

Test(file, a_folder_in_its_place_is_not_replaced)
{
    dp_error err = {0};
    cr_assert_eq(mkdir("d", 0755), 0);
    cr_assert_eq(file_replace("d", write_text, (char[]){"x"}, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "d: "), "%s", err.text);
    cr_assert_eq(folder_entries(), 1);
    cr_assert_eq(file_replace_check("d/", &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "folder"), "%s", err.text);
    cr_assert_eq(file_replace_check("", &err), DP_IO);
    cr_assert_eq(file_replace_check("d", &err), DP_IO);
    cr_assert_eq(folder_entries(), 1);
}

Test(file, a_pipe_in_its_place_is_not_replaced)
{
    dp_error err = {0};
    struct stat st;
    cr_assert_eq(mkfifo("p", 0600), 0);
    cr_assert_eq(file_replace("p", write_text, (char[]){"x"}, &err), DP_IO);
    cr_assert_str_eq(err.text, "p: is a device or a pipe, give a file name");
    cr_assert_eq(file_replace_check("p", &err), DP_IO);
    cr_assert(stat("p", &st) == 0 && S_ISFIFO(st.st_mode));
    cr_assert_eq(folder_entries(), 1);
}

/* Killed as it writes, or ended by a second signal. */
static dp_err write_and_die(void *arg, int fd, dp_error *err)
{
    (void)arg;
    if (file_write_all(fd, "half", 4, err) == DP_OK)
        raise(SIGKILL);
    return DP_IO;
}

Test(file, nothing_is_left_of_a_writer_that_is_killed)
{
    int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), status = 0;
    if (fd < 0)
        cr_skip_test("the file system has no files without a name");
    close(fd);
    pid_t child = fork();
    if (child == 0)
        _exit(file_replace("a", write_and_die, NULL, NULL) == DP_OK);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    cr_assert_eq(folder_entries(), 0);
}

Test(file, check_leaves_nothing_behind)
{
    dp_error err = {0};
    cr_assert_eq(file_replace_check("a", &err), DP_OK, "%s", err.text);
    cr_assert_eq(folder_entries(), 0);
}

Test(file, a_path_too_long_is_refused)
{
    dp_error err = {0};
    char path[PATH_MAX + 8];
    memset(path, 'a', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    cr_assert_eq(file_replace(path, write_text, (char[]){"x"}, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "too long"), "%s", err.text);
    cr_assert_eq(file_replace_check(path, NULL), DP_IO);
}

/* Stands in for a full disk: a file may not grow beyond 4 bytes. */
Test(file, a_write_that_fails_half_way_changes_nothing)
{
    dp_error err = {0};
    cr_assert_eq(file_replace("a", write_text, (char[]){"old"}, &err), DP_OK);
    struct rlimit limit = {4, RLIM_INFINITY};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, SIG_IGN);
    dp_err e = file_replace("a", write_text, (char[]){"too long"}, &err);
    limit.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &limit);
    cr_assert_eq(e, DP_IO);
    cr_assert_not_null(strstr(err.text, strerror(EFBIG)), "%s", err.text);
    assert_content("a", "old");
    cr_assert_eq(folder_entries(), 1);
}

/* A descriptor that is held from the start: the file gets its place although no other could be opened. */
Test(file, a_held_file_needs_no_descriptor)
{
    dp_error err = {0};
    struct rlimit limit, full;
    int held = file_hold("a");
    if (held < 0)
        cr_skip_test("this file system has no files without names");
    cr_assert_eq(folder_entries(), 0);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    full = (struct rlimit){(rlim_t)held + 1, limit.rlim_max};
    int fill = dup(0);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &full), 0);
    while (dup(0) >= 0)
        continue;
    dp_err without = file_replace("b", write_text, (char[]){"x"}, NULL);
    dp_err e = file_replace_held(&held, "a", write_text, (char[]){"model"}, &err);
    setrlimit(RLIMIT_NOFILE, &limit);
    close(fill);
    cr_assert_eq(without, DP_IO);
    cr_assert_eq(e, DP_OK, "%s", err.text);
    cr_assert_eq(held, -1);
    assert_content("a", "model");
}

/* Another try writes the whole file, from its beginning. */
Test(file, a_held_file_is_tried_again)
{
    dp_error err = {0};
    struct rlimit limit = {4, RLIM_INFINITY};
    int held = file_hold("a"), none = -1;
    if (held < 0)
        cr_skip_test("this file system has no files without names");
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    dp_err e = file_replace_held(&held, "a", write_text, (char[]){"too long"}, &err);
    dp_err other = file_replace_held(&none, "a", write_text, (char[]){"too long"}, NULL);
    limit.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &limit);
    cr_assert_eq(e, DP_IO);
    cr_assert_eq(other, DP_IO);
    cr_assert_eq(none, -1);
    cr_assert_geq(held, 0);
    cr_assert_eq(folder_entries(), 0);
    cr_assert_eq(file_replace_held(&held, "a", write_text, (char[]){"right"}, &err), DP_OK, "%s", err.text);
    assert_content("a", "right");
    cr_assert_eq(folder_entries(), 1);
}

/* A folder that has gone: what was held is no use any more, and the next try makes a file of its own. */
Test(file, a_held_file_whose_folder_has_gone)
{
    dp_error err = {0};
    cr_assert_eq(mkdir("f", 0700), 0);
    int held = file_hold("f/a");
    cr_assert_eq(rmdir("f"), 0);
    cr_assert_eq(file_replace_held(&held, "f/a", write_text, (char[]){"x"}, &err), DP_IO);
    cr_assert_eq(held, -1);
    cr_assert_eq(mkdir("f", 0700), 0);
    cr_assert_eq(file_replace_held(&held, "f/a", write_text, (char[]){"x"}, &err), DP_OK, "%s", err.text);
    assert_content("f/a", "x");
    cr_assert_lt((uint64_t)1, file_room_bytes("f/a"));
    cr_assert_eq(file_room_bytes("no/such/folder"), UINT64_MAX);
}
