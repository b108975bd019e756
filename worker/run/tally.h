/* Number of steps that a worker had a part in, each counted once: if slots commit on arrival, it goes back to steps
 * that are still open. Thread: any. */
#ifndef DP_WORKER_RUN_TALLY_H
#define DP_WORKER_RUN_TALLY_H

#include <stdint.h>

/* Steps that are open at a time lie closer together: ARRIVAL_STALENESS_MAX of worker/client/state/open_steps.h. */
enum { TALLY_WINDOW = 64 };

/* A zeroed tally has no steps. */
struct tally {
    uint64_t steps;  /* so far */
    uint64_t latest; /* the largest of them, if there is any */
    uint64_t seen;   /* bit i: `latest` - i is one of them */
};

/* Steps far before the latest are taken to be counted. */
void tally_add(struct tally *tally, uint64_t step);

#endif
