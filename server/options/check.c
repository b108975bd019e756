/* Options of dp-server that go together; see check.h. Mistakes that the options alone show are found here, before a
 * socket is opened or a worker reads its data. Thread: head. */
#include "server/options/check.h"

#include <assert.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/text.h"
#include "common/base/util.h"
#include "common/net/transport.h"
#include "common/net/zuv_bind.h"

enum { HOST_MAX = 100 }; /* with scheme and port within what a port's endpoint may have */

static bool given(const struct options *options, const char *name)
{
    return options_source(options, name) != OPT_FROM_DEFAULT;
}

/* Not in the environment, which server and workers may share. */
static bool given_here(const struct options *options, const char *name)
{
    enum option_source source = options_source(options, name);
    return source == OPT_FROM_ARGS || source == OPT_FROM_FILE;
}

static bool is_model(const struct server_options *opts, const char *name)
{
    return strcmp(opts->model, name) == 0;
}

/* The transport of --listen, which zuv_listen_check has passed, and what follows its scheme. */
static const struct transport *transport_here(const struct server_options *opts, const char **ret_rest)
{
    const struct transport *way = transport_of(opts->listen, ret_rest);
    assert(way);
    return way;
}

/* A name, an IPv4 address, or an IPv6 one in brackets: what stands between tcp:// and :PORT. */
static dp_err check_host(const char *host, dp_error *err)
{
    size_t length = strlen(host);
    bool bracketed = host[0] == '[' && host[length - 1] == ']';
    if (length == 0 || length > HOST_MAX || strpbrk(host, " \t/*") || !text_printable(host, length) ||
        (strchr(host, ':') && !bracketed))
        return dp_fail(err, DP_USAGE,
                       "option --advertise: '%s' is not a host: give a name or an address that workers reach, such as "
                       "head.example or 192.0.2.1, or [2001:db8::1], without a port",
                       host);
    return DP_OK;
}

/* The port of a tcp endpoint, 0 for a free one. */
static unsigned listen_port(const char *listen)
{
    return (unsigned)strtoul(strrchr(listen, ':') + 1, NULL, 10);
}

/* One shard listens where the head does; more need a port each. */
static dp_err check_ports(struct server_options *opts, dp_error *err)
{
    const char *rest;
    if (!transport_here(opts, &rest)->has_ports)
        return dp_fail(err, DP_USAGE, "option --ports: %s has no ports; leave it out, or listen on tcp://",
                       opts->listen);
    if (zuv_ports_parse(opts->ports, &opts->shard_ports, err))
        return dp_fail_in(err, "option --ports");
    const struct zuv_ports *range = &opts->shard_ports;
    unsigned port = listen_port(opts->listen), count = range->last - range->first + 1;
    bool shared = port >= range->first && port <= range->last;
    if (opts->shards > 1 && count - shared < opts->shards)
        return dp_fail(err, DP_USAGE,
                       "option --ports: %s has %u port%s%s, and --shards %llu take one each; give a wider range",
                       opts->ports, count, count == 1 ? "" : "s", shared ? ", with that of --listen" : "",
                       (unsigned long long)opts->shards);
    return DP_OK;
}

/* A user of this host by name, or by number where there is no such name. */
static dp_err find_user(const char *name, uint32_t *ret_user, dp_error *err)
{
    char buf[4096], *end = NULL;
    struct passwd user, *found = NULL;
    if (getpwnam_r(name, &user, buf, sizeof buf, &found) == 0 && found) {
        *ret_user = (uint32_t)found->pw_uid;
        return DP_OK;
    }
    unsigned long number = strtoul(name, &end, 10);
    if (strspn(name, "0123456789") == 0 || *end || number >= UINT32_MAX)
        return dp_fail(err, DP_USAGE,
                       "option --allow-users: there is no user '%.64s' on this host; give 'all', or names or uids with "
                       "commas between them",
                       name);
    *ret_user = (uint32_t)number;
    return DP_OK;
}

