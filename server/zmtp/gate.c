/* Connections by descriptor; see gate.h.
 *
 * Invariants:
 *   1. files[fd] is set from accept to close, both of which happen under the mutex: a descriptor that is shut is still
 * the one that was judged.
 *   2. A connection is read by one thread at a time, which also closes it; the others see its atomics only.
 *   3. `shut` and `of_host` count strangers that are shut, and those that are not; `of_session` members by their token.
 * Thread: as stated. */
#include "server/zmtp/gate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/clock.h"
#include "common/base/closer.h"
#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "server/zmtp/close_now.h"
#include "server/zmtp/impl.h"
#include "server/zmtp/sessions.h"

struct gate gate = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static struct gate_conn listener; /* the mark of a socket that listens */
static struct gate_conn *_Atomic files[GATE_FILES_MAX];
static _Atomic bool started;

static struct gate_conn *conn_of(int fd)
{
    if (fd < 0 || fd >= GATE_FILES_MAX)
        return NULL;
    return atomic_load_explicit(&files[fd], memory_order_acquire);
}

static void put(int fd, struct gate_conn *conn)
{
    atomic_store_explicit(&files[fd], conn, memory_order_release);
}

/* ---- lists ---- */

static struct gate_list *list_of(const struct gate_conn *conn)
{
    return conn->member ? &gate.members : &gate.strangers;
}

/* One more or, by UINT32_MAX, one less. */
static void count(const struct gate_conn *conn, uint32_t by)
{
    if (conn->member)
        gate.of_session[session_number(conn->token)] += by;
    else if (conn->shut)
        gate.shut += by;
    else
        gate.of_host[conn->host] += by;
}

static void link_in(struct gate_conn *conn)
{
    struct gate_list *list = list_of(conn);
    conn->prev = NULL;
    conn->next = list->first;
    if (list->first)
        list->first->prev = conn;
    list->first = conn;
    list->count++;
    count(conn, 1);
}

static void link_out(struct gate_conn *conn)
{
    struct gate_list *list = list_of(conn);
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        list->first = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    list->count--;
    count(conn, UINT32_MAX);
}

void gate_move(struct gate_conn *conn, uint64_t token)
{
    link_out(conn);
    conn->member = token != 0;
    conn->token = token;
    link_in(conn);
}

static void count_fault(const struct gate_conn *conn, enum gate_fault fault)
{
    gate.counts[fault]++;
    memcpy(gate.last[fault], conn->peer, sizeof conn->peer);
}

static void mark_shut(struct gate_conn *conn)
{
    count(conn, UINT32_MAX);
    conn->shut = true;
    count(conn, 1);
}

void gate_shut(struct gate_conn *conn, enum gate_fault fault)
{
    if (conn->shut)
        return;
    count_fault(conn, fault);
    mark_shut(conn);
    (void)shutdown(conn->fd, SHUT_RDWR);
}

/* ---- too many strangers ---- */

/* Whether `a` goes before `b`: that of the host that has more of them, so that one host does not drive out the others,
 * else the one that was idle for longer. */
static bool goes_first(const struct gate_conn *a, const struct gate_conn *b)
{
    uint32_t of_a = gate.of_host[a->host], of_b = gate.of_host[b->host];
    uint64_t heard_a = atomic_load_explicit(&a->heard_ms, memory_order_relaxed);
    uint64_t heard_b = atomic_load_explicit(&b->heard_ms, memory_order_relaxed);
    if (of_a != of_b)
        return of_a > of_b;
    return heard_a != heard_b ? heard_a < heard_b : a->accepted_ms < b->accepted_ms;
}

void gate_thin(uint32_t most)
{
    while (gate.strangers.count - gate.shut > most) {
        struct gate_conn *first = NULL;
        /* The list begins with the youngest: of equal ones the last found is the oldest. */
        for (struct gate_conn *conn = gate.strangers.first; conn; conn = conn->next)
            if (!conn->shut && (!first || !goes_first(first, conn)))
                first = conn;
        if (!first)
            return;
        gate_shut(first, GATE_CROWDED);
    }
}

