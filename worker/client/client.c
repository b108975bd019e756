/* The calls of dp.h: life cycle, work, hand-in.
 *
 * Invariant: after client->end was set, dp_next returns it and nothing else happens. Thread: the one that uses the
 * client. */
#include "worker/client/client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/util.h"
#include "common/net/zuv_term.h"

enum {
    CONNECT_TIMEOUT_MS = 30000,
    SERVER_TIMEOUT_MS = 60000,
    FILES_ZMQ = 5, /* descriptors of a ZeroMQ context, beside those of its connections */
};

const struct client_timing CLIENT_TIMING = {
    .poll = 200,
    .retry = 100,
    .retry_max = 2000,
    .ask_again = 10000,
    .resend = 5000,
    .resend_max = 60000,
    .busy = 100,
    .busy_max = 5000,
    .shard_lost = 8000,
    .notice = 5000,
    .wait_notice = 30000,
};

const char *dp_version(void)
{
    return DP_VERSION_TEXT;
}

void client_notice(struct dp_client *client, const char *fmt, ...)
{
    char text[sizeof((dp_error *)NULL)->text];
    va_list args;
    if (!client->notice)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    client->notice(client->notice_arg, text);
}

bool client_stopped(const struct dp_client *client)
{
    return client->stop && __atomic_load_n(client->stop, __ATOMIC_RELAXED);
}

void client_error_set(dp_error *err, dp_err code, const char *text)
{
    err->code = code;
    str_copy(err->text, sizeof err->text, text[0] ? text : dp_err_text(code));
}

void client_end(struct dp_client *client, dp_err code, const char *text)
{
    if (client->end.code == DP_OK)
        client_error_set(&client->end, code, text);
}

/* "host:pid", unless the user has a better name; one that is empty is none. */
static char *client_name(const char *given)
{
    char host[200] = "", name[256];
    if (given && given[0])
        return strdup(given);
    if (gethostname(host, sizeof host - 1) || !host[0])
        str_copy(host, sizeof host, "worker");
    snprintf(name, sizeof name, "%s:%ld", host, (long)getpid());
    return strdup(name);
}

static dp_err client_configure(struct dp_client *client, const dp_config *config, dp_error *err)
{
    client->timing = CLIENT_TIMING;
    client->process = getpid();
    client->connect_timeout_ms = config->connect_timeout_ms ? config->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    client->server_timeout_ms = config->server_timeout_ms ? config->server_timeout_ms : SERVER_TIMEOUT_MS;
    client->threads = config->threads ? config->threads : 1;
    client->shm_mode = config->shm;
    client->stop = config->stop;
    client->notice = config->notice;
    client->notice_arg = config->notice_arg;
    client->worker_id = entropy_u64();
    client->server = strdup(config->server);
    client->name = client_name(config->name);
    client->secret_file = config->secret_file ? strdup(config->secret_file) : NULL;
    dp_err e = threads_ensure(THREADS_ZMQ, err);
    if (!e)
        e = descriptors_check(FILES_ZMQ + 2 * LINK_FILES + 1, err);
    if (e)
        return e;
    client->zmq = zmq_ctx_new();
    if (!client->server || !client->name || !client->zmq || (config->secret_file && !client->secret_file))
        return dp_fail(err, DP_NOMEM, "no memory for a client");
    /* A monitor is two sockets of its own beside each connection. */
    zmq_ctx_set(client->zmq, ZMQ_MAX_SOCKETS, 3 * (FRAME_LANES * FRAME_SHARDS_MAX + 2 + BEAT_SPARES));
    return endpoint_parse(config->server, &client->head, err);
}

/* Success leaves no error of an attempt before it behind. */
static dp_err client_result(dp_err e, dp_error *err)
{
    if (e == DP_OK && err)
        *err = (dp_error){.code = DP_OK};
    return e;
}

static dp_err client_missing(const char *call, const char *what, dp_error *err)
{
    return dp_fail(err, DP_USAGE, "%s was called with %s NULL", call, what);
}

/* Whether this process has only inherited the client, by fork: neither its connections nor the threads that serve them
 * are this process's. */
static bool client_inherited(const struct dp_client *client)
{
    return client->process != getpid();
}

static dp_err client_check_process(const struct dp_client *client, dp_error *err)
{
    if (client_inherited(client))
        return dp_fail(err, DP_USAGE,
                       "the client is that of process %ld, which has forked this one: connect anew here, or call "
                       "dp_leave to free what was inherited",
                       (long)client->process);
    return DP_OK;
}

