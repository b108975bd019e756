/* Checkpoints that are damaged are found, named, and not used. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/checkpoint/manifest.h"
#include "tests/integration/support/durable.h"
#include "tests/integration/support/harness.h"

TestSuite(damage, .init = harness_init, .fini = harness_fini, .timeout = 240);

/* The newest checkpoint is damaged: the one before is used. */
static void damaged(const char *half, const char *name, const char *file, long at, const char *says)
{
    const char *dir = durable_copy(half, name), *model = temp_path("model");
    struct durable_folder list = durable_list(dir);
    char want[128];
    const char *path = durable_file(dir, list.steps[list.count - 1], file);
    if (at >= 0)
        durable_flip(path, at);
    else
        cr_assert_eq(unlink(path), 0);
    struct run_result r = DURABLE_RUN(dir, model, "--checkpoint-every", "100");
    cr_assert_eq(r.status, 0, "%s: %s", name, r.err);
    cr_expect(strstr(r.err, path), "the file is named: %s", r.err);
    cr_expect(strstr(r.err, says), "'%s' is not in: %s", says, r.err);
    snprintf(want, sizeof want, "resumed at training step %" PRIu64 " of 600", list.steps[list.count - 2]);
    cr_expect(strstr(r.err, want), "'%s' is not in: %s", want, r.err);
    cr_expect_eq(durable_events(dir, "checkpoint-damaged"), 1);
    models_assert_same(durable_quiet_model(), model);
}

Test(damage, a_damaged_checkpoint_is_named_and_the_one_before_is_used)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *half = durable_half_done();
    damaged(half, "manifest", "manifest.json", 200, "a checkpoint is not used");
    damaged(half, "shard", "shard-0.safetensors", 3000, "a checkpoint is not used");
    damaged(half, "gone", "shard-0.safetensors", -1, "No such file");
    damaged(half, "no-manifest", "manifest.json", -1, "No such file");
}

Test(damage, a_folder_with_the_name_of_another_step_is_not_used)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *dir = durable_half_done(), *model = temp_path("model");
    struct durable_folder list = durable_list(dir);
    const char *renamed = durable_file(dir, 599, "");
    cr_assert_eq(rename(durable_file(dir, list.steps[0], ""), renamed), 0);
    struct run_result r = DURABLE_RUN(dir, model, "--checkpoint-every", "100");
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_expect(strstr(r.err, durable_file(dir, 599, "manifest.json")), "the folder is named: %s", r.err);
    cr_expect(strstr(r.err, "another's name"), "%s", r.err);
    models_assert_same(durable_quiet_model(), model);
}

Test(damage, no_job_begins_anew_in_silence)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *dir = durable_half_done(), *model = temp_path("model");
    struct durable_folder list = durable_list(dir);
    for (size_t i = 0; i < list.count; i++)
        durable_flip(durable_file(dir, list.steps[i], "manifest.json"), 100);
    struct run_result r = DURABLE_RUN(dir, model, "--checkpoint-every", "100");
    cr_expect_eq(r.status, 1);
    cr_expect(strstr(r.err, "none of them is whole"), "%s", r.err);
    cr_expect_neq(access(model, F_OK), 0);
    r = DURABLE_RUN(dir, model, "--checkpoint-every", "100", "--resume", "never");
    cr_expect_eq(r.status, 0, "%s", r.err);
    models_assert_same(durable_quiet_model(), model);
}

/* ---- each byte ---- */

static bool is_whole(const char *folder, dp_error *err)
{
    char path[HARNESS_PATH_MAX];
    struct manifest manifest = {0};
    (void)!snprintf(path, sizeof path, "%s/manifest.json", folder);
    dp_err e = manifest_read(path, &manifest, err);
    if (!e)
        e = manifest_verify(&manifest, folder, NULL, err);
    manifest_fini(&manifest);
    return e == DP_OK;
}

/* The fault is of this file. */
static void expect_fault(const char *folder, const char *file, const char *what, long at)
{
    dp_error err = {.code = DP_OK};
    cr_assert_not(is_whole(folder, &err), "%s: %s at %ld went unnoticed", file, what, at);
    cr_assert(strstr(err.text, file), "%s: %s at %ld: %s", file, what, at, err.text);
}

static void each_byte(const char *folder, const char *file)
{
    char path[HARNESS_PATH_MAX];
    struct stat st;
    (void)!snprintf(path, sizeof path, "%s/%s", folder, file);
    cr_assert_eq(stat(path, &st), 0);
    for (long at = 0; at < st.st_size; at++) {
        durable_flip(path, at);
        expect_fault(folder, file, "a byte that changed", at);
        durable_flip(path, at);
    }
    char *data = malloc((size_t)st.st_size);
    FILE *in = fopen(path, "r");
    cr_assert(data && in && fread(data, 1, (size_t)st.st_size, in) == (size_t)st.st_size);
    fclose(in);
    for (long at = 0; at < st.st_size; at += 512) {
        cr_assert_eq(truncate(path, at), 0);
        expect_fault(folder, file, "an end", at);
        FILE *out = fopen(path, "w");
        cr_assert(out && fwrite(data, 1, (size_t)st.st_size, out) == (size_t)st.st_size && fclose(out) == 0);
    }
    free(data);
}

Test(damage, each_byte_counts)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *dir = temp_path("dir");
    dp_error err = {.code = DP_OK};
    struct run_result r = RUN(DURABLE_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", "--model", "softmax",
                              "--local-workers", "1", "--data", durable_data(), "--exit-when-done", "--steps", "5",
                              "--optimizer", "momentum", "--checkpoint-dir", dir, "--shards", "2");
    cr_assert_eq(r.status, 0, "%s", r.err);
    const char *folder = durable_file(dir, 5, "");
    cr_assert(is_whole(folder, &err), "%s", err.text);
    each_byte(folder, "manifest.json");
    each_byte(folder, "shard-0.safetensors");
    each_byte(folder, "shard-1.safetensors");
    cr_assert(is_whole(folder, &err), "%s", err.text);
}
