/* The folder of checkpoints: its lock, drafts that become checkpoints as a whole, and files of others that stay. */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/store/folder.h"
#include "tests/unit/support/files.h"
#include "tests/unit/support/leaks.h"

static char dir[PATH_MAX];
static struct folder folder;
static dp_error err;

static void set_up(void)
{
    folder_make(dir);
    cr_assert_eq(folder_open(dir, "lock", "test", &folder, &err), DP_OK, "%s", err.text);
}

static void tear_down(void)
{
    folder_close(&folder);
    folder_unmake(dir);
    ASSERT_NO_LEAKS();
}

TestSuite(folder, .init = set_up);

/* ---- files ---- */

static const char *at(const char *name)
{
    static char path[2 * PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static bool is_there(const char *name)
{
    struct stat st;
    return lstat(at(name), &st) == 0;
}

static void put(const char *name, const char *text)
{
    file_make(at(name), text, strlen(text));
}

static void make_folder(const char *name)
{
    cr_assert_eq(mkdir(at(name), 0700), 0);
}

static void expect_text(const char *name, const char *text)
{
    char found[256] = {0};
    FILE *file = fopen(at(name), "r");
    cr_assert_not_null(file, "%s", name);
    cr_assert_lt(fread(found, 1, sizeof found - 1, file), sizeof found);
    fclose(file);
    cr_assert_str_eq(found, text, "%s", name);
}

/* ---- a server's calls ---- */

static void draft(uint64_t step, const char *shard)
{
    char path[PATH_MAX];
    cr_assert_eq(folder_begin(&folder, step, &err), DP_OK, "%s", err.text);
    cr_assert(folder_draft_path(&folder, step, "shard-0.safetensors", path));
    file_make(path, shard, strlen(shard));
}

static void commit(uint64_t step, const char *manifest)
{
    cr_assert_eq(folder_commit(&folder, step, manifest, strlen(manifest), &err), DP_OK, "%s", err.text);
}

static void expect_steps(size_t count, const uint64_t *steps)
{
    uint64_t *found = NULL;
    size_t n = 0;
    cr_assert_eq(folder_list(&folder, &found, &n, &err), DP_OK, "%s", err.text);
    cr_assert_eq(n, count);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(found[i], steps[i]);
    free(found);
}
#define EXPECT_STEPS(...)                                     \
    do {                                                      \
        const uint64_t wanted[] = {__VA_ARGS__};              \
        expect_steps(sizeof wanted / sizeof *wanted, wanted); \
    } while (0)

/* ---- names ---- */

Test(folder, names)
{
    char name[FOLDER_NAME_MAX], path[PATH_MAX];
    folder_name(1234, name);
    cr_assert_str_eq(name, "step-000000001234");
    folder_name(UINT64_MAX, name);
    cr_assert_str_eq(name, "step-18446744073709551615");
    folder_shard_file(UINT32_MAX, name);
    cr_assert_str_eq(name, "shard-4294967295.safetensors");
    cr_assert(folder_path(&folder, 7, "manifest.json", path));
    cr_assert_str_eq(path, at("step-000000000007/manifest.json"));
    cr_assert(folder_path(&folder, 7, "", path));
    cr_assert_str_eq(path, at("step-000000000007"));
    cr_assert(folder_draft_path(&folder, UINT64_MAX, "a", path));
    cr_assert_str_eq(path, at(".step-18446744073709551615.tmp/a"));
    tear_down();
}

Test(folder, a_path_that_is_too_long)
{
    char path[PATH_MAX];
    struct folder deep = {.fd = -1, .lock = -1};
    memset(deep.path, 'a', sizeof deep.path - 30);
    cr_assert(folder_path(&deep, 7, "manifest", path));
    cr_assert_not(folder_path(&deep, 7, "manifest.json", path));
    cr_assert_not(folder_draft_path(&deep, 7, "manifest.json", path));
    static char longer[PATH_MAX + 10];
    memset(longer, 'a', sizeof longer - 1);
    struct folder none;
    cr_assert_eq(folder_open(longer, "lock", "test", &none, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "--checkpoint-dir"), "%s", err.text);
    tear_down();
}

/* ---- opening, and the lock ---- */

Test(folder, is_made_where_it_is_missing)
{
    struct folder other;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", at("new"));
    cr_assert_eq(folder_open(path, "lock", "dp-server 12 on here", &other, &err), DP_OK, "%s", err.text);
    expect_text("new/lock", "dp-server 12 on here\n");
    folder_close(&other);
    folder_close(&other); /* does nothing */
    cr_assert_eq(other.fd, -1);
    struct folder zeroed = {0};
    folder_close(&zeroed);
    cr_assert_neq(fcntl(STDIN_FILENO, F_GETFD), -1);
    tear_down();
}

Test(folder, whose_own_folder_is_missing_or_a_file)
{
    struct folder other;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", at("a/b"));
    cr_assert_eq(folder_open(path, "lock", "test", &other, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, path), "%s", err.text);
    put("file", "");
    snprintf(path, sizeof path, "%s", at("file"));
    cr_assert_eq(folder_open(path, "lock", "test", &other, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "option --checkpoint-dir: "), "%s", err.text);
    cr_assert_not_null(strstr(err.text, strerror(ENOTDIR)), "%s", err.text);
    tear_down();
}

Test(folder, a_second_server_is_told_the_holder)
{
    struct folder other;
    cr_assert_eq(folder_open(dir, "lock", "me", &other, &err), DP_BUSY);
    cr_assert_not_null(strstr(err.text, dir), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "is in use by test: end that server first"), "%s", err.text);
    expect_text("lock", "test\n");
    cr_assert_eq(folder_open(dir, "lock.member", "me", &other, &err), DP_OK, "%s", err.text);
    folder_close(&other);
    folder_close(&folder);
    cr_assert_eq(folder_open(dir, "lock", "a longer name than before", &folder, &err), DP_OK, "%s", err.text);
    expect_text("lock", "a longer name than before\n");
    folder_close(&folder);
    cr_assert_eq(folder_open(dir, "lock", "test", &folder, &err), DP_OK, "%s", err.text);
    expect_text("lock", "test\n");
    tear_down();
}

/* A lock's text may be anybody's bytes. */
Test(folder, the_holder_is_shown_clean)
{
    struct folder other;
    put("lock", "\x1b[31mred\xff");
    cr_assert_eq(folder_open(dir, "lock", "me", &other, &err), DP_BUSY);
    cr_assert_not_null(strstr(err.text, "in use by ?[31mred?:"), "%s", err.text);
    put("lock", "");
    cr_assert_eq(folder_open(dir, "lock", "me", &other, &err), DP_BUSY);
    cr_assert_not_null(strstr(err.text, "in use by another server:"), "%s", err.text);
    tear_down();
}

static void hold_until_killed(int told)
{
    struct folder own;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* also where the test fails */
    if (folder_open(dir, "lock", "a server that will be killed", &own, &err) == DP_OK && write(told, "", 1) == 1)
        for (;;)
            pause();
    _exit(1);
}

Test(folder, a_kill_releases_the_lock)
{
    int told[2];
    folder_close(&folder);
    cr_assert_eq(pipe(told), 0);
    pid_t child = fork();
    if (child == 0)
        hold_until_killed(told[1]);
    struct pollfd held = {.fd = told[0], .events = POLLIN};
    cr_assert_eq(poll(&held, 1, 10000), 1);
    cr_assert_eq(folder_open(dir, "lock", "test", &folder, &err), DP_BUSY);
    cr_assert_not_null(strstr(err.text, "a server that will be killed"), "%s", err.text);
    kill(child, SIGKILL);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    cr_assert_eq(folder_open(dir, "lock", "test", &folder, &err), DP_OK, "%s", err.text);
    close(told[0]);
    close(told[1]);
    tear_down();
}

/* The text of the lock needs a block. */
Test(folder, a_full_disk_keeps_nobody_out)
{
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = RLIM_INFINITY};
    struct rlimit before;
    struct folder other;
    signal(SIGXFSZ, SIG_IGN);
    folder_close(&folder);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
    cr_assert_eq(folder_open(dir, "lock", "me", &folder, &err), DP_OK, "%s", err.text);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    expect_text("lock", "");
    cr_assert_eq(folder_open(dir, "lock", "me", &other, &err), DP_BUSY);
    tear_down();
}

