/* Slots that become void and live again while steps go on: over random sequences of pushes, deaths and joins, with the
 * words between head and shards under way for any time, all slices of all shards commit each step of the same clients.
 *
 * The head of this test is server/assign/ranks.c's arithmetic alone. Each client's gradient is its own power of two,
 * and the rate 1, so that theta tells of each step which clients were in it. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "server/dense/slice.h"
#include "server/shard/shard.h"
#include "tests/unit/support/hear.h"
#include "tests/unit/support/leaks.h"

enum { SHARDS = 2, SLICES = 2, SLOTS = 3, ELEMS = 16, STEPS = 60, QUEUE = 512, RUNS = 300, EVENTS = 4000 };

/* A word under way: a roster or a go to a shard, readiness or completion to the head. */
struct word {
    bool is_first_kind; /* roster; ready */
    uint64_t step, number;
    uint8_t live[SLOTS];
};

struct words {
    size_t head, tail;
    struct word list[QUEUE];
};

struct client {
    bool there;
    bool told;                 /* that it has its slot */
    uint64_t step;             /* that it computes or has pushed */
    bool sent[SHARDS][SLICES]; /* of this step */
};

struct world {
    struct shard_job job;
    struct shard shards[SHARDS];
    struct shard_counters counters[SHARDS];
    struct words to_shard[SHARDS], to_head[SHARDS];
    struct client clients[SLOTS]; /* by rank */
    uint64_t go, number, ready[SHARDS], known[SHARDS], low[SHARDS];
    bool changed;
    float theta[STEPS + 1]; /* of step t, as the first slice that had it says */
    bool seen[STEPS + 1];
    uint64_t random;
};

static struct world w;

static uint32_t draw(uint32_t n)
{
    w.random = w.random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(w.random >> 33) % n;
}

static void word_put(struct words *words, struct word word)
{
    cr_assert_lt(words->tail - words->head, QUEUE);
    words->list[words->tail++ % QUEUE] = word;
}

/* -- reports of shards -- */

static uint32_t shard_of(void *arg)
{
    return (uint32_t)((struct shard_counters *)arg - w.counters);
}

static void on_params(void *arg, const struct params *params)
{
    (void)arg, (void)params;
}

static void on_refuse(void *arg, const struct refusal *refusal)
{
    (void)arg;
    cr_assert_fail("%s", refusal->text);
}

/* Theta of a step is the same everywhere. */
static void compare(const struct shard *shard, uint64_t step)
{
    for (uint32_t i = 0; i < SLICES; i++) {
        const struct version *version = slice_theta(&shard->slices[i], step);
        cr_assert_not_null(version);
        if (!w.seen[step])
            w.theta[step] = version->theta[0];
        w.seen[step] = true;
        cr_assert_eq(version->theta[0], w.theta[step], "step %llu of shard %u slice %u: %f instead of %f",
                     (unsigned long long)step, shard->id, i, (double)version->theta[0], (double)w.theta[step]);
    }
}

static void on_completed(void *arg, uint64_t step, const struct metrics *metrics)
{
    uint32_t s = shard_of(arg);
    cr_assert_geq(metrics->count, 1, "a step without anybody");
    compare(&w.shards[s], step + 1);
    word_put(&w.to_head[s], (struct word){.step = step + 1});
}

static void on_arrived(void *arg, uint32_t session, uint64_t step, uint32_t node)
{
    (void)arg, (void)session, (void)step, (void)node;
}

static void on_failed(void *arg, const dp_error *err)
{
    (void)arg;
    cr_assert_fail("%s", err->text);
}

static void on_ready(void *arg, uint64_t ready, uint64_t roster)
{
    word_put(&w.to_head[shard_of(arg)], (struct word){true, ready, roster, {0}});
}

static void on_event(void *arg, const struct event *event)
{
    hear_event(&(struct hearing){.completed = on_completed, .failed = on_failed, .ready = on_ready}, arg, event);
}

/* -- the head -- */

static bool all_known(void)
{
    for (int s = 0; s < SHARDS; s++)
        if (w.known[s] != w.number)
            return false;
    return true;
}

static void head_decide(void)
{
    struct word word = {.is_first_kind = w.changed};
    uint64_t go = UINT64_MAX;
    if (!all_known())
        return;
    for (int s = 0; s < SHARDS; s++)
        go = MIN(go, w.ready[s]);
    for (uint32_t k = 0; !w.changed && k < SLOTS; k++)
        if (w.clients[k].there && !w.clients[k].told)
            w.clients[k] = (struct client){.there = true, .told = true, .step = w.go};
    if (!w.changed && go <= w.go)
        return;
    if (w.changed)
        word.number = ++w.number;
    else
        word.step = w.go = go;
    for (uint32_t k = 0; k < SLOTS; k++)
        word.live[k] = w.clients[k].there;
    w.changed = false;
    for (int s = 0; s < SHARDS; s++)
        word_put(&w.to_shard[s], word);
}

static void head_hear(uint32_t s)
{
    struct words *words = &w.to_head[s];
    if (words->head == words->tail)
        return;
    struct word word = words->list[words->head++ % QUEUE];
    if (word.is_first_kind) {
        w.ready[s] = word.step;
        w.known[s] = word.number;
        head_decide();
        return;
    }
    w.low[s] = word.step;
    for (uint32_t t = 0; t < SHARDS; t++)
        shard_global_low(&w.shards[t], MIN(w.low[0], w.low[1]));
}

