/* The head's life: states, steps that become complete, the end. The invariants are in head.h. Thread: head. */
#include "head.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

enum {
    TICK_MS = 250,
    SAME_SIGNAL_MS = 300, /* a shell may send a signal to the process and to its group */
    LEAVE_MS = 5000,      /* after DONE, how long workers have to say goodbye */
    STOP_LEAVE_MS = 2000, /* after STOPPING */
    WARNINGS_PER_S = 5,
    ZMQ_SOCKETS_MAX = 8192,
    HOST_MAX = 256,
    RECEIVE_QUEUE = 64, /* messages of a peer that wait to be read, each up to HEAD_FRAME_MAX */
    HEAD_FRAME_MAX = FRAME_HEADER_BYTES_MAX + 4096,
};

/* ---- closing ---- */

/* The last thing on the loop: with its handles closed, uv_run returns. */
static void close_handles(struct head *head)
{
    for (uint32_t p = 0; p < head->port_count; p++)
        port_stop(&head->ports[p]);
    if (head->zuv_started)
        zuv_close(&head->zuv, NULL);
    if (!head->handles_started)
        return;
    uv_close((uv_handle_t *)&head->wake, NULL);
    uv_close((uv_handle_t *)&head->tick, NULL);
    uv_close((uv_handle_t *)&head->on_term, NULL);
    uv_close((uv_handle_t *)&head->on_int, NULL);
}

static void on_supervise_ended(void *arg)
{
    close_handles(arg);
}

static void close_all(struct head *head)
{
    if (head->state == HEAD_CLOSING)
        return;
    head->state = HEAD_CLOSING;
    if (head->supervise)
        supervise_end(head->supervise);
    else
        close_handles(head);
}

void head_stop(struct head *head, int exit_status, const char *text)
{
    if (head->state == HEAD_STOPPING || head->state == HEAD_CLOSING)
        return;
    head->exit_status = exit_status;
    head->state = HEAD_STOPPING;
    head->ended_ms = mono_ms();
    if (head->supervise)
        supervise_expect_end(head->supervise);
    head_notice(head, DP_SHUTDOWN, text);
}

void head_fail(struct head *head, const dp_error *err)
{
    if (head->state == HEAD_STOPPING || head->state == HEAD_CLOSING)
        return;
    progress_end(&head->progress);
    fprintf(stderr, "dp-server: %s\n", err->text);
    head_stop(head, dp_err_exit_status(err->code), err->text);
}

/* ---- export ---- */

/* What somebody who left an option out may wonder at. */
static void print_end(const struct server_options *opts)
{
    if (opts->quiet || opts->json)
        return;
    if (!opts->export_path)
        fprintf(stderr, "dp-server: the model was not written: there was no --export FILE\n");
    if (!opts->exit_when_done)
        fprintf(stderr, "dp-server: still here for dp-ctl status until Ctrl-C; --exit-when-done ends by itself\n");
}

static void finish(struct head *head, bool exported)
{
    if (head->state != HEAD_EXPORTING)
        return;
    head->state = HEAD_DONE;
    head->ended_ms = mono_ms();
    progress_done(&head->progress, head->ended_ms,
                  &(struct run_summary){.path = exported ? head->opts->export_path : NULL});
    print_end(head->opts);
    head_notice(head, DP_JOB_DONE, "the job is done");
}

/* A server that is being stopped has its status already, but must not end as if the model were there. */
static void export_failed(struct head *head, const dp_error *err)
{
    head->exporting = false;
    export_free(&head->export);
    if (head->state != HEAD_STOPPING) {
        head_fail(head, err);
        return;
    }
    fprintf(stderr, "dp-server: %s\n", err->text);
    head->exit_status = dp_err_exit_status(err->code);
}

static void on_exported(void *arg, const dp_error *err)
{
    struct head *head = arg;
    if (err->code) {
        export_failed(head, err);
        return;
    }
    head->exporting = false;
    if (head->state == HEAD_EXPORTING)
        finish(head, true);
    else
        fprintf(stderr, "dp-server: %s %s\n",
                head->export_step == plan_total(&head->job.core.plan)
                    ? "the finished model is in"
                    : "the parameters so far (not the finished model) are in",
                head->opts->export_path);
}

