/* Files by chunks; see stream.h. Invariant: whoever of maker and writer lets go last frees it. Thread: as stated. */
#include "server/store/stream.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/base/file.h"
#include "common/base/text.h"
#include "server/store/writer.h"

enum { FILE_MODE = 0666 };

struct stream {
    struct writer_task task;
    char path[PATH_MAX];
    pthread_mutex_t mutex;
    pthread_cond_t more;
    struct blob chunks[STREAM_CHUNKS_MAX];
    uint32_t first, count;
    bool ended, whole;
    bool done; /* by the writer */
    bool left; /* by the maker */
    struct stream_waker waker;
    struct stream_outcome outcome;
};

static void destroy(struct stream *stream)
{
    for (; stream->count > 0; stream->count--) {
        blob_release(&stream->chunks[stream->first]);
        stream->first = (stream->first + 1) % STREAM_CHUNKS_MAX;
    }
    pthread_cond_destroy(&stream->more);
    pthread_mutex_destroy(&stream->mutex);
    free(stream);
}

/* ---- thread: the writer's ---- */

/* The next chunk; false: none follows. */
static bool take(struct stream *stream, struct blob *ret_chunk)
{
    pthread_mutex_lock(&stream->mutex);
    while (stream->count == 0 && !stream->ended)
        pthread_cond_wait(&stream->more, &stream->mutex);
    bool any = stream->count > 0;
    if (any) {
        *ret_chunk = stream->chunks[stream->first];
        stream->first = (stream->first + 1) % STREAM_CHUNKS_MAX;
        stream->count--;
        if (!stream->left)
            stream->waker.wake(stream->waker.arg);
    }
    pthread_mutex_unlock(&stream->mutex);
    return any;
}

static void fail(struct stream *stream, const char *what)
{
    if (stream->outcome.err.code == DP_OK)
        (void)dp_fail(&stream->outcome.err, DP_IO, "%.400s: %s: %s", stream->path, what, strerror(errno));
}

static bool is_given_up(struct stream *stream)
{
    pthread_mutex_lock(&stream->mutex);
    bool given_up = stream->ended && !stream->whole;
    pthread_mutex_unlock(&stream->mutex);
    return given_up;
}

/* A file that could not be written takes the rest of its chunks all the same: its maker need not know yet. */
static void write_chunks(struct stream *stream, int fd, XXH3_state_t *digest)
{
    struct stream_outcome *out = &stream->outcome;
    for (struct blob chunk; take(stream, &chunk); blob_release(&chunk)) {
        dp_error err;
        if (out->err.code || is_given_up(stream))
            continue;
        if (file_write_all(fd, chunk.data, chunk.bytes, &err))
            (void)dp_fail(&out->err, DP_IO, "%.300s: %.150s", stream->path, err.text);
        (void)XXH3_64bits_update(digest, chunk.data, chunk.bytes);
        out->bytes += chunk.bytes;
    }
    if (out->err.code == DP_OK)
        out->digest = XXH3_64bits_digest(digest);
}

static void finish(struct stream *stream, int fd)
{
    if (stream->outcome.err.code == DP_OK && stream->whole && fdatasync(fd))
        fail(stream, "cannot be written to the disk");
    if (close(fd))
        fail(stream, "cannot be closed");
    if (stream->outcome.err.code == DP_OK && !stream->whole)
        (void)dp_fail(&stream->outcome.err, DP_STOPPED, "%.400s was given up", stream->path);
    if (stream->outcome.err.code)
        unlink(stream->path);
}

/* One that is there is of a cut that was withdrawn when it was whole. */
static int make_file(const char *path)
{
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
    int fd = open(path, flags, FILE_MODE);
    if (fd >= 0 || errno != EEXIST || unlink(path))
        return fd;
    return open(path, flags, FILE_MODE);
}

static void work(struct writer_task *task)
{
    struct stream *stream = (struct stream *)task;
    XXH3_state_t *digest = XXH3_createState();
    int fd = make_file(stream->path);
    if (fd < 0)
        fail(stream, "cannot be made");
    if (!digest || XXH3_64bits_reset(digest) != XXH_OK)
        (void)dp_fail(&stream->outcome.err, DP_NOMEM, "out of memory for %.400s", stream->path);
    write_chunks(stream, fd, digest);
    if (fd >= 0)
        finish(stream, fd);
    XXH3_freeState(digest);
    pthread_mutex_lock(&stream->mutex);
    stream->done = true;
    bool left = stream->left;
    if (!left)
        stream->waker.wake(stream->waker.arg);
    pthread_mutex_unlock(&stream->mutex);
    if (left)
        destroy(stream);
}

/* ---- thread: the maker's ---- */

dp_err stream_new(struct writer *writer, const char *path, struct stream_waker waker, struct stream **ret_stream)
{
    struct stream *stream = mem_array_zero(1, sizeof *stream);
    if (!stream)
        return DP_NOMEM;
    if (!str_copy(stream->path, sizeof stream->path, path)) {
        free(stream);
        return DP_NOMEM;
    }
    pthread_mutex_init(&stream->mutex, NULL);
    pthread_cond_init(&stream->more, NULL);
    stream->waker = waker;
    stream->task.work = work;
    writer_do(writer, &stream->task);
    *ret_stream = stream;
    return DP_OK;
}

bool stream_has_room(struct stream *stream)
{
    pthread_mutex_lock(&stream->mutex);
    bool room = stream->count < STREAM_CHUNKS_MAX && !stream->ended;
    pthread_mutex_unlock(&stream->mutex);
    return room;
}

void stream_put(struct stream *stream, struct blob *chunk)
{
    pthread_mutex_lock(&stream->mutex);
    assert(stream->count < STREAM_CHUNKS_MAX && !stream->ended);
    stream->chunks[(stream->first + stream->count++) % STREAM_CHUNKS_MAX] = *chunk;
    *chunk = (struct blob){0};
    pthread_cond_signal(&stream->more);
    pthread_mutex_unlock(&stream->mutex);
}

void stream_end(struct stream *stream, bool whole)
{
    pthread_mutex_lock(&stream->mutex);
    stream->ended = true;
    stream->whole = whole;
    pthread_cond_signal(&stream->more);
    pthread_mutex_unlock(&stream->mutex);
}

bool stream_done(struct stream *stream, struct stream_outcome *ret_outcome)
{
    pthread_mutex_lock(&stream->mutex);
    bool done = stream->done;
    if (done)
        *ret_outcome = stream->outcome;
    pthread_mutex_unlock(&stream->mutex);
    return done;
}

void stream_free(struct stream **s)
{
    struct stream *stream = *s;
    *s = NULL;
    if (!stream)
        return;
    pthread_mutex_lock(&stream->mutex);
    stream->ended = true;
    stream->left = true;
    bool done = stream->done;
    pthread_cond_signal(&stream->more);
    pthread_mutex_unlock(&stream->mutex);
    if (done)
        destroy(stream);
}
