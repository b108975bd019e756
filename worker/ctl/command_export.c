/* dp-ctl export: the model of the running job as a file, here or on the server's host. Thread: main. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "common/base/file.h"
#include "common/base/human.h"
#include "common/tensor/safetensors_peek.h"
#include "worker/ctl/command.h"
#include "worker/ctl/fetch.h"

struct writing {
    struct ctl_connection *connection;
    const char *path;
    int fd;
    bool begun;
    struct ctl_exported exported;
};

/* The first bytes say what the model is: it is refused before a large one has come for nothing. */
static dp_err take(void *arg, const struct ctl_exported *facts, const void *bytes, size_t count, dp_error *err)
{
    struct writing *w = arg;
    dp_err e = w->begun ? DP_OK : safetensors_peek_replace(w->path, facts->complete, err);
    w->begun = true;
    return e ? e : file_write_all(w->fd, bytes, count, err);
}

/* file_replace's writer. */
static dp_err fetch(void *arg, int fd, dp_error *err)
{
    struct writing *w = arg;
    w->fd = fd;
    return ctl_fetch(w->connection, NULL, take, w, &w->exported, err);
}

static const char *kind(const struct ctl_exported *exported)
{
    return exported->diverged ? "parameters that diverged" : exported->complete ? "finished model" : "model so far";
}

static void print(const struct ctl_call *call, const char *path, const struct ctl_exported *exported)
{
    char digest[20], size[HUMAN_MAX];
    snprintf(digest, sizeof digest, "%016" PRIx64, exported->digest);
    if (call->json) {
        json_t *line =
            json_pack("{s:s, s:b, s:I, s:s?, s:I, s:b, s:b}", "export", path, "on_server", call->on_server, "bytes",
                      (json_int_t)exported->bytes, "xxh3", call->on_server ? NULL : digest, "train_step",
                      (json_int_t)exported->train_step, "complete", exported->complete, "diverged", exported->diverged);
        if (line)
            json_dumpf(line, stdout, JSON_COMPACT);
        fputc('\n', stdout);
        json_decref(line);
    } else {
        printf("%s%s: the %s, of %" PRIu64 " training step%s, %sB\n", path, call->on_server ? " on the server" : "",
               kind(exported), exported->train_step, human_s(exported->train_step),
               human_count((double)exported->bytes, size));
    }
}

/* The file is replaced as a whole, by bytes that were checked; a model that is not finished does not replace one that
 * is, and what is no model is not replaced. */
static dp_err fetch_file(struct writing *w, dp_error *err)
{
    dp_err e = safetensors_peek_replace(w->path, true, err);
    if (!e)
        e = file_replace_check(w->path, err);
    return e ? e : file_replace(w->path, fetch, w, err);
}

static dp_err run(const struct ctl_call *call, dp_error *err)
{
    const char *path = call->words[0];
    struct writing w = {.connection = call->connection, .path = path};
    if (!path || !path[0])
        return dp_fail(err, DP_USAGE, "export where to? dp-ctl export FILE");
    dp_err e = call->on_server ? ctl_fetch(call->connection, path, NULL, NULL, &w.exported, err) : fetch_file(&w, err);
    if (!e)
        print(call, path, &w.exported);
    return e;
}

const struct ctl_command ctl_export = {
    .name = "export",
    .uses = {{"export FILE", "writes the model of the running job as safetensors"}},
    .words_max = 1,
    .on_server = true,
    .run = run,
};