/* Asks the shards for their parts of theta at a step that all of them hold. */
static void export_at(struct head *head, uint64_t step)
{
    dp_error err;
    if (head->exporting)
        return;
    if (export_new(&head->job, head->opts->export_path, step, &head->export, &err)) {
        export_failed(head, &err);
        return;
    }
    head->exporting = true;
    head->export_step = step;
    for (uint32_t p = 0; p < head->port_count; p++)
        if (!port_send(&head->ports[p], &(struct command){.kind = COMMAND_PIN, .step = step})) {
            (void)dp_fail(&err, DP_BUSY, "shard %u has too much to do for the export", p);
            export_failed(head, &err);
            return;
        }
}

static void on_pinned(struct head *head, uint32_t shard, struct event *event)
{
    if (!head->export) {
        for (uint32_t i = 0; event->pinned && i < head->job.shards[shard].slice_count; i++)
            if (event->pinned[i])
                version_release(event->pinned[i]);
        free(event->pinned);
        return;
    }
    export_add(head->export, shard, event->pinned);
    if (export_whole(head->export))
        export_start(&head->export, &head->loop, on_exported, head);
}

/* ---- steps ---- */

/* A loss that is no number stays so. */
static void watch_loss(struct head *head, const struct plan_step *at, double loss)
{
    if (head->diverged || isfinite(loss))
        return;
    head->diverged = true;
    log_warn("training-diverged train_step=%" PRIu64 " action=\"stop it and use a smaller --lr\"", at->train_step);
}

static void report_step(struct head *head, uint64_t step)
{
    struct plan_step at = plan_at(&head->job.core.plan, step);
    const struct metrics *m = &head->metrics[step % SLICE_VERSIONS];
    watch_loss(head, &at, m->loss);
    if (at.kind == PLAN_EVAL)
        progress_eval(&head->progress, mono_ms(), at.epoch, m->loss, m->count, m->correct);
    else
        progress_step(&head->progress, mono_ms(), at.epoch, at.train_step, m->loss, m->count, m->correct);
}

static void steps_over(struct head *head)
{
    head->state = HEAD_EXPORTING;
    if (head->supervise)
        supervise_expect_end(head->supervise);
    if (head->opts->export_path)
        export_at(head, head->global_low);
    else
        finish(head, false);
}

/* Moves global_low to the least of the shards' and tells them. */
static void raise_global_low(struct head *head)
{
    uint64_t low = UINT64_MAX;
    for (uint32_t p = 0; p < head->port_count; p++)
        low = MIN(low, head->lows[p]);
    if (!head->job.settled || low == head->global_low)
        return;
    for (; head->global_low < low; head->global_low++)
        report_step(head, head->global_low);
    head->moved_ms = mono_ms();
    for (uint32_t p = 0; p < head->port_count; p++)
        port_announce_low(&head->ports[p], low);
    if (low == plan_total(&head->job.core.plan) && head->state == HEAD_RUNNING)
        steps_over(head);
}

static void on_event(struct head *head, uint32_t shard, struct event *event)
{
    switch (event->kind) {
    case EVENT_COMPLETED:
        head->lows[shard] = event->step + 1;
        if (shard == head->first_port)
            head->metrics[event->step % SLICE_VERSIONS] = event->metrics;
        break;
    case EVENT_PINNED:
        on_pinned(head, shard, event);
        break;
    case EVENT_OWED:
        head_reassign_owed(head, event->step, event->owed, event->owed_count);
        free(event->owed);
        break;
    case EVENT_SUMS:
        head_on_sums(head, shard, event);
        break;
    case EVENT_PREPARED:
        head_on_prepared(head, event->step);
        break;
    case EVENT_FAILED: {
        static const dp_error NOMEM = {DP_NOMEM, "a shard is out of memory"};
        head_fail(head, event->failed ? event->failed : &NOMEM);
        free(event->failed);
        break;
    }
    }
}

static void on_wake(uv_async_t *wake)
{
    struct head *head = wake->data;
    for (uint32_t p = 0; p < head->port_count; p++) {
        struct event event;
        while (head->ports[p].running && queue_take(&head->ports[p].events, &event))
            on_event(head, p, &event);
    }
    raise_global_low(head);
}

/* ---- the job becomes whole ---- */