static dp_err take_users(struct server_options *opts, dp_error *err)
{
    const char *at = opts->allow_users;
    opts->users_all = strcmp(at, "all") == 0;
    for (bool more = !opts->users_all; more;) {
        char name[64];
        size_t length = strcspn(at, ",");
        snprintf(name, sizeof name, "%.*s", (int)MIN(length, sizeof name), at); /* a longer one is nobody's */
        if (strcmp(name, "all") == 0)
            return dp_fail(err, DP_USAGE, "option --allow-users: 'all' are all users: leave out the names");
        if (opts->user_count == ALLOWED_USERS_MAX)
            return dp_fail(err, DP_USAGE, "option --allow-users: at most %d users can be named; 'all' are all",
                           ALLOWED_USERS_MAX);
        if (find_user(name, &opts->users[opts->user_count], err))
            return err->code;
        opts->user_count++;
        more = at[length] == ',';
        at += length + more;
    }
    return DP_OK;
}

/* Only users of this host can be asked to prove themselves; a network has no users. */
static dp_err check_users(const struct options *options, struct server_options *opts, dp_error *err)
{
    if (opts->insecure_admin && (opts->loopback || !opts->insecure))
        return dp_fail(err, DP_USAGE,
                       "option --insecure-admin belongs to a server that listens beyond this host with --insecure; on "
                       "loopback and ipc, --allow-users says who may change the job");
    if (opts->allow_users && !opts->loopback)
        return dp_fail(err, DP_USAGE,
                       "option --allow-users is for loopback and ipc: on %s users cannot be told apart, and with "
                       "--insecure everybody may join; --insecure-admin lets everybody change the job too",
                       opts->listen);
    if (opts->allow_users && take_users(opts, err))
        return err->code;
    if (given_here(options, "secret-file") && (opts->users_all || opts->insecure_admin))
        return dp_fail(err, DP_USAGE, "option --secret-file: with %s nobody is asked for a secret; leave one out",
                       opts->users_all ? "--allow-users all" : "--insecure-admin");
    return DP_OK;
}

static dp_err check_network(const struct options *options, struct server_options *opts, dp_error *err)
{
    const char *rest;
    if (zuv_listen_check(opts->listen, err))
        return dp_fail_in(err, "option --listen");
    const struct transport *way = transport_here(opts, &rest);
    opts->loopback = way->is_local(rest);
    if (!text_printable(opts->listen, strlen(opts->listen)))
        return dp_fail(err, DP_USAGE,
                       "option --listen: workers are told where, in UTF-8 without control characters; choose another "
                       "path for the socket");
    if (!opts->loopback && !opts->insecure)
        return dp_fail(err, DP_USAGE,
                       "option --listen: %s can be reached from other machines, and nothing protects it; "
                       "give --insecure if the network is trusted, or listen on tcp://127.0.0.1:PORT",
                       opts->listen);
    if (check_users(options, opts, err))
        return err->code;
    if (opts->advertise && !way->has_ports)
        return dp_fail(err, DP_USAGE,
                       "option --advertise: workers reach %s by its path, on this machine alone, and need no host; "
                       "leave it out, or listen on tcp://",
                       opts->listen);
    if (opts->ports && check_ports(opts, err))
        return err->code;
    return opts->advertise ? check_host(opts->advertise, err) : DP_OK;
}

