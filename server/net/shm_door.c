/* A shard's Unix socket; see shm_door.h. Thread: shard. */
#include "server/net/shm_door.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/base/closer.h"
#include "common/base/mem.h"

enum { STRANGERS_MAX = 64 };

struct shm_guest {
    struct shm_guest *next;
    struct shm_door *door;
    uint64_t session; /* 0: a stranger */
    int fd;
    bool closed; /* it is no longer in the list, and freed when the loop runs on */
    uv_poll_t poll;
};

static void on_guest_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void guest_close(struct shm_guest *guest)
{
    struct shm_guest **at = &guest->door->guests;
    if (guest->closed)
        return;
    while (*at != guest)
        at = &(*at)->next;
    *at = guest->next;
    guest->closed = true;
    uv_close((uv_handle_t *)&guest->poll,
             on_guest_closed); /* takes the descriptor out of its epoll: closed after that */
    closer_close(guest->fd);
}

static void on_hello(struct shm_guest *guest, const struct shm_message *message)
{
    struct shm_door *door = guest->door;
    struct shm_message answer = {.kind = SHM_WELCOME};
    dp_error err;
    int fd = -1;
    bool welcome = door->calls.hello(door->calls.arg, message, &answer, &fd, &err);
    if (guest->closed)
        return;
    if (!welcome) {
        shm_refuse(guest->fd, 0, err.code, err.text);
        return;
    }
    guest->session = message->session;
    if (shm_send(guest->fd, &answer, fd))
        guest_close(guest);
}

static void on_slab(struct shm_guest *guest, const struct shm_message *message, int fd)
{
    struct shm_door *door = guest->door;
    struct shm_message answer = {.kind = SHM_TAKEN, .slab = message->slab};
    dp_error err;
    dp_err e = door->calls.slab(door->calls.arg, guest->session, message, fd, &err);
    if (guest->closed)
        return;
    if (e)
        shm_refuse(guest->fd, message->slab, err.code, err.text);
    else if (shm_send(guest->fd, &answer, -1))
        guest_close(guest);
}

/* Whether a message fits what has been said before; false: the guest is to go. */
static bool guest_take(struct shm_guest *guest, const struct shm_message *message, int passed)
{
    if (message->kind == SHM_HELLO && guest->session == 0)
        on_hello(guest, message);
    else if (message->kind == SHM_BEGIN && guest->session != 0)
        guest->door->calls.begin(guest->door->calls.arg, guest->session);
    else if (message->kind == SHM_SLAB && guest->session != 0)
        on_slab(guest, message, passed);
    else
        return false;
    return true;
}

/* Reads its next message, if there is one. */
static void guest_hear(struct shm_guest *guest)
{
    struct shm_door *door = guest->door;
    struct shm_message message;
    dp_error err = {.text = "a message on the Unix socket that is out of turn"};
    int passed = -1;
    /* A stranger's are not taken: they go with the connection. */
    bool refused = guest->session == 0 && shm_brings_descriptors(guest->fd);
    dp_err e = refused ? DP_PROTO : shm_receive(guest->fd, &message, &passed, &err);
    if (e == DP_BUSY)
        return;
    if (e == DP_OK && !guest_take(guest, &message, passed))
        e = DP_PROTO;
    if (passed >= 0)
        closer_close(passed);
    if (e == DP_PROTO)
        door->calls.malformed(door->calls.arg, &err);
    if (e)
        guest_close(guest);
}

static void on_guest(uv_poll_t *poll, int status, int events)
{
    struct shm_guest *guest = poll->data;
    (void)events;
    if (status < 0)
        guest_close(guest);
    else
        guest_hear(guest);
}

/* The strangers that came before the latest few must go. One that has spoken since it came is heard first: a crowd may
 * come in faster than what it says is read. */
static void crowd_limit(struct shm_door *door)
{
    uint32_t strangers = 0;
    struct shm_guest *oldest = NULL;
    for (struct shm_guest *guest = door->guests; guest; guest = guest->next)
        if (guest->session == 0) {
            strangers++;
            oldest = guest;
        }
    if (strangers <= STRANGERS_MAX)
        return;
    guest_hear(oldest);
    if (oldest->session == 0)
        guest_close(oldest);
}

static void guest_add(void *arg, int fd)
{
    struct shm_door *door = arg;
    struct shm_guest *guest = mem_array_zero(1, sizeof *guest);
    if (!guest || uv_poll_init(door->entry.poll.loop, &guest->poll, fd)) {
        free(guest);
        close(fd);
        return;
    }
    guest->door = door;
    guest->fd = fd;
    guest->poll.data = guest;
    guest->next = door->guests;
    door->guests = guest;
    uv_poll_start(&guest->poll, UV_READABLE, on_guest);
    crowd_limit(door);
}

dp_err shm_door_open(struct shm_door *door, uv_loop_t *loop, const char *name, const struct shm_calls *calls,
                     dp_error *err)
{
    *door = (struct shm_door){.calls = *calls};
    return zuv_door_open(&door->entry, loop, name, guest_add, door, err);
}

void shm_door_close(struct shm_door *door)
{
    while (door->guests)
        guest_close(door->guests);
    zuv_door_close(&door->entry);
}

static struct shm_guest *guest_find(const struct shm_door *door, uint64_t session)
{
    struct shm_guest *guest = door->guests;
    while (guest && guest->session != session)
        guest = guest->next;
    return guest;
}

dp_err shm_door_pass(struct shm_door *door, uint64_t session, struct shm_message *message, int fd)
{
    const struct shm_guest *guest = guest_find(door, session);
    return guest ? shm_send(guest->fd, message, fd) : DP_UNREACHABLE;
}

void shm_door_hear(struct shm_door *door, uint64_t session)
{
    struct shm_guest *guest = guest_find(door, session);
    if (guest)
        guest_hear(guest);
}

void shm_door_dismiss(struct shm_door *door, uint64_t session)
{
    struct shm_guest *guest = guest_find(door, session);
    if (guest)
        guest_close(guest);
}