static void start_progress(struct head *head)
{
    const struct plan *plan = &head->job.core.plan;
    struct progress_facts facts = {
        .epochs = job_epochs(&head->job),
        .steps_per_epoch = plan_steps_per_epoch(plan),
        .train_steps = plan->train_steps,
        .evaluates = plan->eval_rows > 0,
        .classifies = head->job.label_count > 0,
    };
    head->running_ms = head->moved_ms = mono_ms();
    progress_begin(&head->progress, head->running_ms, &facts);
}

static bool start_shards(struct head *head)
{
    for (uint32_t p = 0; p < head->port_count; p++) {
        const struct job_shard *shard = &head->job.shards[p];
        struct command start = {.kind = COMMAND_START,
                                .job = &head->job.core,
                                .incarnation = head->job.incarnation,
                                .first_slice = shard->first_slice,
                                .slice_count = shard->slice_count,
                                .slices = shard->slices};
        if (!port_send(&head->ports[p], &start))
            return false;
        head->lows[p] = shard->slice_count ? 0 : UINT64_MAX;
    }
    for (head->first_port = 0; head->job.shards[head->first_port].slice_count == 0;)
        head->first_port++;
    return true;
}

dp_err head_settle(struct head *head, const Dp__Join *join, dp_error *err)
{
    AUTOFREE const char **endpoints = mem_array(head->port_count, sizeof *endpoints);
    if (!endpoints)
        return dp_fail(err, DP_NOMEM, "out of memory for the job");
    for (uint32_t p = 0; p < head->port_count; p++)
        endpoints[p] = head->endpoints[p];
    dp_err e = job_settle(&head->job, join, head->port_count, endpoints, err);
    if (e)
        return e;
    if (dealer_init(&head->dealer, head->job.core.plan.slots) || head_start_exchange(head) || !start_shards(head)) {
        (void)dp_fail(err, DP_NOMEM, "out of memory for the job");
        head_fail(head, err);
        return err->code;
    }
    if (head->job.batch_cut && head->opts->batch_given)
        log_warn("batch-cut asked=%" PRIu64 " rows=%" PRIu64 " action=\"every step takes all rows\"", head->opts->batch,
                 head->job.train.rows);
    head->state = HEAD_RUNNING;
    start_progress(head);
    return DP_OK;
}

bool head_open_session(struct head *head, uint64_t token)
{
    for (uint32_t p = 0; p < head->port_count; p++)
        if (!port_send(&head->ports[p], &(struct command){.kind = COMMAND_OPEN, .session = token}))
            return false;
    return true;
}

/* ---- time and signals ---- */

/* Whether the process may end: nobody is left to be told, or they had their time. */
static bool may_close(const struct head *head, uint64_t now_ms)
{
    uint64_t patience_ms = head->state == HEAD_DONE ? LEAVE_MS : STOP_LEAVE_MS;
    if (head->exporting)
        return false;
    return head->members.count == 0 || now_ms - head->ended_ms > patience_ms;
}

