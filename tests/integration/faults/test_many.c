/* Many workers attached to one server: those without slots cost next to nothing, and a job with 64 that have some runs
 * to its end. One process holds many connections; what the server costs is read in /proc. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/process.h"
#include "common/base/util.h"
#include "tests/integration/support/harness.h"
#include "worker/dp.h"

TestSuite(many, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum {
    MINUTE_MS = 60000,
    IDLE = 500,
    IDLE_SANITIZED = 50,
    ACTIVE = 64,
    WATCH_MS = 2000,
    WINDOWS = 8,
    ELEMS = 64,
    RESIDENT_MIB_MAX = 96
};

#define SHARE_MAX 0.05 /* in the quietest window: others use the caches too */

/* A worker of a model of ELEMS numbers, whose gradient is the number of the slot. */
struct crew_member {
    const char *endpoint;
    volatile int *stop;
    dp_client *client;
    dp_err result;
    dp_error err;
    pthread_t thread;
    uint64_t steps;
};

static dp_err attach(struct crew_member *m)
{
    static const uint64_t SHAPE = ELEMS;
    const dp_tensor tensor = {.name = "w", .rank = 1, .shape = &SHAPE, .init = DP_INIT_ZEROS, .regularized = 1};
    const dp_model model = {.tensors = &tensor, .tensor_count = 1};
    const dp_dataset data = {.name = "none", .rows = ACTIVE, .features = ELEMS - 1, .fingerprint = 1};
    const dp_config config = {.server = m->endpoint, .connect_timeout_ms = MINUTE_MS, .stop = m->stop};
    dp_err e = dp_connect(&config, &m->client, &m->err);
    return e ? e : dp_join(m->client, &data, NULL, &model, &m->err);
}

static void *work(void *arg)
{
    struct crew_member *m = arg;
    dp_task task;
    m->result = attach(m);
    while (!m->result && (m->result = dp_next(m->client, &task, &m->err)) == DP_OK) {
        m->steps++;
        for (uint32_t i = 0; !m->result && i < task.slot_count; i++) {
            float *gradient = dp_gradient(m->client, &m->err);
            for (uint32_t j = 0; gradient && j < ELEMS; j++)
                gradient[j] = (float)task.slots[i];
            m->result = dp_push(m->client, task.slots[i], gradient, &(dp_metrics){1, 1, 0}, &m->err);
        }
    }
    dp_leave(&m->client, m->result, m->err.text);
    return NULL;
}

static void start(struct crew_member *crew, uint32_t count, const char *endpoint, volatile int *stop)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 << 10);
    for (uint32_t i = 0; i < count; i++) {
        crew[i] = (struct crew_member){.endpoint = endpoint, .stop = stop};
        cr_assert_eq(pthread_create(&crew[i].thread, &attr, work, &crew[i]), 0);
    }
    pthread_attr_destroy(&attr);
}

static void join_all(struct crew_member *crew, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        pthread_join(crew[i].thread, NULL);
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

static uint64_t resident_mib(pid_t pid)
{
    char path[64];
    unsigned long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    cr_assert_eq(fscanf(file, "%*u %lu", &pages), 1);
    fclose(file);
    return pages * (unsigned long)sysconf(_SC_PAGESIZE) >> 20;
}

static bool sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#else
    return false;
#endif
}

static uint32_t count_training(const char *endpoint)
{
    struct run_result status =
        RUN(MINUTE_MS, "dp-ctl", "--server", endpoint, "--timeout-ms", "60000", "status", "--json");
    uint32_t count = 0;
    for (const char *at = status.out; (at = strstr(at, "\"training\"")) != NULL; at++)
        count++;
    return count;
}

/* Processor time of a process in a window of WATCH_MS, in cores. */
static double cpu_share(struct process *process)
{
    uint64_t before_ms = cpu_ms(process_pid(process)), begin_ms = mono_ms();
    cr_assert_not(process_ended(process, WATCH_MS));
    return (double)(cpu_ms(process_pid(process)) - before_ms) / (double)(mono_ms() - begin_ms);
}

/* The job waits for one worker more than there are, so that all of them are idle. Under a sanitizer they cost what they
 * cost, and the threads of 500 leave none of the time to the harness beside them: fewer do. */
Test(many, idle_workers_cost_little)
{
    NEED_PROGRAMS("dp-server", "dp-ctl");
    dp_error err;
    char endpoint[128];
    volatile int stop = 0;
    const uint32_t count = sanitized() ? IDLE_SANITIZED : IDLE;
    char min_workers[16];
    snprintf(min_workers, sizeof min_workers, "%u", count + 1);
    AUTOFREE struct crew_member *crew = mem_array_zero(count, sizeof *crew);
    unsetenv("MALLOC_PERTURB_"); /* meson sets it; it would fill, and so use, all that is allocated */
    if (descriptors_ensure((uint64_t)count * 32, &err))
        cr_skip_test("%s", err.text);
    struct process *server = SERVER(endpoint, "--model", "linear", "--batch", "8", "--epochs", "1", "--min-workers",
                                    min_workers, "--slots", "8", "--quiet");
    start(crew, count, endpoint, &stop);
    while (count_training(endpoint) < count)
        cr_assert_not(process_ended(server, 500));
    double share = 1;
    for (int window = 0; window < WINDOWS && share >= SHARE_MAX; window++)
        share = MIN(share, cpu_share(server));
    uint64_t resident = resident_mib(process_pid(server));
    printf("# %u idle workers: %.1f%% of a core, %llu MiB\n", count, 100 * share, (unsigned long long)resident);
    stop = 1;
    join_all(crew, count);
    if (sanitized())
        return;
    cr_assert_lt(share, SHARE_MAX);
    cr_assert_lt(resident, RESIDENT_MIB_MAX);
}

Test(many, active_workers_run_to_the_end)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    volatile int stop = 0;
    static struct crew_member crew[ACTIVE];
    struct process *server = SERVER(endpoint, "--model", "linear", "--batch", "64", "--steps", "50", "--min-workers",
                                    "64", "--slots", "64", "--quiet", "--exit-when-done", "--speculate", "off");
    start(crew, ACTIVE, endpoint, &stop);
    join_all(crew, ACTIVE);
    cr_assert_eq(process_wait(server, MINUTE_MS), 0, "%s", process_output(server, ERR));
    for (uint32_t i = 0; i < ACTIVE; i++) {
        cr_assert_eq(crew[i].result, DP_JOB_DONE, "%s", crew[i].err.text);
        cr_assert_gt(crew[i].steps, 0);
    }
}
