/* A session as its messages name it. Thread: the one that uses the client. */
#include "worker/client/contact/header.h"

#include "common/base/util.h"

/* Heartbeats without an answer before the head counts as silent, but no sooner than SILENT_MIN_MS. */
enum { SILENT_BEATS = 3, SILENT_MIN_MS = 3000 };

Dp__Header session_header(struct session *session)
{
    Dp__Header header = DP__HEADER__INIT;
    header.session = session->id;
    header.incarnation = session->incarnation;
    header.request = ++session->request;
    return header;
}

bool session_owns(const struct session *session, const Dp__Header *header)
{
    return header->incarnation == session->incarnation;
}

uint64_t session_patience_ms(const struct session *session)
{
    return MAX((uint64_t)SILENT_BEATS * session->heartbeat_ms, (uint64_t)SILENT_MIN_MS);
}
