/* Links that fail; see link.h. Invariant: packets of a direction leave in the order in which they came. Thread: one of
 * its own for each link; rules are handed over under the lock. */
#include "tests/fault/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"

enum {
    PACKET_MAX = 2048,
    QUEUE_BYTES = 2 << 20, /* that wait for their turn; beyond it packets are lost */
    MTU = 1500,
    WAIT_MS = 20,
    BATCH = 64,
    PORTS = 1 << 16,
};

struct packet {
    struct packet *next;
    uint64_t due_ns;
    size_t bytes;
    uint8_t data[];
};

struct direction {
    struct link_rules rules;
    struct packet *first, **end;
    uint64_t free_ns; /* until then the line is busy */
    uint32_t random;
    uint32_t sent_to[PORTS]; /* by the port of b: TCP's sequence, as far as it has gone through */
    _Atomic uint64_t bytes;
};

struct fault_link {
    pthread_t thread;
    pthread_mutex_t lock;
    atomic_bool stop;
    int tun[LINK_WAYS]; /* from which the packets of a direction come */
    struct direction ways[LINK_WAYS];
    uint8_t known[PORTS / 8]; /* ports of b from which a connection was begun since a firewall forgot them */
};

/* ---- namespaces ---- */

struct host_task {
    int host;       /* -1: a new one */
    const char *ip; /* of the device that is made; NULL: none is */
    char name[IFNAMSIZ];
    int result, error;
};

static int device_up(const char *name, const char *ip, const char *mask)
{
    struct ifreq r = {0};
    struct sockaddr_in at = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), bad = fd < 0;
    str_copy(r.ifr_name, sizeof r.ifr_name, name);
    if (ip) {
        bad = bad || inet_pton(AF_INET, ip, &at.sin_addr) != 1;
        memcpy(&r.ifr_addr, &at, sizeof at);
        bad = bad || ioctl(fd, SIOCSIFADDR, &r);
        (void)inet_pton(AF_INET, mask, &at.sin_addr);
        memcpy(&r.ifr_netmask, &at, sizeof at);
        bad = bad || ioctl(fd, SIOCSIFNETMASK, &r);
        r.ifr_mtu = MTU;
        bad = bad || ioctl(fd, SIOCSIFMTU, &r);
    }
    r.ifr_flags = IFF_UP | IFF_RUNNING;
    bad = bad || ioctl(fd, SIOCSIFFLAGS, &r);
    if (fd >= 0)
        close(fd);
    return bad ? -1 : 0;
}

static int tun_open(const struct host_task *task)
{
    struct ifreq r = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    str_copy(r.ifr_name, sizeof r.ifr_name, task->name);
    if (fd >= 0 && ioctl(fd, TUNSETIFF, &r) == 0 && device_up(task->name, task->ip, "255.255.255.252") == 0)
        return fd;
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return -1;
}

/* A namespace is a thread's: so what is done in one is done by a thread of its own. */
static void *host_run(void *arg)
{
    struct host_task *task = arg;
    if (task->host >= 0)
        task->result = setns(task->host, CLONE_NEWNET) ? -1 : tun_open(task);
    else if (unshare(CLONE_NEWNET) == 0 && device_up("lo", NULL, NULL) == 0)
        task->result = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    task->error = errno;
    return NULL;
}

static int host_do(struct host_task *task)
{
    pthread_t thread;
    task->result = -1;
    task->error = pthread_create(&thread, NULL, host_run, task);
    if (task->error == 0)
        pthread_join(thread, NULL);
    errno = task->error;
    return task->result;
}

int host_new(void)
{
    struct host_task task = {.host = -1};
    return host_do(&task);
}

void host_argument(int host, char *text, size_t size)
{
    snprintf(text, size, "--net=/proc/%ld/fd/%d", (long)getpid(), host);
}

/* ---- packets ---- */

