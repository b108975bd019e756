/* Memory that processes of one machine share: memfds, which have no name to guess and leave nothing behind, whoever is
 * killed. They are sealed against shrinking and growing, since who reads beyond the end of a file gets SIGBUS.
 * Thread: any. */
#ifndef DP_COMMON_NET_SHM_H
#define DP_COMMON_NET_SHM_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/dp_err.h"

enum { SHM_HOST_MAX = 80 };

/* A zeroed one is none. */
struct shm {
    void *base;
    size_t bytes; /* whole pages */
    int fd;       /* -1 once closed; the mapping stays */
};

/* Whether a program shares memory: where it can, or not at all unless it can, or never. */
enum shm_mode { SHM_AUTO, SHM_ON, SHM_OFF };
#define SHM_MODES "auto|on|off"

/* Processes that may write to memory of shm_new. */
enum shm_access {
    SHM_READERS, /* nobody but its maker: others can map it read-only */
    SHM_WRITERS, /* every process that gets the descriptor */
};

size_t shm_page(void);
/* The least number of whole pages that holds `bytes`. */
size_t shm_whole_pages(size_t bytes);

/* Makes memory of at least `bytes` and maps it for writing. All of it is there: using it cannot fail later on. DP_NOMEM
 * where memory is short, DP_SYSTEM where the system does not offer this; the reason in words. */
DP_MUST_CHECK dp_err shm_new(size_t bytes, enum shm_access access, struct shm *ret_shm, dp_error *err);
/* Maps what a peer has passed, for reading; `fd` stays the caller's. Checks that it is such memory (not a file, a pipe,
 * or one that can shrink) and has at least `bytes`, all of it that is mapped. DP_PROTO, DP_NOMEM. */
DP_MUST_CHECK dp_err shm_map(int fd, size_t bytes, struct shm *ret_shm, dp_error *err);
/* Closes the descriptor; the mapping stays. */
void shm_close(struct shm *shm);
/* Unmaps and closes. A zeroed one is fine. */
void shm_fini(struct shm *shm);

/* Says where this process is: equal texts mean one running kernel and one network namespace, in which an abstract
 * Unix socket can be reached. Empty where that cannot be told. */
void shm_host(char text[SHM_HOST_MAX]);

#endif
