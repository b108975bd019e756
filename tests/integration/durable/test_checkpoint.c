/* Checkpoints of a running job: the files and how many stay, dp-ctl checkpoint, SIGTERM, a disk without room, and files
 * of others in the folder. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/integration/support/durable.h"
#include "tests/integration/support/harness.h"

TestSuite(checkpoint, .init = harness_init, .fini = harness_fini, .timeout = 240);

/* The job with local workers, to its end. */
static struct run_result run_job(const char *dir, const char *model, const char *const *more)
{
    const char *list[100] = {DURABLE_JOB,        "--listen", "tcp://127.0.0.1:0",
                             "--local-workers",  "2",        "--data",
                             durable_data(),     "--export", model,
                             "--checkpoint-dir", dir};
    size_t count = 0;
    while (list[count])
        count++;
    for (; *more && count < 99; more++)
        list[count++] = *more;
    return run_program(DURABLE_MS, "dp-server", list);
}
#define JOB(dir, model, ...) run_job(dir, model, (const char *const[]){__VA_ARGS__, NULL})

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

Test(checkpoint, the_files_and_how_many_stay)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *dir = temp_path("dir"), *model = temp_path("model");
    struct run_result r = JOB(dir, model, "--checkpoint-every", "40", "--keep-checkpoints", "2", "--shards", "2");
    cr_assert_eq(r.status, 0, "%s", r.err);
    struct durable_folder list = durable_list(dir);
    cr_expect_eq(list.count, 2);
    cr_expect_eq(list.hidden, 0);
    cr_assert_eq(list.steps[list.count - 1], DURABLE_STEPS, "the last one is of the end");
    cr_expect_eq(list.steps[0] % 40, 0);
    for (size_t i = 0; i < list.count; i++) {
        cr_expect(exists(durable_file(dir, list.steps[i], "manifest.json")));
        cr_expect(exists(durable_file(dir, list.steps[i], "shard-0.safetensors")));
        cr_expect(exists(durable_file(dir, list.steps[i], "shard-1.safetensors")));
        cr_expect_not(exists(durable_file(dir, list.steps[i], "shard-2.safetensors")));
    }
    cr_expect_eq(durable_events(dir, "started"), 1);
    cr_expect_eq(durable_events(dir, "done"), 1);
    cr_expect_geq(durable_events(dir, "checkpoint"), 2);
    models_assert_same(durable_quiet_model(), model);
}

/* A server whose last sync failed, or that was killed before it removed the oldest one, leaves one too many. */
Test(checkpoint, too_many_are_removed_at_the_next_start)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *dir = temp_path("dir"), *model = temp_path("model");
    struct run_result r = JOB(dir, model, "--checkpoint-every", "40", "--keep-checkpoints", "2");
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_assert_eq(durable_list(dir).count, 2);
    r = JOB(dir, model, "--checkpoint-every", "40", "--keep-checkpoints", "1");
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_expect(strstr(r.err, "the job is finished"), "%s", r.err);
    struct durable_folder list = durable_list(dir);
    cr_expect_eq(list.count, 1);
    cr_expect_eq(list.steps[list.count - 1], DURABLE_STEPS);
}

/* A job that gets nowhere on its own: its one worker takes long for a step. */
static struct process *start_slow(const char *dir, const char *every)
{
    struct process *server = DURABLE_SERVER(dir, "--checkpoint-every", every);
    (void)PROCESS("dp-worker", "--server", durable_endpoint(), "--data", durable_data(), "--emulate-slot-ms", "20");
    return server;
}

Test(checkpoint, dp_ctl_has_one_made_and_waits_for_it)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    const char *dir = temp_path("dir");
    struct process *server = start_slow(dir, "3600s");
    process_expect(server, OUT, "\"event\":\"epoch\"", DURABLE_MS);
    struct run_result r = RUN(DURABLE_MS, "dp-ctl", "--server", durable_endpoint(), "--json", "checkpoint");
    cr_assert_eq(r.status, 0, "%s", r.err);
    json_t *answer = json_loads(r.out, 0, NULL);
    uint64_t step = (uint64_t)json_integer_value(json_object_get(answer, "train_step"));
    const char *path = json_string_value(json_object_get(answer, "checkpoint"));
    cr_assert(path, "%s", r.out);
    cr_expect_geq(step, 15, "an epoch was over");
    cr_expect_eq(strncmp(path, durable_file(dir, step, ""), strlen(durable_file(dir, step, ""))), 0, "%s", path);
    cr_expect(exists(durable_file(dir, step, "manifest.json")), "it is there when the answer is");
    json_decref(answer);
    char want[64];
    r = RUN(DURABLE_MS, "dp-ctl", "--server", durable_endpoint(), "checkpoint");
    cr_assert_eq(r.status, 0, "%s", r.err);
    struct durable_folder list = durable_list(dir);
    snprintf(want, sizeof want, "checkpoint of step %" PRIu64 " in ", list.steps[list.count - 1]);
    cr_expect(strstr(r.out, want), "%s", r.out);
    cr_expect_geq(list.steps[list.count - 1], step, "that of the same step is replaced");
}

