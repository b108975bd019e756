/* Endpoints: what is the same of all transports. Thread: any. */
#include "common/net/endpoint.h"

#include <ctype.h>
#include <string.h>

#include "common/base/text.h"
#include "common/base/util.h"
#include "common/net/transport.h"

static dp_err endpoint_bad(const char *text, const char *what, dp_error *err)
{
    return dp_fail(err, DP_USAGE,
                   "'%.200s' is no endpoint: %s; give tcp://HOST:PORT, such as tcp://127.0.0.1:7700, or "
                   "ipc://PATH",
                   text, what);
}

/* NULL, or what is wrong with it. */
static const char *endpoint_take(const char *text, struct endpoint *ret_endpoint)
{
    const char *rest;
    const struct transport *way = transport_of(text, &rest);
    return way ? way->parse(rest, ret_endpoint) : TRANSPORT_NONE;
}

dp_err endpoint_parse(const char *text, struct endpoint *ret_endpoint, dp_error *err)
{
    struct endpoint endpoint;
    const char *wrong = endpoint_take(text, &endpoint);
    if (wrong)
        return endpoint_bad(text, wrong, err);
    if (endpoint_has_ports(&endpoint) && strcmp(endpoint.host, "*") == 0)
        return endpoint_bad(text, "a client needs the name or address of the server's host", err);
    *ret_endpoint = endpoint;
    return DP_OK;
}

dp_err endpoint_parse_shard(const char *text, const char *head_host, struct endpoint *ret_endpoint, dp_error *err)
{
    static const char *const ANY[] = {"*", "0.0.0.0", "::"};
    struct endpoint endpoint;
    if (endpoint_take(text, &endpoint))
        return dp_fail(err, DP_PROTO, "the server named '%.200s' as the endpoint of a shard", text);
    for (size_t i = 0; endpoint_has_ports(&endpoint) && i < ARRAY_LEN(ANY); i++)
        if (strcmp(endpoint.host, ANY[i]) == 0)
            str_copy(endpoint.host, sizeof endpoint.host, head_host);
    *ret_endpoint = endpoint;
    return DP_OK;
}

void endpoint_text(const struct endpoint *endpoint, char text[ENDPOINT_TEXT_MAX])
{
    transport_get(endpoint->way)->text(endpoint, text);
}

bool endpoint_has_ports(const struct endpoint *endpoint)
{
    return transport_get(endpoint->way)->has_ports;
}

/* strerror begins with a capital; the reason stands in the middle of a line. */
dp_err endpoint_probe(const struct endpoint *endpoint, uint64_t timeout_ms, const volatile int *stop,
                      struct endpoint *ret_address, dp_error *err)
{
    char text[128];
    dp_error why;
    if (transport_get(endpoint->way)->probe(endpoint, timeout_ms, stop, ret_address, &why) == DP_OK)
        return DP_OK;
    str_copy(text, sizeof text, why.text);
    if (text[0] && islower((unsigned char)text[1]))
        text[0] = (char)tolower((unsigned char)text[0]);
    return dp_fail(err, DP_UNREACHABLE, "%s", text);
}
