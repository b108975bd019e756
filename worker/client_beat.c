/* Heartbeats. Invariant: between beat_start and beat_stop the link and the arena belong to the thread. */
#include "client_beat.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

/* A few beats may wait while the connection is being made; older ones are of no use. The connection shows by the beats
 * themselves whether it lives, so that ZeroMQ need not ask often. */
enum { BEAT_QUEUE = 8, BEAT_BYTES_MAX = 1 << 16, BEAT_PING_MS = 30000 };

static void beat_send(struct beat *beat)
{
    Dp__Heartbeat body = DP__HEARTBEAT__INIT;
    body.step = atomic_load_explicit(&beat->step, memory_order_relaxed);
    body.slots_done = atomic_load_explicit(&beat->slots_done, memory_order_relaxed);
    body.samples = atomic_load_explicit(&beat->samples, memory_order_relaxed);
    body.slots_computed = atomic_load_explicit(&beat->slots_computed, memory_order_relaxed);
    body.busy_us = atomic_load_explicit(&beat->busy_us, memory_order_relaxed);
    Dp__Header header = DP__HEADER__INIT;
    header.session = beat->session;
    header.incarnation = beat->incarnation;
    header.body_case = DP__HEADER__BODY_HEARTBEAT;
    header.heartbeat = &body;
    body.shm = atomic_load_explicit(&beat->shm, memory_order_relaxed);
    if (link_send(&beat->link, &header, NULL, 0) != DP_OK)
        return; /* the queue is full: the head is away, which its silence says */
}

void beat_raise_low(struct beat *beat, uint64_t low)
{
    uint64_t now = atomic_load_explicit(&beat->global_low, memory_order_relaxed);
    while (now < low && !atomic_compare_exchange_weak_explicit(&beat->global_low, &now, low, memory_order_relaxed,
                                                               memory_order_relaxed))
        ;
}

static void beat_take(struct beat *beat, const Dp__Header *header)
{
    if (header->body_case == DP__HEADER__BODY_ERROR) {
        dp_err code = dp_err_from_wire(header->error->code);
        if (code == DP_HELLO_REQUIRED || code == DP_INCARNATION)
            atomic_store_explicit(&beat->refused, true, memory_order_relaxed);
        return;
    }
    if (header->body_case != DP__HEADER__BODY_HEARTBEAT_ACK)
        return;
    atomic_store_explicit(&beat->heard_ms, mono_ms(), memory_order_relaxed);
    beat_raise_low(beat, header->heartbeat_ack->global_low);
}

/* What cannot be read is left alone: the client's own connection to the head reports what is wrong with it. */
static void beat_receive(struct beat *beat)
{
    bool any = true;
    while (any) {
        struct link_message message;
        dp_error err;
        if (link_receive(&beat->link, &beat->arena, &message, &any, &err) != DP_OK)
            continue;
        if (any) {
            beat_take(beat, message.header);
            link_message_close(&message);
        }
    }
}

/* How far we are, as beats say it; a sum that does not stay the same while any part of it grows. */
static uint64_t beat_progress(struct beat *beat)
{
    return atomic_load_explicit(&beat->step, memory_order_relaxed) +
           atomic_load_explicit(&beat->samples, memory_order_relaxed) +
           atomic_load_explicit(&beat->slots_computed, memory_order_relaxed);
}

/* Who has done nothing since the last beat sends the next one later, and when others do that too, by the clock on the
 * wall: hundreds of idle workers then wake the head a few times, and not for each of them. */
static uint64_t beat_next(const struct beat *beat, bool idle, uint64_t now_ms)
{
    const uint64_t apart_ms = (uint64_t)FRAME_HEARTBEAT_IDLE * beat->interval_ms;
    struct timespec wall;
    if (!idle || clock_gettime(CLOCK_REALTIME, &wall))
        return now_ms + beat->interval_ms;
    uint64_t wall_ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000;
    return now_ms + apart_ms - wall_ms % apart_ms;
}

static void *beat_run(void *arg)
{
    struct beat *beat = arg;
    uint64_t next_ms = mono_ms(), told = UINT64_MAX;
    for (;;) {
        uint64_t now = mono_ms();
        if (now >= next_ms) {
            uint64_t progress = beat_progress(beat);
            beat_send(beat);
            next_ms = beat_next(beat, progress == told, now);
            told = progress;
        }
        zmq_pollitem_t items[] = {{.socket = beat->link.socket, .events = ZMQ_POLLIN},
                                  {.fd = beat->wake, .events = ZMQ_POLLIN}};
        if (zmq_poll(items, ARRAY_LEN(items), (long)(next_ms - now)) < 0 && errno != EINTR)
            return NULL;
        if (items[1].revents)
            return NULL;
        link_look(&beat->link);
        (void)link_news(&beat->link);
        beat_receive(beat);
    }
}

/* The program's signals are for the program's threads. */
static int thread_start(struct beat *beat)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int error = pthread_create(&beat->thread, NULL, beat_run, beat);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

dp_err beat_start(struct beat *beat, void *zmq, const struct beat_target *target, dp_error *err)
{
    beat->session = target->session;
    beat->incarnation = target->incarnation;
    beat->interval_ms = target->interval_ms;
    atomic_store(&beat->heard_ms, mono_ms());
    atomic_store(&beat->global_low, 0);
    atomic_store(&beat->refused, false);
    beat->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (beat->wake < 0)
        return dp_fail(err, DP_SYSTEM, "eventfd: %s", strerror(errno));
    const struct link_limits limits = {.queue = BEAT_QUEUE, .bytes_max = BEAT_BYTES_MAX, .ping_ms = BEAT_PING_MS};
    dp_err e = link_open(&beat->link, zmq, target->name, target->address, limits, err);
    int error = e ? 0 : thread_start(beat);
    if (error) {
        e = dp_fail(err, DP_SYSTEM,
                    "cannot start the heartbeat thread: %s; raise the limit of threads (ulimit -u, pids.max) or of "
                    "memory (ulimit -v)",
                    strerror(error));
        link_close(&beat->link, 0);
    }
    if (e)
        close(beat->wake);
    beat->running = e == DP_OK;
    return e;
}

void beat_stop(struct beat *beat)
{
    if (!beat->running)
        return;
    (void)eventfd_write(beat->wake, 1);
    pthread_join(beat->thread, NULL);
    close(beat->wake);
    link_close(&beat->link, 0);
    arena_fini(&beat->arena);
    beat->running = false;
}
