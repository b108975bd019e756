/* Tokens by number; see sessions.h.
 *
 * Invariant: a place holds a token with its number taken out and a level put in, so that both are read and written at
 * once. Thread: as stated. */
#include "server/zmtp/sessions.h"

#include <stdatomic.h>

#include "server/deal/session.h"

struct place {
    _Atomic uint64_t now, before; /* packed; 0: none. before: has ended */
    uint64_t ended_ms;            /* of before; the head's */
};

static struct place places[SESSIONS_MAX];

_Static_assert((int)GATE_JOINED < (int)SESSIONS_MAX, "a level takes the place of the number");

static uint64_t pack(uint64_t token, enum gate_level level)
{
    return token - session_number(token) + (uint64_t)level;
}

/* The level of a token if it is the packed one. */
static enum gate_level unpack(uint64_t packed, uint64_t token)
{
    uint64_t level = packed % SESSIONS_MAX;
    return packed - level == token - session_number(token) ? (enum gate_level)level : GATE_STRANGER;
}

void gate_sessions_set(uint64_t token, enum gate_level level)
{
    struct place *place = &places[session_number(token)];
    atomic_store_explicit(&place->now, pack(token, level), memory_order_release);
}

void gate_sessions_end(uint64_t token, uint64_t now_ms)
{
    struct place *place = &places[session_number(token)];
    uint64_t packed = atomic_load_explicit(&place->now, memory_order_relaxed);
    if (unpack(packed, token) == GATE_STRANGER)
        return;
    place->ended_ms = now_ms;
    atomic_store_explicit(&place->before, packed, memory_order_release);
    atomic_store_explicit(&place->now, 0, memory_order_release);
}

void gate_sessions_tick(uint64_t now_ms)
{
    for (uint32_t i = 0; i < SESSIONS_MAX; i++)
        if (atomic_load_explicit(&places[i].before, memory_order_relaxed) &&
            now_ms - places[i].ended_ms > GATE_GRACE_MS)
            atomic_store_explicit(&places[i].before, 0, memory_order_release);
}

void gate_sessions_clear(void)
{
    for (uint32_t i = 0; i < SESSIONS_MAX; i++) {
        atomic_store_explicit(&places[i].now, 0, memory_order_relaxed);
        atomic_store_explicit(&places[i].before, 0, memory_order_relaxed);
    }
}

static enum gate_level level_now(uint64_t token)
{
    return unpack(atomic_load_explicit(&places[session_number(token)].now, memory_order_acquire), token);
}

/* First what it is, then what it was: one that ends in between is found there. */
enum gate_level gate_sessions_level(uint64_t token)
{
    enum gate_level level = level_now(token);
    if (level != GATE_STRANGER)
        return level;
    return unpack(atomic_load_explicit(&places[session_number(token)].before, memory_order_acquire), token);
}

bool gate_sessions_lives(uint64_t token)
{
    return level_now(token) != GATE_STRANGER;
}
