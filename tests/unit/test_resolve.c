/* Names are resolved within a bounded time, whatever the C library's resolver does: here it is one of ours. */
#include <criterion/criterion.h>

#include <netdb.h>
#include <pthread.h>
#include <string.h>

#include "client_endpoint.h"
#include "client_resolve.h"
#include "leaks.h"
#include "util.h"

/* The resolver answers no name but "known" until it is released. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool released;
static int asked, answered;

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
    free(list);
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
    cr_assert_eq(endpoint_probe(&endpoint, 50, &address, &err), DP_UNREACHABLE);
    pthread_mutex_lock(&lock);
    cr_assert_eq(answered, 0);
    released = true;
    pthread_cond_broadcast(&changed);
    while (answered < asked)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}
