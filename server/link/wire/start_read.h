/* A message as COMMAND_START. Thread: any. */
#ifndef DP_SERVER_LINK_WIRE_START_READ_H
#define DP_SERVER_LINK_WIRE_START_READ_H

#include "proto/link.pb-c.h"
#include "server/link/command.h"
#include "server/link/wire/wire.h"

/* A job from a message's body and its payloads: tensors, plan and layout are whole, lists are within their limits and
 * in order. DP_PROTO, DP_NOMEM with a text. */
DP_MUST_CHECK dp_err wire_start_read(struct wire_reader *reader, const Dp__Link__Start *body,
                                     struct command_start **ret_start, dp_error *err);

#endif
