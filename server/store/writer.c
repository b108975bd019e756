/* A thread that writes; see writer.h. Thread: any. */
#include "server/store/writer.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/mem.h"

struct writer {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t more, idle;
    struct writer_task *first, **end;
    bool stop, works;
};

static void *run(void *arg)
{
    struct writer *writer = arg;
    pthread_mutex_lock(&writer->mutex);
    for (;;) {
        struct writer_task *task = writer->first;
        if (!task && writer->stop)
            break;
        writer->works = task != NULL;
        if (!task) {
            pthread_cond_broadcast(&writer->idle);
            pthread_cond_wait(&writer->more, &writer->mutex);
            continue;
        }
        writer->first = task->next;
        if (!writer->first)
            writer->end = &writer->first;
        pthread_mutex_unlock(&writer->mutex);
        task->work(task);
        pthread_mutex_lock(&writer->mutex);
    }
    pthread_mutex_unlock(&writer->mutex);
    return NULL;
}

/* Signals are the head's. */
static int start_thread(struct writer *writer)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&writer->thread, NULL, run, writer);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

dp_err writer_start(struct writer **ret_writer, dp_error *err)
{
    struct writer *writer = mem_array_zero(1, sizeof *writer);
    if (!writer)
        return dp_fail(err, DP_NOMEM, "out of memory for the thread that writes checkpoints");
    writer->end = &writer->first;
    pthread_mutex_init(&writer->mutex, NULL);
    pthread_cond_init(&writer->more, NULL);
    pthread_cond_init(&writer->idle, NULL);
    int rc = start_thread(writer);
    if (rc) {
        pthread_cond_destroy(&writer->idle);
        pthread_cond_destroy(&writer->more);
        pthread_mutex_destroy(&writer->mutex);
        free(writer);
        return dp_fail(err, DP_SYSTEM,
                       "the thread that writes checkpoints cannot be started: %s; raise the limit (ulimit -u, "
                       "ulimit -v, pids.max)",
                       strerror(rc));
    }
    *ret_writer = writer;
    return DP_OK;
}

void writer_do(struct writer *writer, struct writer_task *task)
{
    task->next = NULL;
    pthread_mutex_lock(&writer->mutex);
    assert(!writer->stop);
    *writer->end = task;
    writer->end = &task->next;
    pthread_cond_signal(&writer->more);
    pthread_mutex_unlock(&writer->mutex);
}

static struct timespec time_after(uint64_t ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    uint64_t ns = (uint64_t)at.tv_nsec + ms % 1000 * 1000000;
    at.tv_sec += (time_t)(ms / 1000 + ns / 1000000000);
    at.tv_nsec = (long)(ns % 1000000000);
    return at;
}

bool writer_idle(struct writer *writer, uint64_t patience_ms)
{
    if (!writer)
        return true;
    const struct timespec until = time_after(patience_ms);
    int rc = 0;
    pthread_mutex_lock(&writer->mutex);
    while ((writer->first || writer->works) && rc == 0)
        rc = pthread_cond_clockwait(&writer->idle, &writer->mutex, CLOCK_MONOTONIC, &until);
    bool idle = !writer->first && !writer->works;
    pthread_mutex_unlock(&writer->mutex);
    return idle;
}

void writer_stop(struct writer **w)
{
    struct writer *writer = *w;
    if (!writer)
        return;
    pthread_mutex_lock(&writer->mutex);
    writer->stop = true;
    pthread_cond_signal(&writer->more);
    pthread_mutex_unlock(&writer->mutex);
    pthread_join(writer->thread, NULL);
    pthread_cond_destroy(&writer->idle);
    pthread_cond_destroy(&writer->more);
    pthread_mutex_destroy(&writer->mutex);
    free(writer);
    *w = NULL;
}
