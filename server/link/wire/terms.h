/* Constraints of a message, with the rows of linear ones in its payloads. Thread: any. */
#ifndef DP_SERVER_LINK_WIRE_TERMS_H
#define DP_SERVER_LINK_WIRE_TERMS_H

#include "common/terms/constraint.h"
#include "proto/link.pb-c.h"
#include "server/link/wire/wire.h"

/* Fills the zeroed *constraints, whose rows are heap: constraints_fini frees them, also what was read before a failure.
 * DP_PROTO, DP_NOMEM with a text. */
DP_MUST_CHECK dp_err wire_constraints_read(struct wire_reader *reader, const Dp__Link__Constraints *body,
                                           const struct tensors *tensors, struct constraints *constraints,
                                           dp_error *err);

#endif
