/* Files that are made on one thread and written on the writer's: whole with the digest that is told, or not there. */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "server/store/stream.h"
#include "server/store/writer.h"
#include "tests/unit/support/files.h"
#include "tests/unit/support/leaks.h"

enum { DEADLINE_S = 30, CHUNK = 1000 };

static char dir[PATH_MAX], path[PATH_MAX + 8];
static struct writer *writer;
static dp_error err;

/* ---- a bell that the writer rings ---- */

static struct bell {
    pthread_mutex_t mutex;
    pthread_cond_t rung;
    unsigned times;
} bell = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};

static void ring(void *arg)
{
    struct bell *to = arg;
    pthread_mutex_lock(&to->mutex);
    to->times++;
    pthread_cond_broadcast(&to->rung);
    pthread_mutex_unlock(&to->mutex);
}
static const struct stream_waker WAKER = {ring, &bell};

static unsigned rung(void)
{
    pthread_mutex_lock(&bell.mutex);
    unsigned times = bell.times;
    pthread_mutex_unlock(&bell.mutex);
    return times;
}

/* Until it has rung more than `times`. */
static void await_ring(unsigned times)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += DEADLINE_S;
    int rc = 0;
    pthread_mutex_lock(&bell.mutex);
    while (bell.times <= times && rc == 0)
        rc = pthread_cond_timedwait(&bell.rung, &bell.mutex, &end);
    pthread_mutex_unlock(&bell.mutex);
    cr_assert_eq(rc, 0, "the writer did not wake the maker");
}

/* ---- chunks that count ---- */

static int released; /* of the thread that does it; read once the writer has stopped */

static void release(void *owner)
{
    __atomic_fetch_add(&released, 1, __ATOMIC_RELAXED);
    free(owner);
}

static unsigned char byte_at(size_t i)
{
    return (unsigned char)(i * 7 + i / 251);
}

/* Bytes [first, first + count) of the file. */
static struct blob chunk(size_t first, size_t count)
{
    unsigned char *data = malloc(count ? count : 1);
    for (size_t i = 0; i < count; i++)
        data[i] = byte_at(first + i);
    return (struct blob){data, count, data, release};
}

/* ---- the writer, and a task that holds it up ---- */

struct gate {
    struct writer_task task; /* first */
    pthread_mutex_t mutex;
    pthread_cond_t opened;
    bool open;
};

static void stand(struct writer_task *task)
{
    struct gate *gate = (struct gate *)(void *)task;
    pthread_mutex_lock(&gate->mutex);
    while (!gate->open)
        pthread_cond_wait(&gate->opened, &gate->mutex);
    pthread_mutex_unlock(&gate->mutex);
}
static struct gate gate = {{stand, NULL}, PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};

static void open_gate(void)
{
    pthread_mutex_lock(&gate.mutex);
    gate.open = true;
    pthread_cond_signal(&gate.opened);
    pthread_mutex_unlock(&gate.mutex);
}

static void set_up(void)
{
    folder_make(dir);
    snprintf(path, sizeof path, "%s/file", dir);
    cr_assert_eq(writer_start(&writer, &err), DP_OK, "%s", err.text);
}

/* `there`: the file is, and is removed. All `chunks` were released. */
static void tear_down(bool there, int chunks)
{
    writer_stop(&writer);
    cr_assert_null(writer);
    writer_stop(&writer);
    cr_assert_eq(unlink(path) == 0, there);
    cr_assert_eq(rmdir(dir), 0, "%s", strerror(errno));
    cr_assert_eq(released, chunks);
    ASSERT_NO_LEAKS();
}

TestSuite(stream, .init = set_up);

static struct stream *begin(void)
{
    struct stream *stream = NULL;
    cr_assert_eq(stream_new(writer, path, WAKER, &stream), DP_OK);
    return stream;
}

static void put(struct stream *stream, struct blob bytes)
{
    for (unsigned times = rung(); !stream_has_room(stream); times = rung())
        await_ring(times);
    stream_put(stream, &bytes);
    cr_assert_null(bytes.data);
}

static struct stream_outcome await_outcome(struct stream *stream)
{
    struct stream_outcome outcome;
    for (unsigned times = rung(); !stream_done(stream, &outcome); times = rung())
        await_ring(times);
    return outcome;
}

