/* The calls of dp.h: the life cycle of a client. Thread: the one that uses the client. */
#include "worker/client/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/entropy.h"
#include "common/base/mem.h"
#include "common/base/process.h"
#include "common/base/text.h"
#include "common/net/zuv_term.h"
#include "worker/client/contact/join.h"
#include "worker/client/shards.h"
#include "worker/client/state.h"

enum {
    CONNECT_TIMEOUT_MS = 30000,
    SERVER_TIMEOUT_MS = 60000,
    FILES_ZMQ = 5, /* descriptors of a ZeroMQ context, beside those of its connections */
};

static const struct client_timing CLIENT_TIMING = {
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
    client->plane = (struct plane){.timing = &client->timing,
                                   .tell = &client->tell,
                                   .session = &client->session,
                                   .beat = &client->beat,
                                   .job = &client->job,
                                   .open = &client->open,
                                   .fold = &client->fold};
    carrier_init(&client->plane.carrier);
    client->config.process = getpid();
    client->config.connect_timeout_ms = config->connect_timeout_ms ? config->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    client->config.server_timeout_ms = config->server_timeout_ms ? config->server_timeout_ms : SERVER_TIMEOUT_MS;
    client->config.threads = config->threads ? config->threads : 1;
    client->config.shm = config->shm;
    client->tell.stop = config->stop;
    client->tell.notice = config->notice;
    client->tell.arg = config->notice_arg;
    client->session.worker = entropy_u64();
    client->config.server = strdup(config->server);
    client->config.name = client_name(config->name);
    client->config.secret_file = config->secret_file ? strdup(config->secret_file) : NULL;
    dp_err e = threads_ensure(THREADS_ZMQ, err);
    if (!e)
        e = descriptors_check(FILES_ZMQ + 2 * LINK_FILES + 1, err);
    if (e)
        return e;
    client->zmq = zmq_ctx_new();
    if (!client->config.server || !client->config.name || !client->zmq ||
        (config->secret_file && !client->config.secret_file))
        return dp_fail(err, DP_NOMEM, "no memory for a client");
    /* A monitor is two sockets of its own beside each connection. */
    zmq_ctx_set(client->zmq, ZMQ_MAX_SOCKETS, 3 * (FRAME_LANES * FRAME_SHARDS_MAX + 2 + BEAT_SPARES));
    return endpoint_parse(config->server, &client->head.named, err);
}

dp_err client_result(dp_err e, dp_error *err)
{
    if (e == DP_OK && err)
        *err = (dp_error){.code = DP_OK};
    return e;
}

dp_err client_missing(const char *call, const char *what, dp_error *err)
{
    return dp_fail(err, DP_USAGE, "%s was called with %s NULL", call, what);
}

bool client_inherited(const struct dp_client *client)
{
    return client->config.process != getpid();
}

dp_err client_check_process(const struct dp_client *client, dp_error *err)
{
    if (client_inherited(client))
        return dp_fail(err, DP_USAGE,
                       "the client is that of process %ld, which has forked this one: connect anew here, or call "
                       "dp_leave to free what was inherited",
                       (long)client->config.process);
    return DP_OK;
}

static void client_free_memory(struct dp_client *client)
{
    slab_pool_fini(&client->plane.slabs);
    tables_fini(&client->plane.tables);
    theta_fini(&client->plane.theta);
    layout_fini(&client->head.layout);
    client_job_fini(&client->job);
    client_job_fini(&client->head.welcome_job);
    arena_fini(&client->arena);
    if (client->join)
        dp__join__free_unpacked(client->join, NULL);
    free(client->config.server);
    free(client->config.name);
    free(client->config.secret_file);
    free(client);
}

static void client_free(struct dp_client *client)
{
    shards_close(client);
    step_fini(client);
    if (client->zmq)
        zuv_term(client->zmq); /* waits until no message holds a slab */
    client_free_memory(client);
}

/* In a forked child: without a word to ZeroMQ, whose threads are the parent's, so that nothing here waits for them or
 * wakes them up. Memory of the heartbeats' thread may be half written, and stays. */
static void client_free_inherited(struct dp_client *client)
{
    if (client->beat.running)
        close(client->beat.wake);
    step_fini(client);
    (void)!carrier_return_theta(&client->plane);
    carrier_close(&client->plane);
    free(client->plane.shards);
    free(client->plane.links);
    free(client->plane.items);
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
        e = session_open(client, mono_ms() + client->config.connect_timeout_ms, err);
    if (e)
        client_free(client);
    else
        *ret_client = client;
    return client_result(e, err);
}

const dp_job *dp_client_job(const dp_client *client)
{
    return client ? &client->head.view : NULL;
}

static dp_err client_join(dp_client *client, const dp_dataset *train, const dp_dataset *eval, const dp_model *model,
                          dp_error *err)
{
    if (client->join)
        return dp_fail(err, DP_USAGE, "dp_join was called before");
    dp_err e = join_new(train, eval, model, &client->join, err);
    if (e)
        return e;
    client->plane.tables.rows = model->rows;
    client->plane.tables.rows_arg = model->rows_arg;
    e = session_join(client, mono_ms() + client->config.server_timeout_ms, err);
    if (e == DP_HELLO_REQUIRED || e == DP_INCARNATION)
        e = session_rejoin(client, err);
    if (e == DP_OK)
        e = step_init(client, err);
    client->session.joined = e == DP_OK;
    client->plane.progress_ms = mono_ms();
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
    if (client->head.view.local)
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
    if (!client->head.view.local)
        return dp_fail(err, DP_REFUSED,
                       "the job deals out the rows of a data set that all workers have: start dp-server with "
                       "--data-mode local, or --model free");
    return client_join(client, NULL, NULL, model, err);
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
    bool told = wait_head_alive(client) && head_bye(client, reason == DP_JOB_DONE ? DP_OK : reason, text) == DP_OK;
    session_close(client, told ? BYE_LINGER_MS : 0);
    client_free(client);
    *ref = NULL;
}