/* ---- a checkpoint ---- */

Test(folder, a_draft_becomes_a_checkpoint)
{
    draft(5, "theta");
    expect_steps(0, NULL);
    expect_text(".step-000000000005.tmp/shard-0.safetensors", "theta");
    commit(5, "manifest");
    EXPECT_STEPS(5);
    cr_assert_not(is_there(".step-000000000005.tmp"));
    expect_text("step-000000000005/shard-0.safetensors", "theta");
    expect_text("step-000000000005/manifest.json", "manifest");
    tear_down();
}

Test(folder, a_draft_is_given_up)
{
    draft(5, "theta");
    folder_give_up(&folder, 5);
    cr_assert_not(is_there(".step-000000000005.tmp"));
    folder_give_up(&folder, 5);
    expect_steps(0, NULL);
    tear_down();
}

/* A server with more shards has left it: its files are no part of the new one. */
Test(folder, a_draft_that_was_left_is_emptied)
{
    make_folder(".step-000000000005.tmp");
    put(".step-000000000005.tmp/shard-7.safetensors", "old");
    put(".step-000000000005.tmp/shard-0.safetensors", "old");
    put(".step-000000000005.tmp/manifest.json", "old");
    draft(5, "theta");
    cr_assert_not(is_there(".step-000000000005.tmp/shard-7.safetensors"));
    cr_assert_not(is_there(".step-000000000005.tmp/manifest.json"));
    commit(5, "new");
    expect_text("step-000000000005/shard-0.safetensors", "theta");
    tear_down();
}