void gate_allow_strangers(uint32_t most)
{
    pthread_mutex_lock(&gate.mutex);
    gate.most = most;
    gate_thin(most);
    pthread_mutex_unlock(&gate.mutex);
}

uint32_t gate_strangers_most(uint64_t limit)
{
    return (uint32_t)MIN(MAX(limit / 4, (uint64_t)GATE_STRANGERS_MIN), (uint64_t)GATE_STRANGERS_MAX);
}

uint32_t gate_strangers(void)
{
    pthread_mutex_lock(&gate.mutex);
    uint32_t count = gate.strangers.count;
    pthread_mutex_unlock(&gate.mutex);
    return count;
}

uint64_t gate_count(enum gate_fault fault)
{
    pthread_mutex_lock(&gate.mutex);
    uint64_t count = gate.counts[fault];
    pthread_mutex_unlock(&gate.mutex);
    return count;
}

/* ---- coming ---- */

bool gate_listen(int fd)
{
    if (atomic_load_explicit(&started, memory_order_relaxed) && fd >= 0 && fd < GATE_FILES_MAX && !conn_of(fd))
        put(fd, &listener);
    return conn_of(fd) == &listener;
}

/* A host that vanished while nothing was under way is found in 10 + 3 * 5 s; watch.c finds the others. */
static void keep_alive(int fd)
{
    static const int OPTIONS[][3] = {{SOL_SOCKET, SO_KEEPALIVE, 1},
                                     {IPPROTO_TCP, TCP_KEEPIDLE, 10},
                                     {IPPROTO_TCP, TCP_KEEPINTVL, 5},
                                     {IPPROTO_TCP, TCP_KEEPCNT, 3}};
    for (size_t i = 0; i < ARRAY_LEN(OPTIONS); i++)
        (void)setsockopt(fd, OPTIONS[i][0], OPTIONS[i][1], &OPTIONS[i][2], sizeof OPTIONS[i][2]);
}

/* A host is an IPv4 address or the network of an IPv6 one, of which a host may have all. */
static uint8_t host_of(const void *address, size_t bytes)
{
    const uint8_t *at = address;
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ at[i]) * 16777619u;
    return (uint8_t)(hash >> 24 ^ hash >> 16 ^ hash >> 8 ^ hash);
}

static void name_peer(struct gate_conn *conn)
{
    struct sockaddr_storage from = {0};
    socklen_t size = sizeof from;
    char text[INET6_ADDRSTRLEN] = "?";
    (void)getpeername(conn->fd, (struct sockaddr *)&from, &size);
    const struct sockaddr_in *v4 = (const void *)&from;
    const struct sockaddr_in6 *v6 = (const void *)&from;
    bool mapped = from.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
    conn->tcp = from.ss_family == AF_INET || from.ss_family == AF_INET6;
    if (from.ss_family == AF_INET) {
        conn->host = host_of(&v4->sin_addr, sizeof v4->sin_addr);
        inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
    } else if (conn->tcp) {
        conn->host = mapped ? host_of(v6->sin6_addr.s6_addr + 12, 4) : host_of(&v6->sin6_addr, 8);
        inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
    }
    if (conn->tcp)
        snprintf(conn->peer, sizeof conn->peer, "%s:%u", text,
                 ntohs(from.ss_family == AF_INET ? v4->sin_port : v6->sin6_port));
    else
        (void)str_copy(conn->peer, sizeof conn->peer, "ipc");
}

static int turn_away(int fd)
{
    (void)gate_close_now(fd);
    errno = EAGAIN;
    return -1;
}

/* Those that are shut have their descriptors until libzmq has seen it: there are few of them, or nobody comes in. */
static bool may_enter(void)
{
    return gate.strangers.count + closer_waiting() < gate.most + gate.most / 4 + GATE_STRANGERS_MIN / 4;
}

