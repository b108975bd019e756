/* The tokens that are sessions now, for those who see a peer's bytes before the head does: a token's number
 * (session_number) has its place. A session that has ended may send what it could for GATE_GRACE_MS more, so that what
 * was under way is answered and not cut off. There is one table in a process. Thread: head; gate_sessions_level: any.
 */
#ifndef DP_SERVER_ZMTP_SESSIONS_H
#define DP_SERVER_ZMTP_SESSIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/zmtp/zmtp.h"

enum { GATE_GRACE_MS = 30000 };

/* A session begins, or moves on. GATE_GREETED or GATE_JOINED; `token` is not 0 and has more than its number. */
void gate_sessions_set(uint64_t token, enum gate_level level);
/* It has ended. A token that is no session is ignored. */
void gate_sessions_end(uint64_t token, uint64_t now_ms);
/* Forgets what ended long ago; now and then. */
void gate_sessions_tick(uint64_t now_ms);
/* Forgets all. */
void gate_sessions_clear(void);

/* Level of a token; one that has ended keeps its level for its time. */
enum gate_level gate_sessions_level(uint64_t token);
/* Whether it is a session and has not ended. */
bool gate_sessions_lives(uint64_t token);

#endif