Test(checkpoint, dp_ctl_says_why_none_can_be_made)
{
    NEED_PROGRAMS("dp-server", "dp-ctl");
    char endpoint[128];
    struct process *server = SERVER(endpoint, "--model", "logistic");
    struct run_result r = RUN(DURABLE_MS, "dp-ctl", "--server", endpoint, "checkpoint");
    cr_expect_neq(r.status, 0);
    cr_expect(strstr(r.err, "--checkpoint-dir"), "%s", r.err);
    process_signal(server, SIGTERM);
    (void)process_wait(server, DURABLE_MS);
    (void)SERVER(endpoint, "--model", "logistic", "--checkpoint-dir", temp_path("dir"));
    r = RUN(DURABLE_MS, "dp-ctl", "--server", endpoint, "checkpoint");
    cr_expect_neq(r.status, 0);
    cr_expect(strstr(r.err, "no worker has joined"), "%s", r.err);
}

static void a_signal_makes_one(int signal, int status)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *dir = temp_path("dir");
    struct process *server = start_slow(dir, "3600s");
    process_expect(server, OUT, "\"event\":\"epoch\"", DURABLE_MS);
    process_signal(server, signal);
    cr_assert_eq(process_wait(server, DURABLE_MS), status, "%s", process_output(server, ERR));
    struct durable_folder list = durable_list(dir);
    cr_assert_eq(list.count, 1);
    cr_expect_geq(list.steps[0], 15);
    cr_expect_eq(list.hidden, 0);
    char want[64];
    server = DURABLE_SERVER(dir, "--checkpoint-every", "3600s", "--resume", "require");
    snprintf(want, sizeof want, "resumed at training step %" PRIu64 " of 600", list.steps[0]);
    process_expect(server, ERR, want, DURABLE_MS);
}

Test(checkpoint, sigterm_makes_one)
{
    a_signal_makes_one(SIGTERM, 143);
}

Test(checkpoint, ctrl_c_makes_one)
{
    a_signal_makes_one(SIGINT, 130);
}

/* A terminal sends it to the workers, too. */
Test(checkpoint, ctrl_c_warns_of_no_local_worker)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *dir = temp_path("dir");
    char endpoint[128];
    struct process *server =
        SERVER(endpoint, "--model", "softmax", "--local-workers", "2", "--data", durable_data(), "--epochs", "100000",
               "--checkpoint-dir", dir, "--checkpoint-every", "3600s", "--json");
    process_expect(server, OUT, "\"event\":\"epoch\"", DURABLE_MS);
    kill(-process_pid(server), SIGINT);
    cr_assert_eq(process_wait(server, DURABLE_MS), 130, "%s", process_output(server, ERR));
    cr_expect_eq(durable_list(dir).count, 1, "%s", process_output(server, ERR));
    cr_expect_not(strstr(process_output(server, ERR), "local-worker-died"), "%s", process_output(server, ERR));
}

/* A limit of the size of files that a shard's file does not pass, and the model and the manifest do. */
Test(checkpoint, no_room_costs_checkpoints_and_nothing_else)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *dir = temp_path("dir"), *model = temp_path("model");
    struct run_result r =
        RUN(DURABLE_MS, "/bin/bash", "-c", "ulimit -f 6 && exec \"$0\" \"$@\"", program_path("dp-server"), DURABLE_JOB,
            "--listen", "tcp://127.0.0.1:0", "--local-workers", "2", "--data", durable_data(), "--export", model,
            "--checkpoint-dir", dir, "--checkpoint-every", "100");
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_expect(strstr(r.err, "checkpoint-failed"), "%s", r.err);
    cr_expect(strstr(r.err, "File too large"), "the reason is there: %s", r.err);
    struct durable_folder list = durable_list(dir);
    cr_expect_eq(list.count, 0);
    cr_expect_eq(list.hidden, 0, "drafts are removed");
    cr_expect_geq(durable_events(dir, "checkpoint-failed"), 1);
    models_assert_same(durable_quiet_model(), model);
}

