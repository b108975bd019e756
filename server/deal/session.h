/* Session tokens, as head and shards number them. Thread: any. */
#ifndef DP_SERVER_DEAL_SESSION_H
#define DP_SERVER_DEAL_SESSION_H

#include <stdint.h>

enum { SESSIONS_MAX = 4096, ROUTING_ID_MAX = 32 /* bytes of a ROUTER's name for a peer */ };

/* A session's number is in the low bits of its token, so that finding it is one look. */
static inline uint32_t session_number(uint64_t token)
{
    return (uint32_t)(token % SESSIONS_MAX);
}

#endif
