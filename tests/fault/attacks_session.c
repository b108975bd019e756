/* Attacks by those who are in: a session that pushes what was not dealt to it, that lies, hangs, or takes another's
 * name. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/util.h"
#include "tests/fault/hostile.h"

enum { PUSH_MS = 3000, ANSWER_MS = 3000 };

bool stage_enter(const struct stage *stage, struct insider *insider, struct why *why)
{
    if (insider_hello(insider, stage->facts, stage->job->endpoint) && insider_join(insider, stage->facts))
        return true;
    insider_leave(insider, false);
    return why_not(why, "a worker with the right data is not taken in");
}

/* Pushes a node of a step to the first slice of a shard: `value` everywhere. */
static bool push(struct insider *insider, struct raw_peer *peer, uint32_t shard, uint64_t step, uint32_t level,
                 uint32_t index, float value)
{
    Dp__PushPull body = DP__PUSH_PULL__INIT;
    Dp__Metrics metrics = DP__METRICS__INIT;
    Dp__Header header = insider_header(insider);
    uint64_t elems = insider->first_elems[shard];
    AUTOFREE float *gradient = mem_array(elems + 1, sizeof *gradient);
    if (!gradient)
        return false;
    for (uint64_t i = 0; i < elems; i++)
        gradient[i] = value;
    metrics.count = 8u << level;
    metrics.loss = 0.001;
    body.slice = insider->first_slice[shard];
    body.push = true;
    body.step = step;
    body.level = level;
    body.index = index;
    body.metrics = &metrics;
    header.body_case = DP__HEADER__BODY_PUSH_PULL;
    header.push_pull = &body;
    return raw_send(peer, &header, gradient, elems * sizeof *gradient);
}

/* A heartbeat, so that the session lives on. */
static void beat(struct insider *insider)
{
    Dp__Heartbeat body = DP__HEARTBEAT__INIT;
    Dp__Header header = insider_header(insider);
    header.body_case = DP__HEADER__BODY_HEARTBEAT;
    header.heartbeat = &body;
    (void)raw_send(&insider->head, &header, NULL, 0);
}

/* For some seconds: pushes nodes of the steps that are open, again and again. Slots that it was dealt would look like
 * a worker's, so it pushes nodes that a worker of three does not hold: the root, and its halves. If a host has no
 * time for the two others, a half may be dealt to it after all: the report of wrong bits says so. */
static bool push_what_was_not_dealt(const struct stage *stage, uint32_t down, struct why *why)
{
    struct insider insider;
    struct raw_peer peers[JOB_SHARDS_MAX];
    struct job_state state = {0};
    uint64_t deadline_ms = mono_ms() + PUSH_MS;
    uint32_t shards = stage->job->config->shards;
    if (!stage_enter(stage, &insider, why))
        return false;
    bool ok = true;
    for (uint32_t s = 0; s < shards; s++)
        ok = raw_connect(&peers[s], stage->job->shards[s], NULL, 0) && ok;
    while (ok && mono_ms() < deadline_ms) {
        ok = job_status(stage->job, &state, why);
        for (uint64_t step = state.step; ok && step < state.step + 3; step++)
            for (uint32_t s = 0; s < shards; s++)
                for (uint32_t i = 0; i < 1u << down; i++)
                    (void)push(&insider, &peers[s], s, step, insider.level - down, i, -5.0f);
        beat(&insider);
        insider_listen(&insider);
        for (uint32_t i = 0; i < 1u << down; i++)
            stage->job->liar_was_dealt |= insider_may_hold(&insider, insider.level - down, i);
        for (uint32_t s = 0; s < shards; s++)
            if (raw_closed(&peers[s], 1))
                ok = raw_connect(&peers[s], stage->job->shards[s], NULL, 0);
    }
    for (uint32_t s = 0; s < shards; s++)
        raw_close(&peers[s]);
    insider_leave(&insider, true);
    return ok;
}

static bool push_root(const struct stage *stage, struct why *why)
{
    return push_what_was_not_dealt(stage, 0, why);
}

