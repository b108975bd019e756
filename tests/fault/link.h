/* Hosts of one machine, and links between them that fail: each host is a network namespace, each link a pair of tun
 * devices with a thread between them that delays, loses and drops packets as the test says. Namespaces have no names,
 * and end with the process. Needs root and /dev/net/tun. Thread: the test's. */
#ifndef DP_TESTS_FAULT_LINK_H
#define DP_TESTS_FAULT_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A network namespace, by a descriptor; -1 with the reason in errno. */
int host_new(void);
/* The argument by which nsenter starts a program there. */
void host_argument(int host, char *text, size_t size);

/* One direction; all zero: every packet passes at once. */
struct link_rules {
    uint32_t delay_ms;
    uint32_t loss_percent;
    uint32_t rate_kbit; /* 0: as fast as it can */
    uint32_t longest;   /* packets of more bytes vanish; 0: none does */
    bool drop;          /* all vanish */
    bool forgets;       /* a firewall that knows no connection: those that were made before vanish, others pass */
};

enum link_way { LINK_THERE, LINK_BACK_HERE, LINK_WAYS };

struct fault_link;
/* Joins two hosts: `a` gets 10.77.NUMBER.1, `b` gets 10.77.NUMBER.2. NULL with the reason in errno. */
struct fault_link *fault_link_new(int a, int b, uint8_t number);
void fault_link_free(struct fault_link **link);
/* From now on, in both directions (a to b, b to a). */
void fault_link_set(struct fault_link *link, const struct link_rules *there, const struct link_rules *back);
/* Bytes of TCP's payload that have gone through in a direction, each once: bytes that TCP sent again do not count,
 * nor do those of a lost packet that comes behind its successors. */
uint64_t fault_link_bytes(const struct fault_link *link, enum link_way way);

#endif
