/* Counters of a shard: bytes by direction and kind, copies, and the time of each kind of work. Written by the shard's
 * thread, read by the head at any moment; each number by itself is right, all of them together are of nearly one
 * moment. */
#ifndef DP_SERVER_SHARD_COUNTERS_H
#define DP_SERVER_SHARD_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#include "server/step/staleness.h"

struct shard_counters {
    _Atomic uint64_t low;                        /* steps complete on all slices */
    _Atomic uint64_t pushes, duplicates, pulls;  /* messages that were taken, and what they asked for */
    _Atomic uint64_t refused, malformed, unread; /* answered with an error; dropped; replies beyond a peer's budget */
    _Atomic uint64_t not_dealt;                  /* of those refused: pushes of slots that were not dealt to them */
    _Atomic uint64_t gradient_bytes_in, ids_bytes_in, header_bytes_in;
    _Atomic uint64_t theta_bytes_out, header_bytes_out;
    _Atomic uint64_t shm_bytes_in, shm_bytes_out; /* read and lent in shared memory; in none of the others */
    _Atomic uint64_t rows, row_bytes;             /* of tables: rows touched so far, and their memory */
    _Atomic uint64_t rows_pushed, rows_pulled;
    _Atomic uint64_t lists_received, list_bytes; /* lists of row ids that came; memory of those that are kept */
    _Atomic uint64_t copies, copied_bytes;       /* payloads that had to be moved to an aligned place */
    _Atomic uint64_t commits;                    /* of a slice */
    _Atomic uint64_t compensated, uncompensated; /* late gradients, with what they were computed on kept or not */
    _Atomic uint64_t past_bytes;                 /* of versions kept for that */
    _Atomic uint64_t parked_ns;                  /* pulls waited for their step */
    _Atomic uint64_t queued_ns;                  /* gradients waited for the rest of their tree */
    _Atomic uint64_t commit_ns;                  /* trees were summed and theta was updated */
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

#endif
