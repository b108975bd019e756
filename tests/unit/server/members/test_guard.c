/* Challenges and proofs as the server judges them, by a clock of the test's. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/util.h"
#include "common/net/secret.h"
#include "server/members/guard.h"
#include "tests/unit/support/files.h"
#include "tests/unit/support/leaks.h"

static char folder[PATH_MAX], path[PATH_MAX + 16];

static void guard_init(void)
{
    folder_make(folder);
    snprintf(path, sizeof path, "%s/secret", folder);
}

static void guard_fini(void)
{
    (void)unlink(path);
    (void)rmdir(folder);
}

TestSuite(guard, .init = guard_init, .fini = guard_fini);

enum { NOW = 1000000, HELLO = 20, SET = 31, BOB = 4711, EVE = 4712 };

static struct guard *guard_of(const uint32_t *users, uint32_t count)
{
    const struct guard_config config = {
        .secret_file = path, .secret_needed = true, .users = users, .user_count = count};
    struct guard *guard = NULL;
    dp_error err;
    cr_assert_eq(guard_new(&config, &guard, &err), DP_OK, "%s", err.text);
    return guard;
}

static const struct guard_asker ASKER = {
    .route = "\0abcd", .route_bytes = 5, .claim = {.purpose = HELLO, .worker = 77}, .user = 0};

static void key_of_server(uint8_t key[PROOF_KEY_BYTES])
{
    struct secret secret;
    dp_error err;
    cr_assert_eq(secret_load(path, false, &secret, &err), DP_OK, "%s", err.text);
    memcpy(key, secret.key, sizeof secret.key);
}

/* The proof of `asker` by the server's secret, of a challenge given at `given_ms`. */
static void prove(const struct guard *guard, const struct guard_asker *asker, uint64_t given_ms,
                  uint8_t proof[PROOF_BYTES])
{
    uint8_t key[PROOF_KEY_BYTES], challenge[PROOF_NONCE_BYTES];
    key_of_server(key);
    guard_challenge(guard, asker, given_ms, challenge);
    proof_make(key, &asker->claim, challenge, proof);
}

Test(guard, takes_a_proof_once)
{
    uint8_t proof[PROOF_BYTES];
    struct guard *guard = guard_of(NULL, 0);
    prove(guard, &ASKER, NOW, proof);
    cr_assert_eq(guard_judge(guard, &ASKER, proof, NOW + 1), GUARD_KNOWN);
    cr_assert_eq(guard_judge(guard, &ASKER, proof, NOW + 2), GUARD_STALE);
    guard_free(&guard);
    cr_assert_null(guard);
    ASSERT_NO_LEAKS();
}

Test(guard, takes_a_proof_while_its_challenge_is_fresh)
{
    uint8_t proof[PROOF_BYTES];
    struct guard *guard = guard_of(NULL, 0);
    prove(guard, &ASKER, NOW, proof);
    cr_assert_eq(guard_judge(guard, &ASKER, proof, NOW + GUARD_TTL_MS + 1), GUARD_STALE);
    cr_assert_eq(guard_judge(guard, &ASKER, proof, NOW - 1), GUARD_STALE);
    cr_assert_eq(guard_judge(guard, &ASKER, proof, NOW + GUARD_TTL_MS), GUARD_KNOWN);
    guard_free(&guard);
}

/* An overheard proof is of no use on another connection, for another worker, or for another request. */
Test(guard, takes_a_proof_for_what_its_challenge_was_given_for)
{
    uint8_t proof[PROOF_BYTES];
    struct guard *guard = guard_of(NULL, 0), *other = guard_of(NULL, 0);
    struct guard_asker asker;
    prove(guard, &ASKER, NOW, proof);
    asker = ASKER;
    asker.route = "\0abce";
    cr_assert_eq(guard_judge(guard, &asker, proof, NOW), GUARD_STALE);
    asker = ASKER;
    asker.route_bytes = 4;
    cr_assert_eq(guard_judge(guard, &asker, proof, NOW), GUARD_STALE);
    asker = ASKER;
    asker.claim.worker++;
    cr_assert_eq(guard_judge(guard, &asker, proof, NOW), GUARD_STALE);
    asker = ASKER;
    asker.claim.purpose = SET;
    cr_assert_eq(guard_judge(guard, &asker, proof, NOW), GUARD_STALE);
    cr_assert_eq(guard_judge(other, &ASKER, proof, NOW), GUARD_STALE, "a challenge of another process");
    cr_assert_eq(guard_judge(guard, &ASKER, proof, NOW), GUARD_KNOWN);
    guard_free(&guard);
    guard_free(&other);
    ASSERT_NO_LEAKS();
}

