/* A port that is the head's as well: what peers say to the head is passed on, what the head says is sent. Thread:
 * shard. */
#include "server/net/letters.h"

#include "common/base/log.h"
#include "server/net/reply.h"

enum { HEAD_MESSAGE_MAX = FRAME_HEADER_BYTES_MAX + 4096 };

void port_pass_on(struct port_state *port, const Dp__Header *header, zmq_msg_t *frames, size_t count)
{
    static const dp_error TOO_LARGE = {DP_PROTO, "a message to the head is larger than any is"};
    if (count > POST_FRAMES || zmq_msg_size(&frames[1]) > HEAD_MESSAGE_MAX) {
        port_malformed(port, &TOO_LARGE);
        return;
    }
    if (post_pass_on(port->post, frames, count)) {
        link_local_wake_head(port->link);
        return;
    }
    port_send_error(port, zmq_msg_data(&frames[0]), zmq_msg_size(&frames[0]), header,
                    &(struct refusal){.code = DP_BUSY, .text = "the server has too much to do, try again"});
}

static void give_back(struct port_state *port, struct letter *letter)
{
    post_return(port->post, letter);
    link_local_wake_head(port->link);
}

static void send_letter(struct port_state *port, struct letter *letter)
{
    dp_err e = zuv_send(&port->zuv, letter->frames, letter->count);
    letter->count = 0;
    letter->lost = e;
    if (e)
        log_debug("message-lost at=head reason=%s", dp_err_name(e));
    if (e && letter->about != ABOUT_MESSAGE)
        give_back(port, letter);
    else
        letter_free(letter);
}

void port_send_letters(struct port_state *port)
{
    struct letter *letter;
    while (port->post && (letter = post_collect(port->post)))
        if (letter->about == ABOUT_HELLO || letter->about == ABOUT_TURN)
            give_back(port, letter);
        else
            send_letter(port, letter);
}