static bool push_halves(const struct stage *stage, struct why *why)
{
    return push_what_was_not_dealt(stage, 1, why);
}

/* Steps and slices that are not there, wrong sizes, wrong sessions. */
static bool lies(const struct stage *stage, struct why *why)
{
    static const uint64_t STEPS[] = {1000000, 1ull << 60, UINT64_MAX};
    struct insider insider;
    struct raw_peer peer;
    if (!stage_enter(stage, &insider, why))
        return false;
    if (!raw_connect(&peer, stage->job->shards[0], NULL, 0)) {
        insider_leave(&insider, true);
        return why_not(why, "nobody can connect to a shard");
    }
    uint64_t elems = insider.first_elems[0];
    for (int i = 0; i < 300; i++) {
        insider.first_elems[0] = i % 5 == 0 ? elems + 1 : i % 5 == 1 ? 0 : elems;
        insider.first_slice[0] = i % 7 == 0 ? 99999 : 0;
        insider.session ^= i % 4 == 0 ? 1ull << 40 : 0;
        insider.incarnation ^= i % 6 == 0 ? 1 : 0;
        if (!push(&insider, &peer, 0, STEPS[(size_t)i % ARRAY_LEN(STEPS)], (uint32_t)i % 14, (uint32_t)i % 9, 1e30f))
            break;
        insider.session ^= i % 4 == 0 ? 1ull << 40 : 0;
        insider.incarnation ^= i % 6 == 0 ? 1 : 0;
    }
    insider.first_elems[0] = elems;
    (void)raw_closed(&peer, 100);
    raw_close(&peer);
    insider_leave(&insider, true);
    return true;
}

/* Holds slots, says that it lives, delivers nothing. */
static bool hung(const struct stage *stage, struct why *why)
{
    enum { HUNG = 3, BEATS = 60, BEAT_MS = 100, STEPS = 20 };
    struct insider insiders[HUNG];
    struct job_state before = {0}, after = {0};
    int count = 0;
    while (count < HUNG && stage_enter(stage, &insiders[count], why))
        count++;
    bool ok = count == HUNG && job_status(stage->job, &before, why);
    for (int b = 0; ok && b < BEATS; b++)
        for (int i = 0; i < HUNG; i++) {
            beat(&insiders[i]);
            (void)raw_closed(&insiders[i].head, BEAT_MS / HUNG);
        }
    ok = ok && job_status(stage->job, &after, why);
    for (int i = 0; i < count; i++)
        insider_leave(&insiders[i], true);
    if (ok && after.step < before.step + STEPS)
        return why_not(why, "with %d hung members %llu steps were made in %d s", HUNG,
                       (unsigned long long)(after.step - before.step), BEATS * BEAT_MS / 1000);
    return ok;
}

/* A peer that has overheard a hello says it as well. */
static bool overheard_hello(const struct stage *stage, struct why *why)
{
    struct insider insider;
    struct raw_peer thief;
    Dp__Hello hello = *stage->facts->hello;
    Dp__Header header = DP__HEADER__INIT;
    if (!stage_enter(stage, &insider, why))
        return false;
    hello.worker = insider.worker;
    hello.name = (char *)"thief";
    header.request = 1;
    header.body_case = DP__HEADER__BODY_HELLO;
    header.hello = &hello;
    bool ok = true;
    for (int i = 0; ok && i < 10; i++) {
        if (!raw_connect(&thief, stage->job->endpoint, NULL, 0))
            continue;
        (void)insider_ask(&thief, &header);
        raw_close(&thief);
        ok = insider_is_heard(&insider);
    }
    insider_leave(&insider, true);
    return ok ? true : why_not(why, "an overheard hello ends its worker's session");
}

/* Goodbyes, joins and heartbeats of sessions near its own. */
static bool other_sessions(const struct stage *stage, struct why *why)
{
    struct insider insider;
    Dp__Bye bye = DP__BYE__INIT;
    if (!stage_enter(stage, &insider, why))
        return false;
    for (uint64_t i = 1; i < 4096; i++) {
        Dp__Header header = insider_header(&insider);
        header.session ^= i;
        header.body_case = DP__HEADER__BODY_BYE;
        header.bye = &bye;
        if (!raw_send(&insider.head, &header, NULL, 0))
            break;
        if (i % 64 == 0)
            (void)raw_closed(&insider.head, 1);
    }
    insider_leave(&insider, true);
    return true;
}

