/* The table of transports: what each of them says of an endpoint. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/util.h"
#include "common/net/transport.h"

Test(transport, a_scheme_names_one)
{
    static const struct {
        const char *text, *name, *rest;
    } CASES[] = {{"tcp://h:1", "tcp", "h:1"}, {"ipc:///run/dp", "ipc", "/run/dp"}, {"tcp://", "tcp", ""},
                 {"tcp:/h:1", NULL, NULL},    {"TCP://h:1", NULL, NULL},           {"", NULL, NULL},
                 {"http://h:1", NULL, NULL}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        const char *rest;
        const struct transport *way = transport_of(CASES[i].text, &rest);
        cr_assert_eq(way != NULL, CASES[i].name != NULL, "%s", CASES[i].text);
        if (!way)
            continue;
        cr_assert_str_eq(way->name, CASES[i].name);
        cr_assert_str_eq(rest, CASES[i].rest);
        cr_assert_eq(way, transport_get(way->id));
    }
}

Test(transport, an_endpoint_is_written_as_it_was_read)
{
    static const char *const TEXTS[] = {"tcp://h.example:7700", "tcp://[::1]:1", "ipc:///run/dp", "ipc://@dp"};
    for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++) {
        struct endpoint endpoint;
        char text[ENDPOINT_TEXT_MAX];
        dp_error err;
        cr_assert_eq(endpoint_parse(TEXTS[i], &endpoint, &err), DP_OK, "%s", err.text);
        cr_assert_eq(endpoint_has_ports(&endpoint), i < 2);
        endpoint_text(&endpoint, text);
        cr_assert_str_eq(text, TEXTS[i]);
    }
}

Test(transport, who_can_reach_an_endpoint)
{
    static const struct {
        const char *text;
        bool local;
    } CASES[] = {{"tcp://localhost:0", true},
                 {"tcp://127.0.0.1:7700", true},
                 {"tcp://127.1:7700", true},
                 {"tcp://[::1]:7700", true},
                 {"tcp://lo:7700", true},
                 {"tcp://127.example.org:7700", false},
                 {"tcp://localhost.x:1", false},
                 {"tcp://0.0.0.0:1", false},
                 {"tcp://*:1", false},
                 {"ipc:///run/dp", true},
                 {"ipc://@dp", true}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        const char *rest;
        const struct transport *way = transport_of(CASES[i].text, &rest);
        cr_assert_eq(way->is_local(rest), CASES[i].local, "%s", CASES[i].text);
    }
}

Test(transport, a_place_beside_another_and_the_way_to_it)
{
    static const struct {
        const char *text, *beside, *at_host;
    } CASES[] = {{"tcp://127.0.0.1:7700", "tcp://127.0.0.1:0", "tcp://h:7700"},
                 {"tcp://[::]:41", "tcp://[::]:0", "tcp://h:41"},
                 {"ipc:///run/dp", "ipc://@dp-1", "ipc:///run/dp"},
                 {"ipc://@dp", "ipc://@dp-1", "ipc://@dp"}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char text[ENDPOINT_TEXT_MAX];
        const char *rest;
        const struct transport *way = transport_of(CASES[i].text, &rest);
        way->beside(rest, "dp-1", text, sizeof text);
        cr_assert_str_eq(text, CASES[i].beside);
        way->at_host(rest, "h", text, sizeof text);
        cr_assert_str_eq(text, CASES[i].at_host);
    }
}

Test(transport, a_path_is_cleaned_and_nothing_else_is_left)
{
    char path[] = "/tmp/dp-transport-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    transport_get(TRANSPORT_IPC)->clean(path);
    cr_assert_eq(access(path, F_OK), -1);
    transport_get(TRANSPORT_IPC)->clean("@dp-of-nobody");
    cr_assert_null(transport_get(TRANSPORT_TCP)->clean);
}
