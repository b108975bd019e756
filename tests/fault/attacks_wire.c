/* Attacks below messages: greetings, identities, frames. */
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "tests/fault/hostile.h"

enum { CLOSE_MS = 3000 };

static const uint8_t SOME[1 << 16];

int stage_ports(const struct stage *stage, const char *ports[PORTS_MAX])
{
    int count = 0;
    ports[count++] = stage->job->endpoint;
    for (uint32_t s = 0; s < stage->job->config->shards; s++)
        if (strcmp(stage->job->shards[s], stage->job->endpoint) != 0)
            ports[count++] = stage->job->shards[s];
    return count;
}

/* ---- identities ---- */

static void id_write(uint8_t id[5], uint32_t number)
{
    id[0] = 0;
    for (int i = 0; i < 4; i++)
        id[1 + i] = (uint8_t)(number >> 8 * (3 - i));
}

/* libzmq numbers the peers of a ROUTER that name no identity from a random number on; without a seed it is this. */
static bool next_identity(const struct stage *stage, struct why *why)
{
    enum { CLAIMED = 64, PLAIN = 64, NUMBERS = 8 };
    static const uint32_t RAND[2 * NUMBERS] = {/* rand() of glibc without a seed; libzmq takes two for a number */
                                               1804289383, 846930886,  1681692777, 1714636915, 1957747793, 424238335,
                                               719885386,  1649760492, 596516649,  1189641421, 1025202362, 1350490027,
                                               783368690,  1102520059, 2044897763, 1967513926};
    static struct raw_peer peers[CLAIMED + PLAIN];
    const char *ports[PORTS_MAX];
    uint32_t bases[NUMBERS];
    (void)why;
    int count = stage_ports(stage, ports);
    for (int i = 0; i < NUMBERS; i++)
        bases[i] = RAND[2 * i] | RAND[2 * i + 1] << 31;
    for (int p = 0; p < count; p++) {
        for (uint32_t i = 0; i < CLAIMED; i++) {
            uint8_t id[5];
            id_write(id, bases[i % NUMBERS] + i / NUMBERS);
            (void)raw_connect(&peers[i], ports[p], id, sizeof id);
        }
        for (int i = CLAIMED; i < CLAIMED + PLAIN; i++)
            (void)raw_connect(&peers[i], ports[p], NULL, 0);
        for (int i = 0; i < CLAIMED + PLAIN; i++)
            raw_close(&peers[i]);
    }
    return true;
}

/* Whether a peer with this identity is turned away. */
static bool is_turned_away(const char *port, const void *identity, size_t bytes)
{
    struct raw_peer peer;
    bool away = !raw_connect(&peer, port, identity, bytes) || raw_closed(&peer, CLOSE_MS);
    raw_close(&peer);
    return away;
}

static bool chosen_identities(const struct stage *stage, struct why *why)
{
    static const size_t SIZES[] = {1, 4, 5, 17, 255};
    static uint8_t id[256];
    const char *ports[PORTS_MAX];
    int count = stage_ports(stage, ports);
    for (int p = 0; p < count; p++)
        for (size_t i = 0; i < ARRAY_LEN(SIZES); i++) {
            memset(id, i % 2 ? 0 : 'x', sizeof id);
            if (!is_turned_away(ports[p], id, SIZES[i]))
                return why_not(why, "an identity of %zu bytes was taken", SIZES[i]);
        }
    return true;
}

static bool reused_identity(const struct stage *stage, struct why *why)
{
    enum { TIMES = 3000, EACH_MAX = 2000 };
    const char *ports[PORTS_MAX];
    int count = stage_ports(stage, ports);
    uint64_t before = process_rss(stage->job->server);
    for (int i = 0; i < TIMES; i++) {
        struct raw_peer peer;
        (void)raw_connect(&peer, ports[i % count], "same", 4);
        raw_close(&peer);
    }
    uint64_t after = process_rss(stage->job->server);
    if (after > before + (uint64_t)RSS_SCALE * TIMES * EACH_MAX + RSS_SCALE * (16 << 20))
        return why_not(why, "%d connections of one identity left %llu KiB behind", TIMES,
                       (unsigned long long)(after - before) >> 10);
    return true;
}

/* ---- greetings ---- */

/* Begins a connection with these bytes. */
static void begin(const char *port, const void *bytes, size_t size, struct raw_peer *peer)
{
    if (raw_open(peer, port))
        (void)raw_write(peer, bytes, size);
}

