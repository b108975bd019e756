/* The members of a job: workers that said hello, by number. A member's number is in the low bits of its session token.
 * Thread: head. */
#ifndef DP_SERVER_MEMBERS_MEMBERS_H
#define DP_SERVER_MEMBERS_MEMBERS_H

#include <string.h>

#include "proto/frame.h"
#include "server/deal/session.h"

enum { MEMBERS_GREETED_MAX = SESSIONS_MAX / 4, MEMBERS_NOBODY = SESSIONS_MAX };

enum member_state {
    MEMBER_NONE,
    MEMBER_GREETED, /* said hello, is reading its data */
    MEMBER_JOINED,  /* holds slots */
};

/* Members that have not joined, by how soon they make room for others: the first of the first row that is not empty. */
enum member_row {
    ROW_SILENT, /* never sent a heartbeat; the one greeted longest comes first */
    ROW_HEARD,  /* the one that has been silent longest comes first */
    ROW_FORMER, /* joined in an earlier session: makes room for others of this row only */
    MEMBER_ROWS,
};

struct routing_id {
    uint8_t bytes;
    uint8_t id[ROUTING_ID_MAX];
};

static inline bool routing_id_same(const struct routing_id *a, const struct routing_id *b)
{
    return a->bytes == b->bytes && memcmp(a->id, b->id, a->bytes) == 0;
}

struct member {
    enum member_state state;
    uint64_t token;
    /* These five also after it has left, so that it can have its number again. */
    uint64_t worker; /* the process's own number, kept over reconnects */
    char name[FRAME_NAME_MAX + 1];
    uint32_t attempt;        /* sessions under this number, this one included: each has a token of its own */
    uint64_t joined_token;   /* of the last session under this number that joined; 0: none has */
    uint64_t left;           /* MEMBER_NONE: the number of its leaving, counted from 1 */
    struct routing_id route; /* of its main socket */
    enum member_row row;     /* GREETED: where it stands, */
    uint32_t before, after;  /* and between which numbers; MEMBERS_NOBODY: at that end */
    bool known;              /* it has proved to be of a user that the server takes */
    bool told;               /* it was sent its slots */
    bool guest;              /* JOINED: it came with many others, and is given no slots yet */
    uint64_t features;       /* FRAME_FEATURE_ bits that it knows */
    char numerics[FRAME_NAME_MAX + 1];
    uint32_t pid;
    uint32_t threads;
    uint64_t last_seen_ms;
    uint64_t joined_ms;
    uint64_t step;    /* it said it is at */
    uint64_t samples; /* it said it has computed, at heard_ms */
    uint64_t heard_ms;
    double samples_per_s;             /* NaN: not known */
    uint64_t slots_computed, busy_us; /* it said; training slots */
    double slots_per_s;               /* while it computes; 0: not known */
    uint64_t measured_ms;             /* when slots_per_s last changed */
    uint64_t moved_bytes;             /* to and from the shards, it said, */
    uint64_t moved_ms;                /* when it last said more, */
    uint64_t moved_before;            /* and what it was when the open step first waited for too long */
    bool shm;                         /* it shares memory with the shards, as it said */
    bool untold;                      /* its slots could not be sent to it: they are sent again */
    bool hung_said, hung_warned;      /* the log says that it delivers nothing */
    uint32_t probes;                  /* sent since something last came from it */
    uint64_t probed_ms;               /* when the last one was sent */
    bool unreached;                   /* nothing could be sent to it while others went on: it is looked at again */
};

struct members {
    uint32_t joined;     /* in state JOINED */
    uint32_t guests;     /* of those */
    uint32_t count;      /* in any state but NONE */
    uint32_t used;       /* numbers ever used are below this */
    uint64_t leavings;   /* so far */
    struct member *list; /* [SESSIONS_MAX] */
    struct member_key {
        uint64_t worker;
        uint32_t name, route; /* hashes */
    } * keys;                 /* [SESSIONS_MAX] of list[], in a fifteenth of its bytes: looking all through is cheap */
    struct {
        uint32_t first, last; /* numbers */
    } rows[MEMBER_ROWS];
};

DP_MUST_CHECK dp_err members_init(struct members *members);
void members_fini(struct members *members);
/* A member in state GREETED with a fresh token: under the number of the session that `claim` is the token of, or that
 * this process had before if it comes again, else that of one of its name that has left (it was started again), else a
 * free one, of which those that nobody had come first, and those of who has joined last. NULL if all are taken. */
struct member *members_add(struct members *members, uint64_t worker, const char *name, uint64_t claim);
/* Whether another hello may be answered: a bounded number of members have not joined yet, so that hellos alone cannot
 * take all numbers. */
bool members_may_greet(const struct members *members);
/* The greeted member that makes room for another, NULL if none does. `former`: that one has joined before. */
struct member *members_to_leave(struct members *members, bool former);
/* Whether `token` is that of the last session under its number that joined: only that worker knows it. */
bool members_is_former(const struct members *members, uint64_t token);
/* Whether who knows this token is this member: it has its session, or had the one before. */
bool member_knows(const struct member *member, uint64_t token);
/* The member came by this connection. */
void members_route(struct members *members, struct member *member, const struct routing_id *route);
/* The member with this token, or NULL. */
struct member *members_find(struct members *members, uint64_t token);
/* The member that is this process, or NULL. */
struct member *members_by_worker(struct members *members, uint64_t worker);
/* A member of this name, or NULL. */
struct member *members_by_name(struct members *members, const char *name);
/* The member that came by this connection, or NULL. */
struct member *members_by_route(struct members *members, const struct routing_id *route);
/* The member of this name that said it was this process, or NULL. */
struct member *members_by_process(struct members *members, const char *name, uint32_t pid);
/* Moves to JOINED. */
void members_join(struct members *members, struct member *member, uint64_t now_ms);
/* A member that has joined becomes a guest, or is one no more. */
void members_guest(struct members *members, struct member *member, bool guest);
/* A heartbeat: it said how many samples it has computed so far. samples_per_s is that since it last said so, smoothed.
 * A greeted member is now the last of those heard to make room. */
void members_hear(struct members *members, struct member *member, uint64_t samples, uint64_t now_ms);
/* Why one that delivers nothing may do so, as far as its heartbeats tell; a sentence for the log. */
const char *member_why_late(const struct member *member, uint64_t now_ms);
/* The token is void from now on. */
void members_remove(struct members *members, struct member *member);
uint32_t members_number(const struct members *members, const struct member *member);
/* Numbers of those in state JOINED that are no guests, ascending, to numbers[joined]; returns how many. */
uint32_t members_list(const struct members *members, uint32_t *numbers);

#endif
