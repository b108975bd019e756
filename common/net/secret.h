/* The secret of a user on this host: a file of 64 hexadecimal digits that nobody else can read. A peer that can prove
 * to have it (proof.h) is that user, or root.
 *
 * It is in ~/.config/dp/secret, where HOME counts if it is this user's own folder, else the home that the system knows;
 * where neither can be used, in /tmp/dp-UID/secret, in a folder of mode 0700. Another file can be named.
 * Thread: any. */
#ifndef DP_COMMON_NET_SECRET_H
#define DP_COMMON_NET_SECRET_H

#include <limits.h>
#include <stdbool.h>

#include "common/base/dp_err.h"
#include "common/net/proof.h"

struct secret {
    uint8_t key[PROOF_KEY_BYTES];
    char path[PATH_MAX]; /* it was read from */
};

/* Reads the secret. `file` NULL or "": that of the environment's DP_SECRET_FILE, else one of the usual places, the
 * first that has one. `make`: where there is none it is made, as a whole, so that processes that start together have
 * one. DP_IO with the path and what to do: there is none (or it cannot be made), it is a link, it belongs to another
 * user (root may name such a file), others can read it, or it holds no secret. */
DP_MUST_CHECK dp_err secret_load(const char *file, bool make, struct secret *ret_secret, dp_error *err);
/* Overwrites the key. */
void secret_fini(struct secret *secret);

#endif