/* Bytes [0, bytes) are in the file, and nothing else. */
static void expect_file(size_t bytes, const struct stream_outcome *outcome)
{
    unsigned char *data = malloc(bytes + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(read(fd, data, bytes + 1), (ssize_t)bytes);
    for (size_t i = 0; i < bytes; i++)
        cr_assert_eq(data[i], byte_at(i), "byte %zu", i);
    cr_assert_eq(outcome->err.code, DP_OK, "%s", outcome->err.text);
    cr_assert_eq(outcome->bytes, bytes);
    cr_assert_eq(outcome->digest, XXH3_64bits(data, bytes));
    close(fd);
    free(data);
}

/* ---- whole files ---- */

Test(stream, a_file_is_written)
{
    enum { CHUNKS = 100 };
    size_t bytes = 0;
    struct stream *stream = begin();
    for (size_t i = 0; i < CHUNKS; i++) {
        put(stream, chunk(bytes, i * i));
        bytes += i * i;
    }
    stream_end(stream, true);
    cr_assert_not(stream_has_room(stream));
    struct stream_outcome outcome = await_outcome(stream);
    expect_file(bytes, &outcome);
    stream_free(&stream);
    cr_assert_null(stream);
    stream_free(&stream);
    tear_down(true, CHUNKS);
}

Test(stream, an_empty_file)
{
    struct stream *stream = begin();
    stream_end(stream, true);
    struct stream_outcome outcome = await_outcome(stream);
    expect_file(0, &outcome);
    stream_free(&stream);
    tear_down(true, 0);
}

/* The maker is asked for no more than the disk takes. */
Test(stream, chunks_that_wait_are_few)
{
    writer_do(writer, &gate.task);
    struct stream *stream = begin();
    for (size_t i = 0; i < STREAM_CHUNKS_MAX; i++) {
        cr_assert(stream_has_room(stream));
        struct blob bytes = chunk(i * CHUNK, CHUNK);
        stream_put(stream, &bytes);
    }
    cr_assert_not(stream_has_room(stream));
    cr_assert_eq(rung(), 0);
    open_gate();
    await_ring(0);
    put(stream, chunk((size_t)STREAM_CHUNKS_MAX * CHUNK, CHUNK));
    stream_end(stream, true);
    struct stream_outcome outcome = await_outcome(stream);
    expect_file((size_t)(STREAM_CHUNKS_MAX + 1) * CHUNK, &outcome);
    stream_free(&stream);
    tear_down(true, STREAM_CHUNKS_MAX + 1);
}

/* ---- none ---- */

Test(stream, that_is_given_up)
{
    struct stream *stream = begin();
    put(stream, chunk(0, CHUNK));
    stream_end(stream, false);
    struct stream_outcome outcome = await_outcome(stream);
    cr_assert_eq(outcome.err.code, DP_STOPPED);
    cr_assert_not_null(strstr(outcome.err.text, path), "%s", outcome.err.text);
    stream_free(&stream);
    tear_down(false, 1);
}

/* Before the writer has come to it: chunks are released all the same, and nobody is woken. */
Test(stream, that_is_freed_before_it_began)
{
    writer_do(writer, &gate.task);
    struct stream *stream = begin();
    put(stream, chunk(0, CHUNK));
    put(stream, chunk(CHUNK, CHUNK));
    stream_free(&stream);
    cr_assert_null(stream);
    open_gate();
    writer_stop(&writer);
    cr_assert_eq(rung(), 0);
    tear_down(false, 2);
}

/* While the writer waits for more of it. */
Test(stream, that_is_freed_while_it_is_written)
{
    struct stream *stream = begin();
    put(stream, chunk(0, CHUNK));
    await_ring(0); /* it has the chunk */
    stream_free(&stream);
    tear_down(false, 1);
}

/* Nobody waits for how it went, but it is whole. */
Test(stream, that_is_freed_after_its_end)
{
    writer_do(writer, &gate.task);
    struct stream *stream = begin();
    put(stream, chunk(0, CHUNK));
    stream_end(stream, true);
    stream_free(&stream);
    open_gate();
    writer_stop(&writer);
    cr_assert_eq(rung(), 0);
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_size, CHUNK);
    tear_down(true, 1);
}