int gate_accept(int from, int fd, uint64_t now_ms)
{
    if (conn_of(from) != &listener)
        return fd;
    struct gate_conn *conn = fd < GATE_FILES_MAX ? mem_array_zero(1, sizeof *conn) : NULL;
    if (!conn)
        return turn_away(fd);
    conn->fd = fd;
    conn->accepted_ms = conn->window_ms = now_ms;
    atomic_init(&conn->heard_ms, now_ms);
    atomic_init(&conn->unfinished, true);
    name_peer(conn);
    if (conn->tcp)
        keep_alive(fd);
    pthread_mutex_lock(&gate.mutex);
    bool enters = may_enter();
    if (enters) {
        gate_thin(gate.most > 0 ? gate.most - 1 : 0);
        link_in(conn);
        put(fd, conn);
    } else {
        count_fault(conn, GATE_CROWDED);
    }
    pthread_mutex_unlock(&gate.mutex);
    if (enters)
        return fd;
    free(conn);
    return turn_away(fd);
}

/* ---- messages under way ---- */

/* A message takes memory from when it is announced; what strangers may send is not worth counting. */
static void hold(struct gate_conn *conn, uint64_t bytes)
{
    gate.held[conn->held_by] -= conn->held;
    conn->held = bytes;
    conn->held_token = conn->zmtp.token;
    conn->held_by = gate_sessions_lives(conn->held_token) ? session_number(conn->held_token) : GATE_ENDED;
    gate.held[conn->held_by] += bytes;
}

void gate_held_ended(struct gate_conn *conn)
{
    if (conn->held_by == GATE_ENDED || gate_sessions_lives(conn->held_token))
        return;
    gate.held[conn->held_by] -= conn->held;
    conn->held_by = GATE_ENDED;
    gate.held[GATE_ENDED] += conn->held;
}

static uint64_t held_most(const struct gate_conn *conn)
{
    bool greeted = conn->held_by != GATE_ENDED && gate_sessions_level(conn->held_token) != GATE_JOINED;
    return greeted ? GATE_HELD_GREETED : (uint64_t)gate.each * GATE_HELD_EACH;
}

/* False: its session has too much under way. */
static bool may_hold(struct gate_conn *conn)
{
    const struct gate_zmtp *zmtp = &conn->zmtp;
    bool counts = zmtp->under_way > GATE_STRANGER_BYTES_MAX && !zmtp->unjudged;
    uint64_t bytes = counts ? zmtp->under_way : 0;
    if (bytes == conn->held && (bytes == 0 || zmtp->token == conn->held_token))
        return true;
    pthread_mutex_lock(&gate.mutex);
    bool more = bytes > conn->held || zmtp->token != conn->held_token;
    hold(conn, bytes);
    bool may = !more || gate.held[conn->held_by] <= held_most(conn);
    pthread_mutex_unlock(&gate.mutex);
    return may;
}

/* ---- reading ---- */

bool gate_watches(int fd)
{
    return conn_of(fd) != NULL;
}

/* False: the session has as many connections as it may, so that this one has to wait until one of them is closed. */
static bool attach(struct gate_conn *conn, uint64_t token)
{
    if (!gate_sessions_lives(token) || conn->token == token)
        return true;
    if (gate.of_session[session_number(token)] >= gate.each)
        return false;
    gate_move(conn, token);
    return true;
}

bool gate_is_local(int fd)
{
    const struct gate_conn *conn = conn_of(fd);
    return conn && conn != &listener && !conn->tcp;
}

/* libzmq is told the rest. */
static void cut(struct gate_conn *conn, enum gate_fault fault)
{
    pthread_mutex_lock(&gate.mutex);
    if (!conn->shut) {
        count_fault(conn, fault);
        mark_shut(conn);
    }
    pthread_mutex_unlock(&gate.mutex);
}

