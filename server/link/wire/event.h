/* Events <-> messages. Thread: any. */
#ifndef DP_SERVER_LINK_WIRE_EVENT_H
#define DP_SERVER_LINK_WIRE_EVENT_H

#include "server/link/event.h"
#include "server/link/command.h"
#include "server/link/wire/wire.h"

/* A message of the event of this job, whose payloads it borrows. DP_NOMEM. */
DP_MUST_CHECK dp_err wire_event_write(const struct event *event, const struct command_start *job,
                                      struct wire_message *ret_message);
/* The event of a message, checked against the job of its shard. Versions that it pins are added to `*versions`, which
 * owns them: a slice does so with its own. DP_PROTO, DP_NOMEM with a text. */
DP_MUST_CHECK dp_err wire_event_read(const struct wire_message *message, const struct command_start *job,
                                     struct version **versions, struct event *ret_event, dp_error *err);
/* Frees the versions that nobody refers to any more. */
void wire_versions_sweep(struct version **versions);

#endif
