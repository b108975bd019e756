/* One connection of a client: a DEALER socket to the head or to a shard, with a monitor that says when the connection
 * was lost and made again. Thread: the one that uses it at the time. */
#ifndef DP_PROTO_LINK_H
#define DP_PROTO_LINK_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zmq.h>

#include "common/base/dp_err.h"
#include "common/net/endpoint.h"
#include "common/net/path.h"
#include "proto/frame.h"

struct link_limits {
    int queue;        /* messages that may wait in either direction */
    size_t bytes_max; /* largest frame that is read */
    int ping_ms;      /* between ZeroMQ's own pings; 0: as usual; LINK_NO_PINGS where messages take long */
    int connect_ms;   /* one attempt to connect; 0: as usual */
};
enum { LINK_NO_PINGS = -1 };

struct link {
    void *zmq;
    struct endpoint address; /* numeric */
    struct link_limits limits;
    int tcp; /* descriptor of the connection, which is ZeroMQ's: for path_look alone; -1: there is none */
    struct path_watch watch;
    void *socket;
    void *monitor;
    int fd, monitor_fd;           /* ZMQ_FD of both */
    bool empty;                   /* nothing to read, and nothing was done with the socket since that was found out */
    bool monitor_empty;           /* likewise */
    char name[ENDPOINT_TEXT_MAX]; /* for people: the endpoint as the user or the server named it */
    bool lost;                    /* the connection broke or could not be made, and has not been made since */
};

/* Descriptors of a link at most: one each for its connection, another that is being made, the socket, and the two
 * sockets of its monitor. */
enum { LINK_FILES = 5 };

/* Starts connecting to a numeric address. DP_SYSTEM. */
DP_MUST_CHECK dp_err link_open(struct link *link, void *zmq, const char *name, const struct endpoint *address,
                               struct link_limits limits, dp_error *err);
/* Closes, and connects anew by another socket: what was under way in either direction is lost. DP_SYSTEM: it is closed.
 */
DP_MUST_CHECK dp_err link_reopen(struct link *link, dp_error *err);
/* Closes; messages that have not left are tried for `linger_ms` more. A link that is not open is fine. */
void link_close(struct link *link, int linger_ms);

/* Sends a header and payload[count] frames, which are consumed in every case. Never waits: DP_BUSY where the queue is
 * full. DP_NOMEM. */
DP_MUST_CHECK dp_err link_send(struct link *link, const Dp__Header *header, zmq_msg_t *payload, size_t count);

struct link_message {
    const Dp__Header *header; /* until the next receive with the same arena */
    const void *values;       /* payload, until link_message_close; NULL if there is none */
    size_t bytes;
    zmq_msg_t frames[2];
};
/* Receives a message without waiting; false in *ret_any where there is none. DP_PROTO, naming the link, for what is no
 * message of dp. A message received is to be closed. */
DP_MUST_CHECK dp_err link_receive(struct link *link, struct arena *arena, struct link_message *ret_message,
                                  bool *ret_any, dp_error *err);
void link_message_close(struct link_message *message);

/* Waits until something has come for one of the links, at most `timeout_ms`; `items` is scratch for two a link.
 * Only this, or link_look, makes link_receive and link_news see what comes after they found nothing: so they cost
 * nothing until then. DP_SYSTEM. */
DP_MUST_CHECK dp_err links_wait(struct link *const *links, size_t count, struct pollfd *items, uint64_t timeout_ms,
                                dp_error *err);
/* Somebody else waited for the sockets: there may be something. */
void link_look(struct link *link);

/* Events of the connection since the last call. */
enum link_news { LINK_NOTHING, LINK_LOST, LINK_BACK };
enum link_news link_news(struct link *link);

#endif