Test(folder, a_checkpoint_of_the_same_step_is_replaced)
{
    draft(5, "first");
    commit(5, "first manifest, which is longer");
    draft(5, "second");
    expect_text("step-000000000005/shard-0.safetensors", "first");
    commit(5, "second");
    EXPECT_STEPS(5);
    expect_text("step-000000000005/shard-0.safetensors", "second");
    expect_text("step-000000000005/manifest.json", "second");
    cr_assert_not(is_there(".step-000000000005.tmp"));
    cr_assert_not(is_there(".step-000000000005.aside"));
    tear_down();
}

Test(folder, a_commit_without_a_draft_fails)
{
    cr_assert_eq(folder_commit(&folder, 5, "", 0, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, ".step-000000000005.tmp"), "%s", err.text);
    expect_steps(0, NULL);
    tear_down();
}

/* A file that has the name of a checkpoint is not ours. */
Test(folder, a_file_in_its_place_stays)
{
    put("step-000000000005", "a file");
    put(".step-000000000006.tmp", "a file");
    draft(5, "theta");
    cr_assert_eq(folder_begin(&folder, 6, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, ".step-000000000006.tmp: cannot open the folder"), "%s", err.text);
    cr_assert_eq(folder_sweep(&folder, &err), DP_OK, "%s", err.text);
    folder_give_up(&folder, 6);
    expect_text("step-000000000005", "a file");
    expect_text(".step-000000000006.tmp", "a file");
    tear_down();
}

static void expect_full_disk(void)
{
    draft(5, "theta");
    cr_assert_eq(folder_commit(&folder, 5, "manifest", 8, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, dir), "%s", err.text);
    cr_assert_not_null(strstr(err.text, ".step-000000000005.tmp: "), "%s", err.text);
    expect_steps(0, NULL);
    folder_give_up(&folder, 5);
    cr_assert_not(is_there(".step-000000000005.tmp"));
}

Test(folder, no_room_for_a_manifest)
{
    const struct rlimit small = {.rlim_cur = 5, .rlim_max = RLIM_INFINITY}; /* as long as the shard's file */
    struct rlimit before;
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    expect_full_disk();
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    draft(5, "theta");
    commit(5, "manifest");
    EXPECT_STEPS(5);
    tear_down();
}

