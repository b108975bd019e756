/* Heartbeats. Invariant: between beat_start and beat_stop the links and the arena belong to the thread. */
#include "worker/client/contact/beat.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/process.h"
#include "common/base/util.h"

/* A few beats may wait while the connection is being made; older ones are of no use. The connection shows by the beats
 * themselves whether it lives, so that ZeroMQ need not ask often. */
enum { BEAT_QUEUE = 8, BEAT_BYTES_MAX = 1 << 16, BEAT_PING_MS = 30000 };

/* Without an answer for so long, and two round trips, spares are tried, and then it is an outage. A link of 300 ms that
 * loses 5 % of its packets gets one through well before. */
enum { PATIENCE_MS = 2000, OUTAGE_MS = 4000, TRIP_MAX_MS = 5000, LOOK_MS = 200, GRACE_MS = 1000, NO_ACK_MS = 2000 };

static const struct {
    int connect_ms; /* for one attempt */
    uint64_t life_ms;
} SPARES[BEAT_SPARES] = {{1000, 8000}, {15000, 60000}};

static dp_err beat_connect(const struct beat *beat, const char *name, int connect_ms, struct link *link, dp_error *err)
{
    const struct link_limits limits = {
        .queue = BEAT_QUEUE, .bytes_max = BEAT_BYTES_MAX, .ping_ms = BEAT_PING_MS, .connect_ms = connect_ms};
    return link_open(link, beat->zmq, name, &beat->address, limits, err);
}

static void beat_put(struct link *link, const Dp__Header *header)
{
    if (link_send(link, header, NULL, 0) != DP_OK)
        return; /* the queue is full: the head is away, which its silence says */
}

/* To `link` or, where it is NULL, by all connections. */
static void beat_send(struct beat *beat, struct link *link)
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
    body.moved_bytes = atomic_load_explicit(&beat->moved_bytes, memory_order_relaxed);
    if (link) {
        beat_put(link, &header);
        return;
    }
    beat_put(&beat->link, &header);
    for (uint32_t i = 0; i < BEAT_SPARES; i++)
        if (beat->spares[i].open)
            beat_put(&beat->spares[i].link, &header);
    beat->sent_ms = mono_ms();
    if (beat->unanswered++ == 0)
        beat->waits_ms = beat->sent_ms;
}

void beat_raise_low(struct beat *beat, uint64_t low)
{
    uint64_t now = atomic_load_explicit(&beat->global_low, memory_order_relaxed);
    while (now < low && !atomic_compare_exchange_weak_explicit(&beat->global_low, &now, low, memory_order_relaxed,
                                                               memory_order_relaxed))
        ;
}

/* Whether it answers a beat. */
static bool beat_take(struct beat *beat, const Dp__Header *header)
{
    if (header->body_case == DP__HEADER__BODY_ERROR) {
        dp_err code = dp_err_from_wire(header->error->code);
        bool refused = code == DP_HELLO_REQUIRED || code == DP_INCARNATION;
        if (refused)
            atomic_store_explicit(&beat->refused, true, memory_order_relaxed);
        return refused;
    }
    if (header->body_case != DP__HEADER__BODY_HEARTBEAT_ACK)
        return false;
    atomic_store_explicit(&beat->heard_ms, mono_ms(), memory_order_relaxed);
    beat_raise_low(beat, header->heartbeat_ack->global_low);
    return true;
}

/* Returns the number of beats that were answered. Bytes that cannot be read are left alone: the client's own connection
 * to the head reports what is wrong with them. */
static uint32_t beat_receive(struct beat *beat, struct link *link)
{
    bool any = true;
    uint32_t answers = 0;
    link_look(link);
    (void)link_news(link);
    while (any) {
        struct link_message message;
        dp_error err;
        if (link_receive(link, &beat->arena, &message, &any, &err) != DP_OK)
            continue;
        if (any) {
            answers += beat_take(beat, message.header);
            link_message_close(&message);
        }
    }
    return answers;
}

