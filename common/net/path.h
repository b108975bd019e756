/* The kernel's knowledge of a TCP connection: whether its bytes arrive. Thread: any. */
#ifndef DP_COMMON_NET_PATH_H
#define DP_COMMON_NET_PATH_H

#include <stdbool.h>
#include <stdint.h>

struct path_state {
    uint64_t acked;    /* bytes sent that the peer's host has acknowledged, */
    uint64_t received; /* and bytes that have come, since the connection was made */
    bool waits;        /* some that were sent are not acknowledged, */
    uint64_t ack_ms;   /* and so long ago the last acknowledgement came */
};

/* False where `fd` is no TCP connection, or the kernel does not say. A descriptor that was closed meanwhile does no
 * harm: nothing is changed. */
bool path_look(int fd, struct path_state *ret_state);

/* Watches a connection for bytes that do not arrive. A zeroed one is new. */
struct path_watch {
    uint64_t looked_ms;
    uint64_t acked, received;
    uint64_t stuck_ms; /* since when nothing was acknowledged of what waits; 0: nothing waits */
};

/* Time for which the peer has acknowledged nothing of the bytes sent. Right only if called at least every PATH_GAP_MS.
 */
enum { PATH_GAP_MS = 1500 };
uint64_t path_stuck_ms(struct path_watch *watch, const struct path_state *state, uint64_t now_ms);

#endif
