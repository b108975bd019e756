/* Payloads by the socket; see payload.h.
 *
 * Invariant: a kept frame is in use by one blob, or in the list of free ones. Thread: shard. */
#include "server/net/payload.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

/* A received payload that is kept where it is. */
struct kept_frame {
    struct kept_frame *next;
    struct port_state *port;
    zmq_msg_t msg;
};

static void frame_give_back(void *owner)
{
    struct kept_frame *frame = owner;
    zmq_msg_close(&frame->msg);
    frame->next = frame->port->frames;
    frame->port->frames = frame;
}

static struct kept_frame *frame_take(struct port_state *port)
{
    struct kept_frame *frame = port->frames;
    if (frame)
        port->frames = frame->next;
    else
        frame = mem_array(1, sizeof *frame);
    if (frame) {
        frame->port = port;
        zmq_msg_init(&frame->msg);
    }
    return frame;
}

/* libzmq leaves small frames wherever they were in its buffer: those are copied to an aligned place; large ones stay.
 */
static dp_err keep(struct port_state *port, zmq_msg_t *msg, struct blob *ret_floats)
{
    struct kept_frame *frame = frame_take(port);
    if (!frame)
        return DP_NOMEM;
    size_t bytes = zmq_msg_size(msg);
    if ((uintptr_t)zmq_msg_data(msg) % sizeof(float) == 0) {
        zmq_msg_move(&frame->msg, msg);
    } else {
        if (zmq_msg_init_size(&frame->msg, bytes)) {
            zmq_msg_init(&frame->msg);
            frame_give_back(frame);
            return DP_NOMEM;
        }
        memcpy(zmq_msg_data(&frame->msg), zmq_msg_data(msg), bytes);
        counter_add(&port->counters->copies, 1);
        counter_add(&port->counters->copied_bytes, bytes);
    }
    *ret_floats = (struct blob){zmq_msg_data(&frame->msg), bytes, frame, frame_give_back};
    return DP_OK;
}

dp_err port_payload_take(struct port_state *port, const struct port_session *session, const struct carrier_push *push,
                         struct blob *ret_floats, dp_error *err)
{
    (void)session;
    if (push->slab)
        return dp_fail(err, DP_PROTO, "push of slab %u, which was not passed or does not have what is said to be in it",
                       push->slab);
    if (push->payload && keep(port, push->payload, ret_floats))
        return dp_fail(err, DP_NOMEM, "out of memory for the push");
    return DP_OK;
}

void port_payloads_fini(struct port_state *port)
{
    for (struct kept_frame *f = port->frames, *next; f; f = next) {
        next = f->next;
        free(f);
    }
}

/* ---- the other way: all is sent ---- */

static bool lend(struct port_state *port, const struct port_session *session, const struct params *params,
                 Dp__Params *body)
{
    (void)port, (void)session, (void)params, (void)body;
    return false;
}

static float *no_room(struct port_state *port, const struct port_session *session, uint64_t bytes, uint64_t *ret_at)
{
    (void)port, (void)session, (void)bytes, (void)ret_at;
    return NULL;
}

static void lend_rows(struct port_state *port, const struct port_session *session, const struct rows_params *rows,
                      Dp__Rows *body)
{
    (void)port, (void)session, (void)rows, (void)body;
}

static void done(const struct port_session *session, uint32_t slice, uint64_t have)
{
    (void)session, (void)slice, (void)have;
}

static void done_rows(const struct port_session *session, uint64_t taken)
{
    (void)session, (void)taken;
}

const struct carrier carrier_socket = {port_payload_take, lend, no_room, lend_rows, done, done_rows};
