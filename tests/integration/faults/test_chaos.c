/* Chaos: workers are killed, frozen, thawed, started and asked to leave at random while a job runs. It finishes; under
 * bsp theta has the bits of a quiet run; where slots commit on arrival each is committed exactly once on every shard,
 * and where slots may be dropped, what counted and what was dropped are all samples.
 *
 * The seed is fixed, so that the same is tried every time; when each thing happens is up to the machine. A job is run
 * after the other, by another way each time, until DP_CHAOS_S seconds (default 12 of bsp, 6 of each of the others) have
 * passed, and one by shared memory and one by sockets at least. */
#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/integration/support/conservation.h"
#include "tests/integration/support/harness.h"

TestSuite(chaos, .init = harness_init, .fini = harness_fini, .timeout = 600);

enum {
    MINUTE_MS = 60000,
    WORKERS_MAX = 6,
    WORKERS_MIN = 2,
    PAUSE_MS = 120,
    BSP_S = 12,
    OTHER_S = 6,
    SLOTS = 12,
    SHARDS = 2,
    OTHER_STEPS = 15 * 15,
    DROP_SAMPLES = 15 * 1438,
    STARTS_MAX = 30,
    JOBS_MAX = HARNESS_PROCESSES_MAX / (STARTS_MAX + 1) - 1
};

/* The carrier of gradients and parameters: one for all workers, or a mix. */
enum way { BY_SHM, BY_SOCKET, BY_EITHER, WAYS };

#define TRAIN "tests/data/digits/train.csv.gz"
#define TEST "tests/data/digits/test.csv.gz"
#define JOB(epochs)                                                                                              \
    "--model", "softmax", "--batch", "100", "--slots", "12", "--epochs", epochs, "--lr", "0.002", "--optimizer", \
        "momentum", "--l2", "0.001", "--seed", "7", "--exit-when-done", "--quiet"
#define BSP_EPOCHS "30"
#define OTHER_EPOCHS "15"

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
    enum way way;
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
    bool shm = crew->way == BY_SHM || (crew->way == BY_EITHER && roll(2));
    crew->list[i] = PROCESS("dp-worker", "--server", crew->endpoint, "--data", source_file(TRAIN), "--eval",
                            source_file(TEST), "--quiet", "--emulate-slot-ms", "2", "--emulate-slower", SLOWER[roll(4)],
                            "--shm", shm ? "auto" : "off");
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

/* A job with trouble until it ends; its server. Zombies that wake after they were given up take part as well. */
static struct process *train_in_chaos(uint32_t number, const char *epochs, const char *option, const char *value,
                                      const char *path)
{
    char endpoint[128];
    struct process *server = SERVER(endpoint, JOB(epochs), "--shards", number % 2 ? "3" : "2", "--lease", "1",
                                    "--stall-timeout", "1", "--json", option, value, "--export", path);
    struct crew crew = {.endpoint = endpoint, .way = number % WAYS};
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
    return server;
}

static uint64_t seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

static uint64_t chaos_end_s(uint64_t default_s)
{
    const char *seconds = getenv("DP_CHAOS_S");
    return seconds_now() + (seconds ? strtoull(seconds, NULL, 10) : default_s);
}

/* Whether another job follows after `jobs` of them. */
static bool chaos_goes_on(uint32_t jobs, uint64_t end_s)
{
    return jobs <= BY_SOCKET || (jobs < JOBS_MAX && seconds_now() < end_s);
}

Test(chaos, a_job_under_random_trouble_has_the_bits_of_a_quiet_one)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *quiet = temp_path("quiet.safetensors"), *path = temp_path("chaos.safetensors");
    struct run_result r =
        RUN(MINUTE_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", JOB(BSP_EPOCHS), "--local-workers", "1", "--data",
            source_file(TRAIN), "--eval", source_file(TEST), "--export", quiet);
    cr_assert_eq(r.status, 0, "%s", r.err);
    uint64_t end_s = chaos_end_s(BSP_S);
    for (uint32_t jobs = 0; chaos_goes_on(jobs, end_s); jobs++) {
        (void)train_in_chaos(jobs, BSP_EPOCHS, "--consistency", "bsp", path);
        models_assert_same(quiet, path);
    }
}

/* The model has one slice on each shard. */
static void conserve(const char *consistency)
{
    uint64_t end_s = chaos_end_s(OTHER_S);
    for (uint32_t jobs = 0; chaos_goes_on(jobs, end_s); jobs++) {
        struct process *server =
            train_in_chaos(jobs, OTHER_EPOCHS, "--consistency", consistency, temp_path("chaos.safetensors"));
        json_t *done = done_line(process_output(server, OUT));
        cr_assert_eq(done_number(done, "step"), OTHER_STEPS);
        done_assert_conserved(done, SLOTS, jobs % 2 ? 3 : 2);
        json_decref(done);
    }
}

Test(chaos, ssp_under_random_trouble_commits_each_slot_once)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    conserve("ssp:3");
}

Test(chaos, async_under_random_trouble_commits_each_slot_once)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    conserve("async");
}

static void drop(const char *option, const char *value)
{
    uint64_t end_s = chaos_end_s(OTHER_S);
    for (uint32_t jobs = 0; chaos_goes_on(jobs, end_s); jobs++) {
        struct process *server = train_in_chaos(jobs, OTHER_EPOCHS, option, value, temp_path("chaos.safetensors"));
        json_t *done = done_line(process_output(server, OUT));
        double counted = done_number(done, "samples"), dropped = done_number(done, "dropped_samples");
        cr_assert_eq(done_number(done, "step"), OTHER_STEPS);
        cr_assert_eq(counted + dropped, DROP_SAMPLES, "%g samples counted, %g dropped", counted, dropped);
        json_decref(done);
    }
}

Test(chaos, the_slowest_under_random_trouble_are_dropped_on_all_shards)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    drop("--drop-slowest", "1");
}

Test(chaos, what_stalls_under_random_trouble_is_dropped_on_all_shards)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    drop("--on-stall", "drop");
}
