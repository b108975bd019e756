/* Whether a job lost or doubled slots, by what its server said. Thread: the test's. */
#ifndef DP_TESTS_INTEGRATION_SUPPORT_CONSERVATION_H
#define DP_TESTS_INTEGRATION_SUPPORT_CONSERVATION_H

#include <jansson.h>
#include <stdint.h>

/* The line of `--json` that says the job is done; to be decref'd. Fails the test if there is none. */
json_t *done_line(const char *out);
double done_number(const json_t *done, const char *name);
/* Fails the test unless each slot (all have samples) of each step was committed once on each of the slices. */
void done_assert_conserved(const json_t *done, uint32_t slots, uint32_t slices);

#endif
