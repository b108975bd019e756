/* Messages with a descriptor, by which shared memory is handed over: one Unix socket of each shard under an abstract
 * name, which vanishes with its process. A message is one packet, in the layout of the machine: both sides run on it.
 *
 *   worker -> shard   HELLO session, incarnation           answer WELCOME with the memory of theta, or REFUSED
 *   worker -> shard   BEGIN                                all shards have welcomed it: it reads what is in memory
 *   worker -> shard   SLAB number, with its memory         answer TAKEN number, or REFUSED number
 *   shard -> worker   RING number, with its memory         unasked, before the first message that names it
 *
 * Thread: any. */
#ifndef DP_COMMON_NET_SHM_WIRE_H
#define DP_COMMON_NET_SHM_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/dp_err.h"

enum { SHM_NAME_MAX = 64, SHM_TEXT_MAX = 160, SHM_SLABS_MAX = 256, SHM_PLANES_MAX = 64, SHM_RINGS_MAX = 64 };

#define SHM_BYTES_MAX (UINT64_C(1) << 40) /* of what a message passes */

enum shm_kind { SHM_HELLO = 1, SHM_WELCOME, SHM_SLAB, SHM_TAKEN, SHM_REFUSED, SHM_RING, SHM_BEGIN };

struct shm_message {
    uint32_t magic; /* shm_send fills it in */
    uint32_t kind;
    uint64_t session;        /* HELLO */
    uint64_t incarnation;    /* HELLO */
    uint64_t stride_bytes;   /* WELCOME: from one plane to the next */
    uint64_t bytes;          /* SLAB, RING: of the memory, 1..SHM_BYTES_MAX */
    uint32_t planes;         /* WELCOME: at most SHM_PLANES_MAX; 0: no planes, and no memory is passed */
    uint32_t ring;           /* RING: 1..SHM_RINGS_MAX */
    uint32_t slab;           /* SLAB, TAKEN, REFUSED: below SHM_SLABS_MAX */
    uint32_t code;           /* REFUSED: wire number of a dp_err */
    char text[SHM_TEXT_MAX]; /* REFUSED: why */
};

/* Listens under a name ("dp-..."). DP_SYSTEM with the reason. */
DP_MUST_CHECK dp_err shm_listen(const char *name, int *ret_fd, dp_error *err);
/* DP_UNREACHABLE with the reason. */
DP_MUST_CHECK dp_err shm_connect(const char *name, int *ret_fd, dp_error *err);

/* Sends a message, with a descriptor unless `pass` is -1, without waiting. DP_BUSY, DP_IO. */
DP_MUST_CHECK dp_err shm_send(int fd, struct shm_message *message, int pass);
/* Sends REFUSED with what of the text can be printed; a peer that cannot be told finds out by itself. */
void shm_refuse(int fd, uint32_t slab, dp_err code, const char *text);
/* Receives a message without waiting. WELCOME with planes, SLAB and RING come with one descriptor, which is the
 * caller's; else *ret_passed is -1. DP_BUSY: there is none. DP_IO: the peer is gone. DP_PROTO: it sent what is no
 * message, whose descriptors are closed. */
DP_MUST_CHECK dp_err shm_receive(int fd, struct shm_message *ret_message, int *ret_passed, dp_error *err);
/* Whether the next message, which stays where it is, comes with descriptors. */
bool shm_brings_descriptors(int fd);

#endif
