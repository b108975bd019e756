/* Memory that is left; see mem_room.h. Thread: any. */
#include "common/base/mem_room.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/cgroup.h"
#include "common/base/util.h"

static uint64_t limit_bytes(const struct cgroup_memory *group)
{
    struct rlimit space;
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    uint64_t limit = group->limit_bytes;
    if (pages > 0 && page_bytes > 0)
        limit = MIN(limit, (uint64_t)pages * (uint64_t)page_bytes);
    if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY)
        limit = MIN(limit, (uint64_t)space.rlim_cur);
    return limit;
}

uint64_t mem_limit_bytes(void)
{
    struct cgroup_memory group;
    cgroup_memory("", &group);
    return limit_bytes(&group);
}

/* Memory that this process has taken, files and what it shares apart, and its address space; 0: not known. */
static uint64_t held_bytes(uint64_t *ret_space)
{
    char line[128], *at = line;
    uint64_t resident = 0, shared = 0, space = 0;
    long page_bytes = sysconf(_SC_PAGESIZE);
    FILE *file = fopen("/proc/self/statm", "re");
    if (file && fgets(line, sizeof line, file)) { /* size, resident, shared, ... in pages */
        space = strtoull(at, &at, 10);
        resident = strtoull(at, &at, 10);
        shared = strtoull(at, &at, 10);
    }
    if (file)
        fclose(file);
    *ret_space = space * (uint64_t)MAX(page_bytes, 0);
    return (resident - MIN(resident, shared)) * (uint64_t)MAX(page_bytes, 0);
}

/* Address space that is left under ulimit -v; stacks and libraries take of it as well. */
static uint64_t space_room_bytes(uint64_t space)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    return limit.rlim_cur - MIN((uint64_t)limit.rlim_cur, space);
}

dp_err mem_check_room(const char *what, uint64_t bytes, dp_error *err)
{
    struct cgroup_memory group;
    if (bytes < MEM_SMALL_BYTES)
        return DP_OK;
    cgroup_memory("", &group);
    uint64_t space, limit = limit_bytes(&group), held = held_bytes(&space);
    uint64_t room = MIN(MIN(group.room_bytes, space_room_bytes(space)), limit - MIN(limit, held));
    if (bytes <= room)
        return DP_OK;
    return dp_fail(err, DP_NOMEM,
                   "%s: out of memory: %" PRIu64 " MiB are needed, and %" PRIu64 " MiB are left of the %" PRIu64
                   " MiB that this machine, the control group or ulimit -v allows: raise the limit or take a larger "
                   "machine",
                   what, bytes >> 20, room >> 20, limit >> 20);
}
