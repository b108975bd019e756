/* The gate: each byte that libzmq reads from a peer is seen before libzmq sees it, and a peer that breaks a rule is cut
 * off, as if it had hung up. So nobody without a session can choose an identity, send a message without an end, or hold
 * descriptors and memory for long.
 *
 * To that end a program that calls gate_start has listen, recv and close of its own, which libzmq finds before those of
 * the C library (tcp.c; accept is in accept_spare.c). Only connections to sockets that began to listen between
 * gate_listening(true) and (false) are looked at. Nothing is copied, no thread is added; a read costs a look by its
 * descriptor's number and takes no lock.
 *
 * A connection is a stranger until a message with a session's token came over it, or it was attached to a session, and
 * again when that session has ended. There is one gate in a process. Thread: any, unless stated. */
#ifndef DP_SERVER_ZMTP_GATE_H
#define DP_SERVER_ZMTP_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/zmtp/zmtp.h"

enum {
    GATE_FILES_MAX = 1 << 20,        /* descriptors with this number or a higher one are not accepted */
    GATE_HANDSHAKE_MS = 10000,       /* for greeting and READY */
    GATE_FRAME_MS = 30000,           /* a frame that is not whole needs in each such time */
    GATE_FRAME_BYTES_MIN = 64 << 10, /* this many bytes, or its end */
    GATE_IDLE_MS = 60000,            /* a stranger of which nothing came for longer is closed */
    GATE_VANISHED_MS = 30000,        /* a host that has answered nothing for so long, though it should */
    GATE_HELD_EACH = 48 << 20,       /* of unfinished messages a session may have so much a connection, in all */
    GATE_HELD_GREETED = 16 << 20,    /* one that has not joined, altogether */
    GATE_STRANGERS_MIN = 16,
    GATE_STRANGERS_MAX = 1024,
};

/* From now on. `files`: the limit of open files, a quarter of which strangers may have; `each`: connections that a
 * session may have, further ones of it are strangers. Thread: head. */
void gate_start(uint64_t files, uint32_t each);
/* Once libzmq's context is terminated. Thread: head. */
void gate_stop(void);

/* The most strangers from now on; those that were idle for longest are closed. Thread: head. */
void gate_allow_strangers(uint32_t most);
/* Strangers that a limit of open files allows: a quarter of it. */
uint32_t gate_strangers_most(uint64_t files);
/* The connection with this descriptor, as ZMQ_SRCFD of a message says, is the session's; -1, or one that is gone: none
 * is. */
void gate_attach(int fd, uint64_t token);

/* Connections that were closed for a reason; strangers that there are. */
uint64_t gate_count(enum gate_fault fault);
uint32_t gate_strangers(void);

/* ---- for the calls that libzmq makes ---- */

/* A socket begins to listen: whether it is watched. */
bool gate_listen(int fd);
/* A connection that a socket has accepted: returns it, or -1 with EAGAIN, and it is closed. */
int gate_accept(int listener, int fd, uint64_t now_ms);
/* Judges bytes that were read from it. False: it has broken a rule and is to be read no more. */
bool gate_read(int fd, const void *data, size_t bytes, uint64_t now_ms);
/* Whether gate_read is to be called. */
bool gate_watches(int fd);
/* Whether descriptors may come with what is read: it is a Unix socket. They have: it is cut off. */
bool gate_is_local(int fd);
void gate_refuse_descriptors(int fd);
/* Closes any descriptor, as close(2). */
int gate_close(int fd);

#endif
