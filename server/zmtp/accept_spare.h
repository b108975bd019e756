/* Connections while no descriptor is left. To accept one fails then, and it waits on: ZeroMQ tries again without a
 * pause, which takes a core, and on a Unix socket it aborts (4.3.4). One descriptor is kept for that: it is given up,
 * the connection is accepted and closed, so that its peer knows and comes again later, and the descriptor is taken
 * back.
 *
 * To that end a program that calls accept_spare_start has accept and accept4 of its own, which libzmq finds before
 * those of the C library. Thread: any. */
#ifndef DP_SERVER_ZMTP_ACCEPT_SPARE_H
#define DP_SERVER_ZMTP_ACCEPT_SPARE_H

#include <stdint.h>

/* From now on. */
void accept_spare_start(void);
/* Gives the descriptor back; accept is as ever then. */
void accept_spare_stop(void);
/* Connections that were closed so. */
uint64_t accept_spare_count(void);

#endif
