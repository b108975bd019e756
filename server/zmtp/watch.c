/* Connections over time; see watch.h. A peer is not blamed for what waits in the kernel because this process has not
 * read it, nor for the time in which this process slept. Thread: head. */
#include "server/zmtp/watch.h"

#include <inttypes.h>
#include <malloc.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "common/base/log.h"
#include "common/base/util.h"
#include "server/zmtp/impl.h"
#include "server/zmtp/sessions.h"

enum { TICK_MS = 1000, SLEPT_MS = 5000, LOOK_MS = 5000, LOG_MS = 10000 };

static bool waits_for_us(const struct gate_conn *conn)
{
    int bytes = 0;
    return ioctl(conn->fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

/* ---- progress ---- */

static void open_window(struct gate_conn *conn, uint64_t bytes, uint64_t done, uint64_t now_ms)
{
    conn->window_ms = now_ms;
    conn->window_bytes = bytes;
    conn->window_done = done;
}

/* Whether a frame has come to a stop. */
static bool is_stuck(struct gate_conn *conn, uint64_t now_ms)
{
    uint64_t bytes = atomic_load_explicit(&conn->bytes, memory_order_relaxed);
    uint64_t done = atomic_load_explicit(&conn->done, memory_order_relaxed);
    bool unfinished = atomic_load_explicit(&conn->unfinished, memory_order_relaxed);
    if (!unfinished || done != conn->window_done) {
        open_window(conn, bytes, done, now_ms);
        return false;
    }
    if (now_ms - MIN(conn->window_ms, now_ms) < GATE_FRAME_MS)
        return false;
    if (bytes - conn->window_bytes < GATE_FRAME_BYTES_MIN && !waits_for_us(conn))
        return true;
    open_window(conn, bytes, done, now_ms);
    return false;
}

/* ---- hosts that vanished ---- */

/* Something is under way to it, and nothing has come back: not even an answer to a probe, which a host also gives for a
 * process that is frozen and has its window closed. Keep-alive says nothing while data are under way. */
static bool has_vanished(struct gate_conn *conn, uint64_t now_ms)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    if (!conn->tcp || getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &info, &size))
        return false;
    if (info.tcpi_unacked == 0 && info.tcpi_probes == 0 && info.tcpi_retransmits == 0)
        conn->unanswered_ms = 0;
    else if (conn->unanswered_ms == 0)
        conn->unanswered_ms = now_ms;
    return conn->unanswered_ms > 0 && now_ms - conn->unanswered_ms >= GATE_VANISHED_MS &&
           info.tcpi_last_ack_recv >= GATE_VANISHED_MS;
}

/* ---- all of them ---- */

static uint64_t heard(const struct gate_conn *conn)
{
    uint64_t ms = atomic_load_explicit(&conn->heard_ms, memory_order_relaxed);
    return MAX(ms, conn->accepted_ms);
}

static enum gate_fault judge(struct gate_conn *conn, bool look, uint64_t now_ms)
{
    bool ready = atomic_load_explicit(&conn->ready, memory_order_relaxed);
    if (!ready && now_ms - MIN(conn->accepted_ms, now_ms) >= GATE_HANDSHAKE_MS && !waits_for_us(conn))
        return GATE_SLOW_HANDSHAKE;
    if (is_stuck(conn, now_ms))
        return GATE_SLOW_FRAME;
    if (!conn->member && now_ms - MIN(heard(conn), now_ms) >= GATE_IDLE_MS && !waits_for_us(conn))
        return GATE_IDLE;
    return look && has_vanished(conn, now_ms) ? GATE_VANISHED : GATE_FINE;
}

static void judge_all(struct gate_list *list, bool look, uint64_t now_ms)
{
    for (struct gate_conn *conn = list->first, *next; conn; conn = next) {
        next = conn->next;
        gate_held_ended(conn);
        enum gate_fault fault = conn->shut ? GATE_FINE : judge(conn, look, now_ms);
        if (fault)
            gate_shut(conn, fault);
    }
}

/* Sessions that have ended leave strangers behind, which were heard of just now: they may say hello again. */
static void part_from_members(uint64_t now_ms)
{
    for (struct gate_conn *conn = gate.members.first, *next; conn; conn = next) {
        next = conn->next;
        if (gate_sessions_lives(conn->token))
            continue;
        gate_move(conn, 0);
        conn->accepted_ms = now_ms;
    }
}

/* Nobody could be heard. */
static void forgive(struct gate_list *list, uint64_t slept_ms, uint64_t now_ms)
{
    for (struct gate_conn *conn = list->first; conn; conn = conn->next) {
        conn->accepted_ms = MIN(conn->accepted_ms + slept_ms, now_ms);
        conn->window_ms = MIN(conn->window_ms + slept_ms, now_ms);
        conn->unanswered_ms = 0;
    }
}

/* Logs closed connections by kind: at most one line of each in LOG_MS. */
static void tell(uint64_t now_ms)
{
    for (int fault = GATE_FINE + 1; fault < GATE_FAULTS; fault++) {
        char peer[GATE_PEER_MAX];
        pthread_mutex_lock(&gate.mutex);
        uint64_t more = gate.counts[fault] - gate.logged[fault];
        bool due = more > 0 && (gate.logged_ms[fault] == 0 || now_ms - gate.logged_ms[fault] >= LOG_MS);
        if (due) {
            gate.logged[fault] = gate.counts[fault];
            gate.logged_ms[fault] = now_ms;
            memcpy(peer, gate.last[fault], sizeof peer);
        }
        pthread_mutex_unlock(&gate.mutex);
        if (due)
            log_write(fault == GATE_IDLE ? LOG_INFO : LOG_WARN,
                      "connections-closed kind=%s count=%" PRIu64
                      " last=%s reason=\"%s\" action=\"the job goes on; a worker connects again by itself, a firewall "
                      "keeps strangers out\"",
                      gate_fault_name((enum gate_fault)fault), more, peer, gate_fault_text((enum gate_fault)fault));
    }
}

void gate_tick(uint64_t now_ms)
{
    pthread_mutex_lock(&gate.mutex);
    uint64_t gap_ms = now_ms - MIN(gate.ticked_ms, now_ms);
    bool trim = false, due = gap_ms >= TICK_MS, look = now_ms - MIN(gate.looked_ms, now_ms) >= LOOK_MS;
    if (due) {
        gate.ticked_ms = now_ms;
        trim = gate.dropped;
        gate.dropped = false;
        gate.looked_ms = look ? now_ms : gate.looked_ms;
        if (gap_ms >= SLEPT_MS) {
            forgive(&gate.strangers, gap_ms, now_ms);
            forgive(&gate.members, gap_ms, now_ms);
        }
        part_from_members(now_ms);
        judge_all(&gate.strangers, look, now_ms);
        judge_all(&gate.members, look, now_ms);
    }
    pthread_mutex_unlock(&gate.mutex);
    if (!due)
        return;
    gate_sessions_tick(now_ms);
    tell(now_ms);
    if (trim) /* their memory is kept for messages like them (mem_keep), of which there may be none */
        (void)malloc_trim(0);
}
