/* The spec of a job: the options that decide its result, as texts. A job goes on from a checkpoint only with the spec
 * that it was begun with. Thread: head. */
#ifndef DP_SERVER_OPTIONS_SPEC_H
#define DP_SERVER_OPTIONS_SPEC_H

#include <jansson.h>

#include "server/options/options.h"

/* {option: text}; NULL when out of memory. */
json_t *spec_of(const struct server_options *opts);
/* Whether the options are those of a job that was begun with `spec`. Some may have changed: what is trained on, how
 * long, the learning rate and the consistency. DP_USAGE naming the first other one with both values; `dir` is of the
 * checkpoint. */
DP_MUST_CHECK dp_err spec_check(const json_t *spec, const struct server_options *opts, const char *dir, dp_error *err);
/* Whether an option that may change is another one than the job was begun with. */
bool spec_differs(const json_t *spec, const struct server_options *opts, const char *option);

/* A number of the spec; false where there is none. */
bool spec_number(const json_t *spec, const char *option, double *ret_number);

#endif
