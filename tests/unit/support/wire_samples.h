/* One message of each kind with every field set, shared by the tests of the wire. The golden files hold these bytes:
 * a change here or in dp.proto that changes them breaks older peers. */
#ifndef DP_TESTS_UNIT_SUPPORT_WIRE_SAMPLES_H
#define DP_TESTS_UNIT_SUPPORT_WIRE_SAMPLES_H

#include <stddef.h>

#include "proto/frame.h"

enum { SAMPLE_COUNT = 46 };

struct sample {
    const char *name; /* of the golden file */
    size_t payload_count;
    Dp__Header header;
};

/* Fills samples[SAMPLE_COUNT]; what they point to is static. */
void samples_fill(struct sample *samples);

#endif
