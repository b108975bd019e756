/* Sessions by their tokens; see sessions.h.
 *
 * Invariant: a session opened by the head before it answers a worker is known here before that worker's first message
 * is looked at: unknown tokens make the thread drain its commands and look again. Thread: shard. */
#include "server/net/sessions.h"

#include "server/net/commands.h"

static struct port_session *look(struct port_state *port, uint64_t token)
{
    struct port_session *session = &port->sessions[session_number(token)];
    return session->token == token && token != 0 ? session : NULL;
}

struct port_session *port_session_find(struct port_state *port, uint64_t token)
{
    struct port_session *session = look(port, token);
    if (session)
        return session;
    port_obey(port);
    return look(port, token);
}
