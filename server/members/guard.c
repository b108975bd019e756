/* Proofs and challenges; see guard.h. Thread: head. */
#include "server/members/guard.h"

#include <pwd.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "common/net/secret.h"

/* A challenge: when it was given and a random number, then the first half of a MAC. */
enum { STAMP_BYTES = 16, TAG_BYTES = PROOF_NONCE_BYTES - STAMP_BYTES, ROUTE_MAX = 64, USER_BUF_BYTES = 4096 };

/* In memory that is neither dumped nor, if the limits allow it, swapped. */
struct keys {
    uint8_t secret[PROOF_KEY_BYTES];
    uint8_t process[PROOF_KEY_BYTES];
};

struct guard {
    struct keys *keys;
    bool has_secret;
    uint32_t uid;
    uint32_t *users;
    uint32_t user_count;
    char user[GUARD_NAME_MAX];
    char path[GUARD_PATH_MAX];
    uint64_t used_count;
    uint8_t used[GUARD_USED_MAX][STAMP_BYTES]; /* the latest, round and round */
};

/* Looked up once: a directory service may take its time. */
static void name_user(struct guard *guard)
{
    char buf[USER_BUF_BYTES];
    struct passwd user, *found = NULL;
    if (getpwuid_r(guard->uid, &user, buf, sizeof buf, &found) == 0 && found)
        snprintf(guard->user, sizeof guard->user, "user %.64s (uid %lu)", found->pw_name, (unsigned long)guard->uid);
    else
        snprintf(guard->user, sizeof guard->user, "uid %lu", (unsigned long)guard->uid);
}

static dp_err take_secret(struct guard *guard, const struct guard_config *config, dp_error *err)
{
    struct secret secret;
    dp_err e = secret_load(config->secret_file, true, &secret, err);
    if (e)
        return config->secret_needed ? e : DP_OK;
    memcpy(guard->keys->secret, secret.key, sizeof guard->keys->secret);
    guard->has_secret = true;
    if (!str_copy(guard->path, sizeof guard->path, secret.path))
        memcpy(guard->path + sizeof guard->path - sizeof "...", "...", sizeof "...");
    secret_fini(&secret);
    return DP_OK;
}

dp_err guard_new(const struct guard_config *config, struct guard **ret_guard, dp_error *err)
{
    struct guard *guard = sodium_init() < 0 ? NULL : mem_array_zero(1, sizeof *guard);
    if (!guard)
        return dp_fail(err, DP_NOMEM, "out of memory for keys");
    guard->uid = (uint32_t)geteuid();
    guard->user_count = config->user_count;
    guard->users = mem_array(config->user_count, sizeof *guard->users);
    guard->keys = sodium_malloc(sizeof *guard->keys);
    if (!guard->users || !guard->keys) {
        guard_free(&guard);
        return dp_fail(err, DP_NOMEM, "out of memory for keys");
    }
    for (uint32_t i = 0; i < config->user_count; i++)
        guard->users[i] = config->users[i];
    proof_random(guard->keys->process, sizeof guard->keys->process);
    name_user(guard);
    dp_err e = take_secret(guard, config, err);
    if (e)
        guard_free(&guard);
    else
        *ret_guard = guard;
    return e;
}

void guard_free(struct guard **ref)
{
    struct guard *guard = *ref;
    if (!guard)
        return;
    sodium_free(guard->keys);
    free(guard->users);
    free(guard);
    *ref = NULL;
}

/* ---- challenges ---- */

static uint64_t stamp_ms(const uint8_t stamp[STAMP_BYTES])
{
    uint64_t ms = 0;
    for (int i = 0; i < 8; i++)
        ms |= (uint64_t)stamp[i] << 8 * i;
    return ms;
}

