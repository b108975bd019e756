/* Clients that are known: they prove to be of the server's user, or of one of --allow-users.
 *
 * Invariants:
 *   1. Nothing is kept of a client that has proved nothing: a challenge is time and chance, with a MAC over them and
 * the connection under a key of this process.
 *   2. A proof is taken once, within GUARD_TTL_MS, and on the connection that was given its challenge.
 *   3. No key is written anywhere but to a user at the door whom the kernel says it is.
 * Thread: head. */
#ifndef DP_SERVER_MEMBERS_GUARD_H
#define DP_SERVER_MEMBERS_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/dp_err.h"
#include "common/net/proof.h"

enum {
    GUARD_TTL_MS = 60000,  /* a frozen client may take so long for its proof */
    GUARD_USED_MAX = 1024, /* proofs of that time that are remembered */
    GUARD_NAME_MAX = 96,
    GUARD_PATH_MAX = 200, /* of a path in a message */
};

struct guard_config {
    const char *secret_file; /* NULL: the usual one */
    bool secret_needed;      /* guard_new fails where there is none */
    const uint32_t *users;   /* allowed beside the server's own, borrowed */
    uint32_t user_count;
};

/* A client that asks for something. */
struct guard_asker {
    const void *route; /* its connection */
    size_t route_bytes;
    struct proof_claim claim;
    uint32_t user; /* uid whose key it says it has */
};

enum guard_verdict {
    GUARD_KNOWN,
    GUARD_STALE, /* no proof, or none of a fresh challenge of this connection: give it one */
    GUARD_WRONG, /* another key */
};

struct guard;

/* DP_IO: there is no secret, or a bad one; DP_NOMEM. */
DP_MUST_CHECK dp_err guard_new(const struct guard_config *config, struct guard **ret_guard, dp_error *err);
/* Overwrites the keys. The door was closed before. */
void guard_free(struct guard **ref);

void guard_challenge(const struct guard *guard, const struct guard_asker *asker, uint64_t now_ms,
                     uint8_t challenge[PROOF_NONCE_BYTES]);
/* `proof` has PROOF_BYTES. */
DP_MUST_CHECK enum guard_verdict guard_judge(struct guard *guard, const struct guard_asker *asker, const uint8_t *proof,
                                             uint64_t now_ms);
/* The key of an allowed user, for the door; false for others. */
bool guard_user_key(const struct guard *guard, uint32_t user, uint8_t key[PROOF_KEY_BYTES]);

/* The server's uid; its user in words, and the file of the secret ("" where there is none). */
uint32_t guard_uid(const struct guard *guard);
const char *guard_user(const struct guard *guard);
const char *guard_path(const struct guard *guard);

#endif