static void client_free_memory(struct dp_client *client)
{
    slab_pool_fini(&client->slabs);
    tables_fini(&client->tables);
    theta_fini(&client->theta);
    layout_fini(&client->layout);
    client_job_fini(&client->job);
    client_job_fini(&client->welcome_job);
    arena_fini(&client->arena);
    if (client->join)
        dp__join__free_unpacked(client->join, NULL);
    free(client->server);
    free(client->name);
    free(client->secret_file);
    free(client);
}

static void client_free(struct dp_client *client)
{
    plane_close(client);
    step_fini(client);
    if (client->zmq)
        zuv_term(client->zmq); /* waits until no message holds a slab */
    client_free_memory(client);
}

/* In a forked child: without a word to ZeroMQ, whose threads are the parent's, so that nothing here waits for them or
 * wakes them up. What belonged to the heartbeat's thread may be half written, and stays. */
static void client_free_inherited(struct dp_client *client)
{
    share_close(client);
    if (client->beat.running)
        close(client->beat.wake);
    step_fini(client);
    free(client->shards);
    free(client->links);
    free(client->items);
    client_free_memory(client);
}

dp_err dp_connect(const dp_config *config, dp_client **ret_client, dp_error *err)
{
    dp_error unused;
    err = err ? err : &unused;
    if (!config || !ret_client)
        return client_missing("dp_connect", config ? "ret_client" : "config", err);
    if (!config->server)
        return dp_fail(err, DP_USAGE, "no server was named; give tcp://HOST:PORT, such as tcp://127.0.0.1:7700");
    struct dp_client *client = mem_array_zero(1, sizeof *client);
    if (!client)
        return dp_fail(err, DP_NOMEM, "no memory for a client");
    dp_err e = client_configure(client, config, err);
    if (e == DP_OK)
        e = session_open(client, mono_ms() + client->connect_timeout_ms, err);
    if (e)
        client_free(client);
    else
        *ret_client = client;
    return client_result(e, err);
}

const dp_job *dp_client_job(const dp_client *client)
{
    return client ? &client->view : NULL;
}

static dp_err client_join(dp_client *client, const dp_dataset *train, const dp_dataset *eval, const dp_model *model,
                          dp_error *err)
{
    if (client->join)
        return dp_fail(err, DP_USAGE, "dp_join was called before");
    dp_err e = join_new(train, eval, model, &client->join, err);
    if (e)
        return e;
    client->tables.rows = model->rows;
    client->tables.rows_arg = model->rows_arg;
    e = session_join(client, mono_ms() + client->server_timeout_ms, err);
    if (e == DP_HELLO_REQUIRED || e == DP_INCARNATION)
        e = session_rejoin(client, err);
    if (e == DP_OK)
        e = step_init(client, err);
    client->joined = e == DP_OK;
    client->progress_ms = mono_ms();
    return client_result(e, err);
}

dp_err dp_join(dp_client *client, const dp_dataset *train, const dp_dataset *eval, const dp_model *model, dp_error *err)
{
    dp_error unused;
    err = err ? err : &unused;
    if (!client)
        return client_missing("dp_join", "client", err);
    if (client_check_process(client, err))
        return err->code;
    if (!train)
        return dp_fail(err, DP_USAGE, "a worker brings a training set; one with data of its own joins by dp_join_free");
    if (client->view.local)
        return dp_fail(err, DP_REFUSED,
                       "the job is of workers with data of their own: join by dp_join_free, or start dp-server with "
                       "--data-mode shared");
    return client_join(client, train, eval, model, err);
}

dp_err dp_join_free(dp_client *client, const dp_model *model, dp_error *err)
{
    dp_error unused;
    err = err ? err : &unused;
    if (!client)
        return client_missing("dp_join_free", "client", err);
    if (client_check_process(client, err))
        return err->code;
    if (!client->view.local)
        return dp_fail(err, DP_REFUSED,
                       "the job deals out the rows of a data set that all workers have: start dp-server with "
                       "--data-mode local, or --model free");
    return client_join(client, NULL, NULL, model, err);
}

/* Takes what is known to have arrived, of the shards up to the last answer of the step wanted: see client_look and
 * client_wait. */
