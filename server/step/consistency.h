/* The distance that workers may be apart, and the time of commits: of each step, since it may change while the job
 * runs.
 *
 *   bsp     a step commits once, when its tree is complete: a pull for step t gets exactly theta_t
 *   ssp:S   each slot commits when it arrives, as a fraction of a step; a pull for t is answered once the steps before
 *           t - S are complete
 *   async   the same with the widest window that there is, CONSISTENCY_STALENESS_MAX
 *
 * A step's staleness is S, 0 under bsp. Evaluation steps are always as under bsp, and nothing is open beside them.
 * Thread: any. */
#ifndef DP_SERVER_STEP_CONSISTENCY_H
#define DP_SERVER_STEP_CONSISTENCY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/dp_err.h"
#include "common/tensor/history.h"

enum {
    CONSISTENCY_TEXT_MAX = 16,
};
#define CONSISTENCY_FORMS "bsp|ssp:S|async"

/* "bsp", "ssp:S" with S in 0..CONSISTENCY_STALENESS_MAX, "async". DP_USAGE. */
DP_MUST_CHECK dp_err consistency_parse(const char *text, uint32_t *ret_staleness, dp_error *err);
void consistency_text(uint32_t staleness, char text[CONSISTENCY_TEXT_MAX]);

/* The staleness in force at a step. */
uint32_t consistency_at(const struct consistency *consistency, uint64_t step);
/* The largest staleness in force at any step from `step` on. */
uint32_t consistency_most(const struct consistency *consistency, uint64_t step);
/* `staleness` holds from step `from` on; later changes are taken back. False if there are too many. */
bool consistency_set(struct consistency *consistency, uint64_t from, uint32_t staleness);
/* No step before `oldest` is asked for any more: changes that those alone depend on are forgotten. */
void consistency_forget(struct consistency *consistency, uint64_t oldest);

#endif