/* The header of a packet of TCP over IPv4; NULL: it is none. */
static const struct tcphdr *tcp_of(const uint8_t *data, size_t bytes)
{
    size_t at = (size_t)(data[0] & 0xf) * 4;
    return bytes >= at + sizeof(struct tcphdr) && data[0] >> 4 == 4 && data[9] == IPPROTO_TCP
               ? (const struct tcphdr *)(const void *)(data + at)
               : NULL;
}

/* Whether a firewall that has forgotten its connections lets it through. The host b begins all connections. */
static bool is_known(struct fault_link *link, enum link_way way, const uint8_t *data, size_t bytes)
{
    const struct tcphdr *tcp = tcp_of(data, bytes);
    if (!tcp)
        return true;
    unsigned port = ntohs(way == LINK_THERE ? tcp->dest : tcp->source);
    if (way == LINK_BACK_HERE && tcp->syn)
        link->known[port / 8] |= (uint8_t)(1U << port % 8);
    return link->known[port / 8] >> port % 8 & 1;
}

static bool is_lost(struct fault_link *link, enum link_way way, const uint8_t *data, size_t bytes, uint64_t now_ns)
{
    struct direction *direction = &link->ways[way];
    const struct link_rules *rules = &direction->rules;
    if (rules->drop || (rules->longest && bytes > rules->longest))
        return true;
    if (rules->forgets && !is_known(link, way, data, bytes))
        return true;
    direction->random = direction->random * 1664525U + 1013904223U;
    if ((direction->random >> 8) % 100 < rules->loss_percent)
        return true;
    uint64_t behind_ns = direction->free_ns > now_ns ? direction->free_ns - now_ns : 0;
    return rules->rate_kbit && behind_ns / 8 * rules->rate_kbit / 1000000 > QUEUE_BYTES;
}

static void packet_take(struct fault_link *link, enum link_way way, const uint8_t *data, size_t bytes, uint64_t now_ns)
{
    struct direction *direction = &link->ways[way];
    struct packet *packet = is_lost(link, way, data, bytes, now_ns) ? NULL : malloc(sizeof *packet + bytes);
    if (!packet)
        return;
    uint64_t at_ns = MAX(direction->free_ns, now_ns);
    if (direction->rules.rate_kbit)
        direction->free_ns = at_ns + bytes * 8 * 1000000 / direction->rules.rate_kbit;
    else
        direction->free_ns = at_ns;
    *packet =
        (struct packet){.due_ns = direction->free_ns + direction->rules.delay_ms * UINT64_C(1000000), .bytes = bytes};
    memcpy(packet->data, data, bytes);
    *direction->end = packet;
    direction->end = &packet->next;
}

/* Bytes of payload that go through for the first time: TCP sends again what it believes to be lost. */
static size_t new_bytes(struct direction *direction, enum link_way way, const struct packet *packet)
{
    const struct tcphdr *tcp = tcp_of(packet->data, packet->bytes);
    if (!tcp)
        return 0;
    uint32_t *sent_to = &direction->sent_to[ntohs(way == LINK_THERE ? tcp->dest : tcp->source)], from = ntohl(tcp->seq);
    if (tcp->syn) {
        *sent_to = from + 1;
        return 0;
    }
    size_t head = (size_t)((const uint8_t *)tcp - packet->data) + (size_t)tcp->doff * 4;
    uint32_t size = (uint32_t)(packet->bytes > head ? packet->bytes - head : 0), beyond = from + size - *sent_to;
    if (beyond == 0 || beyond > INT32_MAX)
        return 0;
    *sent_to = from + size;
    return MIN(size, beyond);
}

static void packets_send(struct fault_link *link, enum link_way way, uint64_t now_ns)
{
    struct direction *direction = &link->ways[way];
    for (struct packet *packet; (packet = direction->first) && packet->due_ns <= now_ns;) {
        direction->first = packet->next;
        if (!direction->first)
            direction->end = &direction->first;
        if (write(link->tun[!way], packet->data, packet->bytes) == (ssize_t)packet->bytes)
            atomic_fetch_add(&direction->bytes, new_bytes(direction, way, packet));
        free(packet);
    }
}