void gate_refuse_descriptors(int fd)
{
    struct gate_conn *conn = conn_of(fd);
    if (conn && conn != &listener)
        cut(conn, GATE_DESCRIPTORS);
}

bool gate_read(int fd, const void *data, size_t bytes, uint64_t now_ms)
{
    struct gate_conn *conn = conn_of(fd);
    if (!conn || conn == &listener || bytes == 0)
        return true;
    struct gate_zmtp *zmtp = &conn->zmtp;
    if (!gate_zmtp_take(zmtp, data, bytes, gate_sessions_level)) {
        cut(conn, zmtp->fault);
        return false;
    }
    if (!may_hold(conn)) {
        cut(conn, GATE_UNDER_WAY);
        return false;
    }
    uint64_t total = atomic_load_explicit(&conn->bytes, memory_order_relaxed) + bytes;
    atomic_store_explicit(&conn->bytes, total, memory_order_relaxed);
    atomic_store_explicit(&conn->heard_ms, now_ms, memory_order_relaxed);
    atomic_store_explicit(&conn->done, zmtp->done, memory_order_relaxed);
    atomic_store_explicit(&conn->ready, zmtp->ready, memory_order_relaxed);
    atomic_store_explicit(&conn->unfinished, gate_zmtp_unfinished(zmtp), memory_order_relaxed);
    if (zmtp->session != conn->seen) {
        pthread_mutex_lock(&gate.mutex);
        if (attach(conn, zmtp->session))
            conn->seen = zmtp->session;
        pthread_mutex_unlock(&gate.mutex);
    }
    return true;
}

void gate_attach(int fd, uint64_t token)
{
    pthread_mutex_lock(&gate.mutex);
    struct gate_conn *conn = conn_of(fd);
    if (conn && conn != &listener)
        (void)attach(conn, token);
    pthread_mutex_unlock(&gate.mutex);
}

/* ---- going ---- */

int gate_close(int fd)
{
    struct gate_conn *conn = conn_of(fd);
    if (!conn)
        return gate_close_now(fd);
    pthread_mutex_lock(&gate.mutex);
    put(fd, NULL);
    if (conn != &listener) {
        link_out(conn);
        gate.held[conn->held_by] -= conn->held;
        gate.dropped = gate.dropped || conn->held >= GATE_FRAME_BYTES_MIN;
    }
    bool local = conn != &listener && !conn->tcp;
    int rc = local ? 0 : gate_close_now(fd), why = errno;
    pthread_mutex_unlock(&gate.mutex);
    if (local)
        closer_close(fd);
    if (conn != &listener)
        free(conn);
    errno = why;
    return rc;
}

void gate_start(uint64_t limit, uint32_t each)
{
    pthread_mutex_lock(&gate.mutex);
    gate.most = gate_strangers_most(limit);
    gate.each = each;
    gate.ticked_ms = gate.looked_ms = mono_ms();
    atomic_store_explicit(&started, true, memory_order_relaxed);
    pthread_mutex_unlock(&gate.mutex);
}

static void forget(struct gate_list *list)
{
    struct gate_conn *conn = list->first;
    *list = (struct gate_list){0};
    for (struct gate_conn *next; conn; conn = next) {
        next = conn->next;
        put(conn->fd, NULL);
        free(conn);
    }
}

void gate_stop(void)
{
    pthread_mutex_lock(&gate.mutex);
    atomic_store_explicit(&started, false, memory_order_relaxed);
    forget(&gate.strangers);
    forget(&gate.members);
    gate.shut = 0;
    memset(gate.of_host, 0, sizeof gate.of_host);
    memset(gate.of_session, 0, sizeof gate.of_session);
    memset(gate.held, 0, sizeof gate.held);
    memset(gate.counts, 0, sizeof gate.counts);
    memset(gate.logged, 0, sizeof gate.logged);
    memset(gate.logged_ms, 0, sizeof gate.logged_ms);
    pthread_mutex_unlock(&gate.mutex);
    gate_sessions_clear();
}
