/* Whether members are there: heartbeats, and connections that are found gone by sending. Thread: head. */
#include "server/talk/reach.h"

#include "common/base/util.h"
#include "server/talk/shared.h"
#include "server/talk/talk.h"

enum { HEARTBEAT_MIN_MS = 50 };

uint64_t head_heartbeat_ms(const struct head *head)
{
    return MAX(head->opts->lease_s * 100, (uint64_t)HEARTBEAT_MIN_MS);
}

/* A worker whose connection is gone cannot be sent to: found out by sending. */
dp_err head_probe(struct head *head, const struct member *member, enum letter_about about)
{
    Dp__HeartbeatAck ack = DP__HEARTBEAT_ACK__INIT;
    ack.global_low = head->global_low;
    Dp__Header header = DP__HEADER__INIT;
    header.body_case = DP__HEADER__BODY_HEARTBEAT_ACK;
    header.heartbeat_ack = &ack;
    return head_send_about(head, about, member, &header);
}

bool head_reachable(struct head *head, const struct member *member)
{
    return head_probe(head, member, ABOUT_PROBE) != DP_UNREACHABLE;
}