/* With local data no worker sees the whole set, so shapes must be given as options. */
static dp_err check_local(const struct options *options, const struct server_options *opts, dp_error *err)
{
    bool is_free = is_model(opts, "free"), softmax = is_model(opts, "softmax");
    if (is_free && given(options, "data-mode") && opts->data_mode == 0)
        return dp_fail(err, DP_USAGE, "option --model free is for workers with data of their own: --data-mode local");
    if (!is_free && opts->features == 0)
        return dp_fail(err, DP_USAGE,
                       "option --data-mode local needs --features N: no worker's data say it for all of them");
    if (softmax && opts->classes == 0)
        return dp_fail(
            err, DP_USAGE,
            "option --data-mode local needs --label-names A,B,... or --classes C (labels 0 to C-1): no worker's "
            "data say them for all");
    if (opts->min_workers > opts->slots)
        return dp_fail(
            err, DP_USAGE,
            "option --min-workers: with --data-mode local a worker has a slot of its own, and of --slots %llu "
            "%llu cannot wait for %llu",
            (unsigned long long)opts->slots, (unsigned long long)opts->slots, (unsigned long long)opts->min_workers);
    if (opts->steps == 0 && opts->update.lr_period == 0 &&
        (opts->update.schedule == SCHEDULE_COSINE || opts->update.schedule == SCHEDULE_ONE_CYCLE))
        return dp_fail(
            err, DP_USAGE,
            "option --lr-schedule: with --data-mode local nobody knows how many steps the job will have; give "
            "--lr-period or --steps");
    if (opts->sparse)
        return dp_fail(err, DP_USAGE,
                       "options --sparse and --data-mode local exclude each other: a job of workers with data of their "
                       "own has no tables");
    if (opts->local_workers)
        return dp_fail(err, DP_USAGE,
                       "option --local-workers gives the same --data to all; with --data-mode local start each worker "
                       "with its own");
    return DP_OK;
}

static dp_err check_consistency(struct server_options *opts, dp_error *err)
{
    if (consistency_parse(opts->consistency, &opts->staleness, err))
        return dp_fail_in(err, "option --consistency");
    if (opts->staleness > 0 && opts->local)
        return dp_fail(
            err, DP_USAGE,
            "options --consistency and --data-mode local: slots that come and go with their workers commit once "
            "a step; use bsp");
    if (opts->staleness == 0 && opts->setup.params.schedule.kind == SCHEDULE_ADA_DELAY)
        return dp_fail(
            err, DP_USAGE,
            "option --lr-schedule ada-delay goes by the delay of commits on arrival: under bsp there is none; use "
            "--consistency ssp:S or async, or --lr-schedule inv-sqrt");
    if (opts->staleness == 0 && opts->setup.params.compensation > 0)
        return dp_fail(
            err, DP_USAGE,
            "option --delay-compensation is for gradients that come after others have been committed: under bsp none "
            "does, as all of a step are computed on one theta and committed together; use --consistency ssp:S or "
            "async");
    if (opts->staleness > 0 && opts->sparse)
        return dp_fail(err, DP_USAGE,
                       "options --consistency and --sparse: rows of tables commit once a step; use bsp, or leave out "
                       "--sparse");
    return opts->staleness > 0 ? update_options_check_arrival(&opts->setup, err) : DP_OK;
}

/* A step from which slots may be dropped commits only on the head's word. */
static dp_err check_drop(const struct server_options *opts, dp_error *err)
{
    const char *option = opts->drop_slowest ? "--drop-slowest" : "--on-stall drop";
    if (!opts->drop_slowest && opts->on_stall != ON_STALL_DROP)
        return DP_OK;
    if (opts->drop_slowest >= opts->slots)
        return dp_fail(err, DP_USAGE, "option --drop-slowest: of %llu slots at most %llu can be dropped",
                       (unsigned long long)opts->slots, (unsigned long long)opts->slots - 1);
    if (opts->local)
        return dp_fail(err, DP_USAGE,
                       "option %s: with --data-mode local the slot of a worker that left is void, and what a slow one "
                       "owes are data that nobody else has",
                       option);
    if (opts->staleness > 0)
        return dp_fail(err, DP_USAGE,
                       "option %s is for --consistency bsp: where slots commit on arrival, no step waits for the "
                       "slowest",
                       option);
    if (opts->sparse)
        return dp_fail(err, DP_USAGE,
                       "option %s: rows of tables commit as soon as their own slots are there, so that no slot can be "
                       "dropped on all shards alike; leave out --sparse",
                       option);
    return DP_OK;
}

/* ---- the job ---- */

