/* Names are resolved within a bounded time, whatever the C library's resolver does: here it is one of ours. */
#include <criterion/criterion.h>

#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/net/endpoint.h"
#include "common/net/resolve.h"
#include "tests/unit/support/leaks.h"

/* The resolver answers no name but "known" until it is released. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool released;
static int asked, answered;

/* Addresses of the name "two". */
static struct sockaddr_in two[2];

static struct addrinfo *two_addresses(void)
{
    struct addrinfo *list = NULL;
    for (int i = 2; i-- > 0;) {
        struct addrinfo *address = calloc(1, sizeof *address);
        cr_assert_not_null(address);
        address->ai_family = AF_INET;
        address->ai_addr = (struct sockaddr *)&two[i];
        address->ai_addrlen = sizeof two[i];
        address->ai_next = list;
        list = address;
    }
    return list;
}

static struct addrinfo *an_address(void)
{
    struct addrinfo *address = calloc(1, sizeof *address);
    cr_assert_not_null(address);
    return address;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
    (void)service;
    if (hints->ai_flags & AI_NUMERICHOST)
        return EAI_NONAME;
    if (strcmp(name, "two") == 0) {
        *ret = two_addresses();
        return 0;
    }
    pthread_mutex_lock(&lock);
    asked++;
    while (!released && strcmp(name, "known") != 0 && strcmp(name, "unknown") != 0)
        pthread_cond_wait(&changed, &lock);
    answered++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    if (strcmp(name, "unknown") == 0)
        return EAI_NONAME;
    *ret = an_address();
    return 0;
}

void freeaddrinfo(struct addrinfo *list)
{
    while (list) {
        struct addrinfo *next = list->ai_next;
        free(list);
        list = next;
    }
}

/* A listener, and one that takes no more connections and does not say so. */
static int listener(struct sockaddr_in *ret_at)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, size), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    cr_assert_eq(listen(fd, 0), 0);
    *ret_at = at;
    return fd;
}

enum { QUEUED = 3 };

static int silent_listener(struct sockaddr_in *ret_at, int queued[QUEUED])
{
    int fd = listener(ret_at);
    for (int i = 0; i < QUEUED; i++) {
        queued[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(queued[i], (struct sockaddr *)ret_at, sizeof *ret_at);
    }
    return fd;
}

static void close_all(int fd, const int queued[QUEUED])
{
    close(fd);
    for (int i = 0; i < QUEUED; i++)
        close(queued[i]);
}

Test(resolve, an_address_that_is_silent_leaves_time_to_the_next, .timeout = 60)
{
    const struct endpoint endpoint = {.host = "two", .port = 7700};
    struct endpoint address;
    dp_error err;
    int queued[QUEUED], silent = silent_listener(&two[0], queued), good = listener(&two[1]);
    cr_assert_eq(endpoint_probe(&endpoint, 2000, NULL, &address, &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(address.host, "127.0.0.1");
    close(good);
    close_all(silent, queued);
    ASSERT_NO_LEAKS();
}

/* Set by another thread, so that no signal ends the wait. */
Test(resolve, connecting_ends_when_the_program_is_stopped, .timeout = 30)
{
    const struct endpoint endpoint = {.host = "two", .port = 7700};
    struct endpoint address;
    dp_error err;
    const volatile int stop = 1;
    int queued[QUEUED], silent = silent_listener(&two[0], queued);
    two[1] = two[0];
    cr_assert_eq(endpoint_probe(&endpoint, 600000, &stop, &address, &err), DP_UNREACHABLE);
    close_all(silent, queued);
    ASSERT_NO_LEAKS();
}

Test(resolve, a_unix_socket_with_a_full_queue_is_not_waited_for_for_ever, .timeout = 30)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct endpoint endpoint = {.way = TRANSPORT_IPC}, address;
    dp_error err;
    int queued[QUEUED], fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(endpoint.host, sizeof endpoint.host, "@dp-test-%d", (int)getpid());
    memcpy(at.sun_path + 1, endpoint.host + 1, strlen(endpoint.host) - 1);
    const socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(endpoint.host));
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, size), 0);
    cr_assert_eq(listen(fd, 0), 0);
    for (int i = 0; i < QUEUED; i++) {
        queued[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(queued[i], (struct sockaddr *)&at, size);
    }
    cr_assert_eq(endpoint_probe(&endpoint, 200, NULL, &address, &err), DP_UNREACHABLE);
    close_all(fd, queued);
    cr_assert_eq(endpoint_probe(&endpoint, 200, NULL, &address, &err), DP_UNREACHABLE, "nobody listens");
    ASSERT_NO_LEAKS();
}

Test(resolve, a_name_that_is_known)
{
    struct addrinfo *list = NULL;
    dp_error err;
    cr_assert_eq(resolve("known", 7700, 10000, &list, &err), DP_OK);
    cr_assert_not_null(list);
    freeaddrinfo(list);
    cr_assert_eq(resolve("unknown", 7700, 10000, &list, &err), DP_UNREACHABLE);
    cr_assert_str_eq(err.text, gai_strerror(EAI_NONAME));
}

/* The lookup that was left behind frees what it finds when it comes back. */
Test(resolve, a_resolver_that_does_not_answer)
{
    struct addrinfo *list = NULL;
    struct endpoint endpoint, address;
    dp_error err;
    cr_assert_eq(resolve("slow", 7700, 50, &list, &err), DP_UNREACHABLE);
    cr_assert_str_eq(err.text, "the name was not resolved within 0.05 s");
    cr_assert_null(list);
    cr_assert_eq(endpoint_parse("tcp://slow:7700", &endpoint, &err), DP_OK);
    cr_assert_eq(endpoint_probe(&endpoint, 50, NULL, &address, &err), DP_UNREACHABLE);
    pthread_mutex_lock(&lock);
    cr_assert_eq(answered, 0);
    released = true;
    pthread_cond_broadcast(&changed);
    while (answered < asked)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}