/* ---- disks that do not take it ---- */

static void expect_failure(const char *reason)
{
    enum { CHUNKS = 20 };
    struct stream *stream = begin();
    for (size_t i = 0; i < CHUNKS; i++)
        put(stream, chunk(i * CHUNK, CHUNK));
    stream_end(stream, true);
    struct stream_outcome outcome = await_outcome(stream);
    cr_assert_eq(outcome.err.code, DP_IO);
    cr_assert(strstr(outcome.err.text, path) && strstr(outcome.err.text, reason), "%s", outcome.err.text);
    stream_free(&stream);
    tear_down(false, CHUNKS);
}

Test(stream, a_full_disk)
{
    const struct rlimit small = {.rlim_cur = 5 * CHUNK / 2, .rlim_max = RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    expect_failure(strerror(EFBIG));
}

Test(stream, a_folder_that_is_not_there)
{
    snprintf(path, sizeof path, "%s/a/b", dir);
    expect_failure(strerror(ENOENT));
}

/* Another cut was withdrawn when its file was whole. */
Test(stream, a_file_that_is_there_is_replaced)
{
    file_make(path, "withdrawn", 9);
    struct stream *stream = begin();
    put(stream, chunk(0, CHUNK));
    stream_end(stream, true);
    struct stream_outcome outcome = await_outcome(stream);
    cr_assert_eq(outcome.err.code, DP_OK, "%s", outcome.err.text);
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_size, CHUNK);
    stream_free(&stream);
    tear_down(true, 1);
}

/* A file that failed does not keep the next one from being written. */
Test(stream, a_file_after_one_that_failed)
{
    char good[sizeof path];
    snprintf(good, sizeof good, "%s", path);
    snprintf(path, sizeof path, "%s/a/b", dir);
    struct stream *bad = begin();
    snprintf(path, sizeof path, "%s", good);
    struct stream *stream = begin();
    put(bad, chunk(0, CHUNK));
    stream_end(bad, true);
    put(stream, chunk(0, CHUNK));
    stream_end(stream, true);
    struct stream_outcome outcome = await_outcome(stream);
    expect_file(CHUNK, &outcome);
    cr_assert_eq(await_outcome(bad).err.code, DP_IO);
    stream_free(&bad);
    stream_free(&stream);
    tear_down(true, 2);
}

Test(stream, a_path_that_is_too_long)
{
    static char longer[PATH_MAX + 2];
    struct stream *stream = NULL;
    memset(longer, 'a', sizeof longer - 1);
    cr_assert_eq(stream_new(writer, longer, WAKER, &stream), DP_NOMEM);
    cr_assert_null(stream);
    tear_down(false, 0);
}

/* ---- the writer ---- */

enum { TASKS = 100 };
static int order[TASKS], done_tasks;

struct numbered {
    struct writer_task task; /* first */
    int number;
};

static void note(struct writer_task *task)
{
    order[done_tasks++] = ((struct numbered *)(void *)task)->number;
    free(task);
}

/* A task is freed by its work; those that wait when the writer is stopped are done first. */
Test(stream, tasks_are_done_in_their_order)
{
    writer_do(writer, &gate.task);
    for (int i = 0; i < TASKS; i++) {
        struct numbered *task = malloc(sizeof *task);
        *task = (struct numbered){.task.work = note, .number = i};
        writer_do(writer, &task->task);
    }
    cr_assert_eq(done_tasks, 0);
    open_gate();
    writer_stop(&writer);
    cr_assert_eq(done_tasks, TASKS);
    for (int i = 0; i < TASKS; i++)
        cr_assert_eq(order[i], i);
    tear_down(false, 0);
}

static sigset_t blocked;

static void look(struct writer_task *task)
{
    (void)task;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
}

/* A signal that came to the writer's thread would not wake the head. */
Test(stream, the_writer_takes_no_signals)
{
    struct writer_task task = {look, NULL};
    writer_do(writer, &task);
    writer_stop(&writer);
    cr_assert(sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGINT) && sigismember(&blocked, SIGHUP));
    sigset_t own;
    pthread_sigmask(SIG_SETMASK, NULL, &own);
    cr_assert_not(sigismember(&own, SIGTERM));
    tear_down(false, 0);
}
