/* Step-stamped control on a shard: promises, and settings that take effect. Thread: shard. */
#ifndef DP_SERVER_SHARD_CONTROL_H
#define DP_SERVER_SHARD_CONTROL_H

#include "server/shard/state.h"

/* The first step >= `step` that a setting can still change here. From it on nothing is committed, or for a change of
 * consistency opened, until control_apply. */
uint64_t control_promise(struct shard *shard, uint64_t step, enum setting_kind kind);
/* The setting holds from `step` on, and the promise is kept. DP_NOMEM, DP_BUSY: the job cannot go on. */
DP_MUST_CHECK dp_err control_apply(struct shard *shard, uint64_t step, const struct setting *setting, dp_error *err);

#endif
