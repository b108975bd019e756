/* Limits of memory that the kernel enforces on a process's control group: those of the group and of all above it, of
 * version 1 and 2, as /proc/self/cgroup and /proc/self/mountinfo name them. Thread: any. */
#ifndef DP_COMMON_BASE_CGROUP_H
#define DP_COMMON_BASE_CGROUP_H

#include <stdint.h>

struct cgroup_memory {
    uint64_t limit_bytes; /* the smallest; UINT64_MAX: there is none */
    uint64_t room_bytes;  /* that may still be taken, files that are only cached counted as free; likewise */
};

/* `root` stands before all paths that are looked at: "", or a folder of a test. */
void cgroup_memory(const char *root, struct cgroup_memory *ret_memory);

#endif
