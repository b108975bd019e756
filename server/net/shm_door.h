/* A shard's Unix socket, by which workers of its host come for theta's memory and pass their slabs. Guests that have
 * not said which session they are of are few: of more, the one that came first must go, unless it has spoken meanwhile.
 * A guest that sends no message but other bytes loses its connection, and nothing else
 * happens. Thread: shard. */
#ifndef DP_SERVER_NET_SHM_DOOR_H
#define DP_SERVER_NET_SHM_DOOR_H

#include <stdbool.h>
#include <uv.h>

#include "common/net/shm_wire.h"
#include "common/net/zuv_door.h"

struct shm_guest;

/* Questions of a door to its owner; the door may be closed meanwhile. */
struct shm_calls {
    /* A guest says that it is of a session: false with the reason if it cannot be. True: *ret_fd is the memory, which
     * stays the owner's, and the layout is in *answer; -1 if there is none. */
    bool (*hello)(void *arg, const struct shm_message *message, struct shm_message *answer, int *ret_fd, dp_error *err);
    /* A guest of `session` reads shared memory from now on. */
    void (*begin)(void *arg, uint64_t session);
    /* A guest of `session` passes a slab of message->bytes; `fd` stays the door's. */
    dp_err (*slab)(void *arg, uint64_t session, const struct shm_message *message, int fd, dp_error *err);
    /* A guest sent what is no message. */
    void (*malformed)(void *arg, const dp_error *err);
    void *arg;
};

/* A zeroed one is closed. */
struct shm_door {
    struct zuv_door entry;
    struct shm_guest *guests; /* the latest first */
    struct shm_calls calls;
};

/* DP_SYSTEM with the reason. */
DP_MUST_CHECK dp_err shm_door_open(struct shm_door *door, uv_loop_t *loop, const char *name,
                                   const struct shm_calls *calls, dp_error *err);
/* Closes it with all guests; the loop must run once more. */
void shm_door_close(struct shm_door *door);
/* Sends a message with memory, which stays the caller's, to a session's guest. DP_UNREACHABLE, DP_BUSY, DP_IO. */
DP_MUST_CHECK dp_err shm_door_pass(struct shm_door *door, uint64_t session, struct shm_message *message, int fd);
/* Reads the messages that the session's guest has sent by now. */
void shm_door_hear(struct shm_door *door, uint64_t session);
/* The session is over: its guest goes. */
void shm_door_dismiss(struct shm_door *door, uint64_t session);

#endif
