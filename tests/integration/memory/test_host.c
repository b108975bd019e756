/* Limits of a host: open files, memory of control groups; duties of process 1. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/util.h"
#include "tests/integration/support/harness.h"

TestSuite(host, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { MINUTE_MS = 60000 };

#define DATA "1 1:1 2:0.5\n-1 1:-1 2:0.25\n1 1:0.7\n-1 2:-1\n"

static bool sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#else
    return false;
#endif
}

/* User and system time of a process, in ms. */
static uint64_t cpu_ms(pid_t pid)
{
    char path[64], text[1024];
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    cr_assert_not_null(fgets(text, sizeof text, file));
    fclose(file);
    cr_assert_eq(sscanf(strrchr(text, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system),
                 2);
    return (user + system) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK);
}

/* ---- open files ---- */

/* A server that may have `files` files open, at `listen`; its endpoint to endpoint[128]. */
static struct process *server_with_files(const char *files, const char *listen, char *endpoint)
{
    static const char SCRIPT[] =
        "ulimit -n \"$1\"; exec \"$0\" --model logistic --listen \"$2\" --epochs 1000000 --slots 32 "
        "--lease 4 --log-level info";
    struct process *server = PROCESS("/bin/sh", "-c", SCRIPT, program_path("dp-server"), files, listen);
    const char *line = process_expect(server, ERR, " listening endpoint=", MINUTE_MS);
    cr_assert_eq(sscanf(strstr(line, "endpoint="), "endpoint=%127s", endpoint), 1);
    return server;
}

static struct process *slow_worker(const char *endpoint, const char *data)
{
    return PROCESS("dp-worker", "--server", endpoint, "--data", data, "--emulate-slot-ms", "100", "--connect-timeout",
                   "20");
}

/* Whether it is out: the others have joined, and it has been told why it cannot. */
static bool is_told(struct process *worker)
{
    return strstr(process_output(worker, ERR), "no descriptors left") != NULL;
}

static bool is_in(struct process *worker)
{
    return strstr(process_output(worker, ERR), "joined ") != NULL;
}

/* Far more workers than a server has descriptors for. */
static void crowd_of_workers(const char *listen)
{
    enum { WORKERS = 24, WATCH_MS = 6000 };
    char endpoint[128];
    const char *data = temp_text("d.svm", DATA);
    struct process *server = server_with_files("70", listen, endpoint), *workers[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        workers[i] = slow_worker(endpoint, data);
    for (int i = 0; i < WORKERS; i++)
        while (!is_in(workers[i]) && !is_told(workers[i]))
            cr_assert_not(process_ended(workers[i], 50), "%s", process_output(workers[i], ERR));
    uint64_t before_ms = cpu_ms(process_pid(server));
    cr_assert_not(process_ended(server, WATCH_MS), "%s", process_output(server, ERR));
    uint64_t used_ms = cpu_ms(process_pid(server)) - before_ms;
    struct run_result status = RUN(MINUTE_MS, "dp-ctl", "--server", endpoint, "status");
    cr_assert_eq(status.status, 0, "%s", status.err);
    int in = 0, refused = 0;
    for (int i = 0; i < WORKERS; i++) {
        if (is_in(workers[i])) {
            in++;
            cr_assert_not(process_ended(workers[i], 0), "%s", process_output(workers[i], ERR));
            continue;
        }
        cr_assert_eq(process_wait(workers[i], MINUTE_MS), 69, "%s", process_output(workers[i], ERR));
        const char *said = process_output(workers[i], ERR);
        cr_assert(strstr(said, "raise its limit (ulimit -n) (tried for "), "%s", said);
        refused++;
    }
    cr_assert(in >= 3 && refused >= 3, "%d joined, %d did not", in, refused);
    cr_assert_null(strstr(process_output(server, ERR), "worker-lost"), "%s", process_output(server, ERR));
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, MINUTE_MS), 128 + SIGTERM);
    if (!sanitized())
        cr_assert_lt(used_ms, WATCH_MS / 5, "it used %ju ms of %d", (uintmax_t)used_ms, (int)WATCH_MS);
}

