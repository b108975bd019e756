/* Closing what others have passed to us, or have connected to us by a Unix socket. The last close of a file may wait
 * for as long as its owner likes: of a socket with SO_LINGER whose data nobody takes, of a file system that a user
 * serves; and with a Unix socket goes all that was passed by it and not received. So a thread closes them, and nobody
 * waits for it. Thread: any. */
#ifndef DP_COMMON_BASE_CLOSER_H
#define DP_COMMON_BASE_CLOSER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/dp_err.h"

enum { CLOSER_WAITING_MAX = 64 };

/* From now on, until the process ends; again: nothing. DP_SYSTEM. Before it, closer_close closes at once. */
DP_MUST_CHECK dp_err closer_start(dp_error *err);
/* Takes the descriptor. */
void closer_close(int fd);
/* Descriptors that are not closed yet. */
uint32_t closer_waiting(void);
/* Whether they are too many to let anybody in who may bring more. */
bool closer_is_full(void);

#endif
