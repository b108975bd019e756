/* The slots that sessions may push; see grants.h. Thread: as stated there. */
#include "server/net/grants.h"

#include <stdlib.h>

#include "common/base/util.h"
#include "server/shard/pieces.h"
#include "server/shard/tell.h"

static void forget(struct port_session *session)
{
    grants_fini(&session->grants);
    free(session->name);
    session->name = NULL;
    session->worker = 0;
}

void port_grants_open(struct port_session *session, uint64_t worker, char *name)
{
    if (session->worker != worker)
        forget(session);
    free(session->name);
    session->name = name;
    session->worker = worker;
}

void port_grants_close(struct port_state *port, struct port_session *session)
{
    if (session->grants.slots)
        grants_leave(&session->grants, pieces_opened(&port->shard));
}

void port_grants_fini(struct port_state *port)
{
    for (uint32_t i = 0; port->sessions && i < SESSIONS_MAX; i++)
        forget(&port->sessions[i]);
}

/* NULL where nobody has the number. */
static struct grants *grants_of(struct port_state *port, uint32_t number)
{
    return number < SESSIONS_MAX && port->sessions[number].token ? &port->sessions[number].grants : NULL;
}

void port_grants_deal(struct port_state *port, const struct deal *deal)
{
    static const dp_error NOMEM = {DP_NOMEM, "out of memory for the slots of a session"};
    uint64_t step = MAX(deal->from, pieces_opened(&port->shard));
    for (uint32_t i = 0; i < SESSIONS_MAX; i++) {
        struct grants *grants = grants_of(port, i);
        if (grants && !grants->slots && grants_init(grants, deal->slots)) {
            shard_fail(&port->shard, &NOMEM);
            return;
        }
        if (grants)
            grants_begin(grants);
    }
    for (uint32_t k = 0; k < deal->slots; k++) {
        struct grants *grants = grants_of(port, deal->owner[k]);
        if (grants)
            grants_dealt(grants, k);
    }
    for (uint32_t i = 0; i < SESSIONS_MAX; i++)
        if (grants_of(port, i))
            grants_end(grants_of(port, i), step);
    for (uint32_t i = 0; i < deal->extra_count; i++) {
        struct grants *grants = grants_of(port, deal->extra[i].session);
        if (grants)
            grants_extra(grants, deal->at, deal->extra[i].slot);
    }
    struct grants *probed = grants_of(port, deal->probe.session);
    if (probed)
        grants_probe(probed, &deal->probe);
}
