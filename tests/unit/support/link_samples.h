/* One command and one event of each kind with every field set, a START of a job that goes on from a checkpoint, and the
 * job that they are of. The golden files hold
 * their bytes: a change here or in link.proto that changes them breaks older peers. Thread: any, one at a time. */
#ifndef DP_TESTS_UNIT_SUPPORT_LINK_SAMPLES_H
#define DP_TESTS_UNIT_SUPPORT_LINK_SAMPLES_H

#include "server/link/command.h"
#include "server/link/event.h"

/* Two dense tensors in two slices, a table and a hashed one in two parts, a linear constraint. The caller's to free. */
struct command_start *link_sample_job(void);

struct link_sample {
    const char *name; /* of the golden file */
    bool is_event;
    bool needs_job; /* a command that is refused before START */
    union {
        struct command command;
        struct event event;
    };
};

enum { LINK_SAMPLES = COMMAND_KINDS + EVENT_KINDS + 2 };

/* Fills samples[LINK_SAMPLES] with values that own what they point to. */
void link_samples_fill(struct link_sample *samples);
void link_sample_fini(struct link_sample *sample);

#endif
