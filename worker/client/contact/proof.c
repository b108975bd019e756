/* Proofs for a server; see proof.h. Thread: any. */
#include "worker/client/contact/proof.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/text.h"
#include "common/net/secret.h"

enum { DOOR_MS = 2000 };

void client_challenge_take(const Dp__Error *refusal, struct client_challenge *ret_challenge)
{
    *ret_challenge = (struct client_challenge){.given = refusal->challenge.len == PROOF_NONCE_BYTES};
    if (!ret_challenge->given)
        return;
    memcpy(ret_challenge->nonce, refusal->challenge.data, PROOF_NONCE_BYTES);
    if (strlen(refusal->door) < sizeof ret_challenge->door)
        (void)str_copy(ret_challenge->door, sizeof ret_challenge->door, refusal->door);
}

/* Our uid as the server's kernel sees it, and the key for it; false where the door has none for us. */
static bool door_ask(const char *name, uint32_t *ret_user, uint8_t key[PROOF_KEY_BYTES])
{
    uint8_t packet[DOOR_PACKET_BYTES];
    dp_error err;
    int fd;
    if (!name[0] || shm_connect(name, &fd, &err))
        return false;
    struct pollfd item = {.fd = fd, .events = POLLIN};
    ssize_t n = poll(&item, 1, DOOR_MS) == 1 ? recv(fd, packet, sizeof packet, MSG_DONTWAIT) : 0;
    close(fd);
    if (n == (ssize_t)sizeof packet) {
        *ret_user = 0;
        for (int i = 0; i < 4; i++)
            *ret_user |= (uint32_t)packet[i] << 8 * i;
        memcpy(key, packet + sizeof packet - PROOF_KEY_BYTES, PROOF_KEY_BYTES);
    }
    proof_forget(packet, sizeof packet);
    return n == (ssize_t)sizeof packet;
}

void client_proof_make(const char *secret_file, const struct client_challenge *challenge,
                       const struct proof_claim *claim, struct client_proof *ret_proof)
{
    uint8_t key[PROOF_KEY_BYTES];
    struct secret secret;
    *ret_proof = (struct client_proof){.user = (uint32_t)geteuid()};
    if (!door_ask(challenge->door, &ret_proof->user, key)) {
        if (secret_load(secret_file, false, &secret, &ret_proof->why)) {
            memset(key, 0, sizeof key);
        } else {
            memcpy(key, secret.key, sizeof key);
            ret_proof->why.code = DP_OK;
            secret_fini(&secret);
        }
    }
    proof_make(key, claim, challenge->nonce, ret_proof->bytes);
    proof_forget(key, sizeof key);
}

void client_proof_put(struct client_proof *proof, Dp__Header *header)
{
    header->proof = (ProtobufCBinaryData){.len = sizeof proof->bytes, .data = proof->bytes};
    header->user = proof->user;
}

dp_err client_proof_explain(const struct client_proof *proof, dp_error *err)
{
    char text[sizeof err->text];
    if (!proof->why.code)
        return err->code;
    snprintf(text, sizeof text, "%.250s; so %.380s", proof->why.text, err->text);
    return dp_fail(err, err->code, "%s", text);
}
