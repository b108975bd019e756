/* Answers to a server that asks who we are: a proof by this user's secret, or by a key from the server's door, which
 * gives it to users of --allow-users. Thread: any. */
#ifndef DP_WORKER_CLIENT_CONTACT_PROOF_H
#define DP_WORKER_CLIENT_CONTACT_PROOF_H

#include <stdbool.h>

#include "common/net/proof.h"
#include "common/net/shm_wire.h"
#include "proto/frame.h"

/* A server that asks more often is given up; it asks anew if a challenge has waited for long. */
enum { CLIENT_PROOFS_MAX = 4 };

/* A challenge that a server wants answered. */
struct client_challenge {
    bool given;
    uint8_t nonce[PROOF_NONCE_BYTES];
    char door[SHM_NAME_MAX]; /* empty: there is none */
};

struct client_proof {
    uint8_t bytes[PROOF_BYTES];
    uint32_t user;
    dp_error why; /* code != DP_OK: this user has no secret that can be used, and the proof will be refused */
};

/* Takes the challenge of a refusal, if it has one. */
void client_challenge_take(const Dp__Error *refusal, struct client_challenge *ret_challenge);
/* Answers it. If we have nothing to prove with, the proof is void, so that the server says and logs whom it refuses.
 * `secret_file`: see secret_load. */
void client_proof_make(const char *secret_file, const struct client_challenge *challenge,
                       const struct proof_claim *claim, struct client_proof *ret_proof);
/* Puts a proof into a header, which borrows it. */
void client_proof_put(struct client_proof *proof, Dp__Header *header);
/* Puts why no better proof was given before a refusal's text; returns err->code. */
dp_err client_proof_explain(const struct client_proof *proof, dp_error *err);

#endif
