/* See outlet.h. Invariants: under `mutex`, `bytes` is the sum over the queue; `writing` is true while the thread is
 * outside the mutex with a piece that is not in the queue any more. A piece is one write(2), unless the descriptor
 * takes only a part of it. */
#include "common/base/outlet.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

enum {
    STACK_BYTES = 256 << 10,
    NOTE_MAX = 256,
    SLOW_WRITE_MS = 50,    /* a write that took so long waited for a reader, who then read */
    RECENT_MS = 10000,     /* a reader who read so lately is slow, and not gone */
    DEAD_MS = 1500,        /* patience at the end with one who does not read, */
    SLOW_MS = 5000,        /* with a slow one, since it last read, */
    MOST_MS = 10000,       /* and in all */
    NEWEST_ONLY_MS = 1000, /* after which only the newest line still counts */
    LOOK_MS = 20,          /* at what the reader has read: no event tells */
};

struct piece {
    TAILQ_ENTRY(piece) link;
    size_t n;
    char bytes[];
};

struct outlet {
    struct outlet_options opts;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* something was put, or the outlet ends; CLOCK_MONOTONIC */
    pthread_cond_t drained; /* the thread has nothing to do */
    TAILQ_HEAD(pieces, piece) queue;
    size_t bytes;
    bool writing, ending;
    bool dead;         /* nobody can read it any more */
    bool torn;         /* the last write ended within a line */
    uint64_t left_out; /* lines, not said yet */
    uint64_t told;     /* lines, said */
    uint64_t lost;     /* lines that could not be written */
    uint64_t slow_ms;  /* when a write ended that had waited; 0: none has */
    uint64_t written;  /* bytes, of writes that have ended */
    size_t under_way;  /* bytes of the write that has not, 0: there is none */
    int error;
    _Atomic uint64_t open_pieces; /* put, and neither written nor lost */
};

static bool is_drawing(const char *bytes, size_t n)
{
    return n > 0 && bytes[0] == '\r' && bytes[n - 1] != '\n';
}

/* ---- the thread ---- */

/* errno of what went wrong, or 0. */
static int write_whole(int fd, const char *bytes, size_t n, bool *ret_torn)
{
    size_t done = 0;
    while (done < n) {
        ssize_t k = write(fd, bytes + done, n - done);
        int why = k < 0 ? errno : 0;
        if (why == EAGAIN) /* another process has made it non-blocking */
            (void)poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
        else if (why && why != EINTR) {
            *ret_torn |= done > 0;
            return why;
        }
        done += k > 0 ? (size_t)k : 0;
    }
    return 0;
}

/* Without the mutex. */
static int piece_write(struct outlet *outlet, const char *bytes, size_t n)
{
    int error = 0;
    if (outlet->torn) /* there may be room for a line again */
        error = write_whole(outlet->opts.fd, "\n", 1, &(bool){false});
    outlet->torn &= error != 0;
    return error ? error : write_whole(outlet->opts.fd, bytes, n, &outlet->torn);
}

/* Writes with the mutex released meanwhile. */
static void put_out(struct outlet *outlet, const char *bytes, size_t n)
{
    outlet->writing = true;
    outlet->under_way = n;
    bool dead = outlet->dead;
    pthread_mutex_unlock(&outlet->mutex);
    uint64_t begin_ms = mono_ms();
    int error = dead ? outlet->error : piece_write(outlet, bytes, n);
    uint64_t end_ms = mono_ms();
    pthread_mutex_lock(&outlet->mutex);
    outlet->writing = false;
    outlet->under_way = 0;
    if (error) {
        outlet->error = error;
        outlet->dead |= error == EPIPE || error == EBADF || error == ECONNRESET;
        outlet->lost += !is_drawing(bytes, n);
        return;
    }
    outlet->written += n;
    if (end_ms - begin_ms >= SLOW_WRITE_MS)
        outlet->slow_ms = end_ms;
}

