/* Finding a server. Thread: the one that uses the client. */
#include "worker/client/contact/reach.h"

#include <poll.h>

#include "common/base/deadline.h"
#include "common/base/util.h"

/* The last try has a little time as well, else its failure would say nothing but that. */
enum { PROBE_MS = 5000, PROBE_LEAST_MS = 1000, REACH_WAIT_MS = 1000, PAUSE_MAX_MS = 60000 };

dp_err reach_pause(const struct reach_way *way, uint64_t ms, dp_error *err)
{
    for (uint64_t end = mono_ms() + ms; deadline_left_ms(end) > 0;) {
        dp_err e = tell_check_stop(way->tell, err);
        if (e)
            return e;
        uint64_t most_ms = MIN(deadline_left_ms(end), way->timing->poll);
        (void)poll(NULL, 0, (int)MIN(most_ms, (uint64_t)PAUSE_MAX_MS)); /* a signal ends it early */
    }
    return tell_check_stop(way->tell, err);
}

uint64_t reach_jitter(const struct reach_way *way, uint64_t wait_ms)
{
    return wait_ms - way->worker % (wait_ms / 4 + 1);
}

dp_err reach_server(const struct reach_way *way, const struct endpoint *endpoint, const char *hint,
                    uint64_t deadline_ms, struct endpoint *ret_address, dp_error *err)
{
    char name[ENDPOINT_TEXT_MAX];
    uint64_t begin_ms = mono_ms(), notice_ms = begin_ms, wait_ms = way->timing->retry;
    bool told = false;
    endpoint_text(endpoint, name);
    for (;;) {
        uint64_t most_ms = MIN(MAX(deadline_left_ms(deadline_ms), (uint64_t)PROBE_LEAST_MS), (uint64_t)PROBE_MS);
        dp_err e = endpoint_probe(endpoint, most_ms, way->tell->stop, ret_address, err);
        if (e == DP_OK && told)
            tell_notice(way->tell, "reached %s", name);
        if (e == DP_OK)
            return DP_OK;
        if (deadline_left_ms(deadline_ms) == 0)
            return dp_fail(err, DP_UNREACHABLE, "cannot reach %s: %.200s (tried for %llu s); %s", name, err->text,
                           (unsigned long long)deadline_seconds(mono_ms() - begin_ms), hint);
        if (mono_ms() >= notice_ms) {
            tell_notice(way->tell, "cannot reach %s (%.200s), trying for another %llu s", name, err->text,
                        (unsigned long long)deadline_seconds(deadline_left_ms(deadline_ms)));
            notice_ms = mono_ms() + way->timing->notice;
            told = true;
        }
        e = reach_pause(way, MIN(reach_jitter(way, wait_ms), deadline_left_ms(deadline_ms)), err);
        if (e)
            return e;
        wait_ms = MIN(2 * wait_ms, MIN(way->timing->retry_max, (uint64_t)REACH_WAIT_MS));
    }
}