/* ---- a kernel that refuses a system call ---- */

/* A system call that fails: where its argument is the value, or where it is not. */
struct refusal {
    int number;
    unsigned argument, value;
    bool equal;
    int reason;
};

/* For this process, from now on. False: the kernel has no such filter. */
static bool refuse(struct refusal of)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)of.number, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8 * of.argument),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, of.value, !of.equal, of.equal),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)of.reason),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void refuse_or_skip(struct refusal of)
{
    if (!refuse(of))
        cr_skip_test("this kernel has no filter of system calls");
}

/* NFS, and file systems in user space: renameat2 knows no flags. */
Test(folder, without_an_exchange_of_names)
{
    refuse_or_skip((struct refusal){.number = __NR_renameat2, .argument = 4, .value = 0, .reason = EINVAL});
    draft(5, "first");
    commit(5, "first");
    draft(5, "second");
    commit(5, "second");
    EXPECT_STEPS(5);
    expect_text("step-000000000005/shard-0.safetensors", "second");
    cr_assert_not(is_there(".step-000000000005.tmp"));
    cr_assert_not(is_there(".step-000000000005.aside"));
    tear_down();
}

/* The server was killed after the first of two renames: the whole checkpoint is back, the draft is gone. */
Test(folder, one_put_aside_is_put_back)
{
    make_folder(".step-000000000005.aside");
    put(".step-000000000005.aside/manifest.json", "first");
    make_folder(".step-000000000005.tmp");
    put(".step-000000000005.tmp/manifest.json", "second");
    cr_assert_eq(folder_sweep(&folder, &err), DP_OK, "%s", err.text);
    EXPECT_STEPS(5);
    expect_text("step-000000000005/manifest.json", "first");
    cr_assert_not(is_there(".step-000000000005.aside"));
    cr_assert_not(is_there(".step-000000000005.tmp"));
    tear_down();
}

/* The server was killed after both. */
Test(folder, one_put_aside_whose_name_is_taken_goes)
{
    make_folder(".step-000000000005.aside");
    put(".step-000000000005.aside/manifest.json", "first");
    draft(5, "second");
    commit(5, "second");
    cr_assert_eq(folder_sweep(&folder, &err), DP_OK, "%s", err.text);
    expect_text("step-000000000005/manifest.json", "second");
    cr_assert_not(is_there(".step-000000000005.aside"));
    tear_down();
}

/* fsync of DIR fails from now on. */
static void refuse_sync(void)
{
    refuse_or_skip((struct refusal){.number = __NR_fsync, .value = (unsigned)folder.fd, .equal = true, .reason = EIO});
}

/* The disk may have the name for either of the two: both keep their files, until there is a sync. */
Test(folder, a_name_that_is_not_synced)
{
    draft(5, "first");
    commit(5, "first");
    draft(5, "second");
    refuse_sync();
    cr_assert_eq(folder_commit(&folder, 5, "second", 6, &err), DP_IO);
    cr_assert(strstr(err.text, dir) && strstr(err.text, strerror(EIO)), "%s", err.text);
    folder_give_up(&folder, 5);
    expect_text("step-000000000005/shard-0.safetensors", "second");
    expect_text(".step-000000000005.aside/shard-0.safetensors", "first");
    cr_assert_eq(folder_sweep(&folder, &err), DP_IO);
    expect_text(".step-000000000005.aside/shard-0.safetensors", "first");
    tear_down();
}

Test(folder, a_removal_that_is_not_synced)
{
    draft(4, "four");
    commit(4, "four");
    refuse_sync();
    cr_assert_eq(folder_remove(&folder, 4, &err), DP_IO);
    expect_text(".step-000000000004.old/shard-0.safetensors", "four");
    cr_assert_eq(folder_sweep(&folder, &err), DP_IO);
    expect_text(".step-000000000004.old/shard-0.safetensors", "four");
    expect_steps(0, NULL);
    tear_down();
}