Test(host, more_workers_than_descriptors)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    crowd_of_workers("tcp://127.0.0.1:0");
}

Test(host, more_workers_than_descriptors_on_a_unix_socket)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char listen[HARNESS_PATH_MAX];
    snprintf(listen, sizeof listen, "ipc://%s", temp_path("socket"));
    crowd_of_workers(listen);
}

static int tcp_connect(const char *endpoint)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    to.sin_port = htons((uint16_t)atoi(strrchr(endpoint, ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* Connections that say nothing use up what there is: no core is burnt, and the workers that are in go on. */
Test(host, strangers_use_up_the_descriptors)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    enum { STRANGERS = 120, WATCH_MS = 6000 };
    char endpoint[128];
    int strangers[STRANGERS];
    const char *data = temp_text("d.svm", DATA);
    struct process *server = server_with_files("90", "tcp://127.0.0.1:0", endpoint);
    struct process *worker = slow_worker(endpoint, data);
    process_expect(worker, ERR, "joined ", MINUTE_MS);
    for (int i = 0; i < STRANGERS; i++)
        strangers[i] = tcp_connect(endpoint);
    process_expect(server, ERR, "descriptors-used-up workers=1", MINUTE_MS);
    uint64_t before_ms = cpu_ms(process_pid(server));
    cr_assert_not(process_ended(server, WATCH_MS));
    uint64_t used_ms = cpu_ms(process_pid(server)) - before_ms;
    for (int i = 0; i < STRANGERS; i++)
        close(strangers[i]);
    process_expect(server, ERR, "descriptors-left", MINUTE_MS);
    (void)slow_worker(endpoint, data);
    process_expect(server, ERR, "workers=2", MINUTE_MS);
    cr_assert_null(strstr(process_output(server, ERR), "worker-lost"), "%s", process_output(server, ERR));
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, MINUTE_MS), 128 + SIGTERM);
    if (!sanitized())
        cr_assert_lt(used_ms, WATCH_MS / 5, "it used %ju ms of %d", (uintmax_t)used_ms, (int)WATCH_MS);
}

/* However few there are, programs work or say what to do. libzmq would abort, or try to connect for ever. */
Test(host, few_descriptors)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    static const char SCRIPT[] = "program=$0 files=$1; shift; ulimit -n $files; exec \"$program\" \"$@\"";
    static const char *const FILES[] = {"6", "8", "12", "16", "18", "19", "20", "21", "22", "24", "26", "40"};
    char endpoint[128];
    const char *data = temp_text("d.svm", DATA);
    bool worked = false, looked = false;
    (void)SERVER(endpoint, "--model", "logistic", "--epochs", "2");
    for (size_t i = 0; i < ARRAY_LEN(FILES); i++) {
        struct run_result r = RUN(MINUTE_MS, "/bin/sh", "-c", SCRIPT, program_path("dp-worker"), FILES[i], "--server",
                                  endpoint, "--data", data, "--server-timeout", "5", "--connect-timeout", "5");
        worked = r.status == 0;
        cr_expect(worked || (r.status == 1 && strstr(r.err, "raise the limit of open files (ulimit -n")),
                  "%s files: status %d: %s", FILES[i], r.status, r.err);
        r = RUN(MINUTE_MS, "/bin/sh", "-c", SCRIPT, program_path("dp-ctl"), FILES[i], "--server", endpoint, "status");
        looked = r.status == 0;
        cr_expect(looked || (r.status == 1 && strstr(r.err, "raise the limit of open files (ulimit -n")),
                  "dp-ctl, %s files: status %d: %s", FILES[i], r.status, r.err);
    }
    cr_assert(worked && looked);
}

/* ---- control groups ---- */

