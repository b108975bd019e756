/* With one shard, the head has no socket of its own: it speaks through that shard's port (server/net/post.h). The
 * loop reads what comes by it (server/head/loop.c). Thread: head. */
#ifndef DP_SERVER_TALK_POST_H
#define DP_SERVER_TALK_POST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zmq.h>

#include "common/base/dp_err.h"
#include "server/net/post.h"

struct head;

/* DP_NOMEM. */
DP_MUST_CHECK dp_err head_post_start(struct head *head, dp_error *err);
/* Once the port has ended. */
void head_post_fini(struct head *head);
/* Takes the frames. DP_BUSY, DP_NOMEM, DP_SHUTDOWN. */
DP_MUST_CHECK dp_err head_post_send(struct head *head, enum letter_about about, uint64_t session, zmq_msg_t *frames,
                                    size_t count);
/* Every tick: whether the port has had no turn for long, so that nobody can be heard. */
bool head_post_stuck(struct head *head, uint64_t now_ms);

#endif
