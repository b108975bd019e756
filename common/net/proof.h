/* Proofs that a client has a secret, or a key, without sending it: an HMAC over a nonce of the server's, of what is
 * asked for, and of the worker that asks. An overheard proof is of no use for anything else. Thread: any. */
#ifndef DP_COMMON_NET_PROOF_H
#define DP_COMMON_NET_PROOF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PROOF_KEY_BYTES = 32,
    PROOF_NONCE_BYTES = 32,
    PROOF_MAC_BYTES = 32,
    PROOF_BYTES = PROOF_NONCE_BYTES + PROOF_MAC_BYTES, /* as it is sent: the nonce, and the MAC */
    DOOR_PACKET_BYTES = 4 + PROOF_KEY_BYTES,           /* from a server's door: uid, little-endian, and its key */
};

/* The facts that a proof covers. */
struct proof_claim {
    uint32_t purpose; /* number of the message's body in Header */
    uint64_t worker;  /* of a hello; else 0 */
};

/* HMAC-SHA-256 of `bytes` bytes. */
void proof_mac(const uint8_t key[PROOF_KEY_BYTES], const void *data, size_t bytes, uint8_t mac[PROOF_MAC_BYTES]);
/* Fills what is sent. The MAC is that of "dp-proof-1", purpose (4 bytes), worker (8 bytes) and nonce, little-endian. */
void proof_make(const uint8_t key[PROOF_KEY_BYTES], const struct proof_claim *claim,
                const uint8_t nonce[PROOF_NONCE_BYTES], uint8_t proof[PROOF_BYTES]);
/* Whether its MAC is that of its nonce; takes the same time whatever is wrong. */
bool proof_holds(const uint8_t key[PROOF_KEY_BYTES], const struct proof_claim *claim, const uint8_t proof[PROOF_BYTES]);
/* Random bytes that nobody can guess. */
void proof_random(void *data, size_t bytes);
/* Overwrites a key that is not needed any more. */
void proof_forget(void *data, size_t bytes);

#endif