static struct piece *take_first(struct outlet *outlet)
{
    struct piece *piece = TAILQ_FIRST(&outlet->queue);
    TAILQ_REMOVE(&outlet->queue, piece, link);
    outlet->bytes -= piece->n;
    return piece;
}

/* Lines that were left out are older than those in the queue: they are told first. */
static void say_left_out(struct outlet *outlet)
{
    char note[NOTE_MAX];
    uint64_t lines = outlet->left_out;
    outlet->left_out = 0;
    outlet->opts.note(note, sizeof note, lines);
    uint64_t lost = outlet->lost;
    put_out(outlet, note, strlen(note));
    if (outlet->lost == lost)
        outlet->told += lines;
    else
        outlet->lost += lines - 1;
}

static void *outlet_run(void *arg)
{
    struct outlet *outlet = arg;
    pthread_mutex_lock(&outlet->mutex);
    while (!TAILQ_EMPTY(&outlet->queue) || !outlet->ending) {
        if (TAILQ_EMPTY(&outlet->queue)) {
            pthread_cond_wait(&outlet->changed, &outlet->mutex);
            continue;
        }
        if (outlet->left_out > 0)
            say_left_out(outlet);
        if (TAILQ_EMPTY(&outlet->queue)) /* dropped meanwhile */
            continue;
        struct piece *piece = take_first(outlet);
        put_out(outlet, piece->bytes, piece->n);
        free(piece);
        atomic_fetch_sub(&outlet->open_pieces, 1);
        if (TAILQ_EMPTY(&outlet->queue))
            pthread_cond_signal(&outlet->drained);
    }
    pthread_cond_signal(&outlet->drained);
    pthread_mutex_unlock(&outlet->mutex);
    return NULL;
}

/* ---- start ---- */

static int thread_start(struct outlet *outlet)
{
    pthread_attr_t attr;
    sigset_t all, before;
    int error = pthread_attr_init(&attr);
    if (error)
        return error;
    (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&outlet->thread, &attr, outlet_run, outlet);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return error;
}

static void outlet_free(struct outlet *outlet)
{
    while (!TAILQ_EMPTY(&outlet->queue))
        free(take_first(outlet));
    pthread_cond_destroy(&outlet->changed);
    pthread_cond_destroy(&outlet->drained);
    pthread_mutex_destroy(&outlet->mutex);
    free(outlet);
}

dp_err outlet_new(const struct outlet_options *opts, struct outlet **ret_outlet, dp_error *err)
{
    pthread_condattr_t clock;
    struct outlet *outlet = mem_array_zero(1, sizeof *outlet);
    if (!outlet)
        return dp_fail(err, DP_NOMEM, "out of memory for output");
    outlet->opts = *opts;
    TAILQ_INIT(&outlet->queue);
    pthread_mutex_init(&outlet->mutex, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&outlet->changed, NULL);
    pthread_cond_init(&outlet->drained, &clock);
    pthread_condattr_destroy(&clock);
    int error = thread_start(outlet);
    if (error) {
        outlet_free(outlet);
        return dp_fail(err, DP_SYSTEM,
                       "no thread can be started for output: %s; raise the limit of threads (ulimit -u, pids.max) or "
                       "of memory (ulimit -v)",
                       strerror(error));
    }
    *ret_outlet = outlet;
    return DP_OK;
}

/* ---- putting ---- */

static void drop_first(struct outlet *outlet)
{
    struct piece *piece = take_first(outlet);
    outlet->left_out += !is_drawing(piece->bytes, piece->n);
    free(piece);
    atomic_fetch_sub(&outlet->open_pieces, 1);
}

/* A drawing that waits is drawn over before anybody has seen it. */
static void drop_drawn_over(struct outlet *outlet)
{
    struct piece *last = TAILQ_LAST(&outlet->queue, pieces);
    if (!last || !is_drawing(last->bytes, last->n))
        return;
    TAILQ_REMOVE(&outlet->queue, last, link);
    outlet->bytes -= last->n;
    free(last);
    atomic_fetch_sub(&outlet->open_pieces, 1);
}

