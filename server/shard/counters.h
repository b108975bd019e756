/* Counters of a shard: bytes by direction and kind, copies, and the time of each kind of work. Written by the shard's
 * thread, read by the head at any moment; each number by itself is right, all of them together are of nearly one
 * moment. */
#ifndef DP_SERVER_SHARD_COUNTERS_H
#define DP_SERVER_SHARD_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#include "server/step/staleness.h"

/* All of them, in the order of the status document's description: SUM and LEVEL(name, unit, meaning), TIME(name,
 * meaning), of a member name_ns, and TOTAL, which the document adds up from others and which has no member. A SUM and a
 * TIME grow until the process ends; a LEVEL is 0 again when the shard begins anew. A new counter is a row here. */
#define SHARD_COUNTERS(SUM, LEVEL, TIME, TOTAL)                                                                        \
    LEVEL(low, NULL, "steps complete on all of its slices and parts; 0 where it has none")                             \
    SUM(pushes, NULL, "nodes that arrived")                                                                            \
    SUM(duplicates, NULL, "of these, nodes that were known")                                                           \
    SUM(pulls, NULL, "answers with parameters, unchanged ones and those of the end included")                          \
    SUM(refused, NULL, "messages that do not fit its steps")                                                           \
    SUM(not_dealt, NULL, "of these, pushes of slots that were not dealt to their session")                             \
    SUM(malformed, NULL, "messages that were none, or not of this job")                                                \
    SUM(unread, NULL, "replies that were left out because their peer does not read")                                   \
    SUM(gradient_bytes_in, "bytes", "gradients received")                                                              \
    SUM(ids_bytes_in, "bytes", "lists of row ids received")                                                            \
    SUM(header_bytes_in, "bytes", "headers received")                                                                  \
    TOTAL(bytes_in, "bytes", "the sum of these three")                                                                 \
    SUM(theta_bytes_out, "bytes", "payloads handed to ZeroMQ")                                                         \
    SUM(header_bytes_out, "bytes", "headers handed to ZeroMQ")                                                         \
    TOTAL(bytes_out, "bytes", "the sum of these two")                                                                  \
    SUM(shm_bytes_in, "bytes", "gradients read in shared memory; in none of the numbers above")                        \
    SUM(shm_bytes_out, "bytes", "parameters lent in shared memory; in none of the numbers above")                      \
    LEVEL(rows, NULL, "rows of tables that were touched so far")                                                       \
    LEVEL(row_bytes, "bytes", "their memory")                                                                          \
    SUM(rows_pushed, NULL, "rows of all pushes")                                                                       \
    SUM(rows_pulled, NULL, "rows of all pulls")                                                                        \
    SUM(lists_received, NULL, "lists of row ids that came")                                                            \
    LEVEL(list_bytes, "bytes", "memory of those that are kept")                                                        \
    SUM(copies, NULL, "payloads moved to an aligned place: ZeroMQ leaves those below 8 KiB unaligned")                 \
    SUM(copied_bytes, "bytes", "their bytes")                                                                          \
    SUM(commits, NULL, "of one slice each, evaluation steps included; on arrival of one slot each")                    \
    SUM(compensated, NULL, "late gradients that --delay-compensation brought to theta as it was")                      \
    SUM(uncompensated, NULL, "late gradients that it took as they were")                                               \
    LEVEL(past_bytes, "bytes", "memory of versions kept for that")                                                     \
    TIME(parked, "time that pulls waited for their step, added up over pulls")                                         \
    TIME(queued, "time that gradients waited for the rest of their tree, added up over nodes; none where they commit " \
                 "on arrival")                                                                                         \
    TIME(commit, "time in which trees were summed and theta was updated")

#define SHARD_COUNTER(name, unit, meaning) _Atomic uint64_t name;
#define SHARD_TIME(name, meaning) _Atomic uint64_t name##_ns;
#define SHARD_TOTAL(name, unit, meaning)
struct shard_counters {
    SHARD_COUNTERS(SHARD_COUNTER, SHARD_COUNTER, SHARD_TIME, SHARD_TOTAL)
    struct staleness staleness;
};

/* There is one writer: no read-modify-write is needed. Thread: shard. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t by)
{
    uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, now + by, memory_order_relaxed);
}

static inline uint64_t counter_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Sets levels to 0: the shard that they were of is no more. Thread: shard. */
void counters_reset(struct shard_counters *counters);

#endif
