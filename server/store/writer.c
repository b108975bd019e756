/* A thread that writes; see writer.h. Thread: any. */
#include "server/store/writer.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

struct writer {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t more;
    struct writer_task *first, **end;
    bool stop;
};

static void *run(void *arg)
{
    struct writer *writer = arg;
    pthread_mutex_lock(&writer->mutex);
    for (;;) {
        struct writer_task *task = writer->first;
        if (!task && writer->stop)
            break;
        if (!task) {
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
    int rc = start_thread(writer);
    if (rc) {
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
    pthread_cond_destroy(&writer->more);
    pthread_mutex_destroy(&writer->mutex);
    free(writer);
    *w = NULL;
}
