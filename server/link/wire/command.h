/* Commands <-> messages. Thread: any. */
#ifndef DP_SERVER_LINK_WIRE_COMMAND_H
#define DP_SERVER_LINK_WIRE_COMMAND_H

#include "server/link/command.h"
#include "server/link/wire/wire.h"

/* A message of the command, whose payloads it borrows. DP_NOMEM. */
DP_MUST_CHECK dp_err wire_command_write(const struct command *command, struct wire_message *ret_message);
/* The command of a message, checked against the job that was started last; `job` is NULL before that. A command
 * that needs a job is refused then. DP_PROTO, DP_NOMEM with a text. */
DP_MUST_CHECK dp_err wire_command_read(const struct wire_message *message, const struct command_start *job,
                                       struct command *ret_command, dp_error *err);

#endif