/* A message with a payload as large as members may send, most of which does not come. */
static bool begin_large(struct insider *insider, struct raw_peer *peer)
{
    enum { ANNOUNCED = 31 << 20, SENT = 8 << 20 };
    static const uint8_t ZEROS[1 << 20];
    Dp__PushPull body = DP__PUSH_PULL__INIT;
    Dp__Header header = insider_header(insider);
    uint8_t packed[256];
    header.body_case = DP__HEADER__BODY_PUSH_PULL;
    header.push_pull = &body;
    body.push = true;
    size_t bytes = frame_size(&header);
    if (bytes > sizeof packed)
        return false;
    frame_write(&header, packed);
    bool ok = raw_frame(peer, RAW_MORE, packed, bytes) && raw_frame_head(peer, 0, ANNOUNCED);
    for (size_t sent = 0; ok && sent < SENT; sent += sizeof ZEROS)
        ok = raw_write(peer, ZEROS, sizeof ZEROS);
    return ok && !raw_closed(peer, 1);
}

/* One member's token on many connections, each of which has a large message that is not finished. */
static bool unfinished(const struct stage *stage, struct why *why)
{
    enum { CONNECTIONS = 60, MOST = 30 };
    static struct raw_peer peers[CONNECTIONS];
    struct insider insider;
    int held = 0;
    if (!stage_enter(stage, &insider, why))
        return false;
    for (int i = 0; i < CONNECTIONS; i++)
        held += raw_connect(&peers[i], stage->job->shards[0], NULL, 0) && begin_large(&insider, &peers[i]);
    for (int i = 0; i < CONNECTIONS; i++)
        raw_close(&peers[i]);
    insider_leave(&insider, true);
    if (held > 0 && held <= MOST)
        return true;
    return why_not(why, "%d of %d connections of one member may each leave 31 MiB unfinished", held, CONNECTIONS);
}

/* Changes of the job that change nothing, more than a job could once have. */
static bool changes(const struct stage *stage, struct why *why)
{
    enum { TIMES = 200 };
    struct raw_peer peer;
    if (!raw_connect(&peer, stage->job->endpoint, NULL, 0))
        return why_not(why, "nobody can connect");
    bool ok = true;
    for (int i = 0; ok && i < TIMES; i++) {
        Dp__Set body = DP__SET__INIT;
        Dp__Header header = DP__HEADER__INIT;
        body.name = (char *)(i % 2 ? "lr" : "consistency");
        body.value = i % 2 ? 0.01 : 0;
        body.text = (char *)(i % 2 ? "" : "bsp");
        header.request = (uint64_t)i + 1;
        header.body_case = DP__HEADER__BODY_SET;
        header.set = &body;
        const Dp__Header *answer = insider_ask(&peer, &header);
        ok = answer && answer->body_case == DP__HEADER__BODY_APPLIED;
        if (!ok)
            (void)why_not(why, "change number %d: %s", i + 1,
                          answer && answer->body_case == DP__HEADER__BODY_ERROR ? answer->error->text : "no answer");
    }
    raw_close(&peer);
    return ok;
}

const struct attack SESSION_ATTACKS[] = {
    {"push-root", "a member pushes the root of each step", push_root},
    {"push-halves", "a member pushes what other members hold", push_halves},
    {"lies", "pushes of steps, slices, sizes and sessions that are not", lies},
    {"hung", "members that say they live and deliver nothing", hung},
    {"overheard-hello", "says hello with the number of another worker", overheard_hello},
    {"other-sessions", "goodbyes for sessions near its own", other_sessions},
    {"unfinished", "a member leaves large messages unfinished on many connections", unfinished},
    {"changes", "hundreds of changes of the learning rate and of consistency", changes},
    {0},
};
