/* A server's counters are the bytes that a job must move. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>

#include "tests/integration/support/harness.h"

TestSuite(counters, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { MINUTE_MS = 60000, STEPS = 30, HEADER_MAX = 64 };

#define DIGITS "tests/data/digits/train.csv.gz"
#define JOB "--model", "softmax", "--batch", "100", "--slots", "8", "--steps", "30", "--verbose"

static json_int_t number(const json_t *shard, const char *key)
{
    cr_assert(json_is_integer(json_object_get(shard, key)), "%s", key);
    return json_integer_value(json_object_get(shard, key));
}

/* The shard's object of a server's status; *ret_status owns it. */
static const json_t *only_shard(const char *endpoint, json_t **ret_status)
{
    struct run_result r = RUN(MINUTE_MS, "dp-ctl", "--server", endpoint, "--json", "status");
    cr_assert_eq(r.status, 0, "%s", r.err);
    *ret_status = json_loads(r.out, 0, NULL);
    const json_t *shards = json_object_get(*ret_status, "shards");
    cr_assert_eq(json_array_size(shards), 1);
    return json_array_get(shards, 0);
}

/* The counters of gradients and parameters that must move, and those that must not. */
struct way {
    const char *mode, *in, *out, *not_in, *not_out;
};

static void check_bytes(const json_t *shard, const struct way *way)
{
    json_int_t slice = 4 * number(shard, "count"), pushes = number(shard, "pushes");
    cr_assert_geq(pushes, STEPS);
    cr_assert_eq(number(shard, "commits"), STEPS, "one slice");
    cr_assert_eq(number(shard, way->in), pushes * slice);
    cr_assert_eq(number(shard, way->not_in), 0);
    cr_assert_eq(number(shard, way->not_out), 0);
    cr_assert_eq(number(shard, "copied_bytes"), number(shard, "copies") * slice);
    cr_assert_leq(number(shard, "header_bytes_in"), (pushes + number(shard, "pulls")) * HEADER_MAX);
    cr_assert_eq(number(shard, way->out) % slice, 0);
    cr_assert_geq(number(shard, way->out), STEPS * slice, "theta_0 to theta_29, to one worker at least");
    cr_assert_leq(number(shard, way->out), number(shard, "pulls") * slice);
    cr_assert_leq(number(shard, "header_bytes_out"), number(shard, "pulls") * HEADER_MAX);
    cr_assert_eq(number(shard, "bytes_in"), number(shard, "gradient_bytes_in") + number(shard, "header_bytes_in"));
    cr_assert_eq(number(shard, "bytes_out"), number(shard, "theta_bytes_out") + number(shard, "header_bytes_out"));
    cr_assert_eq(number(shard, "malformed") + number(shard, "unread"), 0);
    cr_assert_gt(json_real_value(json_object_get(shard, "queued_s")), 0);
    cr_assert_gt(json_real_value(json_object_get(shard, "parked_s")), 0);
    cr_assert_gt(json_real_value(json_object_get(shard, "commit_s")), 0);
}

static void run_and_check(const struct way *way)
{
    char endpoint[128];
    json_t *status;
    struct process *server =
        SERVER(endpoint, JOB, "--shm", way->mode, "--local-workers", "2", "--data", source_file(DIGITS));
    process_expect(server, ERR, "still here", MINUTE_MS); /* the job is done */
    check_bytes(only_shard(endpoint, &status), way);
    json_decref(status);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, MINUTE_MS), 0);
    const char *said = process_output(server, ERR);
    cr_assert(strstr(said, "dp-server: shard 0: in ") && strstr(said, " 30 commits of slices"), "%s", said);
}

Test(counters, status_and_the_end_say_what_a_job_moved)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    run_and_check(&(struct way){"off", "gradient_bytes_in", "theta_bytes_out", "shm_bytes_in", "shm_bytes_out"});
    run_and_check(&(struct way){"on", "shm_bytes_in", "shm_bytes_out", "gradient_bytes_in", "theta_bytes_out"});
}

/* The number of parameters that each shard has once a job with --min-shard-kib `kib` is done. */
static void counts_of_shards(const char *kib, const char *model, json_int_t counts[3])
{
    char endpoint[128];
    json_t *status, *shards, *shard;
    size_t s;
    struct process *server = SERVER(endpoint, JOB, "--shards", "3", "--min-shard-kib", kib, "--export", model,
                                    "--local-workers", "2", "--data", source_file(DIGITS));
    process_expect(server, ERR, "still here", MINUTE_MS);
    struct run_result r = RUN(MINUTE_MS, "dp-ctl", "--server", endpoint, "--json", "status");
    cr_assert_eq(r.status, 0, "%s", r.err);
    status = json_loads(r.out, 0, NULL);
    shards = json_object_get(status, "shards");
    cr_assert_eq(json_array_size(shards), 3);
    json_array_foreach(shards, s, shard)
    {
        counts[s] = number(shard, "count");
        cr_assert_eq(number(shard, "commits"), counts[s] > 0 ? STEPS : 0);
    }
    json_decref(status);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, MINUTE_MS), 0);
}

/* 650 parameters are 2.5 KiB. */
Test(counters, shards_that_are_not_worth_it_have_nothing)
{
    json_int_t counts[3];
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    const char *one = temp_path("one.safetensors"), *two = temp_path("two.safetensors");
    const char *three = temp_path("three.safetensors");
    counts_of_shards("256", one, counts);
    cr_assert(counts[0] == 650 && counts[1] == 0 && counts[2] == 0);
    counts_of_shards("1", two, counts);
    cr_assert(counts[0] > 300 && counts[1] > 300 && counts[2] == 0);
    counts_of_shards("0", three, counts);
    cr_assert(counts[0] > 200 && counts[1] > 200 && counts[2] > 200);
    models_assert_same(one, two);
    models_assert_same(one, three);
}
