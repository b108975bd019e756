/* News for the head. Thread: shard. */
#ifndef DP_SERVER_NET_EVENTS_H
#define DP_SERVER_NET_EVENTS_H

#include "server/net/state.h"

/* shard_calls.emit: takes the event and wakes the head as event_wakes says; `arg` is the port_state. */
void port_emit(void *arg, const struct event *event);
/* shard_calls.arrived */
void port_arrived(void *arg, uint32_t session, uint64_t step, uint32_t node);

#endif
