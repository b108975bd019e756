/* Speeds of members, as deals and speculation count them. Pure arithmetic on what was measured; no clock, no network.
 *
 * A step is not computing alone: gradients and parameters move, and theta is updated. If that takes r beside the n_i
 * c_i that the slowest member computes (n_i its slots, c_i its time for one), r does not get less by another deal. So a
 * slot counts as c_i + r * members / slots. If a step is mostly computing, these are the measured speeds; if it is
 * mostly moving bytes, all members are nearly alike, even if their few computations differ much. Thread: head. */
#ifndef DP_SERVER_DEAL_SPEEDS_H
#define DP_SERVER_DEAL_SPEEDS_H

#include "server/deal/dealer.h"

/* Speeds by member number, their mean 1, of the `count` members that `numbers` names. `slot_us` by number: what a slot
 * takes it to compute, 0: not known; it counts as the mean of the others then. `step_us`: what a step takes in all, 0:
 * not known. */
void speeds_find(const struct dealer *dealer, const double *slot_us, double step_us, const uint32_t *numbers,
                 uint32_t count, double *ret_speed);

#endif