static void write_text(const char *folder, const char *file, const char *text, bool *ok)
{
    char path[HARNESS_PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *to = *ok ? fopen(path, "w") : NULL;
    *ok = to && fputs(text, to) >= 0;
    if (to)
        *ok = fclose(to) == 0 && *ok;
}

enum group_kind { GROUP_MEMORY, GROUP_THREADS };

/* A group of this process's own beside others, that allows `most` bytes, or threads: of version 1, or 2; false where
 * none can be made. */
static bool make_group(char folder[HARNESS_PATH_MAX], enum group_kind kind, const char *most)
{
    static const struct {
        const char *mount, *limit;
    } PLACES[][2] = {{{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, {"/sys/fs/cgroup", "memory.max"}},
                     {{"/sys/fs/cgroup/pids", "pids.max"}, {"/sys/fs/cgroup", "pids.max"}}};
    for (size_t i = 0; i < ARRAY_LEN(PLACES[kind]); i++) {
        bool ok = true;
        snprintf(folder, HARNESS_PATH_MAX, "%s/dp-test-%d", PLACES[kind][i].mount, (int)getpid());
        if (mkdir(folder, 0755))
            continue;
        write_text(folder, PLACES[kind][i].limit, most, &ok);
        if (ok)
            return true;
        rmdir(folder);
    }
    return false;
}

/* Its processes have ended, and the kernel takes them out of it. */
static void remove_group(const char *folder)
{
    for (uint64_t end_ms = mono_ms() + MINUTE_MS; rmdir(folder) && errno == EBUSY && mono_ms() < end_ms;)
        (void)sched_yield();
}

/* Runs a program in the group. */
#define IN_GROUP "echo $$ > \"$1/cgroup.procs\" || exit 77; program=$0; shift; exec \"$program\" \"$@\""

/* 20,000,001 parameters are 76 MiB: too many for either, each of which says so instead of being killed. */
Test(host, a_limit_of_a_control_group_is_told)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char group[HARNESS_PATH_MAX], endpoint[128];
    if (sanitized())
        cr_skip_test("a sanitizer needs much memory");
    unsetenv("MALLOC_PERTURB_"); /* meson sets it; it would fill, and so use, all that is allocated */
    if (!make_group(group, GROUP_MEMORY, "157286400"))
        cr_skip_test("no control group can be made here");
    const char *wide = temp_text("wide.svm", "1 20000000:1\n-1 1:1\n");
    struct process *server = SERVER(endpoint, "--model", "logistic", "--epochs", "1");
    struct run_result worker = RUN(MINUTE_MS, "/bin/sh", "-c", IN_GROUP, program_path("dp-worker"), group, "--server",
                                   endpoint, "--data", wide, "--shm", "off");
    struct run_result all =
        RUN(MINUTE_MS, "/bin/sh", "-c", IN_GROUP, program_path("dp-server"), group, "--listen", "tcp://127.0.0.1:0",
            "--local-workers", "1", "--exit-when-done", "--model", "logistic", "--data", wide, "--epochs", "1");
    remove_group(group);
    if (worker.status == 77)
        cr_skip_test("no process can be put into a control group here");
    cr_assert_eq(worker.status, 1, "%s", worker.err);
    cr_assert(strstr(worker.err, "two copies and a gradient of 20000001 parameters: out of memory: 228 MiB are needed"),
              "%s", worker.err);
    cr_assert_eq(all.status, 1, "%s", all.err);
    cr_assert(strstr(all.err, "20000001 parameters need 228 MiB"), "%s", all.err);
    cr_assert(strstr(all.err, "has 150 MiB"), "%s", all.err);
    process_expect(server, ERR, "worker-gave-up", MINUTE_MS);
}

/* The parameters alone would fit; beside what the server has, they do not, and the kernel would end it. */
Test(host, parameters_that_do_not_fit_beside_the_server)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char group[HARNESS_PATH_MAX];
    if (sanitized())
        cr_skip_test("a sanitizer needs much memory");
    unsetenv("MALLOC_PERTURB_");
    if (!make_group(group, GROUP_MEMORY, "62914560"))
        cr_skip_test("no control group can be made here");
    const char *wide = temp_text("wide.svm", "1 5000000:1\n-1 1:1\n"), *port = temp_path("port");
    struct process *server = PROCESS("/bin/sh", "-c", IN_GROUP, program_path("dp-server"), group, "--listen",
                                     "tcp://127.0.0.1:0", "--model", "logistic", "--epochs", "1", "--port-file", port);
    const char *endpoint = file_expect(port, server, MINUTE_MS);
    if (!endpoint) { /* it has ended */
        remove_group(group);
        cr_skip_test("no process can be put into a control group here");
    }
    struct run_result worker = RUN(MINUTE_MS, "dp-worker", "--server", endpoint, "--data", wide);
    cr_assert_eq(worker.status, 1, "%s", worker.err);
    cr_assert(strstr(worker.err, "the server, for the parameters: out of memory: 57 MiB are needed"), "%s", worker.err);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, MINUTE_MS), 128 + SIGTERM);
    remove_group(group);
}