/* The folder around DIR is another descriptor, which is opened anew. */
Test(folder, a_disk_that_syncs_nothing)
{
    struct folder other;
    char path[PATH_MAX];
    draft(5, "theta");
    refuse_or_skip((struct refusal){.number = __NR_fsync, .value = UINT32_MAX, .reason = EIO});
    cr_assert_eq(folder_commit(&folder, 5, "manifest", 8, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "manifest.json: cannot be written to the disk"), "%s", err.text);
    expect_steps(0, NULL);
    snprintf(path, sizeof path, "%s", at("new"));
    cr_assert_eq(folder_open(path, "lock", "me", &other, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "the folder around it"), "%s", err.text);
    tear_down();
}

/* ---- removing ---- */

Test(folder, a_checkpoint_is_removed)
{
    for (uint64_t step = 9; step < 12; step++) {
        draft(step, "theta");
        commit(step, "manifest");
    }
    cr_assert_eq(folder_remove(&folder, 10, &err), DP_OK, "%s", err.text);
    EXPECT_STEPS(9, 11);
    cr_assert_not(is_there(".step-000000000010.old"));
    cr_assert_eq(folder_remove(&folder, 10, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "step-000000000010: cannot be removed: "), "%s", err.text);
    EXPECT_STEPS(9, 11);
    tear_down();
}

static const char *const FOREIGN[] = {"notes.txt",
                                      "shard-0.safetensors.bak",
                                      "shard-00.safetensors",
                                      "shard-.safetensors",
                                      "manifest.json~",
                                      "shard--1.safetensors",
                                      ".hidden",
                                      "shard-4294967296.safetensors"};

static void put_foreign(const char *in)
{
    char name[128];
    for (size_t i = 0; i < sizeof FOREIGN / sizeof *FOREIGN; i++) {
        snprintf(name, sizeof name, "%s/%s", in, FOREIGN[i]);
        put(name, "precious");
    }
    snprintf(name, sizeof name, "%s/shard-1.safetensors", in);
    make_folder(name); /* a folder is none of our files */
    snprintf(name, sizeof name, "%s/shard-1.safetensors/shard-0.safetensors", in);
    put(name, "precious");
}

static void expect_foreign(const char *in)
{
    char name[128];
    for (size_t i = 0; i < sizeof FOREIGN / sizeof *FOREIGN; i++) {
        snprintf(name, sizeof name, "%s/%s", in, FOREIGN[i]);
        expect_text(name, "precious");
    }
    snprintf(name, sizeof name, "%s/shard-1.safetensors/shard-0.safetensors", in);
    expect_text(name, "precious");
}

Test(folder, files_of_others_stay_in_a_checkpoint)
{
    draft(5, "theta");
    commit(5, "manifest");
    put_foreign("step-000000000005");
    cr_assert_eq(folder_remove(&folder, 5, &err), DP_OK, "%s", err.text);
    expect_steps(0, NULL);
    expect_foreign(".step-000000000005.old");
    cr_assert_not(is_there(".step-000000000005.old/shard-0.safetensors"));
    cr_assert_eq(folder_sweep(&folder, &err), DP_OK, "%s", err.text);
    expect_foreign(".step-000000000005.old");
    tear_down();
}

Test(folder, files_of_others_stay_in_a_draft)
{
    draft(5, "theta");
    put_foreign(".step-000000000005.tmp");
    folder_give_up(&folder, 5);
    expect_foreign(".step-000000000005.tmp");
    cr_assert_eq(folder_sweep(&folder, &err), DP_OK, "%s", err.text);
    expect_foreign(".step-000000000005.tmp");
    tear_down();
}

/* Behind a link there may be anybody's files. */
Test(folder, links_are_not_followed)
{
    char target[2 * PATH_MAX];
    make_folder("elsewhere");
    put("elsewhere/manifest.json", "precious");
    snprintf(target, sizeof target, "%s", at("elsewhere"));
    cr_assert_eq(symlink(target, at(".step-000000000005.tmp")), 0);
    cr_assert_eq(symlink(target, at(".step-000000000006.old")), 0);
    cr_assert_eq(symlink(target, at("step-000000000007")), 0);
    cr_assert_eq(folder_sweep(&folder, &err), DP_OK, "%s", err.text);
    folder_give_up(&folder, 5);
    cr_assert_eq(folder_begin(&folder, 5, &err), DP_IO);
    cr_assert_eq(folder_remove(&folder, 7, &err), DP_IO);
    expect_text("elsewhere/manifest.json", "precious");
    tear_down();
}

