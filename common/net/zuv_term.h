/* The end of a ZeroMQ context. Thread: any. */
#ifndef DP_COMMON_NET_ZUV_TERM_H
#define DP_COMMON_NET_ZUV_TERM_H

#include <errno.h>
#include <zmq.h>

/* Waits until all sockets are closed and no message holds memory of ours any more, also where a signal interrupts that:
 * what the messages hold is freed next. */
static inline void zuv_term(void *context)
{
    while (zmq_ctx_term(context) && errno == EINTR) {
    }
}

#endif
