/* Proofs; see proof.h. Thread: any. */
#include "common/net/proof.h"

#include <sodium.h>
#include <string.h>

_Static_assert((int)PROOF_KEY_BYTES == (int)crypto_auth_hmacsha256_KEYBYTES, "a key is one of HMAC-SHA-256");
_Static_assert((int)PROOF_MAC_BYTES == (int)crypto_auth_hmacsha256_BYTES, "a MAC is one of HMAC-SHA-256");

static const char LABEL[] = "dp-proof-1";

enum { LABEL_BYTES = sizeof LABEL - 1, MESSAGE_BYTES = LABEL_BYTES + 4 + 8 + PROOF_NONCE_BYTES };

void proof_mac(const uint8_t key[PROOF_KEY_BYTES], const void *data, size_t bytes, uint8_t mac[PROOF_MAC_BYTES])
{
    crypto_auth_hmacsha256(mac, data, bytes, key);
}

static void message_fill(const struct proof_claim *claim, const uint8_t *nonce, uint8_t message[MESSAGE_BYTES])
{
    uint8_t *at = message + LABEL_BYTES;
    memcpy(message, LABEL, LABEL_BYTES);
    for (int i = 0; i < 4; i++)
        *at++ = (uint8_t)(claim->purpose >> 8 * i);
    for (int i = 0; i < 8; i++)
        *at++ = (uint8_t)(claim->worker >> 8 * i);
    memcpy(at, nonce, PROOF_NONCE_BYTES);
}

void proof_make(const uint8_t key[PROOF_KEY_BYTES], const struct proof_claim *claim,
                const uint8_t nonce[PROOF_NONCE_BYTES], uint8_t proof[PROOF_BYTES])
{
    uint8_t message[MESSAGE_BYTES];
    message_fill(claim, nonce, message);
    memmove(proof, nonce, PROOF_NONCE_BYTES);
    proof_mac(key, message, sizeof message, proof + PROOF_NONCE_BYTES);
}

bool proof_holds(const uint8_t key[PROOF_KEY_BYTES], const struct proof_claim *claim, const uint8_t proof[PROOF_BYTES])
{
    uint8_t message[MESSAGE_BYTES];
    message_fill(claim, proof, message);
    return crypto_auth_hmacsha256_verify(proof + PROOF_NONCE_BYTES, message, sizeof message, key) == 0;
}

void proof_random(void *data, size_t bytes)
{
    randombytes_buf(data, bytes);
}

void proof_forget(void *data, size_t bytes)
{
    sodium_memzero(data, bytes);
}