/* However few there are, the server either has its model in the end or says at the start what to do. */
Test(host, few_threads)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char *const THREADS[] = {"1", "2", "3", "4", "5", "6", "7", "8", "12"};
    char group[HARNESS_PATH_MAX];
    bool worked = false;
    for (size_t i = 0; i < ARRAY_LEN(THREADS); i++) {
        const char *port = temp_path(THREADS[i]), *model = temp_path("m.safetensors");
        if (!make_group(group, GROUP_THREADS, THREADS[i]))
            cr_skip_test("no control group can be made here");
        struct process *server =
            PROCESS("/bin/sh", "-c", IN_GROUP, program_path("dp-server"), group, "--listen", "tcp://127.0.0.1:0",
                    "--model", "logistic", "--epochs", "2", "--exit-when-done", "--export", model, "--port-file", port);
        const char *endpoint = file_expect(port, server, MINUTE_MS);
        worked = endpoint != NULL;
        if (worked) {
            struct run_result r = RUN(MINUTE_MS, "dp-worker", "--server", endpoint, "--data", temp_text("d.svm", DATA));
            cr_expect_eq(r.status, 0, "%s threads: %s", THREADS[i], r.err);
        }
        int status = process_wait(server, MINUTE_MS);
        const char *said = process_output(server, ERR);
        remove_group(group);
        if (status == 77)
            cr_skip_test("no process can be put into a control group here");
        cr_expect_eq(status, worked ? 0 : 1, "%s threads: %s", THREADS[i], said);
        cr_expect(worked ? access(model, R_OK) == 0 : strstr(said, "raise the limit") != NULL, "%s threads: %s",
                  THREADS[i], said);
        (void)unlink(model);
    }
    cr_assert(worked);
}

/* The same of a worker, and of dp-ctl. */
Test(host, few_threads_for_clients)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    static const char *const THREADS[] = {"1", "2", "3", "4", "5", "6", "8", "12"};
    char group[HARNESS_PATH_MAX], endpoint[128];
    const char *data = temp_text("d.svm", DATA);
    bool worked = false, looked = false;
    if (sanitized())
        cr_skip_test("a sanitizer keeps OpenBLAS from being asked for one thread");
    unsetenv("OPENBLAS_NUM_THREADS"); /* meson may have set it */
    (void)SERVER(endpoint, "--model", "logistic", "--epochs", "2");
    for (size_t i = 0; i < ARRAY_LEN(THREADS); i++) {
        if (!make_group(group, GROUP_THREADS, THREADS[i]))
            cr_skip_test("no control group can be made here");
        struct run_result worker = RUN(MINUTE_MS, "/bin/sh", "-c", IN_GROUP, program_path("dp-worker"), group,
                                       "--server", endpoint, "--data", data);
        struct run_result ctl =
            RUN(MINUTE_MS, "/bin/sh", "-c", IN_GROUP, program_path("dp-ctl"), group, "--server", endpoint, "status");
        remove_group(group);
        if (ctl.status == 77)
            cr_skip_test("no process can be put into a control group here");
        worked = worker.status == 0;
        looked = ctl.status == 0;
        cr_expect(worked || (worker.status == 1 && strstr(worker.err, "raise the limit")), "%s threads: status %d: %s",
                  THREADS[i], worker.status, worker.err);
        cr_expect(looked || (ctl.status == 1 && strstr(ctl.err, "raise the limit")), "dp-ctl, %s threads: %d: %s",
                  THREADS[i], ctl.status, ctl.err);
    }
    cr_assert(worked && looked);
}