static dp_err client_drain(struct dp_client *client, dp_error *err)
{
    dp_err e = session_drain(client, err);
    if (e == DP_OK)
        e = plane_drain(client, err);
    if (atomic_load_explicit(&client->beat.refused, memory_order_relaxed))
        client->rejoin = true;
    if (e == DP_OK && theta_ended(&client->theta))
        client_end(client, DP_JOB_DONE, "the job is done");
    return e;
}

/* Goes on to the next step where theta of it is whole, or where all shards have completed this one without us. */
static void client_advance(struct dp_client *client)
{
    struct theta *theta = &client->theta;
    uint64_t low = atomic_load_explicit(&client->beat.global_low, memory_order_relaxed);
    if (theta_whole(theta)) {
        theta_turn(theta);
        step_begin(client);
        client->progress_ms = mono_ms();
        client->wait_notice_gap_ms = 0;
    }
    if (low <= (theta->valid ? theta->step : theta->want))
        return;
    if (theta->valid && client->arrival.staleness > 0)
        step_complete(client, low);
    else if (client->pulled)
        client->closed = true; /* the next step's theta is on its way: nothing to compute until it is here */
    else
        step_skip_to(client, MAX(low, theta->want));
}

static void task_fill(struct dp_client *client, uint32_t count, dp_task *ret_task)
{
    const struct row_group *group = client->tables.task;
    client->busy_since_us = mono_ns() / 1000;
    *ret_task = (dp_task){.kind = client->eval ? DP_EVAL : DP_TRAIN,
                          .step = client->theta.step,
                          .theta = group ? tables_theta(group, &client->theta) : client->theta.now,
                          .slots = client->task_slots,
                          .slot_count = count,
                          .theta_elems = step_task_elems(client),
                          .rows = group ? group->list->tables : NULL,
                          .tag = group ? group->tag : 0};
}

dp_err dp_next(dp_client *client, dp_task *ret_task, dp_error *err)
{
    dp_error unused;
    err = err ? err : &unused;
    if (!client || !ret_task)
        return client_missing("dp_next", client ? "ret_task" : "client", err);
    if (client_check_process(client, err))
        return err->code;
    if (!client->joined)
        return dp_fail(err, DP_USAGE, "dp_next was called without a successful dp_join");
    dp_err e = client->pulled ? DP_OK : client_look(client, err); /* where all is pushed, it will wait, which looks */
    while (e == DP_OK) {
        if (client_stopped(client))
            return dp_fail(err, DP_STOPPED, "stopped by a signal");
        e = client->end.code ? DP_OK : client_drain(client, err);
        if (e == DP_OK && client->end.code)
            e = dp_fail(err, client->end.code, "%s", client->end.text);
        if (e == DP_OK && (client->rejoin || outage_is_over(client))) {
            e = client->rejoin ? session_rejoin(client, err) : outage_resume(client, err);
            if (e == DP_OK)
                continue;
            if (e != DP_STOPPED)
                client_end(client, e, err->text);
        }
        if (e)
            return e;
        client_advance(client);
        uint32_t count = step_task(client);
        if (count > 0) {
            task_fill(client, count, ret_task);
            return client_result(DP_OK, err);
        }
        e = step_ask(client, err);
        if (e == DP_OK)
            e = client_wait(client, err);
    }
    return e;
}

int dp_task_wanted(dp_client *client)
{
    dp_error err;
    if (!client || !client->joined || client_inherited(client) || client->end.code || client_stopped(client))
        return 0;
    dp_err e = client_look(client, &err);
    if (e == DP_OK)
        e = client_drain(client, &err);
    if (e)
        client_end(client, e, err.text);
    uint64_t low = atomic_load_explicit(&client->beat.global_low, memory_order_relaxed);
    bool passed = client->arrival.staleness == 0 && theta_whole(&client->theta); /* on arrival that says nothing */
    return !client->end.code && !client->closed && !passed && low <= client->theta.step;
}

uint64_t dp_step_rows(const dp_client *client, uint64_t step, uint32_t slot, uint64_t *rows, uint64_t max)
{
    if (!client || !client->joined || step >= client->job.steps || slot >= client->job.plan.slots)
        return 0;
    const struct plan_step at = plan_at(&client->job.plan, step);
    uint64_t first, count;
    plan_slot(&client->job.plan, &at, slot, &first, &count);
    if (rows && max > 0)
        plan_rows(&client->job.plan, &at, first, MIN(count, max), rows);
    return count;
}

uint64_t dp_slot_rows(const dp_client *client, uint32_t slot, uint64_t *rows, uint64_t max)
{
    return client && client->theta.valid ? dp_step_rows(client, client->theta.step, slot, rows, max) : 0;
}