static bool bad_greetings(const struct stage *stage, struct why *why)
{
    static const char *const MECHANISMS[] = {"PLAIN", "CURVE", "GSSAPI", "NULLX", ""};
    static const uint8_t OLD[][14] = {
        {1, 0}, {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 1, 5, 0, 0}, {0}, {'G', 'E', 'T', ' '}};
    const char *ports[PORTS_MAX];
    int count = stage_ports(stage, ports);
    for (int p = 0; p < count; p++) {
        struct raw_peer peers[ARRAY_LEN(MECHANISMS) + ARRAY_LEN(OLD)];
        uint8_t greeting[RAW_GREETING_BYTES];
        for (size_t i = 0; i < ARRAY_LEN(MECHANISMS); i++) {
            raw_greeting(greeting);
            memset(greeting + 12, 0, 20);
            memcpy(greeting + 12, MECHANISMS[i], strlen(MECHANISMS[i]));
            begin(ports[p], greeting, sizeof greeting, &peers[i]);
        }
        for (size_t i = 0; i < ARRAY_LEN(OLD); i++)
            begin(ports[p], OLD[i], sizeof OLD[i], &peers[ARRAY_LEN(MECHANISMS) + i]);
        for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
            /* An unknown security mechanism is turned away at once, half a greeting in time. */
            bool closed = raw_closed(&peers[i], i < ARRAY_LEN(MECHANISMS) ? CLOSE_MS : 0);
            raw_close(&peers[i]);
            if (!closed && i < ARRAY_LEN(MECHANISMS))
                return why_not(why, "security '%s' was not turned away", MECHANISMS[i]);
        }
    }
    return true;
}

static bool bad_ready(const struct stage *stage, struct why *why)
{
    static const char *const TYPES[] = {"PUB", "SUB", "REQ", "ROUTER", "PAIR", "STREAM", "XX"};
    const char *ports[PORTS_MAX];
    int count = stage_ports(stage, ports);
    for (size_t i = 0; i < ARRAY_LEN(TYPES); i++) {
        struct raw_peer peer;
        uint8_t greeting[RAW_GREETING_BYTES], ready[RAW_COMMAND_MAX + 16];
        raw_greeting(greeting);
        if (!raw_open(&peer, ports[i % (size_t)count]))
            return why_not(why, "nobody can connect");
        (void)raw_write(&peer, greeting, sizeof greeting);
        size_t size = raw_ready(ready, TYPES[i], SOME, i == 3 ? 3000 : 0);
        if (raw_write(&peer, ready, size))
            (void)raw_frame(&peer, 0, SOME, 10);
        (void)raw_closed(&peer, 20);
        raw_close(&peer);
    }
    return true;
}

static bool commands(const struct stage *stage, struct why *why)
{
    static const char *const NAMES[] = {"\4PING\0\0", "\4PONG",  "\5ERROR\1x", "\11SUBSCRIBE",
                                        "\6CANCEL",   "\5READY", "\4JOIN",     ""};
    const char *ports[PORTS_MAX];
    int count = stage_ports(stage, ports);
    (void)why;
    for (size_t i = 0; i < 4 * ARRAY_LEN(NAMES); i++) {
        struct raw_peer peer;
        uint8_t body[1 << 16] = {0};
        const char *name = NAMES[i % ARRAY_LEN(NAMES)];
        size_t bytes = (size_t[]){strlen(name), 10, 300, sizeof body}[i / ARRAY_LEN(NAMES)];
        memcpy(body, name, strlen(name));
        if (!raw_connect(&peer, ports[i % (size_t)count], NULL, 0))
            continue;
        for (int k = 0; k < 200 && raw_frame(&peer, RAW_COMMAND, body, bytes); k++)
            ;
        raw_close(&peer);
    }
    return true;
}

/* ---- frames ---- */

/* Sends frames that each announce another, `most` bytes of them; whether the server hangs up, and its memory at most.
 */
static bool endless(const struct stage *stage, const char *port, size_t bytes, uint64_t most, struct why *why)
{
    enum { RSS_MORE = RSS_SCALE * (64 << 20) };
    struct raw_peer peer;
    uint64_t before = process_rss(stage->job->server), sent = 0, rss = 0;
    if (!raw_connect(&peer, port, NULL, 0))
        return why_not(why, "nobody can connect");
    while (sent < most && raw_frame(&peer, RAW_MORE, SOME, bytes)) {
        sent += bytes + 2;
        if (sent % (1 << 20) < bytes + 2)
            rss = MAX(rss, process_rss(stage->job->server));
    }
    bool closed = raw_closed(&peer, CLOSE_MS);
    raw_close(&peer);
    if (rss > before + RSS_MORE)
        return why_not(why, "a message without an end took %llu MiB", (unsigned long long)(rss - before) >> 20);
    return closed ? true : why_not(why, "a message of more than %llu bytes goes on", (unsigned long long)sent);
}

static bool endless_message(const struct stage *stage, struct why *why)
{
    const char *ports[PORTS_MAX];
    int count = stage_ports(stage, ports);
    for (int p = 0; p < count; p++)
        if (!endless(stage, ports[p], sizeof SOME, 256 << 20, why) || !endless(stage, ports[p], 1000, 16 << 20, why))
            return false;
    return true;
}

