/* Connections over time: handshakes and frames that take too long, idle strangers, hosts that vanished. Thread: head.
 */
#ifndef DP_SERVER_ZMTP_WATCH_H
#define DP_SERVER_ZMTP_WATCH_H

#include <stdint.h>

/* Closes what has taken too long, and logs what was closed. Every now and then. */
void gate_tick(uint64_t now_ms);

#endif
