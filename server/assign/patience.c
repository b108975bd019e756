/* Patience with the open step: for the stall time-out, and for longer where the bytes that it waits for are on their
 * way, as from a worker behind a slow link. Thread: head. */
#include "server/assign/patience.h"

#include "common/base/util.h"
#include "server/assign/balance.h"
#include "server/assign/gate.h"
#include "server/assign/owed.h"
#include "server/assign/quorum.h"
#include "server/assign/stall.h"
#include "server/talk/shared.h"

enum { DELIVERS_MS = 10000, LOOK_AGAIN_MS = 1000 };

/* If the first slice of each slot has come and the step is open all the same, others of any may be on their way. */
static bool owes_slot(const struct head *head, uint32_t number)
{
    const struct speculation *s = &head->balance->speculation;
    for (uint32_t k = 0; k < head->dealer.slots; k++)
        if (head->dealer.owner[k] == number && (s->missing == 0 || !speculation_in(s, k)))
            return true;
    return false;
}

/* Bytes that a worker pushes for all slots at most, one by one, and as many of headers and what is sent again. */
static uint64_t most_bytes(const struct head *head)
{
    const struct tensors *tensors = &head->job.core.tensors;
    uint64_t bytes = tensors_total(tensors) * sizeof(float) + FRAME_HEADER_BYTES_MAX;
    for (uint32_t t = 0; t < tensors->count; t++)
        bytes += tensors->list[t].kind == TENSOR_DENSE ? 0 : FRAME_ROWS_BYTES_MAX;
    return 2 * bytes * (head->dealer.slots + 1);
}

/* A worker behind a slow link delivers what it owes: that is no stall, as long as it grows, and up to what its slots
 * can come to, whatever it says. */
static bool is_delivering(const struct head *head, uint32_t number, uint64_t now_ms)
{
    const struct member *member = &head->members.list[number];
    uint64_t said = member->moved_bytes - member->moved_before;
    bool lately = member->moved_ms > 0 && now_ms - MIN(now_ms, member->moved_ms) < DELIVERS_MS;
    return member->state == MEMBER_JOINED && lately && said <= most_bytes(head) && owes_slot(head, number);
}

static bool put_off(struct head *head, uint64_t now_ms)
{
    bool on_its_way = false;
    for (uint32_t i = 0; i < head->members.used && !head->stall->put_off; i++)
        head->members.list[i].moved_before = head->members.list[i].moved_bytes;
    for (uint32_t i = 0; i < head->members.used && !on_its_way; i++)
        on_its_way = is_delivering(head, i, now_ms);
    head->stall->put_off = true;
    if (on_its_way)
        head->moved_ms = now_ms + LOOK_AGAIN_MS - MIN(now_ms + LOOK_AGAIN_MS, head->opts->stall_timeout_s * 1000);
    return on_its_way;
}

/* The open step stands still, though workers are there: asks what is owed. While there are too few of them, that is
 * what is reported. */
void head_patience_watch(struct head *head, const struct news *news)
{
    const uint64_t now_ms = news->now_ms;
    if (!head_has_enough(head))
        head->moved_ms = now_ms;
    if (head->state != HEAD_RUNNING || head->owed->missing > 0 ||
        now_ms < head->moved_ms + head->opts->stall_timeout_s * 1000) /* dealt since now_ms was read: moved is later */
        return;
    if (put_off(head, now_ms))
        return;
    head_gate_on_stall(head);
}