static bool endless_empty(const struct stage *stage, struct why *why)
{
    enum { FRAMES = 10000 };
    static uint8_t empty[2 * FRAMES];
    const char *ports[PORTS_MAX];
    int count = stage_ports(stage, ports);
    for (int i = 0; i < FRAMES; i++)
        empty[2 * i] = RAW_MORE;
    for (int p = 0; p < count; p++) {
        struct raw_peer peer;
        if (!raw_connect(&peer, ports[p], NULL, 0))
            return why_not(why, "nobody can connect");
        for (int i = 0; i < 500 && raw_write(&peer, empty, sizeof empty); i++)
            ;
        bool closed = raw_closed(&peer, CLOSE_MS);
        raw_close(&peer);
        if (!closed)
            return why_not(why, "a message of empty frames without an end goes on");
    }
    return true;
}

/* A stranger announces a frame that only members may send. */
static bool large_frames(const struct stage *stage, struct why *why)
{
    static const uint64_t SIZES[] = {1 << 20, 31 << 20, 1ull << 32, UINT64_MAX >> 1, UINT64_MAX};
    const char *ports[PORTS_MAX];
    int count = stage_ports(stage, ports);
    for (int p = 0; p < count; p++)
        for (size_t i = 0; i < ARRAY_LEN(SIZES); i++) {
            struct raw_peer peer;
            if (!raw_connect(&peer, ports[p], NULL, 0))
                return why_not(why, "nobody can connect");
            (void)raw_frame_head(&peer, 0, SIZES[i]);
            (void)raw_write(&peer, SOME, 100);
            bool closed = raw_closed(&peer, CLOSE_MS);
            raw_close(&peer);
            if (!closed)
                return why_not(why, "a frame of %llu bytes by a stranger is waited for", (unsigned long long)SIZES[i]);
        }
    return true;
}

/* Most of a frame's bytes come, then nothing. */
static bool unfinished_frames(const struct stage *stage, struct why *why)
{
    enum { CROWD = 100, BYTES = 32 << 20, RSS_MORE = RSS_SCALE * (96 << 20) };
    static struct raw_peer peers[CROWD];
    const char *ports[PORTS_MAX];
    int count = stage_ports(stage, ports);
    uint64_t before = process_rss(stage->job->server);
    for (int i = 0; i < CROWD; i++) {
        if (!raw_connect(&peers[i], ports[i % count], NULL, 0))
            continue;
        (void)raw_frame_head(&peers[i], 0, BYTES);
        for (size_t sent = 0; sent < 4 << 20 && raw_write(&peers[i], SOME, sizeof SOME); sent += sizeof SOME)
            ;
    }
    uint64_t after = process_rss(stage->job->server);
    for (int i = 0; i < CROWD; i++)
        raw_close(&peers[i]);
    if (after > before + RSS_MORE)
        return why_not(why, "%d unfinished frames hold %llu MiB", CROWD, (unsigned long long)(after - before) >> 20);
    return true;
}

/* Noise, at each stage of a connection. */
static bool noise(const struct stage *stage, struct why *why)
{
    enum { ROUNDS = 300 };
    static uint64_t bytes[1 << 10];
    const char *ports[PORTS_MAX];
    int count = stage_ports(stage, ports);
    uint64_t x = 88172645463325252;
    (void)why;
    for (int i = 0; i < ROUNDS; i++) {
        struct raw_peer peer;
        for (size_t k = 0; k < ARRAY_LEN(bytes); k++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            bytes[k] = x;
        }
        uint8_t greeting[RAW_GREETING_BYTES];
        raw_greeting(greeting);
        bool open = i % 3 == 2 ? raw_connect(&peer, ports[i % count], NULL, 0) : raw_open(&peer, ports[i % count]);
        if (open && i % 3 == 1)
            (void)raw_write(&peer, greeting, sizeof greeting);
        if (open)
            (void)raw_write(&peer, bytes, 1 + x % sizeof bytes);
        raw_close(&peer);
    }
    return true;
}

const struct attack WIRE_ATTACKS[] = {
    {"next-identity", "names the ids that libzmq will give to others", next_identity},
    {"chosen-identity", "names an identity of its own", chosen_identities},
    {"reused-identity", "one identity for thousands of connections", reused_identity},
    {"greetings", "old, cut and foreign greetings", bad_greetings},
    {"ready", "other kinds of sockets, large metadata, data before READY", bad_ready},
    {"commands", "ZMTP commands, known and unknown, short and long", commands},
    {"endless-message", "one message of frames without an end", endless_message},
    {"endless-empty", "one message of empty frames without an end", endless_empty},
    {"large-frames", "a stranger announces frames that members may send", large_frames},
    {"unfinished-frames", "most of a large frame comes, then nothing", unfinished_frames},
    {"noise", "random bytes before, after and amid the greeting", noise},
    {0},
};
