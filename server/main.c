/* dp-server: reads its options and runs the head. Thread: head. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/entropy.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/output.h"
#include "common/base/process.h"
#include "common/kernels/kernels.h"
#include "common/options/early.h"
#include "proto/frame.h"
#include "server/head/head.h"
#include "server/options/check.h"
#include "server/show/progress.h"

enum { FILES_SELF = 32, FILES_PER_SHARD = 32, FILES_PER_LOCAL_WORKER = 8 };

/* The server's own files, and for each local worker a pipe and its connections to head and shards: a shard's lanes, and
 * one more where memory is shared. */
static uint64_t files_needed(const struct server_options *opts)
{
    return FILES_SELF + opts->shards * FILES_PER_SHARD +
           opts->local_workers * (FILES_PER_LOCAL_WORKER + (FRAME_LANES + 1) * opts->shards);
}

static dp_err set_up(const struct server_options *opts, dp_error *err)
{
    static const char *const KERNELS[] = {"auto", "ref", "avx2", "avx512"};
    mem_keep();
    log_init("dp-server", (enum log_level)opts->log_level);
    srand((unsigned)entropy_u64()); /* of libzmq's routing ids, which nobody is to foretell */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit on the size of files is to be told as an error */
    if (output_start("dp-server", opts->json, err))
        return err->code;
    /* Local workers inherit the environment, but the server's file is not theirs. */
    unsetenv("DP_CONFIG");
    dp_err e = descriptors_ensure(files_needed(opts), err);
    return e ? e : kernels_select(KERNELS[opts->kernels], err);
}

static int failed(const dp_error *err, bool json)
{
    int status = dp_err_exit_status(err->code);
    fprintf(stderr, "dp-server: %s\n", err->text);
    if (json)
        progress_failed_json(err->text, status, stdout);
    return status;
}

/* A reader of --json must not take half of a run for a whole one. */
static int output_status(const struct server_options *opts, int status)
{
    dp_error err;
    if (!output_end_json(&err) || !opts->json)
        return status;
    fprintf(stderr, "dp-server: %s\n", err.text);
    return status ? status : dp_err_exit_status(err.code);
}

int main(int argc, char **argv)
{
    struct options given;
    struct server_options opts = {0};
    enum option_outcome outcome;
    dp_error err;
    stdio_reserve();
    if (options_parse(&given, &server_option_table, &opts, argc, argv, &outcome, &err))
        return failed(&err, options_flag_early("json", argc, argv));
    int status = 0;
    if (outcome == OPT_RUN) {
        options_env_check(&server_option_table, stderr);
        dp_err e = server_options_check(&given, &opts, &err);
        if (!e)
            e = set_up(&opts, &err);
        status = output_status(&opts, e ? failed(&err, opts.json) : head_run(&opts));
    }
    server_options_fini(&opts);
    options_fini(&given);
    output_end();
    return status;
}
