/* Shared memory and how it is handed over: what is refused of a peer, and that nothing is left open. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/net/shm.h"
#include "common/net/shm_wire.h"
#include "tests/unit/support/leaks.h"

/* Open descriptors of this process. */
static int descriptors(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

Test(shm, what_is_written_is_seen_and_only_its_maker_writes)
{
    struct shm mine, seen;
    dp_error err;
    int before = descriptors();
    cr_assert_eq(shm_new(10000, SHM_READERS, &mine, &err), DP_OK, "%s", err.text);
    cr_assert_geq(mine.bytes, 10000);
    memcpy(mine.base, "theta", 6);
    cr_assert_eq(shm_map(mine.fd, 10000, &seen, &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(seen.base, "theta");
    strcpy(mine.base, "later");
    cr_assert_str_eq(seen.base, "later");
    cr_assert_eq(mprotect(seen.base, seen.bytes, PROT_READ | PROT_WRITE), -1);
    cr_assert_eq(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, mine.fd, 0), MAP_FAILED);
    cr_assert_eq(pwrite(mine.fd, "x", 1, 0), -1);
    cr_assert_eq(ftruncate(mine.fd, 0), -1);
    shm_fini(&seen);
    shm_fini(&mine);
    cr_assert_eq(descriptors(), before);
    shm_fini(&mine);
}

static void assert_refused(int fd, const char *why)
{
    struct shm seen = {0};
    dp_error err = {.text = ""};
    cr_assert_eq(shm_map(fd, 8192, &seen, &err), DP_PROTO, "%s: %s", why, err.text);
    cr_assert_null(seen.base);
    close(fd);
}

static int memory(size_t bytes, unsigned flags, int seals)
{
    int fd = memfd_create("test", flags);
    cr_assert_eq(ftruncate(fd, (off_t)bytes), 0);
    if (seals)
        cr_assert_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

Test(shm, what_could_end_in_sigbus_is_refused)
{
    int pipes[2];
    cr_assert_eq(pipe(pipes), 0);
    assert_refused(pipes[0], "a pipe");
    close(pipes[1]);
    assert_refused(open("/dev/zero", O_RDONLY), "a device");
    assert_refused(open("/proc/self/exe", O_RDONLY), "a file");
    assert_refused(socket(AF_UNIX, SOCK_STREAM, 0), "a socket");
    assert_refused(memory(1 << 20, 0, 0), "memory that takes no seals");
    assert_refused(memory(1 << 20, MFD_ALLOW_SEALING, 0), "memory without seals");
    assert_refused(memory(1 << 20, MFD_ALLOW_SEALING, F_SEAL_GROW), "memory that can shrink");
    assert_refused(memory(4096, MFD_ALLOW_SEALING, F_SEAL_GROW | F_SEAL_SHRINK), "memory that is too small");
    assert_refused(memory(0, MFD_ALLOW_SEALING, F_SEAL_GROW | F_SEAL_SHRINK), "memory of no bytes");
    struct shm seen;
    dp_error err;
    cr_assert_eq(shm_map(-1, 8192, &seen, &err), DP_PROTO);
    int good = memory(8192, MFD_ALLOW_SEALING, F_SEAL_GROW | F_SEAL_SHRINK);
    cr_assert_eq(shm_map(good, 8192, &seen, &err), DP_OK, "%s", err.text);
    close(good);
    shm_fini(&seen);
}

Test(shm, shortness_is_an_error_with_a_reason)
{
    struct shm shm;
    dp_error err;
    cr_assert_eq(shm_new((size_t)1 << 50, SHM_WRITERS, &shm, &err), DP_NOMEM);
    cr_assert_not_null(strstr(err.text, "memory are free"), "%s", err.text);
    /* With an address space that has no room for it. */
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {(rlim_t)1 << 20, (rlim_t)1 << 20};
        setrlimit(RLIMIT_AS, &limit);
        int before = descriptors();
        dp_err e = shm_new((size_t)64 << 20, SHM_WRITERS, &shm, &err);
        _exit(e == DP_NOMEM && descriptors() == before ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
#if !defined(HAS_LEAK_CHECK)
    cr_assert_eq(status, 0);
#endif
}

Test(shm, this_process_is_where_it_is)
{
    char here[SHM_HOST_MAX], again[SHM_HOST_MAX];
    shm_host(here);
    shm_host(again);
    cr_assert_str_eq(here, again);
    cr_assert_geq(strlen(here), 36, "'%s'", here);
}

/* ---- messages ---- */

struct ends {
    int listening, worker, shard;
};

static struct ends ends_open(void)
{
    struct ends ends;
    char name[SHM_NAME_MAX];
    dp_error err;
    snprintf(name, sizeof name, "dp-test-shm-%ld", (long)getpid());
    cr_assert_eq(shm_listen(name, &ends.listening, &err), DP_OK, "%s", err.text);
    int second;
    cr_assert_eq(shm_listen(name, &second, &err), DP_SYSTEM);
    cr_assert_eq(shm_connect(name, &ends.worker, &err), DP_OK, "%s", err.text);
    ends.shard = accept4(ends.listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    cr_assert_geq(ends.shard, 0);
    return ends;
}

static void ends_close(struct ends *ends)
{
    close(ends->listening);
    close(ends->worker);
    close(ends->shard);
}

Test(shm, memory_goes_from_one_side_to_the_other)
{
    int before = descriptors();
    struct ends ends = ends_open();
    struct shm_message sent = {.kind = SHM_SLAB, .slab = 7, .bytes = 4096}, got;
    struct shm mine, seen;
    dp_error err;
    int passed;
    cr_assert_eq(shm_receive(ends.shard, &got, &passed, &err), DP_BUSY);
    cr_assert_eq(shm_new(4096, SHM_WRITERS, &mine, &err), DP_OK);
    strcpy(mine.base, "gradient");
    cr_assert_eq(shm_send(ends.worker, &sent, mine.fd), DP_OK);
    cr_assert_eq(shm_receive(ends.shard, &got, &passed, &err), DP_OK, "%s", err.text);
    cr_assert_eq(got.slab, 7);
    cr_assert_eq(got.bytes, 4096);
    cr_assert_eq(shm_map(passed, 4096, &seen, &err), DP_OK, "%s", err.text);
    close(passed);
    shm_fini(&mine);
    cr_assert_str_eq(seen.base, "gradient", "the memory outlives its maker's part of it");
    shm_fini(&seen);
    shm_refuse(ends.shard, 7, DP_NOMEM, "not\ntoday \x7f");
    cr_assert_eq(shm_receive(ends.worker, &got, &passed, &err), DP_OK, "%s", err.text);
    cr_assert_eq(passed, -1);
    cr_assert_str_eq(got.text, "not?today ?");
    close(ends.worker);
    ends.worker = -1;
    cr_assert_eq(shm_receive(ends.shard, &got, &passed, &err), DP_IO);
    ends_close(&ends);
    cr_assert_eq(descriptors(), before);
    ASSERT_NO_LEAKS();
}

/* Sends what no peer of ours would. */
static void send_raw(int fd, const void *data, size_t bytes, const int *pass, size_t count)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(128 * sizeof(int))] = {0};
    struct iovec part = {.iov_base = (void *)data, .iov_len = bytes};
    struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1};
    if (count) {
        packet.msg_control = control;
        packet.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *head = CMSG_FIRSTHDR(&packet);
        *head = (struct cmsghdr){CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(head), pass, count * sizeof(int));
    }
    cr_assert_eq(sendmsg(fd, &packet, 0), (ssize_t)bytes, "%s", strerror(errno));
}

Test(shm, a_message_is_asked_for_descriptors_and_stays)
{
    struct ends ends = ends_open();
    struct shm_message hello = {.kind = SHM_HELLO}, slab = {.kind = SHM_SLAB, .bytes = 1}, got;
    int before = descriptors(), passed, out = STDOUT_FILENO;
    dp_error err;
    cr_assert_not(shm_brings_descriptors(ends.shard), "there is none");
    cr_assert_eq(shm_send(ends.worker, &hello, -1), DP_OK);
    cr_assert_eq(shm_send(ends.worker, &slab, STDOUT_FILENO), DP_OK);
    send_raw(ends.worker, &slab, 0, &out, 1);
    cr_assert_not(shm_brings_descriptors(ends.shard));
    cr_assert_eq(shm_receive(ends.shard, &got, &passed, &err), DP_OK);
    cr_assert_eq(got.kind, SHM_HELLO);
    cr_assert(shm_brings_descriptors(ends.shard));
    cr_assert_eq(descriptors(), before, "it is still there");
    cr_assert_eq(shm_receive(ends.shard, &got, &passed, &err), DP_OK);
    close(passed);
    cr_assert(shm_brings_descriptors(ends.shard), "an empty packet");
    ends_close(&ends);
}

static void assert_garbage(struct ends *ends, const struct shm_message *message, size_t bytes, size_t count)
{
    struct shm_message got;
    dp_error err;
    int pass[128], passed, before = descriptors();
    for (size_t i = 0; i < count; i++)
        pass[i] = STDOUT_FILENO;
    send_raw(ends->worker, message, bytes, pass, count);
    cr_assert_eq(shm_receive(ends->shard, &got, &passed, &err), DP_PROTO, "%zu bytes, %zu descriptors", bytes, count);
    cr_assert_eq(passed, -1);
    cr_assert_eq(descriptors(), before, "%zu descriptors were received and not all closed", count);
}

Test(shm, what_is_no_message_is_refused_and_its_descriptors_are_closed)
{
    struct ends ends = ends_open();
    struct shm_message good = {.kind = SHM_SLAB, .bytes = 1}, bad;
    dp_error err;
    cr_assert_eq(shm_send(ends.worker, &good, STDOUT_FILENO), DP_OK); /* fills in the magic */
    struct shm_message got;
    int passed;
    cr_assert_eq(shm_receive(ends.shard, &got, &passed, &err), DP_OK);
    close(passed);
    char longer[2 * sizeof good] = {0};
    memcpy(longer, &good, sizeof good);
    assert_garbage(&ends, &good, sizeof good, 0);
    assert_garbage(&ends, &good, sizeof good, 2);
    assert_garbage(&ends, &good, sizeof good, 16);
    assert_garbage(&ends, &good, sizeof good - 1, 1);
    assert_garbage(&ends, &good, 1, 0);
    assert_garbage(&ends, &good, 0, 4);
    assert_garbage(&ends, &good, sizeof good, 100);
    assert_garbage(&ends, (const void *)longer, sizeof longer, 1);
    bad = good;
    bad.magic++;
    assert_garbage(&ends, &bad, sizeof bad, 1);
    bad = good;
    bad.kind = 77;
    assert_garbage(&ends, &bad, sizeof bad, 1);
    bad = good;
    bad.slab = SHM_SLABS_MAX;
    assert_garbage(&ends, &bad, sizeof bad, 1);
    bad = good;
    bad.bytes = 0;
    assert_garbage(&ends, &bad, sizeof bad, 1);
    bad.bytes = SHM_BYTES_MAX + 1;
    assert_garbage(&ends, &bad, sizeof bad, 1);
    bad = good;
    bad.kind = SHM_RING;
    assert_garbage(&ends, &bad, sizeof bad, 1);
    bad.ring = SHM_RINGS_MAX + 1;
    assert_garbage(&ends, &bad, sizeof bad, 1);
    bad = good;
    bad.kind = SHM_HELLO;
    assert_garbage(&ends, &bad, sizeof bad, 1);
    bad.kind = SHM_WELCOME;
    bad.planes = SHM_PLANES_MAX + 1;
    assert_garbage(&ends, &bad, sizeof bad, 1);
    bad.planes = 0;
    assert_garbage(&ends, &bad, sizeof bad, 1);
    bad.kind = SHM_REFUSED;
    memset(bad.text, 'x', sizeof bad.text);
    assert_garbage(&ends, &bad, sizeof bad, 0);
    strcpy(bad.text, "\033[2J");
    assert_garbage(&ends, &bad, sizeof bad, 0);
    ends_close(&ends);
}

Test(shm, nobody_listens_is_said)
{
    int fd;
    dp_error err;
    cr_assert_eq(shm_connect("dp-test-shm-nobody", &fd, &err), DP_UNREACHABLE);
    cr_assert_not_null(strstr(err.text, "refused"), "%s", err.text);
}
