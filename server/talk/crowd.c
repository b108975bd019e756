/* Descriptors that run short. A worker is taken in only if all its connections will find one, else it is asked to
 * come again later, and leaves. If others have used up all, connections are closed as they come
 * (server/zmtp/accept_spare.h). Thread: head. */
#include "server/talk/crowd.h"

#include <inttypes.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/process.h"
#include "common/base/util.h"
#include "server/talk/shared.h"
#include "server/zmtp/accept_spare.h"
#include "server/zmtp/gate.h"

/* Descriptors that a server opens later on: shared memory of a shard and what it passes, the pipe of a local worker,
 * the model. */
enum { OWN_SPARE = 6, OWN_PER_SHARD = 2 };

void head_crowd_start(struct head *head)
{
    head->crowding.crowd.limit = descriptors_limit();
    head->crowding.crowd.own =
        descriptors_taken() + OWN_SPARE + OWN_PER_SHARD * head->opts->shards + head->opts->local_workers;
}

/* Connections of a worker to the shards of this process, which have the first seats, as far as the job is known;
 * `doors`: with those for shared memory. */
static uint64_t shard_files(const struct head *head, bool doors)
{
    if (!head->job.settled)
        return head->opts->shards * (uint64_t)(FRAME_LANES + doors);
    uint64_t files = 0;
    for (uint32_t s = 0; s < head->opts->shards; s++) {
        const struct job_shard *shard = &head->job.shards[s];
        if (shard->slice_count + shard->part_count > 0)
            files += (shard->slice_count > 1 ? FRAME_LANES : 1) + (uint64_t)doors;
    }
    return files;
}

/* Two to the head, of which one is for heartbeats. One that shares no memory says so by its heartbeats, once it has had
 * the time to try. */
static uint64_t member_files(const struct head *head, const struct member *member, uint64_t now_ms)
{
    if (member->state == MEMBER_GREETED && member->row == ROW_SILENT)
        return 1; /* all that is known of it is one connection */
    bool tried = member->state == MEMBER_JOINED && now_ms > member->joined_ms + head->opts->lease_s * 1000;
    return 2 + shard_files(head, head->opts->shm != SHM_OFF && (member->shm || !tried));
}

static uint64_t members_files(const struct head *head)
{
    uint64_t taken = 0, now_ms = mono_ms();
    for (uint32_t i = 0; i < head->members.used; i++)
        if (head->members.list[i].state != MEMBER_NONE)
            taken += member_files(head, &head->members.list[i], now_ms);
    return taken;
}

dp_err head_crowd_admit(struct head *head, dp_error *err)
{
    uint64_t taken = members_files(head);
    uint64_t wanted = 2 + shard_files(head, head->opts->shm != SHM_OFF);
    bool is_short = !crowd_has_room(&head->crowding.crowd, taken, wanted);
    if (is_short && !head->crowding.crowd.is_short)
        log_warn("descriptors-short workers=%u open_files_max=%" PRIu64
                 " action=\"new workers are told to come again later: raise the limit of open files (ulimit -n)\"",
                 head->members.count, head->crowding.crowd.limit);
    head->crowding.crowd.is_short = is_short;
    gate_allow_strangers(crowd_strangers(&head->crowding.crowd, is_short ? taken : taken + wanted));
    if (!is_short)
        return DP_OK;
    return dp_fail(err, DP_BUSY,
                   "the server has no descriptors left for another worker: it may have %" PRIu64
                   " files open at a time, which it and %u workers need; raise its limit (ulimit -n)",
                   head->crowding.crowd.limit, head->members.count);
}

/* Members leave room for strangers, and take it from them. Also one that came and was turned away between two ticks. */
void head_crowd_watch(struct head *head, const struct news *news)
{
    (void)news;
    const uint32_t strangers = crowd_strangers(&head->crowding.crowd, members_files(head));
    gate_allow_strangers(strangers);
    bool limited = strangers < GATE_STRANGERS_MAX; /* by the descriptors */
    uint64_t turned_away = accept_spare_count() + (limited ? gate_count(GATE_CROWDED) : 0);
    bool full = limited && head->crowding.crowded && gate_strangers() >= strangers;
    bool crowded = turned_away > head->crowding.turned_away || full || descriptors_left(1) == 0;
    if (crowded && !head->crowding.crowded)
        log_warn("descriptors-used-up workers=%u open_files_max=%" PRIu64
                 " action=\"connections are closed as they come: raise the limit of open files (ulimit -n)\"",
                 head->members.count, head->crowding.crowd.limit);
    if (!crowded && head->crowding.crowded)
        log_info("descriptors-left workers=%u", head->members.count);
    head->crowding.crowded = crowded;
    head->crowding.turned_away = MAX(head->crowding.turned_away, turned_away);
}