/* A challenge that a client makes up, or changes in any bit, is none. */
Test(guard, knows_its_own_challenges)
{
    uint8_t key[PROOF_KEY_BYTES], challenge[PROOF_NONCE_BYTES], proof[PROOF_BYTES];
    struct guard *guard = guard_of(NULL, 0);
    key_of_server(key);
    for (size_t bit = 0; bit < 8 * sizeof challenge; bit++) {
        guard_challenge(guard, &ASKER, NOW, challenge);
        challenge[bit / 8] ^= (uint8_t)(1 << bit % 8);
        proof_make(key, &ASKER.claim, challenge, proof);
        cr_assert_eq(guard_judge(guard, &ASKER, proof, NOW), GUARD_STALE, "bit %zu", bit);
    }
    guard_free(&guard);
}

Test(guard, refuses_another_key)
{
    uint8_t proof[PROOF_BYTES];
    struct guard *guard = guard_of(NULL, 0);
    for (size_t i = PROOF_NONCE_BYTES; i < PROOF_BYTES; i++) {
        prove(guard, &ASKER, NOW, proof);
        proof[i] ^= 0x80;
        cr_assert_eq(guard_judge(guard, &ASKER, proof, NOW), GUARD_WRONG, "byte %zu", i);
        proof[i] ^= 0x80;
        cr_assert_eq(guard_judge(guard, &ASKER, proof, NOW), GUARD_KNOWN, "a wrong one uses nothing up");
    }
    guard_free(&guard);
}

/* The door's keys are of one user each, and only where users are named. */
Test(guard, takes_the_key_of_a_user_that_is_named)
{
    static const uint32_t users[] = {BOB, 99};
    uint8_t key[PROOF_KEY_BYTES], other[PROOF_KEY_BYTES], challenge[PROOF_NONCE_BYTES], proof[PROOF_BYTES];
    struct guard *guard = guard_of(users, ARRAY_LEN(users)), *strict = guard_of(NULL, 0);
    struct guard_asker bob = ASKER, eve = ASKER;
    bob.user = BOB;
    eve.user = EVE;
    cr_assert_not(guard_user_key(guard, EVE, key));
    cr_assert_not(guard_user_key(strict, BOB, key));
    cr_assert(guard_user_key(guard, 99, other));
    cr_assert(guard_user_key(guard, BOB, key));
    cr_assert_arr_neq(key, other, sizeof key);
    guard_challenge(guard, &bob, NOW, challenge);
    proof_make(key, &bob.claim, challenge, proof);
    cr_assert_eq(guard_judge(guard, &eve, proof, NOW), GUARD_WRONG, "bob's key in eve's name");
    bob.user = 99;
    cr_assert_eq(guard_judge(guard, &bob, proof, NOW), GUARD_WRONG);
    bob.user = BOB;
    cr_assert_eq(guard_judge(guard, &bob, proof, NOW), GUARD_KNOWN);
    guard_challenge(strict, &bob, NOW, challenge);
    proof_make(key, &bob.claim, challenge, proof);
    cr_assert_eq(guard_judge(strict, &bob, proof, NOW), GUARD_WRONG);
    guard_free(&guard);
    guard_free(&strict);
    ASSERT_NO_LEAKS();
}

Test(guard, remembers_many_proofs_in_bounded_memory)
{
    enum { MANY = 3 * GUARD_USED_MAX };
    static uint8_t proofs[MANY][PROOF_BYTES];
    struct guard *guard = guard_of(NULL, 0);
    for (int i = 0; i < MANY; i++) {
        prove(guard, &ASKER, NOW, proofs[i]);
        cr_assert_eq(guard_judge(guard, &ASKER, proofs[i], NOW), GUARD_KNOWN, "%d", i);
    }
    for (int i = MANY - GUARD_USED_MAX; i < MANY; i++)
        cr_assert_eq(guard_judge(guard, &ASKER, proofs[i], NOW), GUARD_STALE, "%d", i);
    guard_free(&guard);
}

Test(guard, without_a_secret_knows_nobody)
{
    const struct guard_config config = {.secret_file = "/proc/no/such"};
    uint8_t key[PROOF_KEY_BYTES] = {0}, challenge[PROOF_NONCE_BYTES], proof[PROOF_BYTES];
    struct guard_config needed = config;
    struct guard *guard = NULL;
    dp_error err;
    needed.secret_needed = true;
    cr_assert_eq(guard_new(&needed, &guard, &err), DP_IO);
    cr_assert_null(guard);
    cr_assert_eq(guard_new(&config, &guard, &err), DP_OK);
    cr_assert_str_eq(guard_path(guard), "");
    guard_challenge(guard, &ASKER, NOW, challenge);
    proof_make(key, &ASKER.claim, challenge, proof);
    cr_assert_eq(guard_judge(guard, &ASKER, proof, NOW), GUARD_WRONG, "not by a key of zeros");
    guard_free(&guard);
    ASSERT_NO_LEAKS();
}
