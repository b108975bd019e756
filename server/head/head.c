/* The head's start and end: sockets, shards, local workers, the loop. The invariants are in
 * server/talk/shared.h. Thread: head. */
#include "server/head/head.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/closer.h"
#include "common/base/file.h"
#include "common/base/human.h"
#include "common/base/log.h"
#include "common/base/process.h"
#include "common/base/text.h"
#include "common/net/transport.h"
#include "common/net/zuv_bind.h"
#include "common/net/zuv_term.h"
#include "server/assign/balance.h"
#include "server/assign/deal.h"
#include "server/assign/drop.h"
#include "server/assign/gate.h"
#include "server/assign/guests.h"
#include "server/assign/lease.h"
#include "server/assign/owed.h"
#include "server/assign/ranks.h"
#include "server/assign/stall.h"
#include "server/head/answers.h"
#include "server/head/control.h"
#include "server/head/counters.h"
#include "server/head/loop.h"
#include "server/head/messages.h"
#include "server/head/resume.h"
#include "server/head/steps.h"
#include "server/head/sums.h"
#include "server/head/warm.h"
#include "server/result/checkpoint.h"
#include "server/result/closing.h"
#include "server/result/doubts.h"
#include "server/result/fetch.h"
#include "server/result/save.h"
#include "server/save/export.h"
#include "server/seats/local_shards.h"
#include "server/talk/crowd.h"
#include "server/talk/guard.h"
#include "server/talk/journal.h"
#include "server/talk/leave.h"
#include "server/talk/news.h"
#include "server/talk/post.h"
#include "server/talk/shared.h"
#include "server/zmtp/accept_spare.h"
#include "server/zmtp/gate.h"
#include "server/zmtp/tcp.h"

enum {
    THREADS_WRITER = 1,
    WARNINGS_PER_S = 5,
    LINES_PER_S = 100, /* about workers that come and go */
    ZMQ_SOCKETS_MAX = 8192,
    HOST_MAX = 256,
    RECEIVE_QUEUE = 64, /* messages of a peer that wait to be read, each up to HEAD_FRAME_MAX */
    HEAD_FRAME_MAX = FRAME_HEADER_BYTES_MAX + 4096,
};

/* ---- local workers ---- */

/* A worker elsewhere may have the same number of a process. */
static void on_worker_died(void *arg, const char *name, uint32_t pid)
{
    struct head *head = arg;
    struct member *member = members_by_process(&head->members, name, pid);
    if (member)
        head_fence(head, member, "its process ended");
}

static void on_workers_gave_up(void *arg, const dp_error *err)
{
    head_fail(arg, err);
}

static dp_err start_workers(struct head *head, dp_error *err)
{
    struct supervise_calls calls = {on_worker_died, on_workers_gave_up, head_on_supervise_ended, head};
    if (head->opts->local_workers == 0 || head_resume_finished(head))
        return DP_OK;
    return supervise_start(&head->loop, head->opts, head->endpoint, &calls, &head->supervise, err);
}

/* ---- start ---- */

static dp_err open_socket(struct head *head, void **ret_socket, dp_error *err)
{
    void *socket = zmq_socket(head->zmq, ZMQ_ROUTER);
    if (!socket)
        return dp_fail(err, DP_SYSTEM, "cannot make a socket: %s", zmq_strerror(zmq_errno()));
    int yes = 1, linger_ms = 500, queue = RECEIVE_QUEUE;
    int64_t largest = HEAD_FRAME_MAX;
    zmq_setsockopt(socket, ZMQ_ROUTER_MANDATORY, &yes, sizeof yes);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_setsockopt(socket, ZMQ_RCVHWM, &queue, sizeof queue);
    zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &largest, sizeof largest);
    gate_listening(true);
    dp_err e = zuv_bind(socket, head->opts->listen, head->endpoint, sizeof head->endpoint, err);
    gate_listening(false);
    if (e) {
        zmq_close(socket);
        return e;
    }
    *ret_socket = socket;
    return DP_OK;
}

static dp_err start_shards(struct head *head, dp_error *err)
{
    const char *dir = head->opts->checkpoints.dir;
    const struct local_head own = {.opts = head->opts,
                                   .zmq = head->zmq,
                                   .wake = &head->wake,
                                   .endpoint = head->endpoint,
                                   .post = head->talk.post,
                                   .checkpoints = dir ? &head->checkpoints->folder : NULL,
                                   .writer = head->checkpoints->writer,
                                   .incarnation = head->job.incarnation};
    dp_err e = local_shards_start(&head->seats, &own, err);
    if (!e && head->talk.post)
        (void)str_copy(head->endpoint, sizeof head->endpoint, seats_at(&head->seats, 0)->endpoint);
    return e;
}

