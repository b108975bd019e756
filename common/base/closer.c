/* A thread that closes; see closer.h. Invariant: `waiting` are the descriptors in the queue and the one at hand. */
#include "common/base/closer.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum { QUEUE_MAX = 4096, STACK_BYTES = 256 << 10 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static int queue[QUEUE_MAX];
static uint32_t first, waiting;
static bool started;

static void *run(void *arg)
{
    pthread_mutex_lock(&mutex);
    for (;;) {
        while (waiting == 0)
            pthread_cond_wait(&more, &mutex);
        int fd = queue[first];
        pthread_mutex_unlock(&mutex);
        close(fd);
        pthread_mutex_lock(&mutex);
        first = (first + 1) % QUEUE_MAX;
        waiting--;
    }
    return arg;
}

dp_err closer_start(dp_error *err)
{
    pthread_t thread;
    pthread_attr_t attr;
    int rc = pthread_attr_init(&attr);
    if (rc)
        return dp_fail(err, DP_NOMEM, "out of memory for a thread");
    (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_mutex_lock(&mutex);
    if (!started)
        rc = pthread_create(&thread, &attr, run, NULL);
    started = started || rc == 0;
    pthread_mutex_unlock(&mutex);
    (void)pthread_attr_destroy(&attr);
    if (rc)
        return dp_fail(err, DP_SYSTEM,
                       "the thread that closes descriptors cannot be started: %s; raise the limit (ulimit -u, "
                       "ulimit -v, pids.max)",
                       strerror(rc));
    return DP_OK;
}

void closer_close(int fd)
{
    pthread_mutex_lock(&mutex);
    bool queued = started && waiting < QUEUE_MAX;
    if (queued) {
        queue[(first + waiting++) % QUEUE_MAX] = fd;
        pthread_cond_signal(&more);
    }
    pthread_mutex_unlock(&mutex);
    if (!queued)
        close(fd);
}

uint32_t closer_waiting(void)
{
    pthread_mutex_lock(&mutex);
    uint32_t count = waiting;
    pthread_mutex_unlock(&mutex);
    return count;
}

bool closer_is_full(void)
{
    return closer_waiting() >= CLOSER_WAITING_MAX;
}
