/* The steps of a job that hostile messages cost. Thread: main. */
#ifndef DP_TESTS_FAULT_COST_H
#define DP_TESTS_FAULT_COST_H

#include "tests/fault/insider.h"

/* Runs a job, sends it `messages` messages of all kinds, and prints steps a second: in quiet, while senders send, and
 * while as many processes take as much processor time as they did and send nothing. The bits at the end are compared as
 * well. False where the job did not come through; the rates are for people. */
bool cost_measure(const struct job_config *config, const struct facts *facts, uint64_t messages);

#endif