static dp_err write_endpoint(void *arg, int fd, dp_error *err)
{
    struct head *head = arg;
    char line[ZUV_ENDPOINT_MAX + 1];
    int n = snprintf(line, sizeof line, "%s\n", head->endpoint);
    return file_write_all(fd, line, (size_t)n, err);
}

static dp_err check_output(const struct server_options *opts, const char *option, const char *path, dp_error *err)
{
    if (file_replace_check(path, err))
        return dp_fail(err, DP_IO, "option --%s: %.500s", option, err->text);
    return data_options_check_output(&opts->data, option, path, err);
}

static dp_err check_files(struct head *head, dp_error *err)
{
    const struct server_options *opts = head->opts;
    const char *export = opts->export_path, *port = opts->port_file;
    dp_err e = DP_OK;
    if (export)
        e = check_output(opts, "export", export, err);
    if (!e && export)
        e = head_export_check(head, err);
    if (!e && port)
        e = check_output(opts, "port-file", port, err);
    if (!e && export && port && file_same(export, port))
        e = dp_fail(err, DP_IO, "options --export and --port-file: both are %.400s; name another file for one", port);
    const char *secret = opts->secret_file;
    if (!e && secret && ((export && file_same(export, secret)) || (port && file_same(port, secret))))
        e = dp_fail(err, DP_IO, "option --secret-file: %.400s is written by another option; name another file", secret);
    return e ? e : data_options_check_files(&opts->data, err);
}

static dp_err allocate(struct head *head, dp_error *err)
{
    head->numbers = mem_array(SESSIONS_MAX, sizeof *head->numbers);
    if (!head->numbers || members_init(&head->members) || head_balance_init(head))
        return dp_fail(err, DP_NOMEM, "out of memory for the server");
    return job_init(&head->job, head->opts, err);
}

static dp_err start_socket(struct head *head, dp_error *err)
{
    void *socket = NULL;
    dp_err e = open_socket(head, &socket, err);
    if (e)
        return e;
    e = zuv_init(&head->talk.zuv, &head->loop, socket, head_on_message, head, err);
    if (e)
        zmq_close(socket);
    head->talk.zuv_started = e == DP_OK;
    return e;
}

/* Connections of a session: to the head, to each shard, and the same again while it makes them anew. */
static uint32_t session_files(const struct head *head)
{
    return 2 * (2 + FRAME_LANES * (uint32_t)head->opts->shards);
}

/* The sockets and shards are there: the job goes on where there is a checkpoint of it. */
static dp_err begin_job(struct head *head, dp_error *err)
{
    log_info("listening endpoint=%s shards=%u", head->endpoint, head->seats.count);
    head_journal(head, "started",
                 json_pack("{s:s, s:s, s:I, s:o}", "version", DP_VERSION_TEXT, "endpoint", head->endpoint, "shards",
                           (json_int_t)head->seats.count, "init_from", head_warm_json(head)));
    return head_resume(head, err);
}

/* With one shard there is one port: that shard's, which passes on what is for the head. */
static dp_err start(struct head *head, dp_error *err)
{
    dp_err e = check_files(head, err);
    if (!e)
        e = allocate(head, err);
    if (!e)
        e = head_guard_start(head, err);
    if (!e)
        e = export_pool_start(&head->loop, err);
    if (!e)
        e = closer_start(err);
    if (!e)
        e = threads_ensure(THREADS_ZMQ + (head->opts->checkpoints.dir ? THREADS_WRITER : 0), err);
    if (e)
        return e;
    head_loop_start(head);
    e = head_control_start(head, err);
    if (!e)
        e = head_checkpoint_start(head, err);
    if (!e)
        e = head_resume_choose(head, err);
    if (!e)
        e = head_warm_open(head, err);
    if (e)
        return e;
    gate_start(descriptors_limit(), session_files(head));
    e = head->opts->shards == 1 ? head_post_start(head, err) : start_socket(head, err);
    if (e)
        return e;
    accept_spare_start();
    e = start_shards(head, err);
    head_crowd_start(head);
    if (!e)
        e = begin_job(head, err);
    if (!e && head->opts->port_file && file_replace(head->opts->port_file, write_endpoint, head, err))
        e = dp_fail_in(err, "option --port-file");
    return e ? e : start_workers(head, err);
}

/* The endpoint is empty if the server could not listen. */
static void remove_socket(const struct head *head)
{
    const char *rest;
    const struct transport *way = transport_of(head->endpoint, &rest);
    if (way && way->clean)
        way->clean(rest);
}

/* The state of all modules. */
struct whole {
    struct head head;
    struct deals deals;
    struct balance balance;
    struct storm storm;
    struct lease lease;
    struct ranks ranks;
    struct drop drop;
    struct owed owed;
    struct stall stall;
    struct steps_state steps;
    struct sums sums;
    struct control control;
    struct saving saving;
    struct checkpoints checkpoints;
    struct doubts doubts;
    struct status_text status;
    struct ending ending;
    struct loop_handles handles;
};