/* The MAC of a stamp, for this connection and what is asked. */
static void stamp_mac(const struct guard *guard, const struct guard_asker *asker, const uint8_t *stamp, uint8_t *mac)
{
    uint8_t message[STAMP_BYTES + sizeof asker->claim.purpose + sizeof asker->claim.worker + ROUTE_MAX];
    size_t route_bytes = MIN(asker->route_bytes, (size_t)ROUTE_MAX), at = 0;
    memcpy(message + at, stamp, STAMP_BYTES);
    at += STAMP_BYTES;
    memcpy(message + at, &asker->claim.purpose, sizeof asker->claim.purpose);
    at += sizeof asker->claim.purpose;
    memcpy(message + at, &asker->claim.worker, sizeof asker->claim.worker);
    at += sizeof asker->claim.worker;
    memcpy(message + at, asker->route, route_bytes);
    proof_mac(guard->keys->process, message, at + route_bytes, mac);
}

void guard_challenge(const struct guard *guard, const struct guard_asker *asker, uint64_t now_ms,
                     uint8_t challenge[PROOF_NONCE_BYTES])
{
    uint8_t mac[PROOF_MAC_BYTES];
    for (int i = 0; i < 8; i++)
        challenge[i] = (uint8_t)(now_ms >> 8 * i);
    proof_random(challenge + 8, STAMP_BYTES - 8);
    stamp_mac(guard, asker, challenge, mac);
    memcpy(challenge + STAMP_BYTES, mac, TAG_BYTES);
}

static bool challenge_fresh(const struct guard *guard, const struct guard_asker *asker, const uint8_t *challenge,
                            uint64_t now_ms)
{
    uint8_t mac[PROOF_MAC_BYTES];
    stamp_mac(guard, asker, challenge, mac);
    if (sodium_memcmp(mac, challenge + STAMP_BYTES, TAG_BYTES) != 0)
        return false;
    uint64_t given_ms = stamp_ms(challenge);
    if (now_ms < given_ms || now_ms - given_ms > GUARD_TTL_MS)
        return false;
    size_t count = (size_t)MIN(guard->used_count, (uint64_t)GUARD_USED_MAX);
    for (size_t i = 0; i < count; i++)
        if (memcmp(guard->used[i], challenge, STAMP_BYTES) == 0)
            return false;
    return true;
}

/* ---- proofs ---- */

bool guard_user_key(const struct guard *guard, uint32_t user, uint8_t key[PROOF_KEY_BYTES])
{
    char text[32];
    bool allowed = user == guard->uid;
    for (uint32_t i = 0; i < guard->user_count; i++)
        allowed |= guard->users[i] == user;
    if (!allowed)
        return false;
    int bytes = snprintf(text, sizeof text, "dp-door %lu", (unsigned long)user);
    proof_mac(guard->keys->process, text, (size_t)bytes, key);
    return true;
}

static bool proved(const struct guard *guard, const struct guard_asker *asker, const uint8_t *proof)
{
    uint8_t key[PROOF_KEY_BYTES];
    if (guard->has_secret && proof_holds(guard->keys->secret, &asker->claim, proof))
        return true;
    bool holds =
        guard->user_count > 0 && guard_user_key(guard, asker->user, key) && proof_holds(key, &asker->claim, proof);
    proof_forget(key, sizeof key);
    return holds;
}

enum guard_verdict guard_judge(struct guard *guard, const struct guard_asker *asker, const uint8_t *proof,
                               uint64_t now_ms)
{
    if (!challenge_fresh(guard, asker, proof, now_ms))
        return GUARD_STALE;
    if (!proved(guard, asker, proof))
        return GUARD_WRONG;
    memcpy(guard->used[guard->used_count++ % GUARD_USED_MAX], proof, STAMP_BYTES);
    return GUARD_KNOWN;
}

uint32_t guard_uid(const struct guard *guard)
{
    return guard->uid;
}

const char *guard_user(const struct guard *guard)
{
    return guard->user;
}

const char *guard_path(const struct guard *guard)
{
    return guard->path;
}
