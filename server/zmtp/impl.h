/* The gate's state, for gate.c and watch.c only. */
#ifndef DP_SERVER_ZMTP_IMPL_H
#define DP_SERVER_ZMTP_IMPL_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include "server/deal/session.h"
#include "server/zmtp/gate.h"

enum { GATE_PEER_MAX = 64, GATE_HOSTS = 256, GATE_ENDED = SESSIONS_MAX };

struct gate_conn {
    /* of the thread that reads it */
    struct gate_zmtp zmtp;
    uint64_t seen; /* the last session that it was moved for, or that had ended */
    uint64_t held; /* bytes that are counted in gate.held[held_by] */
    /* written by that one */
    _Atomic uint64_t heard_ms, bytes, done; /* when something came last; how much; gate_zmtp's */
    _Atomic bool ready, unfinished;
    /* by the gate's mutex */
    struct gate_conn *next, *prev;
    int fd;
    bool member, tcp;
    bool shut;    /* libzmq has not closed it yet */
    uint8_t host; /* of GATE_HOSTS: where it is from */
    uint32_t held_by;
    uint64_t held_token; /* the session that they are of */
    uint64_t token;      /* of the session that it is of; 0: a stranger */
    uint64_t accepted_ms, window_ms, window_bytes, window_done;
    uint64_t unanswered_ms; /* since when its host should have answered; 0: it has */
    char peer[GATE_PEER_MAX];
};

struct gate_list {
    struct gate_conn *first;
    uint32_t count;
};

struct gate {
    pthread_mutex_t mutex;
    struct gate_list strangers, members;
    uint32_t shut;                     /* of the strangers */
    uint32_t each;                     /* connections of a session at most */
    uint32_t of_session[SESSIONS_MAX]; /* members by the session's number */
    uint64_t held[SESSIONS_MAX + 1];   /* bytes of unfinished messages, by session; of GATE_ENDED: that are over */
    bool dropped;                      /* large messages that were not finished went with their connections */
    uint32_t most;                     /* strangers */
    uint32_t of_host[GATE_HOSTS];      /* strangers that are not shut */
    uint64_t counts[GATE_FAULTS], logged[GATE_FAULTS], logged_ms[GATE_FAULTS];
    char last[GATE_FAULTS][GATE_PEER_MAX]; /* peer */
    uint64_t ticked_ms, looked_ms;
};

extern struct gate gate;

/* With the mutex held. Counts, and has libzmq find that the connection has ended. */
void gate_shut(struct gate_conn *conn, enum gate_fault fault);
/* To the members, as of this session; 0: to the strangers. */
void gate_move(struct gate_conn *conn, uint64_t token);
/* The bytes that the connection holds are those of sessions that are over, if theirs is. */
void gate_held_ended(struct gate_conn *conn);
/* Closes strangers until there are at most `most`. */
void gate_thin(uint32_t most);

#endif