static void on_tick(uv_timer_t *tick)
{
    struct head *head = tick->data;
    uint64_t now = mono_ms();
    head_watch(head, now);
    progress_tick(&head->progress, now);
    if (head->state == HEAD_STOPPING || (head->state == HEAD_DONE && head->opts->exit_when_done)) {
        if (may_close(head, now))
            close_all(head);
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct head *head = handle->data;
    const char *name = number == SIGINT ? "SIGINT" : "SIGTERM";
    if ((head->state == HEAD_STOPPING || head->state == HEAD_CLOSING) && mono_ms() - head->ended_ms < SAME_SIGNAL_MS)
        return;
    if (head->state == HEAD_STOPPING || head->state == HEAD_CLOSING) {
        fprintf(stderr, "dp-server: %s again, ending at once\n", name);
        _exit(128 + number);
    }
    if (head->state == HEAD_DONE) {
        head_stop(head, 0, "the server is shutting down");
        return;
    }
    progress_end(&head->progress);
    if (!head->opts->quiet)
        fprintf(stderr, "dp-server: stopped by %s after %" PRIu64 " steps\n", name, head->global_low);
    head_stop(head, 128 + number, "the server was stopped by a signal");
    if (head->job.settled && head->opts->export_path)
        export_at(head, head->global_low);
}

/* ---- local workers ---- */

static void on_worker_died(void *arg, uint32_t pid)
{
    struct head *head = arg;
    struct member *member = members_by_pid(&head->members, pid);
    if (member)
        head_fence(head, member, "its process ended");
}

static void on_workers_gave_up(void *arg, const dp_error *err)
{
    head_fail(arg, err);
}

static dp_err start_workers(struct head *head, dp_error *err)
{
    struct supervise_calls calls = {on_worker_died, on_workers_gave_up, on_supervise_ended, head};
    if (head->opts->local_workers == 0)
        return DP_OK;
    return supervise_start(&head->loop, head->opts, head->endpoint, &calls, &head->supervise, err);
}

/* ---- start ---- */

static bool is_ipc(const char *endpoint)
{
    return strncmp(endpoint, "ipc://", strlen("ipc://")) == 0;
}

/* The endpoint that workers are told for a shard: its port, at the host they came by or the one to advertise. */
static void advertise(const struct head *head, const char *endpoint, char *text, size_t size)
{
    const char *port = strrchr(endpoint, ':');
    if (is_ipc(endpoint)) {
        (void)str_copy(text, size, endpoint);
        return;
    }
    snprintf(text, size, "tcp://%s%s", head->opts->advertise ? head->opts->advertise : "*", port ? port : "");
}

/* Where a shard listens: at the head's host with port 0, or under an abstract name, of which a killed server leaves
 * nothing behind. */
static void shard_listen(const struct head *head, uint32_t shard, char *text, size_t size)
{
    const char *port = strrchr(head->endpoint, ':');
    int host = port ? (int)(port - head->endpoint) : (int)strlen(head->endpoint);
    if (is_ipc(head->endpoint))
        snprintf(text, size, "ipc://@dp-%016" PRIx64 "-%u", head->job.incarnation, shard);
    else
        snprintf(text, size, "%.*s:0", host, head->endpoint);
}

static dp_err open_socket(struct head *head, void **ret_socket, dp_error *err)
{
    void *socket = zmq_socket(head->zmq, ZMQ_ROUTER);
    if (!socket)
        return dp_fail(err, DP_SYSTEM, "cannot make a socket: %s", zmq_strerror(zmq_errno()));
    int yes = 1, v6 = strchr(head->opts->listen, '[') != NULL, linger_ms = 500, queue = RECEIVE_QUEUE;
    int64_t largest = HEAD_FRAME_MAX;
    zmq_setsockopt(socket, ZMQ_ROUTER_MANDATORY, &yes, sizeof yes);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_setsockopt(socket, ZMQ_RCVHWM, &queue, sizeof queue);
    zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &largest, sizeof largest);
    zmq_setsockopt(socket, ZMQ_TCP_KEEPALIVE, &yes, sizeof yes);
    zmq_setsockopt(socket, ZMQ_IPV6, &v6, sizeof v6); /* else an IPv4 endpoint reads [::ffff:...] */
    dp_err e = zuv_bind(socket, head->opts->listen, head->endpoint, sizeof head->endpoint, err);
    if (e) {
        zmq_close(socket);
        return e;
    }
    *ret_socket = socket;
    return DP_OK;
}

static dp_err start_ports(struct head *head, dp_error *err)
{
    char listen[PORT_ENDPOINT_MAX];
    for (uint32_t p = 0; p < head->opts->shards; p++) {
        shard_listen(head, p, listen, sizeof listen);
        dp_err e = port_start(&head->ports[p], p, head->zmq, listen, &head->wake, err);
        if (e)
            return e;
        head->port_count = p + 1;
        advertise(head, head->ports[p].endpoint, head->endpoints[p], sizeof head->endpoints[p]);
        log_info("shard number=%u endpoint=%s", p, head->ports[p].endpoint);
    }
    return DP_OK;
}

static dp_err write_endpoint(void *arg, int fd, dp_error *err)
{
    struct head *head = arg;
    char line[PORT_ENDPOINT_MAX + 1];
    int n = snprintf(line, sizeof line, "%s\n", head->endpoint);
    return file_write_all(fd, line, (size_t)n, err);
}

static dp_err check_files(const struct server_options *opts, dp_error *err)
{
    if (opts->export_path && file_replace_check(opts->export_path, err))
        return dp_fail(err, DP_IO, "option --export: %.500s", err->text);
    if (opts->port_file && file_replace_check(opts->port_file, err))
        return dp_fail(err, DP_IO, "option --port-file: %.500s", err->text);
    return DP_OK;
}