/* ---- outages ---- */

static void spares_close(struct beat *beat)
{
    for (uint32_t i = 0; i < BEAT_SPARES; i++)
        if (beat->spares[i].open)
            link_close(&beat->spares[i].link, 0);
    memset(beat->spares, 0, sizeof beat->spares);
}

static void spare_try(struct beat *beat, uint32_t i, uint64_t now_ms)
{
    struct beat_spare *spare = &beat->spares[i];
    dp_error err;
    if (spare->open && (spare->heard_ms || now_ms - spare->opened_ms < SPARES[i].life_ms))
        return;
    if (spare->open)
        link_close(&spare->link, 0);
    spare->open = descriptors_check(LINK_FILES, &err) == DP_OK &&
                  beat_connect(beat, beat->link.name, SPARES[i].connect_ms, &spare->link, &err) == DP_OK;
    spare->opened_ms = now_ms;
    if (spare->open)
        beat_send(beat, &spare->link);
}

/* Nothing that was sent gets through: the path is broken, not merely the server slow. */
static bool path_broken(const struct link *link)
{
    struct path_state state;
    return link->lost || (path_look(link->tcp, &state) && state.waits && state.ack_ms >= NO_ACK_MS);
}

static void beat_answered(struct beat *beat, uint32_t answers, uint64_t now_ms)
{
    uint64_t trip_ms = beat->unanswered ? MIN(now_ms - beat->waits_ms, (uint64_t)TRIP_MAX_MS) : 0;
    beat->trip_ms = MAX(trip_ms, beat->trip_ms * 7 / 8);
    beat->unanswered -= MIN(answers, beat->unanswered);
    beat->waits_ms = beat->sent_ms;
    if (beat->outage_ms) {
        atomic_store_explicit(&beat->outage_told_ms, now_ms - beat->outage_ms, memory_order_relaxed);
        atomic_fetch_add_explicit(&beat->outages, 1, memory_order_release);
    }
    beat->outage_ms = 0;
    spares_close(beat);
}

/* The spare is the connection from now on. */
static void spare_promote(struct beat *beat, struct beat_spare *spare, uint64_t now_ms)
{
    link_close(&beat->link, 0);
    beat->link = spare->link;
    spare->open = false;
    if (!beat->outage_ms)
        beat->outage_ms = beat->waits_ms;
    beat->trip_ms = 0; /* the outage took that long, and not the way */
    beat->waits_ms = now_ms;
    beat_answered(beat, beat->unanswered, now_ms);
}

static void beat_watch(struct beat *beat, uint64_t now_ms)
{
    uint64_t quiet_ms = beat->unanswered ? now_ms - beat->waits_ms : 0, trips_ms = 2 * beat->trip_ms;
    if (quiet_ms < PATIENCE_MS + trips_ms)
        return;
    atomic_store_explicit(&beat->late_ms, now_ms, memory_order_relaxed);
    if (!beat->outage_ms && quiet_ms >= OUTAGE_MS + trips_ms && path_broken(&beat->link))
        beat->outage_ms = beat->waits_ms;
    for (uint32_t i = 0; i < BEAT_SPARES; i++)
        spare_try(beat, i, now_ms);
    for (uint32_t i = 0; i < BEAT_SPARES; i++) {
        struct beat_spare *spare = &beat->spares[i];
        if (!spare->open)
            continue;
        if (beat_receive(beat, &spare->link) && !spare->heard_ms)
            spare->heard_ms = now_ms;
        /* A server that was only slow answers by the old connection as well, at once. */
        if (spare->heard_ms && (beat->outage_ms || now_ms - spare->heard_ms >= GRACE_MS)) {
            spare_promote(beat, spare, now_ms);
            return;
        }
    }
}

/* Our progress, as beats say it: a sum that does not stay the same while any part of it grows. */
static uint64_t beat_progress(struct beat *beat)
{
    return atomic_load_explicit(&beat->step, memory_order_relaxed) +
           atomic_load_explicit(&beat->samples, memory_order_relaxed) +
           atomic_load_explicit(&beat->moved_bytes, memory_order_relaxed) +
           atomic_load_explicit(&beat->slots_computed, memory_order_relaxed);
}