Test(folder, a_sweep_takes_what_a_kill_has_left)
{
    static const char *const LEFT[] = {".step-000000000005.tmp", ".step-000000000006.old",
                                       ".step-18446744073709551615.tmp"};
    static const char *const OTHERS[] = {".step-5.tmp",
                                         ".step-000000000005.tmp2",
                                         ".step-.tmp",
                                         "step-000000000005.tmp",
                                         ".step-000000000005",
                                         ".tmp",
                                         ".old",
                                         "step-5",
                                         ".step-99999999999999999999.tmp",
                                         "..tmp",
                                         ".step-000000000005.tmp.tmp"};
    char name[128];
    for (size_t i = 0; i < sizeof LEFT / sizeof *LEFT; i++) {
        make_folder(LEFT[i]);
        snprintf(name, sizeof name, "%s/shard-3.safetensors", LEFT[i]);
        put(name, "half");
    }
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++) {
        make_folder(OTHERS[i]);
        snprintf(name, sizeof name, "%s/manifest.json", OTHERS[i]);
        put(name, "precious");
    }
    draft(5, "theta");
    commit(5, "manifest");
    cr_assert_eq(folder_sweep(&folder, &err), DP_OK, "%s", err.text);
    for (size_t i = 0; i < sizeof LEFT / sizeof *LEFT; i++)
        cr_assert_not(is_there(LEFT[i]), "%s", LEFT[i]);
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++) {
        snprintf(name, sizeof name, "%s/manifest.json", OTHERS[i]);
        expect_text(name, "precious");
    }
    EXPECT_STEPS(5);
    tear_down();
}

/* ---- those that are there ---- */

Test(folder, checkpoints_are_listed_by_number)
{
    static const char *const OTHERS[] = {"step-5",
                                         "step-0000000000005",
                                         "step-00000000000x",
                                         "step-",
                                         "step-+00000000005",
                                         "step- 00000000005",
                                         "Step-000000000005",
                                         "step-99999999999999999999"};
    static const uint64_t STEPS[] = {0, 1, 2, 99, 999999999999, 1000000000000, UINT64_MAX};
    const size_t count = sizeof STEPS / sizeof *STEPS;
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++)
        make_folder(OTHERS[i]);
    for (size_t i = count; i-- > 0;) {
        draft(STEPS[i], "theta");
        commit(STEPS[i], "manifest");
    }
    draft(3, "theta");
    expect_steps(count, STEPS);
    tear_down();
}

Test(folder, many_checkpoints_are_listed)
{
    enum { MANY = 40 };
    uint64_t steps[MANY];
    for (uint64_t i = 0; i < MANY; i++) {
        steps[i] = i * 7;
        draft(steps[i], "theta");
        commit(steps[i], "manifest");
    }
    expect_steps(MANY, steps);
    tear_down();
}

/* Ends with 0 where an error says why, 77 where it could not be tried. */
static void list_unreadable(void)
{
    uint64_t *steps = NULL;
    size_t count = 0;
    if (!refuse((struct refusal){.number = __NR_getdents64, .value = UINT32_MAX, .reason = EIO}))
        _exit(77);
    dp_err e = folder_list(&folder, &steps, &count, &err);
    _exit(e == DP_IO && !steps && strstr(err.text, strerror(EIO)) ? 0 : 1);
}

/* The list is not the shorter for it: a job would begin anew. */
Test(folder, that_cannot_be_read_to_its_end)
{
    int status;
    draft(5, "theta");
    commit(5, "manifest");
    pid_t child = fork();
    if (child == 0)
        list_unreadable();
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        cr_skip_test("this kernel has no filter of system calls");
    cr_assert_eq(WEXITSTATUS(status), 0);
    tear_down();
}
