/* Finding a shard. The head says where the shards are, and a firewall between may let the head's port through alone: so
 * a shard that cannot be reached is named as such, at once, and its server is told.
 *
 * Without all shards a worker can do nothing, and a step would wait for its slots. So it says goodbye, with the reason,
 * and joins again once the shard can be reached. Thread: the one that uses the client. */
#include <stdio.h>

#include "common/base/util.h"
#include "worker/client/client.h"

enum { PROBE_MS = 5000 };

/* What is known of one that cannot be reached. */
static void describe(const struct dp_client *client, uint32_t number, const struct endpoint *endpoint,
                     const dp_error *why, dp_error *ret_text)
{
    char name[ENDPOINT_TEXT_MAX];
    endpoint_text(endpoint, name);
    (void)dp_fail(ret_text, DP_UNREACHABLE,
                  "shard %u at %.200s cannot be reached: %.100s (the head at %.100s answers); is the port open? see "
                  "dp-server --ports%s",
                  number, name, why->text, client->server, endpoint->ipc ? "" : ", and --advertise for the host");
}

/* The head is still there, and the job too. */
static dp_err head_look(struct dp_client *client, dp_error *err)
{
    link_look(&client->head_link);
    client->rejoin = false;
    dp_err e = session_drain(client, err);
    if (e == DP_OK && client->end.code)
        e = dp_fail(err, client->end.code, "%s", client->end.text);
    if (e == DP_OK && client->rejoin)
        e = dp_fail(err, DP_HELLO_REQUIRED, "lost the session with %s", client->server);
    return e;
}

static uint64_t left_ms(uint64_t deadline_ms)
{
    uint64_t now = mono_ms();
    return now < deadline_ms ? deadline_ms - now : 0;
}

/* Without a session: until the shard can be reached, and then DP_HELLO_REQUIRED. */
static dp_err reach_later(struct dp_client *client, uint32_t number, const struct endpoint *endpoint,
                          uint64_t deadline_ms, dp_error *err)
{
    uint64_t wait_ms = client->timing.retry;
    struct endpoint address;
    while (left_ms(deadline_ms) > 0) {
        dp_error why;
        dp_err e = session_back_off(client, MIN(wait_ms, left_ms(deadline_ms)), err);
        if (e == DP_OK)
            e = head_look(client, err);
        if (e)
            return e;
        if (endpoint_probe(endpoint, MIN(left_ms(deadline_ms) + 1, (uint64_t)PROBE_MS), client->stop, &address, &why) ==
            DP_OK) {
            client_notice(client, "shard %u can be reached", number);
            return dp_fail(err, DP_HELLO_REQUIRED, "shard %u can be reached again", number);
        }
        describe(client, number, endpoint, &why, err);
        wait_ms = MIN(2 * wait_ms, client->timing.retry_max);
    }
    return DP_UNREACHABLE;
}

dp_err shard_reach(struct dp_client *client, uint32_t number, const struct endpoint *endpoint, uint64_t deadline_ms,
                   struct endpoint *ret_address, dp_error *err)
{
    dp_error why;
    uint64_t begin_ms = mono_ms();
    /* At first it is the user who waits, for --connect-timeout. */
    uint64_t until_ms = client->joined ? deadline_ms : MIN(deadline_ms, begin_ms + client->connect_timeout_ms);
    uint64_t most_ms = MIN(MAX(left_ms(until_ms), (uint64_t)1), (uint64_t)PROBE_MS);
    if (endpoint_probe(endpoint, most_ms, client->stop, ret_address, &why) == DP_OK)
        return DP_OK;
    describe(client, number, endpoint, &why, err);
    client_notice(client, "%s (trying for another %llu s)", err->text,
                  (unsigned long long)(left_ms(until_ms) + 500) / 1000);
    beat_stop(&client->beat);
    if (session_bye(client, DP_UNREACHABLE, err->text))
        return dp_fail(err, DP_HELLO_REQUIRED, "lost the session with %s", client->server);
    return reach_later(client, number, endpoint, until_ms, err);
}
