/* COMMAND_START as a message. Thread: any. */
#ifndef DP_SERVER_LINK_WIRE_START_WRITE_H
#define DP_SERVER_LINK_WIRE_START_WRITE_H

#include "proto/link.pb-c.h"
#include "server/link/command.h"
#include "server/link/wire/wire.h"

/* A job as a message's body; heap. It borrows names and payloads from the command. */
struct wire_start;
/* NULL when out of memory. */
struct wire_start *wire_start_new(const struct command_start *start);
Dp__Link__Start *wire_start_body(struct wire_start *wire);
void wire_start_free(struct wire_start **wire);
/* Appends the rows of linear constraints. DP_NOMEM. */
DP_MUST_CHECK dp_err wire_start_parts(const struct command_start *start, struct wire_message *message);

#endif