static float *no_gradient(dp_err code)
{
    (void)code;
    return NULL;
}

float *dp_gradient(dp_client *client, dp_error *err)
{
    if (!client)
        return no_gradient(client_missing("dp_gradient", "client", err));
    if (client_inherited(client))
        return no_gradient(client_check_process(client, err));
    if (!client->joined)
        return no_gradient(dp_fail(err, DP_USAGE, "dp_gradient was called without a successful dp_join"));
    share_count_done(client);
    uint64_t elems = step_task_elems(client);
    struct slab *slab = slab_take(&client->slabs, elems);
    if (!slab)
        return no_gradient(
            dp_fail(err, DP_NOMEM, "no memory for a gradient of %llu values", (unsigned long long)elems));
    (void)client_result(DP_OK, err);
    return slab->values;
}

void dp_gradient_free(dp_client *client, float *grad)
{
    struct slab *slab = client && grad && !client_inherited(client) ? slab_find(&client->slabs, grad) : NULL;
    if (slab)
        slab_drop(slab);
}

/* What speaks against handing in this to the task at hand; NULL if nothing does. */
static const char *push_wrong(const struct dp_client *client, const float *grad, const dp_metrics *metrics)
{
    if (!client->joined || !client->theta.valid)
        return "there is no task";
    if (!metrics)
        return "metrics are missing";
    if (metrics->count > FRAME_SAMPLES_MAX)
        return "more samples than a slot may have, 2^40";
    if (metrics->correct > metrics->count)
        return "more samples are predicted right than there are";
    if (metrics->count == 0 && !(metrics->loss == 0))
        return "a loss of no samples";
    if (client->closed)
        return NULL;
    if (client->eval)
        return grad ? "an evaluation task takes no gradient" : NULL;
    return grad ? NULL : "the gradient is missing";
}

/* What the head measures our speed by. */
static void count_busy(struct dp_client *client)
{
    uint64_t now_us = mono_ns() / 1000;
    if (!client->eval) {
        atomic_fetch_add_explicit(&client->beat.slots_computed, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&client->beat.busy_us, now_us - client->busy_since_us, memory_order_relaxed);
    }
    client->busy_since_us = now_us;
}

dp_err dp_push(dp_client *client, uint32_t slot, float *grad, const dp_metrics *metrics, dp_error *err)
{
    if (!client)
        return client_missing("dp_push", "client", err);
    dp_err e = client_check_process(client, err);
    if (e)
        return e;
    struct slab *slab = grad ? slab_find(&client->slabs, grad) : NULL;
    if (grad && !slab)
        return dp_fail(err, DP_USAGE, "slot %u: the gradient is not one of dp_gradient", slot);
    const char *wrong = push_wrong(client, grad, metrics);
    if (!wrong) {
        count_busy(client);
        e = step_hand_in(client, slot, (struct node_value){.slab = slab, .metrics = *metrics}, err);
        return client_result(e, err);
    }
    dp_gradient_free(client, grad);
    return dp_fail(err, DP_USAGE, "slot %u: %s", slot, wrong);
}

dp_err dp_step(dp_client *client, float *grad, const dp_metrics *metrics, dp_task *ret_task, dp_error *err)
{
    dp_error unused;
    err = err ? err : &unused;
    if (!client)
        return client_missing("dp_step", "client", err);
    if (client_check_process(client, err))
        return err->code;
    if (!client->view.local || !ret_task) {
        dp_gradient_free(client, grad);
        return ret_task ? dp_fail(err, DP_USAGE, "dp_step is for those who joined by dp_join_free")
                        : client_missing("dp_step", "ret_task", err);
    }
    dp_err e = dp_push(client, client->joined ? client->task_slots[0] : 0, grad, metrics, err);
    return e ? e : dp_next(client, ret_task, err);
}

void dp_leave(dp_client **ref, dp_err reason, const char *text)
{
    struct dp_client *client = ref ? *ref : NULL;
    if (!client)
        return;
    if (client_inherited(client)) {
        client_free_inherited(client);
        *ref = NULL;
        return;
    }
    bool told = client_head_alive(client) && session_bye(client, reason == DP_JOB_DONE ? DP_OK : reason, text) == DP_OK;
    session_close(client, told ? BYE_LINGER_MS : 0);
    client_free(client);
    *ref = NULL;
}
