/* The cost of hostile messages; see cost.h. The senders are a process of their own, in a control group of the least
 * share where one can be made: what they take of two cores is not what the server pays. */
#include "tests/fault/cost.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/util.h"
#include "tests/fault/hostile.h"

enum { QUIET_MS = 10000, RUN = 1000, SEND_MS = 600000, BURN_SLICE_NS = 10000000, GROUP_MAX = 128 };

/* ---- a control group ---- */

static bool write_file(const char *folder, const char *name, const char *text)
{
    char path[GROUP_MAX + 32];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return ok;
}

/* Empty where none can be had. */
static void group_make(char group[GROUP_MAX])
{
    static const struct {
        const char *root, *file, *value;
    } KINDS[] = {{"/sys/fs/cgroup/cpu", "cpu.shares", "2"}, {"/sys/fs/cgroup", "cpu.weight", "1"}};
    for (size_t i = 0; i < ARRAY_LEN(KINDS); i++) {
        snprintf(group, GROUP_MAX, "%s/dp-hostile-%d", KINDS[i].root, (int)getpid());
        if (mkdir(group, 0700) == 0 && write_file(group, KINDS[i].file, KINDS[i].value))
            return;
        rmdir(group);
    }
    group[0] = '\0';
}

static void group_enter(const char *group)
{
    char pid[16];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    if (group[0])
        (void)write_file(group, "cgroup.procs", pid);
}

/* ---- senders ---- */

/* Shared with the child. */
struct sent {
    _Atomic uint64_t messages;
};

/* Kinds in turn, each in its share. */
static void send_all(const struct stage *stage, uint64_t messages, struct sent *sent)
{
    uint64_t shares = 0, rounds = messages / RUN + 1;
    for (const struct flood *flood = FLOODS; flood->name; flood++)
        shares += flood->count;
    for (uint64_t r = 0; r < rounds && sent->messages < messages; r++)
        for (const struct flood *flood = FLOODS; flood->name && sent->messages < messages; flood++) {
            /* After r + 1 rounds a kind has had its share of all so far. */
            uint64_t due = (r + 1) * RUN * flood->count / shares - r * RUN * flood->count / shares;
            sent->messages += flood_send(stage, flood, due, SEND_MS);
        }
}

static pid_t child_start(const char *group)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        group_enter(group);
    }
    return pid;
}

/* Takes a share of a core. */
static void burn(double share)
{
    for (;;) {
        uint64_t began_ns = mono_ns(), busy_ns = (uint64_t)(share * BURN_SLICE_NS);
        while (mono_ns() < began_ns + busy_ns)
            ;
        if (busy_ns < BURN_SLICE_NS)
            usleep((useconds_t)(BURN_SLICE_NS - busy_ns) / 1000);
    }
}

/* ---- measuring ---- */

struct window {
    uint64_t step, at_ms, server_ms;
};

static bool window_open(const struct job *job, struct window *window, struct why *why)
{
    struct job_state state;
    if (!job_status(job, &state, why))
        return false;
    *window = (struct window){state.step, mono_ms(), process_cpu_ms(job->server)};
    return true;
}

/* Steps a second since; *server_share: of a core. */
static bool window_close(const struct job *job, const struct window *window, double *rate, double *server_share,
                         struct why *why)
{
    struct window now;
    if (!window_open(job, &now, why))
        return false;
    double seconds = (double)(now.at_ms - window->at_ms) / 1000;
    *rate = (double)(now.step - window->step) / seconds;
    *server_share = (double)(now.server_ms - window->server_ms) / 1000 / seconds;
    return true;
}

static bool measure_quiet(const struct job *job, double *rate, double *server, struct why *why)
{
    struct window window;
    if (!window_open(job, &window, why))
        return false;
    usleep(QUIET_MS * 1000);
    return window_close(job, &window, rate, server, why);
}

struct hostile_rate {
    double rate, server, seconds, sender; /* sender: share of a core */
    uint64_t messages;
};

