/* Name resolution; see resolve.h. Invariant: a lookup has one reference of the caller's and one of its thread's;
 * whoever gives up the last one frees it with all it found. Thread: any. */
#include "common/net/resolve.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"

struct lookup {
    atomic_int refs;
    int done; /* eventfd, written when the two below are there */
    int gai;
    int error; /* errno, for EAI_SYSTEM */
    struct addrinfo *list;
    char port[8];
    char host[];
};

static int look_up(const char *host, const char *port, int flags, struct addrinfo **ret_list)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
    return getaddrinfo(host, port, &hints, ret_list);
}

static void lookup_release(struct lookup *lookup)
{
    const int before = atomic_fetch_sub(&lookup->refs, 1);
    assert(before == 1 || before == 2);
    if (before > 1)
        return;
    if (lookup->list)
        freeaddrinfo(lookup->list);
    close(lookup->done);
    free(lookup);
}

static void *lookup_run(void *arg)
{
    struct lookup *lookup = arg;
    lookup->gai = look_up(lookup->host, lookup->port, 0, &lookup->list);
    lookup->error = errno;
    if (lookup->gai)
        lookup->list = NULL;
    (void)eventfd_write(lookup->done, 1);
    lookup_release(lookup);
    return NULL;
}

/* The thread is nobody's, and the program's signals are not for it. */
static int thread_start(struct lookup *lookup)
{
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int error = pthread_create(&thread, NULL, lookup_run, lookup);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!error)
        pthread_detach(thread);
    return error;
}

static struct lookup *lookup_new(const char *host, const char *port)
{
    size_t length = strlen(host) + 1;
    struct lookup *lookup = mem_array_zero(1, sizeof *lookup + length);
    if (!lookup)
        return NULL;
    memcpy(lookup->host, host, length);
    (void)str_copy(lookup->port, sizeof lookup->port, port);
    lookup->done = eventfd(0, EFD_CLOEXEC);
    atomic_init(&lookup->refs, 2);
    if (lookup->done >= 0 && thread_start(lookup) == 0)
        return lookup;
    if (lookup->done >= 0)
        close(lookup->done);
    free(lookup);
    return NULL;
}

static dp_err resolve_fail(int gai, int error, dp_error *err)
{
    return dp_fail(err, DP_UNREACHABLE, "%s", gai == EAI_SYSTEM ? strerror(error) : gai_strerror(gai));
}

/* A wait of a whole lookup; a signal ends it: whoever asked looks at the stop flag then. */
static dp_err lookup_wait(struct lookup *lookup, uint64_t timeout_ms, dp_error *err)
{
    struct pollfd pfd = {.fd = lookup->done, .events = POLLIN};
    int n = poll(&pfd, 1, (int)MIN(timeout_ms, 60000));
    if (n < 0)
        return dp_fail(err, DP_UNREACHABLE, "%s", strerror(errno));
    if (n == 0)
        return dp_fail(err, DP_UNREACHABLE, "the name was not resolved within %.3g s", (double)timeout_ms / 1000);
    return lookup->gai ? resolve_fail(lookup->gai, lookup->error, err) : DP_OK;
}

dp_err resolve(const char *host, uint16_t port, uint64_t timeout_ms, struct addrinfo **ret_list, dp_error *err)
{
    char port_text[8];
    snprintf(port_text, sizeof port_text, "%u", port);
    /* An address asks nobody. */
    if (look_up(host, port_text, AI_NUMERICHOST, ret_list) == 0)
        return DP_OK;
    struct lookup *lookup = lookup_new(host, port_text);
    if (!lookup)
        return dp_fail(err, DP_UNREACHABLE, "no memory to resolve the name");
    dp_err e = lookup_wait(lookup, timeout_ms, err);
    if (e == DP_OK) {
        *ret_list = lookup->list;
        lookup->list = NULL;
    }
    lookup_release(lookup);
    return e;
}
