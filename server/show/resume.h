/* A run that goes on in another process: what the display has summed up so far, as JSON. Thread: head. */
#ifndef DP_SERVER_SHOW_RESUME_H
#define DP_SERVER_SHOW_RESUME_H

#include <jansson.h>

#include "server/show/progress.h"

/* Sums of the epoch under way, the last evaluation, and samples of the whole job; a new reference. */
json_t *progress_sums(const struct progress *progress);
/* The run goes on from there, after progress_begin. A number that is missing stays as it is. */
void progress_resume(struct progress *progress, const json_t *sums);

#endif
