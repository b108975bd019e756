/* dp-ctl export; see export.h. */
#include "worker/ctl/export.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/base/human.h"
#include "common/base/util.h"
#include "common/tensor/safetensors_peek.h"
#include "worker/ctl/request.h"

struct writing {
    const struct ctl_export *export;
    int fd;
    bool begun;
    struct ctl_exported exported;
};

/* The first bytes say what the model is: it is refused before a large one has come for nothing. */
static dp_err take(void *arg, const struct ctl_exported *facts, const void *bytes, size_t count, dp_error *err)
{
    struct writing *w = arg;
    dp_err e = w->begun ? DP_OK : safetensors_peek_replace(w->export->path, facts->complete, err);
    w->begun = true;
    return e ? e : file_write_all(w->fd, bytes, count, err);
}

/* file_replace's writer. */
static dp_err fetch(void *arg, int fd, dp_error *err)
{
    struct writing *w = arg;
    w->fd = fd;
    return ctl_request_export(w->export->server, w->export->timeout_ms, NULL, take, w, &w->exported, err);
}

static const char *kind(const struct ctl_exported *exported)
{
    return exported->diverged ? "parameters that diverged" : exported->complete ? "finished model" : "model so far";
}

static dp_err print(const struct ctl_export *export, const struct ctl_exported *exported, dp_error *err)
{
    char digest[20], size[HUMAN_MAX];
    snprintf(digest, sizeof digest, "%016" PRIx64, exported->digest);
    if (export->json) {
        json_t *line =
            json_pack("{s:s, s:b, s:I, s:s?, s:I, s:b, s:b}", "export", export->path, "on_server", export->on_server,
                      "bytes", (json_int_t)exported->bytes, "xxh3", export->on_server ? NULL : digest, "train_step",
                      (json_int_t)exported->train_step, "complete", exported->complete, "diverged", exported->diverged);
        if (line)
            json_dumpf(line, stdout, JSON_COMPACT);
        fputc('\n', stdout);
        json_decref(line);
    } else {
        printf("%s%s: the %s, of %" PRIu64 " training step%s, %sB\n", export->path,
               export->on_server ? " on the server" : "", kind(exported), exported->train_step,
               human_s(exported->train_step), human_count((double)exported->bytes, size));
    }
    return fflush(stdout) || ferror(stdout) ? dp_fail(err, DP_IO, "cannot write to stdout: %s", strerror(errno))
                                            : DP_OK;
}

dp_err ctl_export_run(const struct ctl_export *export, dp_error *err)
{
    struct writing w = {.export = export};
    dp_err e = DP_OK;
    if (export->on_server) {
        e = ctl_request_export(export->server, export->timeout_ms, export->path, NULL, NULL, &w.exported, err);
    } else {
        e = safetensors_peek_replace(export->path, true, err);
        if (!e)
            e = file_replace_check(export->path, err);
        if (!e)
            e = file_replace(export->path, fetch, &w, err);
    }
    return e ? e : print(export, &w.exported, err);
}
