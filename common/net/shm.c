/* Shared memory; see shm.h. Invariant: what is mapped lies within a file that can no longer shrink. Thread: any. */
#include "common/net/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/base/cgroup.h"
#include "common/base/util.h"

/* Since Linux 5.1; glibc's headers have it later. */
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

enum { SEALS_SIZE = F_SEAL_SHRINK | F_SEAL_GROW, RESERVE_SHARE = 32, SMALL_BYTES = 1 << 20 };

size_t shm_page(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

size_t shm_whole_pages(size_t bytes)
{
    size_t page = shm_page();
    return (bytes + page - 1) / page * page;
}

/* The number behind `key` in a file of "key: number" lines. */
static bool file_number(const char *path, const char *key, uint64_t *ret_number)
{
    char line[256];
    bool found = false;
    FILE *file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof line, file)) {
        if (strncmp(line, key, strlen(key)) != 0)
            continue;
        char *end, *from = line + strlen(key);
        *ret_number = strtoull(from, &end, 10);
        found = end != from;
    }
    if (file)
        fclose(file);
    return found;
}

/* Whole ones, at least one where there are bytes. */
static size_t mib_of(size_t bytes)
{
    return (bytes + ((size_t)1 << 20) - 1) >> 20;
}

/* To ask for more memory than there is would not fail but wake the OOM killer: look first, and leave some. */
static dp_err check_room(size_t bytes, dp_error *err)
{
    uint64_t available_kib, total_kib;
    struct cgroup_memory group;
    if (bytes <= SMALL_BYTES || !file_number("/proc/meminfo", "MemAvailable:", &available_kib) ||
        !file_number("/proc/meminfo", "MemTotal:", &total_kib))
        return DP_OK;
    cgroup_memory("", &group);
    uint64_t reserve = MIN(total_kib * 1024, group.limit_bytes) / RESERVE_SHARE;
    uint64_t room = MIN(available_kib * 1024, group.room_bytes);
    if (bytes + reserve > room)
        return dp_fail(err, DP_NOMEM, "%zu MiB of shared memory are needed, %" PRIu64 " MiB of memory are free",
                       mib_of(bytes), room >> 20);
    return DP_OK;
}

/* Sizes, maps and seals the memory of shm->fd. */
static dp_err shm_make(struct shm *shm, enum shm_access access, dp_error *err)
{
    int seals = SEALS_SIZE | F_SEAL_SEAL | (access == SHM_READERS ? F_SEAL_FUTURE_WRITE : 0);
    if (ftruncate(shm->fd, (off_t)shm->bytes) || fallocate(shm->fd, 0, 0, (off_t)shm->bytes))
        return dp_fail(err, DP_NOMEM, "%zu MiB of shared memory cannot be had: %s", mib_of(shm->bytes),
                       strerror(errno));
    void *base = mmap(NULL, shm->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, shm->fd, 0);
    if (base == MAP_FAILED)
        return dp_fail(err, DP_NOMEM, "%zu MiB of shared memory cannot be mapped: %s", mib_of(shm->bytes),
                       strerror(errno));
    shm->base = base;
    if (fcntl(shm->fd, F_ADD_SEALS, seals))
        return dp_fail(err, DP_SYSTEM, "shared memory cannot be sealed (Linux 5.1 can): %s", strerror(errno));
    return DP_OK;
}

dp_err shm_new(size_t bytes, enum shm_access access, struct shm *ret_shm, dp_error *err)
{
    struct shm shm = {.bytes = shm_whole_pages(MAX(bytes, (size_t)1))};
    dp_err e = check_room(shm.bytes, err);
    if (e)
        return e;
    shm.fd = memfd_create("dp", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (shm.fd < 0)
        return dp_fail(err, DP_SYSTEM, "shared memory cannot be made: %s", strerror(errno));
    e = shm_make(&shm, access, err);
    if (e) {
        shm_fini(&shm);
        return e;
    }
    *ret_shm = shm;
    return DP_OK;
}

/* Memory of huge pages is refused too: a hole in it may not be fillable. Nothing else has seals, which are asked for
 * first: other questions may be answered by a file system that a user serves. */
static dp_err check_peer(int fd, size_t bytes, dp_error *err)
{
    struct stat st;
    struct statfs fs;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || fstatfs(fd, &fs) || fs.f_type != TMPFS_MAGIC)
        return dp_fail(err, DP_PROTO, "the descriptor that was passed is no shared memory");
    if ((seals & SEALS_SIZE) != SEALS_SIZE)
        return dp_fail(err, DP_PROTO, "the shared memory that was passed can still shrink");
    if (st.st_size < 0 || (uint64_t)st.st_size < bytes)
        return dp_fail(err, DP_PROTO, "the shared memory that was passed has %jd bytes, %zu are needed",
                       (intmax_t)st.st_size, bytes);
    return DP_OK;
}

dp_err shm_map(int fd, size_t bytes, struct shm *ret_shm, dp_error *err)
{
    size_t whole = shm_whole_pages(MAX(bytes, (size_t)1));
    dp_err e = check_peer(fd, whole, err);
    if (e)
        return e;
    void *base = mmap(NULL, whole, PROT_READ, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return dp_fail(err, DP_NOMEM, "%zu MiB of shared memory cannot be mapped: %s", whole >> 20, strerror(errno));
    *ret_shm = (struct shm){.base = base, .bytes = whole, .fd = -1};
    return DP_OK;
}

void shm_close(struct shm *shm)
{
    if (shm->bytes && shm->fd >= 0)
        close(shm->fd);
    shm->fd = -1;
}

void shm_fini(struct shm *shm)
{
    if (shm->base)
        munmap(shm->base, shm->bytes);
    shm_close(shm);
    *shm = (struct shm){0};
}

void shm_host(char text[SHM_HOST_MAX])
{
    char boot[40] = "", net[32] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    bool known = file && fgets(boot, sizeof boot, file);
    if (file)
        fclose(file);
    boot[strcspn(boot, "\n")] = '\0';
    known = known && readlink("/proc/self/ns/net", net, sizeof net - 1) > 0;
    text[0] = '\0';
    if (known)
        snprintf(text, SHM_HOST_MAX, "%s %s", boot, net);
}