/* A worker that has done nothing since the last beat sends the next one later, at a time of the wall clock that is the
 * same for all: hundreds of idle workers then wake the head a few times, and not for each of them. */
static uint64_t beat_next(const struct beat *beat, bool idle, uint64_t now_ms)
{
    const uint64_t apart_ms = (uint64_t)FRAME_HEARTBEAT_IDLE * beat->interval_ms;
    struct timespec wall;
    if (!idle || clock_gettime(CLOCK_REALTIME, &wall))
        return now_ms + beat->interval_ms;
    uint64_t wall_ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000;
    return now_ms + apart_ms - wall_ms % apart_ms;
}

/* Waits until a beat is answered, at most until the next one is due. False: the thread is to end. */
static bool beat_wait(struct beat *beat, uint64_t next_ms, uint64_t now_ms)
{
    zmq_pollitem_t items[2 + BEAT_SPARES] = {{.fd = beat->wake, .events = ZMQ_POLLIN},
                                             {.socket = beat->link.socket, .events = ZMQ_POLLIN}};
    int count = 2;
    for (uint32_t i = 0; i < BEAT_SPARES; i++)
        if (beat->spares[i].open && !beat->spares[i].heard_ms)
            items[count++] = (zmq_pollitem_t){.socket = beat->spares[i].link.socket, .events = ZMQ_POLLIN};
    uint64_t most_ms = next_ms > now_ms ? next_ms - now_ms : 0;
    if (beat->unanswered)
        most_ms = MIN(most_ms, (uint64_t)LOOK_MS);
    if (zmq_poll(items, count, (long)most_ms) < 0 && errno != EINTR)
        return false;
    return !items[0].revents;
}

static void *beat_run(void *arg)
{
    struct beat *beat = arg;
    uint64_t next_ms = mono_ms(), told = UINT64_MAX;
    for (;;) {
        uint64_t now = mono_ms();
        if (now >= next_ms) {
            uint64_t progress = beat_progress(beat);
            beat_send(beat, NULL);
            next_ms = beat_next(beat, progress == told, now);
            told = progress;
        }
        if (!beat_wait(beat, next_ms, now))
            break;
        uint32_t answers = beat_receive(beat, &beat->link);
        if (answers)
            beat_answered(beat, answers, mono_ms());
        else
            beat_watch(beat, mono_ms());
    }
    spares_close(beat);
    return NULL;
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
    assert(!beat->running);
    beat->session = target->session;
    beat->incarnation = target->incarnation;
    beat->interval_ms = target->interval_ms;
    beat->zmq = zmq;
    beat->address = *target->address;
    beat->unanswered = 0;
    beat->trip_ms = beat->outage_ms = 0;
    atomic_store(&beat->heard_ms, mono_ms());
    atomic_store(&beat->late_ms, mono_ms());
    atomic_store(&beat->global_low, 0);
    atomic_store(&beat->refused, false);
    beat->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (beat->wake < 0)
        return dp_fail(err, DP_SYSTEM, "eventfd: %s", strerror(errno));
    dp_err e = beat_connect(beat, target->name, 0, &beat->link, err);
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

bool beat_is_well(const struct beat *beat, uint64_t for_ms, uint64_t now_ms)
{
    uint64_t late_ms = atomic_load_explicit(&beat->late_ms, memory_order_relaxed);
    uint64_t heard_ms = atomic_load_explicit(&beat->heard_ms, memory_order_relaxed);
    uint64_t silent_ms = (FRAME_HEARTBEAT_IDLE + 1) * (uint64_t)beat->interval_ms + PATIENCE_MS;
    return now_ms - MIN(now_ms, late_ms) >= for_ms && now_ms - MIN(now_ms, heard_ms) < silent_ms;
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