static dp_err allocate(struct head *head, dp_error *err)
{
    size_t shards = (size_t)head->opts->shards;
    head->ports = mem_array_zero(shards, sizeof *head->ports);
    head->endpoints = mem_array_zero(shards, sizeof *head->endpoints);
    head->lows = mem_array_zero(shards, sizeof *head->lows);
    head->numbers = mem_array(PORT_SESSIONS_MAX, sizeof *head->numbers);
    if (!head->ports || !head->endpoints || !head->lows || !head->numbers || members_init(&head->members))
        return dp_fail(err, DP_NOMEM, "out of memory for the server");
    return job_init(&head->job, head->opts, err);
}

static void start_handles(struct head *head)
{
    head->handles_started = true;
    uv_async_init(&head->loop, &head->wake, on_wake);
    uv_timer_init(&head->loop, &head->tick);
    uv_signal_init(&head->loop, &head->on_term);
    uv_signal_init(&head->loop, &head->on_int);
    head->wake.data = head->tick.data = head->on_term.data = head->on_int.data = head;
    uv_timer_start(&head->tick, on_tick, TICK_MS, TICK_MS);
    uv_signal_start(&head->on_term, on_signal, SIGTERM);
    uv_signal_start(&head->on_int, on_signal, SIGINT);
}

static dp_err start(struct head *head, dp_error *err)
{
    void *socket = NULL;
    dp_err e = check_files(head->opts, err);
    if (!e)
        e = allocate(head, err);
    if (!e)
        e = open_socket(head, &socket, err);
    if (e)
        return e;
    start_handles(head);
    e = zuv_init(&head->zuv, &head->loop, socket, head_on_message, head, err);
    if (e) {
        zmq_close(socket);
        return e;
    }
    head->zuv_started = true;
    e = start_ports(head, err);
    if (!e && head->opts->port_file)
        e = file_replace(head->opts->port_file, write_endpoint, head, err);
    return e ? e : start_workers(head, err);
}

/* zmq leaves the socket of a path where it is. */
static void remove_socket(const struct head *head)
{
    const char *path = head->endpoint + strlen("ipc://");
    if (is_ipc(head->endpoint) && path[0] != '@')
        (void)unlink(path);
}

static void free_all(struct head *head)
{
    zmq_ctx_term(head->zmq);
    remove_socket(head);
    export_free(&head->export);
    for (uint32_t p = 0; p < head->port_count; p++)
        port_fini(&head->ports[p]);
    supervise_free(&head->supervise);
    head_end_exchange(head);
    dealer_fini(&head->dealer);
    members_fini(&head->members);
    job_fini(&head->job);
    arena_fini(&head->arena);
    progress_fini(&head->progress);
    free(head->ports);
    free(head->endpoints);
    free(head->lows);
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
    if (head->opts->quiet || head->opts->json || head->opts->local_workers)
        return;
    char name[HOST_MAX] = {0};
    const char *host = head->opts->advertise;
    /* Workers elsewhere cannot use these. */
    bool is_any = strstr(head->endpoint, "//0.0.0.0:") || strstr(head->endpoint, "//[::]:");
    if (!host && is_any && gethostname(name, sizeof name - 1) == 0 && name[0])
        host = name;
    fprintf(stderr, "dp-server: listening on %s, waiting for workers: dp-worker --server ", head->endpoint);
    if (host)
        fprintf(stderr, "tcp://%s%s --data FILE\n", host, strrchr(head->endpoint, ':'));
    else
        fprintf(stderr, "%s --data FILE\n", head->endpoint);
}

/* Runs the loop until everything on it is closed. */
static void run(struct head *head)
{
    dp_error err;
    if (start(head, &err)) {
        fprintf(stderr, "dp-server: %s\n", err.text);
        head->exit_status = dp_err_exit_status(err.code);
        close_all(head);
    } else {
        log_info("listening endpoint=%s shards=%u", head->endpoint, head->port_count);
        announce(head);
    }
    uv_run(&head->loop, UV_RUN_DEFAULT);
    uv_loop_close(&head->loop);
}

int head_run(const struct server_options *opts)
{
    AUTOFREE struct head *head = mem_array_zero(1, sizeof *head);
    if (!head || uv_loop_init(&head->loop)) {
        fprintf(stderr, "dp-server: out of memory\n");
        return 1;
    }
    head->opts = opts;
    head->started_ms = mono_ms();
    head->malformed_limit.per_second = head->peer_limit.per_second = WARNINGS_PER_S;
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