/* --label-names, which says the number of classes too. Their order is that of labels, however they are given. */
static dp_err check_labels(struct server_options *opts, dp_error *err)
{
    struct label_list *labels = &opts->labels_asked;
    bool softmax = is_model(opts, "softmax"), logistic = is_model(opts, "logistic");
    if (!softmax && !logistic)
        return dp_fail(err, DP_USAGE, "option --label-names belongs to --model softmax and logistic, not to %s",
                       opts->model);
    label_list_fini(labels);
    dp_err e = label_list_parse(opts->label_names, labels, err);
    if (e)
        return dp_fail(err, e == DP_NOMEM ? e : DP_USAGE, "option --label-names: %.400s", err->text);
    label_list_sort(labels);
    for (size_t i = 1; i < labels->count; i++)
        if (label_compare(&labels->list[i - 1], &labels->list[i]) == 0)
            return dp_fail(err, DP_USAGE, "option --label-names: %s and %s are one label; give each label once",
                           labels->list[i - 1].text, labels->list[i].text);
    if (logistic ? labels->count != 2 : labels->count < 2 || labels->count > LABELS_MAX)
        return dp_fail(err, DP_USAGE, "option --label-names: %zu label%s, but %s has %s", labels->count,
                       labels->count == 1 ? "" : "s", opts->model, logistic ? "two" : "2 to 65536");
    if (opts->classes && opts->classes != labels->count)
        return dp_fail(err, DP_USAGE, "options --classes %llu and --label-names, which has %zu: leave --classes away",
                       (unsigned long long)opts->classes, labels->count);
    opts->classes = softmax ? labels->count : 0;
    return DP_OK;
}

static dp_err check_model(struct server_options *opts, dp_error *err)
{
    if (!opts->model)
        return dp_fail(err, DP_USAGE, "option --model is missing: give linear, logistic, softmax or free");
    if (!is_model(opts, "linear") && !is_model(opts, "logistic") && !is_model(opts, "softmax") &&
        !is_model(opts, "free"))
        return dp_fail(err, DP_USAGE, "option --model: '%s' is not one of linear, logistic, softmax, free",
                       opts->model);
    if (opts->hash_bits && opts->features)
        return dp_fail(err, DP_USAGE, "options --features and --hash-bits exclude each other: N bits are 2^N features");
    if (is_model(opts, "free") && (opts->sparse || opts->hash_bits))
        return dp_fail(err, DP_USAGE,
                       "option %s is for linear, logistic and softmax: clients of --model free declare "
                       "their tensors",
                       opts->sparse ? "--sparse" : "--hash-bits");
    if (opts->hash_bits)
        opts->features = UINT64_C(1) << opts->hash_bits;
    if (opts->classes && !is_model(opts, "softmax"))
        return dp_fail(err, DP_USAGE, "option --classes belongs to --model softmax, not to %s", opts->model);
    if (opts->classes == 1)
        return dp_fail(err, DP_USAGE, "option --classes: at least 2");
    return opts->label_names ? check_labels(opts, err) : DP_OK;
}

/* Slots of a local job cannot move: both are off, and nobody must believe otherwise. */
static dp_err check_fixed_slots(const struct options *options, struct server_options *opts, dp_error *err)
{
    bool balances = given(options, "balance") && opts->balance != BALANCE_OFF;
    bool speculates = given(options, "speculate") && opts->speculate != SPECULATE_OFF;
    if (balances || speculates)
        return dp_fail(err, DP_USAGE,
                       "option --%s: slots of workers with data of their own (--data-mode local, --model free) cannot "
                       "be computed by others; leave it out",
                       balances ? "balance speed" : "speculate auto");
    opts->balance = BALANCE_OFF;
    opts->speculate = SPECULATE_OFF;
    return DP_OK;
}

