/* Attacks by numbers: connections that are held, hellos that never join, connections that come and go. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "common/base/entropy.h"
#include "tests/fault/hostile.h"

enum { CROWD_MAX = 1500, FILES_OWN = 64 };

static struct raw_peer crowd[CROWD_MAX];

/* As many as our own limit of open files allows. */
static int crowd_size(int wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < (rlim_t)wanted + FILES_OWN)
        return (int)limit.rlim_cur - FILES_OWN;
    return wanted;
}

static void disperse(int size)
{
    for (int i = 0; i < size; i++)
        raw_close(&crowd[i]);
}

/* While the crowd is there: the job goes on, and a newcomer is welcome. */
static bool newcomer_is_welcome(const struct stage *stage, struct why *why)
{
    struct job_state state;
    struct insider insider;
    if (!job_status(stage->job, &state, why))
        return false;
    bool welcome = insider_hello(&insider, stage->facts, stage->job->endpoint) && insider_join(&insider, stage->facts);
    insider_leave(&insider, welcome);
    return welcome ? true : why_not(why, "a newcomer is not taken in while the crowd is there");
}

static bool idle_tcp(const struct stage *stage, struct why *why)
{
    const char *ports[PORTS_MAX];
    int count = stage_ports(stage, ports), size = crowd_size(CROWD_MAX);
    for (int i = 0; i < size; i++)
        (void)raw_open(&crowd[i], ports[i % count]);
    bool ok = newcomer_is_welcome(stage, why);
    disperse(size);
    return ok;
}

static bool idle_ready(const struct stage *stage, struct why *why)
{
    const char *ports[PORTS_MAX];
    int count = stage_ports(stage, ports), size = crowd_size(CROWD_MAX);
    for (int i = 0; i < size; i++)
        (void)raw_connect(&crowd[i], ports[i % count], NULL, 0);
    bool ok = newcomer_is_welcome(stage, why);
    disperse(size);
    return ok;
}

static bool say_hello(struct raw_peer *peer, const struct facts *facts, int number)
{
    Dp__Hello hello = *facts->hello;
    Dp__Header header = DP__HEADER__INIT;
    char name[FRAME_NAME_MAX];
    snprintf(name, sizeof name, "crowd%d%0*d", number, 100, 0); /* long, to make the status large */
    hello.worker = entropy_u64();
    hello.name = name;
    hello.pid = 0;
    header.request = 1;
    header.body_case = DP__HEADER__BODY_HELLO;
    header.hello = &hello;
    return raw_send(peer, &header, NULL, 0);
}

static bool hellos(const struct stage *stage, struct why *why)
{
    int size = crowd_size(CROWD_MAX);
    for (int i = 0; i < size; i++)
        if (raw_connect(&crowd[i], stage->job->endpoint, NULL, 0))
            (void)say_hello(&crowd[i], stage->facts, i);
    for (int i = 0; i < size; i += 10) /* some again */
        if (crowd[i].fd >= 0)
            (void)say_hello(&crowd[i], stage->facts, i);
    bool ok = newcomer_is_welcome(stage, why);
    disperse(size);
    return ok;
}

/* Comes, says something, goes. */
static bool churn(const struct stage *stage, struct why *why)
{
    enum { TIMES = 3000 };
    const char *ports[PORTS_MAX];
    int count = stage_ports(stage, ports);
    (void)why;
    for (int i = 0; i < TIMES; i++) {
        struct raw_peer peer;
        bool open = i % 3 == 0 ? raw_open(&peer, ports[i % count]) : raw_connect(&peer, ports[i % count], NULL, 0);
        if (open && i % 3 == 2)
            (void)say_hello(&peer, stage->facts, i);
        raw_close(&peer);
    }
    return true;
}

/* Sessions that join and leave, or vanish. */
static bool joins(const struct stage *stage, struct why *why)
{
    enum { TIMES = 150 };
    int joined = 0;
    for (int i = 0; i < TIMES; i++) {
        struct insider insider;
        joined += insider_hello(&insider, stage->facts, stage->job->endpoint) && insider_join(&insider, stage->facts);
        insider_leave(&insider, i % 3 > 0);
    }
    return joined > TIMES / 2 ? true : why_not(why, "only %d of %d sessions could join", joined, TIMES);
}

const struct attack CROWD_ATTACKS[] = {
    {"idle-tcp", "bare connections that say nothing", idle_tcp},
    {"idle-ready", "connections that say nothing after READY", idle_ready},
    {"hellos", "hellos that never join", hellos},
    {"churn", "connections that come and go", churn},
    {"joins", "sessions that join and leave, or vanish", joins},
    {0},
};