static bool measure_hostile(const struct stage *stage, uint64_t messages, const char *group, struct sent *sent,
                            struct hostile_rate *ret, struct why *why)
{
    struct window window;
    if (!window_open(stage->job, &window, why))
        return false;
    pid_t pid = child_start(group);
    if (pid == 0) {
        send_all(stage, messages, sent);
        _exit(0);
    }
    siginfo_t info;
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) != 0 && errno == EINTR)
        ;
    uint64_t sender_ms = process_cpu_ms(pid);
    bool ok = window_close(stage->job, &window, &ret->rate, &ret->server, why);
    waitpid(pid, NULL, 0);
    ret->seconds = (double)(mono_ms() - window.at_ms) / 1000;
    ret->sender = (double)sender_ms / 1000 / ret->seconds;
    ret->messages = sent->messages;
    return ok;
}

static bool measure_burn(const struct job *job, double share, const char *group, double *rate, struct why *why)
{
    double server;
    pid_t pid = child_start(group);
    if (pid == 0)
        burn(share);
    bool ok = measure_quiet(job, rate, &server, why);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return ok;
}

static void show(const struct hostile_rate *hostile, double quiet, double quiet_server, double burnt, bool grouped)
{
    printf("# quiet: %.1f steps/s, the server takes %.3f of a core\n", quiet, quiet_server);
    printf("# %" PRIu64 " messages in %.1f s: %.1f steps/s, the server takes %.3f of a core, the senders %.3f%s\n",
           hostile->messages, hostile->seconds, hostile->rate, hostile->server, hostile->sender,
           grouped ? " in a control group of the least share" : " (no control group could be made)");
    printf("# as much processor time burnt by others: %.1f steps/s\n", burnt);
    printf("# the messages cost %.1f %% of the steps, %.1f %% beyond what their senders take; %.2f us of the server "
           "each\n",
           100 * (1 - hostile->rate / quiet), 100 * (1 - hostile->rate / burnt),
           (hostile->server - quiet_server * hostile->rate / quiet) * hostile->seconds * 1e6 /
               (double)hostile->messages);
}

/* The cost of one message of each kind to the server, beyond that of the job. */
static void show_kinds(const struct stage *stage, double quiet_server)
{
    for (const struct flood *flood = FLOODS; flood->name; flood++) {
        uint64_t began_ms = mono_ms(), before_ms = process_cpu_ms(stage->job->server);
        uint64_t sent = flood_send(stage, flood, flood->count, SEND_MS);
        double spent_ms = (double)(process_cpu_ms(stage->job->server) - before_ms);
        double own_ms = quiet_server * (double)(mono_ms() - began_ms);
        if (sent > 0)
            printf("# %-16s %8.2f us of the server each\n", flood->name,
                   1000 * MAX(spent_ms - own_ms, 0.0) / (double)sent);
    }
}

bool cost_measure(const struct job_config *config, const struct facts *facts, uint64_t messages)
{
    struct job job;
    struct why why = {{0}};
    const struct stage stage = {&job, facts};
    struct hostile_rate hostile = {0};
    double quiet = 0, quiet_server = 0, burnt = 0;
    char group[GROUP_MAX];
    struct sent *sent = mmap(NULL, sizeof *sent, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (sent == MAP_FAILED)
        return false;
    group_make(group);
    bool ok = job_start(&job, config, &why) && measure_quiet(&job, &quiet, &quiet_server, &why) &&
              measure_hostile(&stage, messages, group, sent, &hostile, &why) && job_is_well(&job, &why);
    if (ok)
        show_kinds(&stage, quiet_server);
    ok = ok && measure_burn(&job, hostile.sender, group, &burnt, &why) && job_ends_well(&job, &why);
    if (ok)
        show(&hostile, quiet, quiet_server, burnt, group[0] != '\0');
    printf("%sok 1 - the job goes on, with the bits of a quiet run\n1..1\n", ok ? "" : "not ");
    if (!ok)
        printf("# %s\n", why.text);
    job_end(&job);
    if (group[0])
        rmdir(group);
    munmap(sent, sizeof *sent);
    return ok;
}
