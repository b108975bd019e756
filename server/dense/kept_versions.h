/* Versions of a slice that its gradients may yet be computed on, kept so that a late gradient can be compensated for
 * the commits since (--delay-compensation): of each session the one that it was last answered with, which is what its
 * pushes are computed on (Zheng et al. 2017 keep the same backup for each worker).
 *
 * Invariants: a session has at most one entry; entries are in ascending order of version numbers; there are at most
 * `most` different versions. Beyond that the oldest are let go: gradients that were computed on them are not
 * compensated. Thread: shard. */
#ifndef DP_SERVER_DENSE_KEPT_VERSIONS_H
#define DP_SERVER_DENSE_KEPT_VERSIONS_H

#include <stddef.h>
#include <stdint.h>

struct version;

struct past_entry {
    uint32_t session;
    struct version *version; /* a reference is held */
};

/* A zeroed one keeps nothing. */
struct past {
    uint32_t most;     /* different versions to keep */
    uint32_t versions; /* different versions kept */
    size_t count, room;
    struct past_entry *list;
};

void past_fini(struct past *past);
/* The session was answered with the slice's current version, and needs no earlier one. Out of memory it is not kept.
 */
void past_keep(struct past *past, uint32_t session, struct version *version);
/* The version of that number, NULL if it is not kept. Borrowed until the next call on past. */
const struct version *past_find(const struct past *past, uint64_t number);
/* The session is over, or computes on nothing that could become old. Does nothing if nothing is kept for it. */
void past_forget(struct past *past, uint32_t session);

#endif
