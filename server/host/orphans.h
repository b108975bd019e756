/* Processes that lost their parent fall to process 1, which dp-server is in a container without an init: they are
 * reaped, else they stay as zombies. Thread: head. */
#ifndef DP_SERVER_HOST_ORPHANS_H
#define DP_SERVER_HOST_ORPHANS_H

#include <stdbool.h>
#include <sys/types.h>

/* Whether a child is one that somebody here waits for; those are left to whom they belong to. */
typedef bool (*orphans_known)(void *arg, pid_t child);

/* Reaps the orphans that have ended, without waiting; does nothing unless this process is the one that they fall to.
 * One behind a child that is known and not yet reaped waits for the next call. */
void orphans_reap(orphans_known known, void *arg);

/* Whether this is process 1. */
bool orphans_are_ours(void);

#endif
