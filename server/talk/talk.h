/* The head speaks to workers and to dp-ctl, and lines of the log about peers are bounded. Thread: head. */
#ifndef DP_SERVER_TALK_TALK_H
#define DP_SERVER_TALK_TALK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/log.h"
#include "common/net/zuv.h"
#include "proto/frame.h"
#include "server/members/answers.h"
#include "server/members/members.h"
#include "server/net/post.h"

struct head;

struct talk {
    struct zuv zuv;
    bool zuv_started;
    struct post *post;      /* with the one shard's port; NULL: the head has a socket, zuv */
    struct letter *reading; /* the letter at hand; NULL: it was put off */
    int came_by;            /* descriptor of the connection by which the message at hand came; -1: not known */
    uint64_t turn_ms;       /* when the port was asked for its turn; 0: it has had it */
    struct answers answers;
    struct arena arena; /* of the message at hand */
    struct log_limit malformed_limit, peer_limit, info_limit;
    uint64_t malformed;
};

/* Sends a header, and a payload unless it is NULL, which is taken. DP_UNREACHABLE, DP_BUSY, DP_NOMEM, DP_SHUTDOWN. */
dp_err head_send(struct head *head, const struct routing_id *route, Dp__Header *header, zmq_msg_t *payload);
/* The same of a message to a member, about which the head may hear later that it could not be sent. */
dp_err head_send_about(struct head *head, enum letter_about about, const struct member *member, Dp__Header *header);
/* Answers a request. */
void head_reply(struct head *head, const struct routing_id *route, const Dp__Header *request, Dp__Header *header);
/* Answers a request with an error. */
void head_refuse(struct head *head, const struct routing_id *route, const Dp__Header *request, dp_err code,
                 const char *text);
/* Tells all members JOB_DONE, SHUTDOWN, or why the job has failed. */
void head_notice(struct head *head, dp_err code, const char *text);
/* Tells the users of all members something. The workers go on. */
void head_remark(struct head *head, const char *text);

/* Whether one more warning about what a peer did may be logged now: peers must not be able to flood the log. */
bool head_may_warn(struct head *head);
/* The same of one more line that is no warning, about a worker that comes or goes. */
bool head_may_inform(struct head *head);

#endif