static void packets_wait(const struct fault_link *link, uint64_t now_ns)
{
    struct pollfd items[LINK_WAYS] = {{link->tun[0], POLLIN, 0}, {link->tun[1], POLLIN, 0}};
    uint64_t most_ns = WAIT_MS * UINT64_C(1000000);
    for (int way = 0; way < LINK_WAYS; way++) {
        const struct packet *first = link->ways[way].first;
        if (first)
            most_ns = MIN(most_ns, first->due_ns > now_ns ? first->due_ns - now_ns : 0);
    }
    const struct timespec most = {.tv_nsec = (long)most_ns};
    (void)ppoll(items, LINK_WAYS, &most, NULL);
}

static void *link_run(void *arg)
{
    struct fault_link *link = arg;
    uint8_t data[PACKET_MAX];
    while (!atomic_load(&link->stop)) {
        packets_wait(link, mono_ns());
        pthread_mutex_lock(&link->lock);
        for (enum link_way way = 0; way < LINK_WAYS; way++) {
            for (int i = 0; i < BATCH; i++) {
                ssize_t n = read(link->tun[way], data, sizeof data);
                if (n <= 0)
                    break;
                packet_take(link, way, data, (size_t)n, mono_ns());
            }
            packets_send(link, way, mono_ns());
        }
        pthread_mutex_unlock(&link->lock);
    }
    return NULL;
}

/* ---- links ---- */

static int end_open(int host, uint8_t number, int side)
{
    char ip[INET_ADDRSTRLEN];
    struct host_task task = {.host = host, .ip = ip};
    snprintf(ip, sizeof ip, "10.77.%u.%d", number, side);
    snprintf(task.name, sizeof task.name, "link%u", number);
    return host_do(&task);
}

struct fault_link *fault_link_new(int a, int b, uint8_t number)
{
    struct fault_link *link = mem_array_zero(1, sizeof *link);
    if (!link)
        return NULL;
    pthread_mutex_init(&link->lock, NULL);
    for (int way = 0; way < LINK_WAYS; way++) {
        link->ways[way].end = &link->ways[way].first;
        link->ways[way].random = (uint32_t)way + number;
    }
    link->tun[LINK_THERE] = end_open(a, number, 1);
    link->tun[LINK_BACK_HERE] = link->tun[LINK_THERE] < 0 ? -1 : end_open(b, number, 2);
    if (link->tun[LINK_BACK_HERE] >= 0 && pthread_create(&link->thread, NULL, link_run, link) == 0)
        return link;
    int error = errno;
    if (link->tun[LINK_THERE] >= 0)
        close(link->tun[LINK_THERE]);
    free(link);
    errno = error;
    return NULL;
}

void fault_link_free(struct fault_link **ref)
{
    struct fault_link *link = *ref;
    if (!link)
        return;
    atomic_store(&link->stop, true);
    pthread_join(link->thread, NULL);
    for (int way = 0; way < LINK_WAYS; way++) {
        close(link->tun[way]);
        for (struct packet *packet = link->ways[way].first, *next; packet; packet = next) {
            next = packet->next;
            free(packet);
        }
    }
    free(link);
    *ref = NULL;
}

void fault_link_set(struct fault_link *link, const struct link_rules *there, const struct link_rules *back)
{
    pthread_mutex_lock(&link->lock);
    link->ways[LINK_THERE].rules = *there;
    link->ways[LINK_BACK_HERE].rules = *back;
    memset(link->known, 0, sizeof link->known);
    pthread_mutex_unlock(&link->lock);
}

uint64_t fault_link_bytes(const struct fault_link *link, enum link_way way)
{
    return atomic_load(&link->ways[way].bytes);
}