/* ---- process 1 ---- */

/* Whether the process has a child that has ended, found by going through all. */
static bool has_zombie(pid_t parent)
{
    DIR *folder = opendir("/proc");
    bool found = false;
    cr_assert_not_null(folder);
    for (const struct dirent *entry; !found && (entry = readdir(folder));) {
        char path[300], text[512] = "", state = 0;
        int of = 0;
        snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
        FILE *file = atoi(entry->d_name) > 0 ? fopen(path, "r") : NULL;
        const char *end = file && fgets(text, sizeof text, file) ? strrchr(text, ')') : NULL;
        if (file)
            fclose(file);
        found = end && sscanf(end, ") %c %d", &state, &of) == 2 && of == parent && state == 'Z';
    }
    closedir(folder);
    return found;
}

/* The first child of a process. */
static pid_t child_of(pid_t parent)
{
    char path[64];
    int child = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
    FILE *file = fopen(path, "r");
    if (file && fscanf(file, "%d", &child) != 1)
        child = 0;
    if (file)
        fclose(file);
    return child;
}

static void need_namespaces(void)
{
    struct run_result r = RUN(MINUTE_MS, "/bin/sh", "-c", "exec unshare -fp --mount-proc --kill-child true");
    if (r.status != 0)
        cr_skip_test("no namespace of processes can be made here: %s", r.err);
}

/* Orphans that ended before it and that end meanwhile; a local worker that dies is still started again. */
Test(host, as_process_1_a_server_reaps_orphans)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    need_namespaces();
    static const char SCRIPT[] =
        "exec unshare -fp --mount-proc --kill-child /bin/sh -c '(sleep 0 &); (sleep 1 &); (sleep 2 &); exec \"$0\" "
        "--model logistic --listen tcp://127.0.0.1:0 --local-workers 1 --data \"$1\" --epochs 100000000 "
        "--emulate-slot-ms 20 --log-level info' \"$0\" \"$1\"";
    struct process *p = PROCESS("/bin/sh", "-c", SCRIPT, program_path("dp-server"), temp_text("d.svm", DATA));
    process_expect(p, ERR, "worker-joined", MINUTE_MS);
    pid_t server = child_of(process_pid(p));
    if (server == 0)
        cr_skip_test("/proc does not tell children here");
    cr_assert_not(process_ended(p, 3000));
    for (int i = 0; i < 50 && has_zombie(server); i++)
        cr_assert_not(process_ended(p, 100));
    cr_assert_not(has_zombie(server));
    pid_t worker = child_of(server);
    cr_assert_gt(worker, 0);
    kill(worker, SIGKILL);
    process_expect(p, ERR, "local-worker-died number=0", MINUTE_MS);
    process_expect_next(p, ERR, "worker-joined", MINUTE_MS);
    kill(server, SIGTERM);
    cr_assert_eq(process_wait(p, MINUTE_MS), 128 + SIGTERM, "%s", process_output(p, ERR));
}

Test(host, as_process_1_a_worker_reaps_orphans)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    need_namespaces();
    char endpoint[128];
    static const char SCRIPT[] =
        "exec unshare -fp --mount-proc --kill-child /bin/sh -c '(sleep 0 &); (sleep 1 &); exec \"$0\" --server \"$1\" "
        "--data \"$2\" --emulate-slot-ms 20' \"$0\" \"$1\" \"$2\"";
    (void)SERVER(endpoint, "--model", "logistic", "--epochs", "100000000");
    struct process *p = PROCESS("/bin/sh", "-c", SCRIPT, program_path("dp-worker"), endpoint, temp_text("d.svm", DATA));
    process_expect(p, ERR, "joined ", MINUTE_MS);
    pid_t worker = child_of(process_pid(p));
    if (worker == 0)
        cr_skip_test("/proc does not tell children here");
    cr_assert_not(process_ended(p, 2000));
    cr_assert_not(has_zombie(worker));
    kill(worker, SIGTERM);
    cr_assert_eq(process_wait(p, MINUTE_MS), 128 + SIGTERM, "%s", process_output(p, ERR));
}
