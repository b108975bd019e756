/* Kinds of files at a path, and models that may take their place. */
#include <criterion/criterion.h>

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/tensor/safetensors.h"
#include "common/tensor/safetensors_peek.h"
#include "tests/unit/support/files.h"
#include "tests/unit/support/leaks.h"

static char folder[PATH_MAX];

static void setup(void)
{
    folder_make(folder);
    cr_assert_eq(chdir(folder), 0);
}

TestSuite(peek, .init = setup);

static const float *source(void *arg, uint64_t first, uint64_t count)
{
    (void)count;
    return (const float *)arg + first;
}

static void make_model(const char *path, const char *format, const char *complete, const char *diverged)
{
    struct tensors tensors = {0};
    struct safetensors_meta meta = {0};
    float theta[] = {1, 2};
    dp_error err;
    cr_assert_eq(tensors_add(&tensors, "weight", 1, (uint64_t[]){2}, INIT_ZEROS, 0, true, &err), DP_OK);
    if (format)
        cr_assert_eq(safetensors_meta_set(&meta, "format", "%s", format), DP_OK);
    if (complete)
        cr_assert_eq(safetensors_meta_set(&meta, "complete", "%s", complete), DP_OK);
    if (diverged)
        cr_assert_eq(safetensors_meta_set(&meta, "diverged", "%s", diverged), DP_OK);
    cr_assert_eq(safetensors_write(path, &tensors, 0, &meta, source, theta, 2, &err), DP_OK);
    safetensors_meta_fini(&meta);
}

static void make_text(const char *path, const char *text)
{
    file_make(path, text, strlen(text));
}

Test(peek, kinds)
{
    cr_assert_eq(safetensors_peek("none"), MODEL_AT_NONE);
    make_text("empty", "");
    cr_assert_eq(safetensors_peek("empty"), MODEL_AT_NONE);
    make_text("text", "my only copy");
    cr_assert_eq(safetensors_peek("text"), MODEL_AT_OTHER);
    make_text("short", "abc");
    cr_assert_eq(safetensors_peek("short"), MODEL_AT_OTHER);
    cr_assert_eq(mkdir("folder", 0700), 0);
    cr_assert_eq(safetensors_peek("folder"), MODEL_AT_OTHER);
    cr_assert_eq(mkfifo("pipe", 0600), 0);
    cr_assert_eq(safetensors_peek("pipe"), MODEL_AT_OTHER);
    make_model("foreign", NULL, "yes", NULL);
    cr_assert_eq(safetensors_peek("foreign"), MODEL_AT_OTHER);
    make_model("foreign", "pt", "no", NULL);
    cr_assert_eq(safetensors_peek("foreign"), MODEL_AT_OTHER);
    make_model("done", "dp-model-1", "yes", NULL);
    cr_assert_eq(safetensors_peek("done"), MODEL_AT_FINISHED);
    make_model("old", "dp-model-1", NULL, NULL); /* that does not say it */
    cr_assert_eq(safetensors_peek("old"), MODEL_AT_FINISHED);
    make_model("part", "dp-model-1", "no", NULL);
    cr_assert_eq(safetensors_peek("part"), MODEL_AT_UNFINISHED);
    make_model("nan", "dp-model-1", "yes", "yes"); /* as earlier versions wrote of a last step */
    cr_assert_eq(safetensors_peek("nan"), MODEL_AT_UNFINISHED);
    cr_assert_eq(symlink("done", "link"), 0);
    cr_assert_eq(safetensors_peek("link"), MODEL_AT_FINISHED);
    ASSERT_NO_LEAKS();
}

Test(peek, without_descriptors)
{
    struct rlimit limit, none;
    make_model("done", "dp-model-1", "yes", NULL);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = (struct rlimit){0, limit.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    enum model_at kind = safetensors_peek("done");
    dp_err e = safetensors_peek_replace("done", true, NULL);
    setrlimit(RLIMIT_NOFILE, &limit);
    cr_assert_eq(kind, MODEL_AT_UNKNOWN);
    cr_assert_eq(e, DP_OK, "a finished model is not lost for that");
}

Test(peek, what_replaces_what)
{
    dp_error err;
    make_text("text", "my only copy");
    make_model("done", "dp-model-1", "yes", NULL);
    make_model("part", "dp-model-1", "no", NULL);
    cr_assert_eq(safetensors_peek_replace("none", false, &err), DP_OK);
    cr_assert_eq(safetensors_peek_replace("part", false, &err), DP_OK);
    cr_assert_eq(safetensors_peek_replace("part", true, &err), DP_OK);
    cr_assert_eq(safetensors_peek_replace("done", true, &err), DP_OK);
    cr_assert_eq(safetensors_peek_replace("done", false, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "done: is a finished model"), "%s", err.text);
    cr_assert_eq(safetensors_peek_replace("text", true, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "text: is a file that is no model of dp"), "%s", err.text);
    cr_assert_eq(safetensors_peek_replace("/", true, &err), DP_IO);
    cr_assert_str_eq(err.text, "/: is a folder: name a file, or move the folder away");
}

/* Nobody is told to move a device away, or that a path that leads nowhere is a file. */
Test(peek, refusals_name_what_is_there)
{
    dp_error err;
    make_text("text", "my only copy");
    cr_assert_eq(safetensors_peek_replace("/dev/full", true, &err), DP_IO);
    cr_assert_str_eq(err.text, "/dev/full: is a device or a pipe, give a file name");
    cr_assert_eq(mkfifo("pipe", 0600), 0);
    cr_assert_eq(safetensors_peek_replace("pipe", true, &err), DP_IO);
    cr_assert_str_eq(err.text, "pipe: is a device or a pipe, give a file name");
    cr_assert_eq(safetensors_peek_replace("text/model", true, &err), DP_IO);
    cr_assert_str_eq(err.text, "text/model: cannot be written: Not a directory");
    char name[400];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    cr_assert_eq(safetensors_peek_replace(name, true, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "n: cannot be written: File name too long"), "%s", err.text);
    ASSERT_NO_LEAKS();
}

Test(peek, unreadable_file_is_said_to_be_unreadable)
{
    dp_error err;
    if (geteuid() == 0 && seteuid(65534))
        cr_skip_test("root reads every file, and cannot be another user here");
    cr_assert_eq(safetensors_peek_replace("/etc/shadow", true, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "/etc/shadow: is a file that cannot be read"), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "(Permission denied)"), "%s", err.text);
}

static void assert_goes_to(const char *path, const char *want)
{
    char buf[64];
    dp_error err;
    cr_assert_eq(safetensors_peek_unfinished(path, "stopped", buf, sizeof buf, &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(buf, want);
}

Test(peek, where_an_unfinished_model_goes)
{
    char buf[12];
    dp_error err;
    assert_goes_to("m", "m");
    make_model("m", "dp-model-1", "no", NULL);
    assert_goes_to("m", "m");
    make_model("m", "dp-model-1", "yes", NULL);
    assert_goes_to("m", "m.stopped");
    make_model("m.stopped", "dp-model-1", "no", "yes");
    assert_goes_to("m", "m.stopped");
    make_text("m.stopped", "a note");
    assert_goes_to("m", "m.stopped.1");
    make_model("m.stopped.1", "dp-model-1", "yes", NULL);
    assert_goes_to("m", "m.stopped.2");
    cr_assert_eq(safetensors_peek_unfinished("m", "diverged", buf, sizeof buf, &err), DP_OK);
    cr_assert_str_eq(buf, "m.diverged");
    cr_assert_eq(safetensors_peek_unfinished("m", "diverged", buf, 8, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "too long"), "%s", err.text);
}
