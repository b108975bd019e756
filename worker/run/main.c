/* dp-worker: reads its options and trains, predicts, evaluates or inspects. Thread: main. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/output.h"
#include "common/base/process.h"
#include "common/kernels/kernels.h"
#include "common/kernels/numerics.h"
#include "common/options/early.h"
#include "worker/model/inspect.h"
#include "worker/model/predict.h"
#include "worker/run/options.h"
#include "worker/run/report_end.h"
#include "worker/run/train.h"

static volatile int stop;
static volatile sig_atomic_t stop_signal;
static struct report_totals totals;

/* A signal that comes between a look at `stop` and a blocking call would not end that call: another one does. */
static void on_alarm(int number)
{
    (void)number;
    alarm(1);
}

static void on_signal(int number)
{
    stop_signal = number;
    stop = 1;
    alarm(1);
}

/* The first process of a container gets all that lose their parent. It has no children of its own to wait for: the
 * kernel reaps those that end from now on, and those that have ended are reaped here. */
static void reap_orphans(void)
{
    if (getpid() != 1)
        return;
    signal(SIGCHLD, SIG_IGN);
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

static void catch_signals(enum worker_command command)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    struct sigaction before; /* nohup has it ignored */
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &action, NULL);
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_alarm}, NULL);
    reap_orphans();
    signal(SIGXFSZ, SIG_IGN); /* a limit on the size of files is to be told as an error */
    /* predict | head ends in silence, as other filters do. */
    if (command == WORKER_TRAIN)
        signal(SIGPIPE, SIG_IGN);
}

/* The parent may have ended before the kernel was asked to tell us: then another has taken its place. */
static dp_err watch_parent(pid_t parent, dp_error *err)
{
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) || getppid() != parent)
        return dp_fail(err, DP_STOPPED, "the process that started this one has ended");
    return DP_OK;
}

static dp_err run_train(const struct worker_options *o, dp_error *err)
{
    if (o->parent_pid && watch_parent((pid_t)o->parent_pid, err))
        return err->code;
    struct train_options train = {
        .server = o->server,
        .name = o->name,
        .connect_timeout_s = o->connect_timeout_s,
        .server_timeout_s = o->server_timeout_s,
        .shm = (dp_shm)o->shm,
        .secret_file = o->secret_file,
        .data = o->data,
        .emulate_slower = o->emulate_slower,
        .quiet = o->quiet,
        .json = o->json,
        .stop = &stop,
        .totals = &totals,
    };
    return train_run(&train, err);
}

static struct data_source source_of(const struct worker_options *o)
{
    return (struct data_source){.path = o->data.data,
                                .format = (enum data_format)o->data.format,
                                .header = (enum data_header)o->data.header,
                                .label_column = o->data.label_column,
                                .ignore = o->data.ignore,
                                .extra_ignored = o->data.extra_features == 1,
                                .labels_path = o->data.labels,
                                .unlabelled = o->no_labels,
                                .stop = &stop};
}

static dp_err run_eval(const struct worker_options *o, struct eval_options *eval, dp_error *err)
{
    struct model_terms terms;
    dp_err e = model_terms_init(&terms, &o->l1, &o->l2, &o->group_lasso, o->group_size, &o->constraint, err);
    if (e)
        return e;
    eval->terms = &terms;
    e = eval_run(eval, err);
    eval->terms = NULL;
    model_terms_fini(&terms);
    return e;
}

static dp_err run(enum worker_command command, const struct worker_options *o, dp_error *err)
{
    struct eval_options eval = {
        .model_path = o->model, .source = source_of(o), .json = o->json, .quiet = o->quiet, .stop = &stop};
    struct predict_options predict = {.model_path = o->model,
                                      .source = source_of(o),
                                      .output = o->output,
                                      .scores = o->scores,
                                      .json = o->json,
                                      .quiet = o->quiet,
                                      .stop = &stop};
    dp_err e = data_options_check_files(&o->data, err);
    if (e)
        return e;
    switch (command) {
    case WORKER_TRAIN:
        return run_train(o, err);
    case WORKER_EVAL:
        return run_eval(o, &eval, err);
    case WORKER_INSPECT:
        return inspect_run(&(struct inspect_options){o->model, o->json, o->quiet, &stop}, err);
    case WORKER_PREDICT:
        break;
    }
    return predict_run(&predict, err);
}

/* Only what trains must not wait for its readers: what filters data waits for them, as other filters do. */
static dp_err set_up(enum worker_command command, const struct worker_options *o, dp_error *err)
{
    static const char *const KERNELS[] = {"auto", "ref", "avx2", "avx512"};
    log_init("dp-worker", (enum log_level)o->log_level);
    if (command == WORKER_TRAIN && output_start("dp-worker", o->json, err))
        return err->code;
    blas_init();
    dp_err e = descriptors_ensure(0, err); /* as many as it may have */
    if (e)
        return e;
    e = kernels_select(KERNELS[o->kernels], err);
    (void)numerics_fingerprint(); /* made once, before threads start */
    return e;
}

/* A reader of --json must not take half of a run for a whole one. */
static dp_err check_output(const struct worker_options *o, dp_error *err)
{
    return o->json ? output_end_json(err) : DP_OK;
}

/* OpenBLAS starts threads of its own when it is loaded, and waits for them at the end of a process. If the
 * address space is limited, they ask for their buffers for ever. So the process ends without that. */
static int leave(int status)
{
    dp_error err;
    if (output_end_json(&err) && status == 0)
        status = dp_err_exit_status(err.code);
    output_end();
#if !defined(__SANITIZE_ADDRESS__) /* it looks for leaks at the end */
    fflush(NULL);
    _exit(status);
#endif
    return status;
}

/* Tells what went wrong, in the form that was asked for. */
static int failed(const dp_error *err, bool json)
{
    int status = stop_signal ? 128 + stop_signal : dp_err_exit_status(err->code);
    fprintf(stderr, "dp-worker: %s\n", err->text);
    if (json)
        report_end(stdout, err, stop_signal, status, &totals);
    return status;
}

int main(int argc, char **argv)
{
    struct options given;
    struct worker_options opts = {0};
    enum option_outcome outcome;
    enum worker_command command = WORKER_TRAIN;
    dp_error err = {0};
    stdio_reserve();
    mem_keep();
    dp_err e = options_parse(&given, &worker_option_table, &opts, argc, argv, &outcome, &err);
    if (e)
        return leave(failed(&err, options_flag_early("json", argc, argv)));
    if (outcome == OPT_RUN) {
        if (!opts.parent_pid) /* a local worker's environment is its server's, which has said it */
            options_env_check(&worker_option_table, stderr);
        e = worker_options_check(&given, &opts, &command, &err);
        if (!e)
            e = set_up(command, &opts, &err);
        catch_signals(command);
        if (!e)
            e = run(command, &opts, &err);
        if (!e && command == WORKER_PREDICT && opts.json && opts.output)
            report_end_done(stdout);
        if (!e)
            e = check_output(&opts, &err);
    }
    options_fini(&given);
    return leave(e ? failed(&err, opts.json) : 0);
}