/* A file system that is full, where this user may mount one. */
Test(checkpoint, a_full_disk)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *dir = temp_path("small"), *model = temp_path("model");
    cr_assert_eq(mkdir(dir, 0700), 0);
    struct run_result r =
        RUN(DURABLE_MS, "/usr/bin/unshare", "--mount", "/bin/bash", "-c",
            "mount -t tmpfs -o size=16k none \"$0\" || exit 77; \"$@\" && ! ls -d \"$0\"/.step*", dir,
            program_path("dp-server"), DURABLE_JOB, "--listen", "tcp://127.0.0.1:0", "--local-workers", "2", "--data",
            durable_data(), "--export", model, "--checkpoint-dir", dir, "--checkpoint-every", "100");
    if (r.status == 77 || strstr(r.err, "unshare failed"))
        cr_skip_test("no file system can be mounted here: %s", r.err);
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_expect(strstr(r.err, "No space left on device"), "%s", r.err);
    models_assert_same(durable_quiet_model(), model);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    cr_assert(file && fputs(text, file) >= 0 && fclose(file) == 0, "%s", path);
}

static const char *in(const char *dir, const char *name)
{
    static char path[HARNESS_PATH_MAX];
    (void)!snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

Test(checkpoint, files_of_others_stay)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char *const FOLDERS[] = {"step-7", "step-000000000005.bak", ".step-000000000003", ".git",
                                          "step-0000000000055"};
    static const char *const FILES[] = {"notes.txt", "step-7/mine", ".git/config", "step-000000000005.bak/shard-0",
                                        ".step-000000000003.tmp/mine"};
    const char *dir = temp_path("dir");
    cr_assert_eq(mkdir(dir, 0700), 0);
    for (size_t i = 0; i < sizeof FOLDERS / sizeof *FOLDERS; i++)
        cr_assert_eq(mkdir(in(dir, FOLDERS[i]), 0700), 0);
    cr_assert_eq(mkdir(in(dir, ".step-000000000003.tmp"), 0700), 0);
    cr_assert_eq(mkdir(in(dir, ".step-000000000004.tmp"), 0700), 0);
    write_text(in(dir, ".step-000000000003.tmp/shard-0.safetensors"), "a draft of a server that was killed");
    write_text(in(dir, ".step-000000000004.tmp/shard-0.safetensors"), "another");
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++)
        write_text(in(dir, FILES[i]), "mine");
    struct run_result r = JOB(dir, temp_path("model"), "--checkpoint-every", "50", "--keep-checkpoints", "1");
    cr_assert_eq(r.status, 0, "%s", r.err);
    for (size_t i = 0; i < sizeof FOLDERS / sizeof *FOLDERS; i++)
        cr_expect(exists(in(dir, FOLDERS[i])), "%s", FOLDERS[i]);
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++)
        cr_expect(exists(in(dir, FILES[i])), "%s", FILES[i]);
    cr_expect_not(exists(in(dir, ".step-000000000003.tmp/shard-0.safetensors")), "the draft was ours");
    cr_expect_not(exists(in(dir, ".step-000000000004.tmp")), "so was all of this one");
    cr_expect_eq(durable_list(dir).count, 1);
}

Test(checkpoint, options_that_cannot_be)
{
    NEED_PROGRAMS("dp-server");
    static const char *const EVERY[] = {"0", "-1", "0s", "x", "5m", "1e30s", "", "3.5"};
    for (size_t i = 0; i < sizeof EVERY / sizeof *EVERY; i++) {
        struct run_result r = RUN(DURABLE_MS, "dp-server", "--model", "logistic", "--checkpoint-dir", temp_path("dir"),
                                  "--checkpoint-every", EVERY[i]);
        cr_expect_eq(r.status, 2, "--checkpoint-every '%s': %d", EVERY[i], r.status);
        cr_expect(strstr(r.err, "--checkpoint-every"), "'%s': %s", EVERY[i], r.err);
    }
    struct run_result r = RUN(DURABLE_MS, "dp-server", "--model", "logistic", "--checkpoint-dir", "/proc/none/dir");
    cr_expect_eq(r.status, 1);
    cr_expect(strstr(r.err, "option --checkpoint-dir: /proc/none/dir"), "%s", r.err);
}
