/* Finding a shard. The head says where the shards are, and a firewall between may let the head's port through alone: so
 * a shard that cannot be reached is named as such, at once, and its server is told.
 *
 * Without all shards a worker can do nothing, and a step would wait for its slots. So it says goodbye, with the reason,
 * and joins again once the shard can be reached. Thread: the one that uses the client. */
#include "worker/client/reach_shard.h"

#include "common/base/deadline.h"
#include "common/base/util.h"
#include "worker/client/contact/reach.h"
#include "worker/client/head.h"
#include "worker/client/state.h"

enum { PROBE_MS = 5000 };

/* All that is known of a shard that cannot be reached. */
static void describe(const struct dp_client *client, uint32_t number, const struct endpoint *endpoint,
                     const dp_error *why, dp_error *ret_text)
{
    char name[ENDPOINT_TEXT_MAX];
    endpoint_text(endpoint, name);
    (void)dp_fail(ret_text, DP_UNREACHABLE,
                  "shard %u at %.200s cannot be reached: %.100s (the head at %.100s answers); is the port open? see "
                  "dp-server --ports%s",
                  number, name, why->text, client->config.server,
                  endpoint_has_ports(endpoint) ? ", and --advertise for the host" : "");
}

/* The head is still there, and the job too. */
static dp_err head_look(struct dp_client *client, dp_error *err)
{
    link_look(&client->head.link);
    client->session.lost = false;
    dp_err e = head_drain(client, err);
    if (e == DP_OK)
        e = tell_check_end(&client->tell, err);
    if (e == DP_OK && client->session.lost)
        e = dp_fail(err, DP_HELLO_REQUIRED, "lost the session with %s", client->config.server);
    return e;
}

/* Without a session: until the shard can be reached, and then DP_HELLO_REQUIRED. */
static dp_err reach_later(struct dp_client *client, uint32_t number, const struct endpoint *endpoint,
                          uint64_t deadline_ms, dp_error *err)
{
    const struct reach_way way = {&client->timing, &client->tell, client->session.worker};
    uint64_t wait_ms = client->timing.retry;
    struct endpoint address;
    while (deadline_left_ms(deadline_ms) > 0) {
        dp_error why;
        dp_err e = reach_pause(&way, MIN(wait_ms, deadline_left_ms(deadline_ms)), err);
        if (e == DP_OK)
            e = head_look(client, err);
        if (e)
            return e;
        if (endpoint_probe(endpoint, MIN(deadline_left_ms(deadline_ms) + 1, (uint64_t)PROBE_MS), client->tell.stop,
                           &address, &why) == DP_OK) {
            tell_notice(&client->tell, "shard %u can be reached", number);
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
    uint64_t until_ms =
        client->session.joined ? deadline_ms : MIN(deadline_ms, begin_ms + client->config.connect_timeout_ms);
    uint64_t most_ms = MIN(MAX(deadline_left_ms(until_ms), (uint64_t)1), (uint64_t)PROBE_MS);
    if (endpoint_probe(endpoint, most_ms, client->tell.stop, ret_address, &why) == DP_OK)
        return DP_OK;
    describe(client, number, endpoint, &why, err);
    tell_notice(&client->tell, "%s (trying for another %llu s)", err->text,
                (unsigned long long)(deadline_left_ms(until_ms) + 500) / 1000);
    beat_stop(&client->beat);
    if (head_bye(client, DP_UNREACHABLE, err->text))
        return dp_fail(err, DP_HELLO_REQUIRED, "lost the session with %s", client->config.server);
    return reach_later(client, number, endpoint, until_ms, err);
}