void outlet_put(struct outlet *outlet, const void *bytes, size_t n)
{
    struct piece *piece = malloc(sizeof *piece + n);
    pthread_mutex_lock(&outlet->mutex);
    if (is_drawing(bytes, n))
        drop_drawn_over(outlet);
    while (!TAILQ_EMPTY(&outlet->queue) && outlet->bytes + n > outlet->opts.room_bytes)
        drop_first(outlet);
    if (piece) {
        piece->n = n;
        memcpy(piece->bytes, bytes, n);
        TAILQ_INSERT_TAIL(&outlet->queue, piece, link);
        outlet->bytes += n;
        atomic_fetch_add(&outlet->open_pieces, 1);
        pthread_cond_signal(&outlet->changed);
    } else {
        outlet->left_out += !is_drawing(bytes, n);
    }
    pthread_mutex_unlock(&outlet->mutex);
}

bool outlet_drained(const struct outlet *outlet)
{
    return atomic_load(&outlet->open_pieces) == 0;
}

/* ---- the end ---- */

/* Bytes that the kernel holds for the reader; 0 where it does not tell. */
static int unread_bytes(int fd)
{
    struct stat st;
    int n = 0;
    bool pipe = fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
    return ioctl(fd, pipe ? FIONREAD : TIOCOUTQ, &n) == 0 ? n : 0;
}

/* Until something changes, or LOOK_MS. */
static void wait_a_while(struct outlet *outlet)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_cond_timedwait(&outlet->drained, &outlet->mutex, &until);
}

/* Bytes that the reader has taken in all: at least *ret_least, at most *ret_most, since of the write that is under way
 * any part may have come; with the mutex. */
static void taken_bytes(const struct outlet *outlet, int64_t *ret_least, int64_t *ret_most)
{
    *ret_least = (int64_t)outlet->written - unread_bytes(outlet->opts.fd);
    *ret_most = *ret_least + (int64_t)outlet->under_way;
}

/* Waits for the reader as long as there is hope; with the mutex. */
static void wait_drained(struct outlet *outlet, uint64_t since_ms)
{
    uint64_t begin_ms = mono_ms(), read_ms = since_ms;
    bool slow = outlet->slow_ms > 0 && begin_ms - outlet->slow_ms < RECENT_MS;
    int64_t least, most, before;
    taken_bytes(outlet, &least, &before);
    while (outlet->writing || !TAILQ_EMPTY(&outlet->queue)) {
        wait_a_while(outlet);
        uint64_t now_ms = mono_ms();
        taken_bytes(outlet, &least, &most);
        if (least > before) { /* the kernel's room alone would not do it */
            read_ms = now_ms;
            slow = true;
            before = most;
        }
        if (now_ms - begin_ms >= NEWEST_ONLY_MS)
            while (!TAILQ_EMPTY(&outlet->queue) && TAILQ_NEXT(TAILQ_FIRST(&outlet->queue), link))
                drop_first(outlet);
        if (now_ms - read_ms >= (slow ? SLOW_MS : DEAD_MS) || now_ms - begin_ms >= MOST_MS)
            return;
    }
}

struct outlet_result outlet_end(struct outlet **outlet, uint64_t since_ms)
{
    struct outlet *o = *outlet;
    *outlet = NULL;
    if (!o)
        return (struct outlet_result){0};
    pthread_mutex_lock(&o->mutex);
    o->ending = true;
    pthread_cond_signal(&o->changed);
    wait_drained(o, since_ms);
    bool stuck = o->writing;
    while (!TAILQ_EMPTY(&o->queue))
        drop_first(o);
    struct outlet_result result = {.unwritten = o->left_out + o->lost + stuck, .left_out = o->told, .error = o->error};
    pthread_mutex_unlock(&o->mutex);
    if (!stuck) {
        pthread_join(o->thread, NULL);
        outlet_free(o);
    }
    return result;
}
