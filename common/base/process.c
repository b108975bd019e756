/* Descriptors and threads that the process can still have. Thread: any. */
#include "common/base/process.h"

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/util.h"

enum { THREADS_ENSURED_MAX = 8, DESCRIPTORS_RUN = 16 };
enum { THREAD_STACK_BYTES = 8 << 20 /* libuv's threads have so much, which matters under ulimit -v */ };

void stdio_reserve(void)
{
    /* The lowest free number is what open gives. The wrong direction makes use of it fail with EBADF. */
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
            return;
}

dp_err descriptors_ensure(uint64_t needed, dp_error *err)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return DP_OK;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= needed)
        return DP_OK;
    return dp_fail(err, DP_SYSTEM, "%ju files may be open at a time, %ju are needed: raise the limit (ulimit -n)",
                   (uintmax_t)limit.rlim_cur, (uintmax_t)needed);
}

uint64_t descriptors_limit(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) ? 0 : limit.rlim_cur;
}

/* Counts the free ones among the numbers from `first` on, at most DESCRIPTORS_RUN. Polling looks at all of them at
 * once, but takes some open ones (O_PATH) for free. */
static uint64_t count_free(uint64_t first, uint64_t count)
{
    struct pollfd items[DESCRIPTORS_RUN];
    uint64_t found = 0;
    for (uint64_t i = 0; i < count; i++)
        items[i] = (struct pollfd){.fd = (int)(first + i)};
    if (poll(items, count, 0) < 0)
        return count;
    for (uint64_t i = 0; i < count; i++)
        found += (items[i].revents & POLLNVAL) && fcntl(items[i].fd, F_GETFD) < 0;
    return found;
}

/* The lowest free number is the next one: those high up are free as a rule, and found at once. */
uint64_t descriptors_left(uint64_t most)
{
    uint64_t end = MIN(descriptors_limit(), (uint64_t)INT_MAX), left = 0;
    while (end > 0 && left < most) {
        uint64_t count = MIN(end, (uint64_t)DESCRIPTORS_RUN);
        end -= count;
        left += count_free(end, count);
    }
    return MIN(left, most);
}

dp_err descriptors_check(uint64_t needed, dp_error *err)
{
    uint64_t left = descriptors_left(needed);
    if (left >= needed)
        return DP_OK;
    return dp_fail(err, DP_SYSTEM,
                   "%ju more files can be opened, %ju are needed: raise the limit of open files (ulimit -n, now %ju)",
                   (uintmax_t)left, (uintmax_t)needed, (uintmax_t)descriptors_limit());
}

uint64_t descriptors_taken(void)
{
    int fd = open("/", O_PATH | O_CLOEXEC);
    if (fd < 0)
        return descriptors_limit();
    close(fd);
    return (uint64_t)fd;
}

static void *wait_for_all(void *mutex)
{
    pthread_mutex_lock(mutex);
    pthread_mutex_unlock(mutex);
    return NULL;
}

dp_err threads_ensure(uint32_t needed, dp_error *err)
{
    pthread_t threads[THREADS_ENSURED_MAX];
    pthread_mutex_t all = PTHREAD_MUTEX_INITIALIZER;
    pthread_attr_t attr;
    size_t stack_bytes = 0;
    uint32_t started = 0;
    int why = pthread_attr_init(&attr);
    assert(needed <= THREADS_ENSURED_MAX);
    if (!why && pthread_attr_getstacksize(&attr, &stack_bytes) == 0 && stack_bytes < THREAD_STACK_BYTES)
        (void)pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
    pthread_mutex_lock(&all);
    while (!why && started < needed && (why = pthread_create(&threads[started], &attr, wait_for_all, &all)) == 0)
        started++;
    pthread_mutex_unlock(&all);
    (void)pthread_attr_destroy(&attr);
    for (uint32_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (why)
        return dp_fail(err, DP_SYSTEM,
                       "%u of %u threads can be started: %s; raise the limit (ulimit -u, ulimit -v, pids.max)", started,
                       needed, strerror(why));
    return DP_OK;
}
