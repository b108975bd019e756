/* Shards that are threads of this process; see local_shards.h. Thread: head. */
#include "server/seats/local_shards.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/net/transport.h"
#include "server/net/thread.h"
#include "server/options/options.h"
#include "server/seats/seats.h"

enum { PLACE_NAME_MAX = 40 };

struct local_shard {
    struct port port;
    char told[ZUV_ENDPOINT_MAX];
};

/* The endpoint that workers are told for a shard: its port, at the host they came by or the one to advertise. */
static void advertise(const struct local_head *head, const char *endpoint, char *text, size_t size)
{
    const char *rest;
    const struct transport *way = transport_of(endpoint, &rest);
    assert(way);
    way->at_host(rest, head->opts->advertise ? head->opts->advertise : "*", text, size);
}

/* The place at which a shard listens: the head's, or one beside it. */
static void shard_listen(const struct local_head *head, uint32_t shard, char *text, size_t size)
{
    char name[PLACE_NAME_MAX];
    const char *rest;
    if (head->post) {
        (void)str_copy(text, size, head->opts->listen);
        return;
    }
    const struct transport *way = transport_of(head->endpoint, &rest);
    assert(way);
    snprintf(name, sizeof name, "dp-%016" PRIx64 "-%u", head->incarnation, shard);
    way->beside(rest, name, text, size);
}

/* ---- --ports A-B ---- */

static unsigned endpoint_port(const char *endpoint)
{
    const char *port = strrchr(endpoint, ':');
    return port ? (unsigned)strtoul(port + 1, NULL, 10) : 0;
}

static bool own_port(const struct local_head *head, const struct seats *seats, unsigned port)
{
    bool own = endpoint_port(head->endpoint) == port;
    for (uint32_t s = 0; s < seats->count; s++)
        own |= endpoint_port(seats_at(seats, s)->endpoint) == port;
    return own;
}

/* --ports is used up: names the first port that is not the server's own. */
static dp_err ports_in_use(const struct local_head *head, const struct seats *seats, dp_error *err)
{
    const struct zuv_ports *range = &head->opts->shard_ports;
    unsigned port = range->first;
    while (own_port(head, seats, port))
        port++;
    return dp_fail(err, DP_SYSTEM,
                   "option --ports %s: no port is left for shard %u of --shards %" PRIu64
                   "; port %u, for one, is in use by another program: end that, or give another range",
                   head->opts->ports, seats->count, head->opts->shards, port);
}

/* ---- their seats ---- */

static void stop(struct seat *seat)
{
    struct local_shard *shard = seat->shard;
    port_stop(&shard->port);
}

static void free_shard(struct seat *seat)
{
    struct local_shard *shard = seat->shard;
    port_fini(&shard->port);
    mem_freep(&seat->shard);
}

static const struct seat_ops LOCAL = {stop, free_shard};

/* Takes the shard, which runs. */
static void fill_seat(struct seats *seats, const struct local_head *head, struct local_shard *shard)
{
    const struct port *port = &shard->port;
    advertise(head, port->endpoint, shard->told, sizeof shard->told);
    log_info("shard number=%u endpoint=%s", seats->count, port->endpoint);
    seats_add(seats, &(struct seat){.ops = &LOCAL,
                                    .shard = shard,
                                    .link = port->link,
                                    .counters = &port->counters,
                                    .endpoint = port->endpoint,
                                    .told = shard->told,
                                    .shm_name = port->shm_name,
                                    .at_head = head->post != NULL});
}

/* The next shard, at one of `ports`; those up to its own are left out for the one after it. */
static dp_err start_shard(struct seats *seats, const struct local_head *head, struct zuv_ports *ports, dp_error *err)
{
    char listen[ZUV_ENDPOINT_MAX], shm[SHM_NAME_MAX];
    const uint32_t number = seats->count;
    shard_listen(head, number, listen, sizeof listen);
    snprintf(shm, sizeof shm, "dp-shm-%016" PRIx64 "-%u", head->incarnation, number);
    const struct port_place place = {.listen = listen,
                                     .ports = *ports,
                                     .post = head->post,
                                     .shm = shm,
                                     .mode = (enum shm_mode)head->opts->shm,
                                     .checkpoints = head->checkpoints,
                                     .writer = head->writer};
    struct local_shard *shard = mem_array_zero(1, sizeof *shard);
    if (!shard)
        return dp_fail(err, DP_NOMEM, "out of memory for shard %u", number);
    bool left = ports->first <= ports->last;
    dp_err e = left ? port_start(&shard->port, number, head->zmq, &place, head->wake, err) : DP_BUSY;
    if (e) {
        free(shard);
        return e == DP_BUSY ? ports_in_use(head, seats, err) : e;
    }
    if (ports->first)
        ports->first = endpoint_port(shard->port.endpoint) + 1;
    fill_seat(seats, head, shard);
    return DP_OK;
}

dp_err local_shards_start(struct seats *seats, const struct local_head *head, dp_error *err)
{
    struct zuv_ports ports = head->post ? (struct zuv_ports){0} : head->opts->shard_ports;
    const uint32_t shards = (uint32_t)head->opts->shards;
    assert(seats->count == 0);
    if (seats_reserve(seats, shards))
        return dp_fail(err, DP_NOMEM, "out of memory for the server");
    for (uint32_t s = 0; s < shards; s++) {
        dp_err e = start_shard(seats, head, &ports, err);
        if (e)
            return e;
    }
    return DP_OK;
}
