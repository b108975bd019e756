/* Chaos: workers are killed, frozen, thawed, started and asked to leave at random while a bsp job runs. It finishes,
 * and theta has the bits of a quiet run.
 *
 * The seed is fixed, so that the same is tried every time; when each thing happens is up to the machine. A job is run
 * after the other until DP_CHAOS_S seconds (default 12) have passed. */
#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "harness.h"

TestSuite(chaos, .init = harness_init, .fini = harness_fini, .timeout = 600);

enum {
    MINUTE_MS = 60000,
    WORKERS_MAX = 6,
    WORKERS_MIN = 2,
    PAUSE_MS = 120,
    DEFAULT_S = 12,
    STARTS_MAX = 30,
    JOBS_MAX = 7
};

#define TRAIN "tests/data/digits/train.csv.gz"
#define TEST "tests/data/digits/test.csv.gz"
#define JOB                                                                                                    \
    "--model", "softmax", "--batch", "100", "--slots", "12", "--epochs", "30", "--lr", "0.002", "--optimizer", \
        "momentum", "--l2", "0.001", "--seed", "7", "--exit-when-done", "--quiet"

static uint64_t state = 0x2545f4914f6cdd1du;

static uint32_t roll(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 20) % below;
}

struct crew {
    const char *endpoint;
    struct process *list[WORKERS_MAX]; /* NULL: none */
    bool frozen[WORKERS_MAX];
    uint32_t starts;
};

static uint32_t count_awake(const struct crew *crew)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < WORKERS_MAX; i++)
        count += crew->list[i] && !crew->frozen[i];
    return count;
}

static void join(struct crew *crew, uint32_t i)
{
    static const char *const SLOWER[] = {"1", "1", "1", "3"};
    if (crew->list[i] || crew->starts == STARTS_MAX)
        return;
    crew->list[i] =
        PROCESS("dp-worker", "--server", crew->endpoint, "--data", source_file(TRAIN), "--eval", source_file(TEST),
                "--quiet", "--emulate-slot-ms", "2", "--emulate-slower", SLOWER[roll(4)]);
    crew->frozen[i] = false;
    crew->starts++;
}

static void end_by(struct crew *crew, uint32_t i, int signal)
{
    if (!crew->list[i] || crew->frozen[i] || count_awake(crew) <= WORKERS_MIN)
        return;
    process_signal(crew->list[i], signal);
    (void)process_wait(crew->list[i], MINUTE_MS);
    crew->list[i] = NULL;
}

static void freeze(struct crew *crew, uint32_t i)
{
    if (!crew->list[i] || crew->frozen[i] || count_awake(crew) <= WORKERS_MIN)
        return;
    process_signal(crew->list[i], SIGSTOP);
    crew->frozen[i] = true;
}

static void thaw(struct crew *crew, uint32_t i)
{
    if (crew->list[i] && crew->frozen[i])
        process_signal(crew->list[i], SIGCONT);
    crew->frozen[i] = false;
}

static void disturb(struct crew *crew)
{
    uint32_t i = roll(WORKERS_MAX);
    switch (roll(6)) {
    case 0:
        end_by(crew, i, SIGKILL);
        break;
    case 1:
        end_by(crew, i, SIGTERM);
        break;
    case 2:
        freeze(crew, i);
        break;
    case 3:
        thaw(crew, i);
        break;
    default:
        join(crew, i);
        break;
    }
}

/* A job with trouble until it ends; the model's path. Zombies that wake after they were given up take part as well. */
static const char *train_in_chaos(uint32_t number)
{
    char endpoint[128], name[64];
    snprintf(name, sizeof name, "chaos%u.safetensors", number);
    const char *path = temp_path(name);
    struct process *server = SERVER(endpoint, JOB, "--shards", number % 2 ? "3" : "2", "--lease", "1",
                                    "--stall-timeout", "1", "--export", path);
    struct crew crew = {.endpoint = endpoint};
    for (uint32_t i = 0; i < WORKERS_MIN + 1; i++)
        join(&crew, i);
    while (!process_ended(server, PAUSE_MS))
        disturb(&crew);
    cr_assert_eq(process_wait(server, MINUTE_MS), 0, "%s", process_output(server, ERR));
    for (uint32_t i = 0; i < WORKERS_MAX; i++)
        if (crew.list[i]) {
            process_signal(crew.list[i], SIGKILL);
            (void)process_wait(crew.list[i], MINUTE_MS);
        }
    return path;
}

static uint64_t seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

Test(chaos, a_job_under_random_trouble_has_the_bits_of_a_quiet_one)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *quiet = temp_path("quiet.safetensors"), *seconds = getenv("DP_CHAOS_S");
    struct run_result r = RUN(MINUTE_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", JOB, "--local-workers", "1",
                              "--data", source_file(TRAIN), "--eval", source_file(TEST), "--export", quiet);
    cr_assert_eq(r.status, 0, "%s", r.err);
    uint64_t end_s = seconds_now() + (seconds ? strtoull(seconds, NULL, 10) : DEFAULT_S);
    uint32_t number = 0;
    do
        models_assert_same(quiet, train_in_chaos(number++));
    while (seconds_now() < end_s && number < JOBS_MAX);
}