static void shard_hear(uint32_t s)
{
    struct words *words = &w.to_shard[s];
    if (words->head == words->tail)
        return;
    struct word word = words->list[words->head++ % QUEUE];
    if (word.is_first_kind)
        gate_roster(&w.shards[s], word.number, word.live);
    else
        shard_go(&w.shards[s], word.step);
}

/* -- clients -- */

static void client_push(uint32_t rank, uint32_t s, uint32_t slice)
{
    struct client *client = &w.clients[rank];
    if (!client->told || client->sent[s][slice] || client->step >= STEPS ||
        w.shards[s].slices[slice].window.next != client->step)
        return;
    client->sent[s][slice] = true;
    float *g = mem_array(ELEMS, sizeof *g);
    for (int i = 0; i < ELEMS; i++)
        g[i] = (float)(1 << rank);
    struct blob gradient = {g, ELEMS * sizeof *g, g, free};
    struct push_pull msg = {.session = rank, .piece = slice, .push = true, .step = client->step};
    msg.node = w.shards[s].slices[slice].window.leaves + rank;
    msg.metrics = (struct metrics){1, 1, 0};
    shard_push_pull(&w.shards[s], &msg, &gradient);
}

/* Goes on once theta of the next step is everywhere. */
static void client_turn(uint32_t rank)
{
    struct client *client = &w.clients[rank];
    for (int s = 0; s < SHARDS; s++)
        for (int i = 0; i < SLICES; i++)
            if (!client->told || w.shards[s].slices[i].window.next <= client->step)
                return;
    *client = (struct client){.there = true, .told = true, .step = client->step + 1};
}

static void client_die_or_join(uint32_t rank)
{
    struct client *client = &w.clients[rank];
    *client = (struct client){.there = !client->there};
    w.changed = true;
    head_decide();
}

static void world_begin(uint64_t seed)
{
    dp_error err;
    uint64_t shape = SHARDS * SLICES * ELEMS;
    w = (struct world){
        .random = seed,
        .job = {.plan = {.seed = 1, .train_rows = SLOTS, .batch = SLOTS, .train_steps = STEPS, .slots = SLOTS},
                .local = true,
                .rule = update_rule_at(0),
                .params = {.schedule.lr = 1.0}}};
    cr_assert_eq(tensors_add(&w.job.tensors, "w", 1, &shape, INIT_ZEROS, 0, true, &err), DP_OK);
    for (uint32_t s = 0; s < SHARDS; s++) {
        struct shard_calls calls = {
            .params = on_params, .refuse = on_refuse, .arrived = on_arrived, .emit = on_event, .arg = &w.counters[s]};
        struct range slices[SLICES] = {{s * SLICES * ELEMS, ELEMS}, {(s * SLICES + 1) * ELEMS, ELEMS}};
        shard_init(&w.shards[s], s, &w.counters[s], &calls);
        cr_assert_eq(shard_start(&w.shards[s], &w.job, s * SLICES, slices, SLICES, &err), DP_OK);
    }
}

static void world_act(bool deaths)
{
    uint32_t what = draw(100), s = draw(SHARDS);
    if (what < 50)
        client_push(draw(SLOTS), s, draw(SLICES));
    else if (what < 60)
        client_turn(draw(SLOTS));
    else if (what < 80)
        head_hear(s);
    else if (what < 97 || !deaths)
        shard_hear(s);
    else
        client_die_or_join(draw(SLOTS));
}

Test(roster, every_step_is_of_the_same_clients_everywhere)
{
    uint64_t steps = 0;
    for (uint64_t run = 1; run <= RUNS; run++) {
        world_begin(run);
        client_die_or_join(0);
        for (int i = 0; i < EVENTS; i++)
            world_act(true);
        steps += MIN(w.low[0], w.low[1]);
        /* With one client that lives, no death of others keeps the job from its end. */
        for (uint32_t k = 0; k < SLOTS; k++)
            if (w.clients[k].there != (k == 1))
                client_die_or_join(k);
        for (int i = 0; i < 200000 && MIN(w.low[0], w.low[1]) < STEPS; i++)
            world_act(false);
        cr_assert_eq(MIN(w.low[0], w.low[1]), STEPS, "run %llu stands still", (unsigned long long)run);
        for (int s = 0; s < SHARDS; s++)
            shard_fini(&w.shards[s]);
    }
    cr_assert_gt(steps, RUNS * 5, "too little happened: %llu steps", (unsigned long long)steps);
    ASSERT_NO_LEAKS();
}

/* Nobody is there: the job stands still, and goes on from where it was. */
Test(roster, a_step_waits_for_somebody)
{
    world_begin(1);
    for (int i = 0; i < 1000; i++)
        world_act(false);
    cr_assert_eq(w.low[0], 0);
    client_die_or_join(2);
    for (int i = 0; i < 20000; i++)
        world_act(false);
    cr_assert_eq(MIN(w.low[0], w.low[1]), STEPS);
    cr_assert_eq(w.theta[STEPS], -4.0f * STEPS);
    for (int s = 0; s < SHARDS; s++)
        shard_fini(&w.shards[s]);
    ASSERT_NO_LEAKS();
}
