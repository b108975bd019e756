/* The number of workers that the limit of open files is enough for. Each takes descriptors: its connections to the head
 * and to each shard, and one more where memory is shared. Some are kept for those that are told to come again later,
 * for dp-ctl, and for strangers. Thread: head. */
#ifndef DP_SERVER_MEMBERS_CROWD_H
#define DP_SERVER_MEMBERS_CROWD_H

#include <stdbool.h>
#include <stdint.h>

struct crowd {
    uint64_t limit; /* of open files */
    uint64_t own;   /* that the server has open itself, or will have */
    bool is_short;  /* for one more worker, as it was last found, and the log says so */
};

/* Descriptors that workers do not get: a share of what there is, 8 to 64. */
uint64_t crowd_reserve(const struct crowd *crowd);
/* Whether one more worker that takes `wanted` fits beside those that are here, which take `taken` once all their
 * connections are made. */
bool crowd_has_room(const struct crowd *crowd, uint64_t taken, uint64_t wanted);

/* Connections without a session that may be there beside those workers: a quarter of what the limit is, while that many
 * descriptors are left; always a few. */
uint32_t crowd_strangers(const struct crowd *crowd, uint64_t taken);

#endif
