/* Versions of a slice's theta: their memory and their references. A version is written once, before anyone else can see
 * it, and is taken for another number only when nobody refers to it.
 *
 * Invariants: `refs` is the number of holders, of which the slice is one; a version with refs 0 may be taken. A version
 * of the list has memory of its own, a payload's memory, or none yet; one of `shared` lies in the plane of its index.
 * Thread: shard; a version may be retained and released from any thread. */
#ifndef DP_SERVER_DENSE_VERSION_H
#define DP_SERVER_DENSE_VERSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/mem.h"
#include "server/dense/planes.h"

#define VERSION_UNSHARED UINT32_MAX

/* theta of a slice after `number` commits of training steps. */
struct version {
    _Atomic uint32_t refs;
    uint32_t plane; /* of the job's planes, VERSION_UNSHARED where it is in none */
    uint64_t number;
    float *theta;       /* [elems] */
    struct blob memory; /* of theta: its own, or once a push's payload; none in a plane */
    struct version *next;
};
/* Takes another reference; the caller holds one or is the slice. */
void version_retain(struct version *version);
/* Gives a reference back. Any thread. */
void version_release(struct version *version);
/* Whether the caller's reference is the only one. */
bool version_is_only_mine(const struct version *version);

/* All versions of one slice. A zeroed one is empty. */
struct versions {
    uint64_t elems;
    struct version *list;   /* all that were ever allocated */
    struct version *shared; /* [shared_count] those in the planes; NULL without planes */
    uint32_t shared_count;
};

/* For slices of elements [range.first, range.first + range.count); `planes` may be NULL. DP_NOMEM leaves what
 * versions_fini frees. */
DP_MUST_CHECK dp_err versions_init(struct versions *versions, struct range range, const struct planes *planes);
/* Nobody refers to any of them. */
void versions_fini(struct versions *versions);
/* Whether nobody refers to any of them. */
bool versions_are_free(const struct versions *versions);
/* A version that nobody sees yet, with one reference: in its plane if that is free, else in memory of its own, which
 * is given back once planes suffice again. NULL when out of memory. */
struct version *versions_new(struct versions *versions, uint64_t number);
/* The same in the memory of a payload, which stays the caller's until it moves it to `memory`. Free versions give their
 * memory back: the next messages come to lie there. */
struct version *versions_over(struct versions *versions, uint64_t number, const struct blob *payload);

#endif
