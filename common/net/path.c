/* The kernel's knowledge of a TCP connection; see path.h. Thread: any. */
#include "common/net/path.h"

#include <linux/tcp.h> /* glibc's struct ends before the counters of bytes */
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>

bool path_look(int fd, struct path_state *ret_state)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    if (fd < 0 || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) ||
        size < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received)
        return false;
    *ret_state = (struct path_state){.acked = info.tcpi_bytes_acked,
                                     .received = info.tcpi_bytes_received,
                                     .waits = info.tcpi_unacked > 0,
                                     .ack_ms = info.tcpi_last_ack_recv};
    return true;
}

uint64_t path_stuck_ms(struct path_watch *watch, const struct path_state *state, uint64_t now_ms)
{
    bool seen = watch->looked_ms > 0 && now_ms - watch->looked_ms <= PATH_GAP_MS;
    bool stuck = state->waits && seen && watch->stuck_ms > 0 && state->acked == watch->acked;
    if (!stuck)
        watch->stuck_ms = state->waits ? now_ms : 0;
    watch->looked_ms = now_ms;
    watch->acked = state->acked;
    watch->received = state->received;
    return watch->stuck_ms ? now_ms - watch->stuck_ms : 0;
}