static dp_err check_plan(const struct options *options, struct server_options *opts, dp_error *err)
{
    opts->batch_given = given(options, "batch");
    opts->local = opts->data_mode == 1 || is_model(opts, "free");
    if (opts->local && (check_local(options, opts, err) || check_fixed_slots(options, opts, err)))
        return err->code;
    if (!opts->by_blocks && (given(options, "block-rows") || given(options, "window-blocks")))
        return dp_fail(err, DP_USAGE, "options --block-rows and --window-blocks belong to --shuffle block");
    if (given(options, "steps") && given(options, "epochs"))
        return dp_fail(err, DP_USAGE, "options --steps and --epochs exclude each other: give one of them");
    if (opts->max_workers && opts->min_workers > opts->max_workers)
        return dp_fail(err, DP_USAGE, "options --min-workers and --max-workers: at least %llu, but at most %llu",
                       (unsigned long long)opts->min_workers, (unsigned long long)opts->max_workers);
    if (opts->max_workers && opts->local_workers > opts->max_workers)
        return dp_fail(err, DP_USAGE,
                       "options --local-workers and --max-workers: %llu are started here, and at most %llu taken",
                       (unsigned long long)opts->local_workers, (unsigned long long)opts->max_workers);
    return DP_OK;
}

/* ---- options for local workers ---- */

/* Without local workers nobody reads these; that they do nothing must not be found out by waiting. */
static dp_err check_handed(const struct options *options, const struct server_options *opts, dp_error *err)
{
    static const char *const HANDED[] = {"format",         "header",          "label-column",  "ignore-columns",
                                         "extra-features", "labels",          "eval-labels",   "threads",
                                         "memory-limit",   "emulate-slot-ms", "emulate-stalls"};
    if (opts->data.data || opts->data.eval)
        return dp_fail(err, DP_USAGE,
                       "options --data and --eval are for --local-workers; workers elsewhere are given theirs: "
                       "dp-worker --data FILE");
    for (size_t i = 0; i < sizeof HANDED / sizeof *HANDED; i++)
        if (given_here(options, HANDED[i]))
            return dp_fail(err, DP_USAGE,
                           "option --%s is for --local-workers; workers elsewhere are given theirs: dp-worker --%s",
                           HANDED[i], HANDED[i]);
    return DP_OK;
}

static dp_err check_data(const struct options *options, const struct server_options *opts, dp_error *err)
{
    const struct data_options *data = &opts->data;
    bool libsvm = data->format <= DATA_OPTION_LIBSVM;
    if (opts->local_workers == 0)
        return check_handed(options, opts, err);
    if (!data->data)
        return dp_fail(err, DP_USAGE, "option --local-workers needs --data FILE for them to read");
    if (data_options_check(data, err))
        return err->code;
    if (!libsvm && (opts->sparse || opts->hash_bits))
        return dp_fail(err, DP_USAGE, "options %s and --format: only LIBSVM data can be %s",
                       opts->sparse ? "--sparse" : "--hash-bits", opts->sparse ? "sparse" : "hashed");
    if (data->memory_limit_mib && (!opts->by_blocks || opts->sparse))
        return dp_fail(err, DP_USAGE,
                       "option --memory-limit is for --shuffle block%s: an epoch in any other order "
                       "needs all rows at once",
                       opts->by_blocks ? " without --sparse" : "");
    return DP_OK;
}

/* ---- all of it ---- */

dp_err server_options_check(const struct options *options, struct server_options *opts, dp_error *err)
{
    dp_err e = check_model(opts, err);
    if (!e)
        e = check_plan(options, opts, err);
    if (!e)
        e = check_data(options, opts, err);
    if (!e)
        e = check_network(options, opts, err);
    if (!e)
        e = update_options_check(options, &opts->update, &opts->setup, err);
    if (!e)
        e = checkpoint_options_check(options, &opts->checkpoints, err);
    if (e) {
        label_list_fini(&opts->labels_asked);
        return e;
    }
    e = check_consistency(opts, err);
    if (!e)
        e = check_drop(opts, err);
    if (!e && opts->steps)
        e = update_options_check_length(&opts->setup, opts->steps, err);
    if (!e && !is_model(opts, "free"))
        e = update_options_check_model(&opts->setup, is_model(opts, "softmax") ? 2 : 1, opts->sparse, opts->intercept,
                                       err);
    if (e)
        server_options_fini(opts);
    return e;
}

void server_options_fini(struct server_options *opts)
{
    label_list_fini(&opts->labels_asked);
    update_setup_fini(&opts->setup);
}
