/* The calls of the C library that libzmq finds here: listen, recv and close of a program that links with the gate.
 * Thread: any. */
#ifndef DP_SERVER_ZMTP_TCP_H
#define DP_SERVER_ZMTP_TCP_H

#include <stdbool.h>

/* Whether the gate watches sockets that this thread makes listen from now on. */
void gate_listening(bool on);

#endif