static void join_modules(struct whole *all)
{
    struct head *head = &all->head;
    head->deals = &all->deals;
    head->balance = &all->balance;
    head->storm = &all->storm;
    head->lease = &all->lease;
    head->ranks = &all->ranks;
    head->drop = &all->drop;
    head->owed = &all->owed;
    head->stall = &all->stall;
    head->steps = &all->steps;
    head->sums = &all->sums;
    head->control = &all->control;
    head->saving = &all->saving;
    head->checkpoints = &all->checkpoints;
    head->doubts = &all->doubts;
    head->status = &all->status;
    head->ending = &all->ending;
    head->handles = &all->handles;
}

static void free_all(struct head *head)
{
    head_status_stale(head);
    zuv_term(head->zmq);
    gate_stop();
    accept_spare_stop();
    remove_socket(head);
    head_export_fini(head);
    head_fetch_fini(head);
    seats_fini(&head->seats);
    head_post_fini(head);
    supervise_free(&head->supervise);
    head_sums_stop(head);
    head_gate_stop(head);
    head_owed_stop(head);
    head_deal_stop(head);
    head_balance_fini(head);
    members_fini(&head->members);
    job_fini(&head->job);
    head_warm_close(head);
    head_checkpoint_fini(head);
    guard_free(&head->guard);
    arena_fini(&head->talk.arena);
    progress_fini(&head->progress);
    free(head->numbers);
}

/* Log lines take the live line off the terminal for a moment. There is one head in a process. */
static struct progress *shown;

static void hide_progress(void)
{
    progress_hide(shown);
}

static void show_progress(void)
{
    progress_show(shown);
}

static void announce(const struct head *head)
{
    if (head->opts->quiet || head->opts->json || head_resume_finished(head))
        return;
    if (!head->opts->export_path)
        fprintf(stderr, "dp-server: the model will not be written: there is no --export FILE\n");
    if (head->opts->local_workers) {
        fprintf(stderr, "dp-server: listening on %s, with %" PRIu64 " local worker%s\n", head->endpoint,
                head->opts->local_workers, human_s(head->opts->local_workers));
        return;
    }
    char name[HOST_MAX] = {0};
    const char *host = head->opts->advertise;
    /* Workers elsewhere cannot use these. */
    bool is_any = strstr(head->endpoint, "//0.0.0.0:") || strstr(head->endpoint, "//[::]:");
    if (!host && is_any && gethostname(name, sizeof name - 1) == 0 && name[0])
        host = name;
    fprintf(stderr, "dp-server: listening on %s, waiting for workers: dp-worker --server ", head->endpoint);
    if (host) {
        char at[ENDPOINT_TEXT_MAX];
        const char *rest;
        transport_of(head->endpoint, &rest)->at_host(rest, host, at, sizeof at);
        fprintf(stderr, "%s --data FILE\n", at);
    } else {
        fprintf(stderr, "%s --data FILE\n", head->endpoint);
    }
}

/* Runs the loop until everything on it is closed. */
static void run(struct head *head)
{
    dp_error err;
    if (start(head, &err)) {
        fprintf(stderr, "dp-server: %s\n", err.text);
        head->exit_status = dp_err_exit_status(err.code);
        head_ends_with(head, "failed", err.text);
        head_close(head);
    } else {
        announce(head);
    }
    uv_run(&head->loop, UV_RUN_DEFAULT);
    uv_loop_close(&head->loop);
    if (head->opts->verbose)
        head_print_counters(head, stderr);
}

int head_run(const struct server_options *opts)
{
    AUTOFREE struct whole *all = mem_array_zero(1, sizeof *all);
    struct head *head = all ? &all->head : NULL;
    if (!head || uv_loop_init(&head->loop)) {
        fprintf(stderr, "dp-server: out of memory\n");
        if (opts->json)
            progress_failed_json("out of memory", 1, stdout);
        return 1;
    }
    join_modules(all);
    head->opts = opts;
    head->saving->held = -1;
    head->started_ms = mono_ms();
    head->talk.malformed_limit.per_second = head->talk.peer_limit.per_second = WARNINGS_PER_S;
    head->talk.info_limit.per_second = LINES_PER_S;
    head->zmq = zmq_ctx_new();
    zmq_ctx_set(head->zmq, ZMQ_MAX_SOCKETS, ZMQ_SOCKETS_MAX);
    progress_init(&head->progress, progress_mode_for(opts->json, opts->quiet, stderr), stderr, stdout);
    shown = &head->progress;
    log_set_display(hide_progress, show_progress);
    run(head);
    log_set_display(NULL, NULL);
    free_all(head);
    return head->exit_status;
}
