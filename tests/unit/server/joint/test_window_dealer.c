/* Step windows of two shards, the dealer and workers that die, join, are slow and are given what others hold too, in
 * any order: the arithmetic of a job, without its network. Invariants, whatever happens:
 *   - no worker has theta of a step beyond low + 1 + staleness (the bound), and no push is ahead of its window;
 *   - low never goes back, and a step that is complete has each of its slots exactly once;
 *   - with one worker alive, whoever died when, the job goes on. */
#include <criterion/criterion.h>
#include <string.h>

#include "common/base/util.h"
#include "server/deal/dealer.h"
#include "server/step/steps.h"
#include "tests/unit/support/leaks.h"

#define ROLL_SEED 0x9e3779b97f4a7c15u
#include "tests/unit/support/roll.h"

enum { SEQUENCES = 100000, EVENTS = 100, SHARDS = 2, WORKERS = 4, SLOTS_MAX = 9, STEPS = 64, LETTERS = 128 };

/* The head's Assign to a worker. Sets of slots are bits. */
struct letter {
    uint64_t from, extra_step;
    uint32_t slots, extra;
};

struct worker {
    bool alive;
    bool member; /* the head takes it for alive */
    uint64_t step;
    uint32_t base[STEPS], extra[STEPS]; /* slots that it owes */
    uint32_t sent[SHARDS][STEPS];       /* slots that it has pushed, by shard */
    struct letter inbox[LETTERS];
    uint32_t read, written;
};

struct world {
    uint32_t slots;
    uint64_t staleness;
    struct steps window[SHARDS];
    uint64_t low; /* as the head knows it */
    struct dealer dealer;
    struct worker workers[WORKERS];
};

static bool odd_is_empty(const void *arg, uint32_t slot)
{
    return *(const bool *)arg && slot % 2 == 1;
}

static void open_steps(struct world *w, uint32_t shard, uint64_t step)
{
    bool holes = step % 5 == 4;
    steps_open(&w->window[shard], step, odd_is_empty, &holes);
}

static void world_init(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->slots = 1 + roll(SLOTS_MAX);
    w->staleness = roll(3);
    cr_assert_eq(dealer_init(&w->dealer, w->slots, 0), DP_OK);
    for (uint32_t s = 0; s < SHARDS; s++) {
        cr_assert_eq(steps_init(&w->window[s], w->slots, w->staleness, 0), DP_OK);
        for (uint64_t step = 0; step <= w->staleness; step++)
            open_steps(w, s, step);
    }
}

static void world_fini(struct world *w)
{
    dealer_fini(&w->dealer);
    for (uint32_t s = 0; s < SHARDS; s++)
        steps_fini(&w->window[s]);
}

/* ---- the head ---- */

static uint32_t slots_of(const struct world *w, const uint32_t *owner, uint32_t member)
{
    uint32_t set = 0;
    for (uint32_t k = 0; k < w->slots; k++)
        set |= (uint32_t)(owner[k] == member) << k;
    return set;
}

static void tell(struct world *w, uint32_t member, uint32_t more)
{
    struct worker *to = &w->workers[member];
    cr_assert_lt(to->written, LETTERS);
    to->inbox[to->written++] = (struct letter){.from = w->dealer.from,
                                               .slots = slots_of(w, w->dealer.next_owner, member),
                                               .extra_step = w->dealer.at,
                                               .extra = slots_of(w, w->dealer.owner, member) | more};
}

static uint32_t list_members(const struct world *w, struct dealer_member *members)
{
    uint32_t count = 0;
    for (uint32_t m = 0; m < WORKERS; m++)
        if (w->workers[m].member)
            members[count++] = (struct dealer_member){.number = m, .speed = 0.25 + roll(8)};
    return count;
}

static void tell_all(struct world *w)
{
    for (uint32_t m = 0; m < WORKERS; m++)
        if (w->workers[m].member)
            tell(w, m, 0);
}

static void deal(struct world *w)
{
    struct dealer_member members[WORKERS];
    uint32_t count = list_members(w, members);
    dealer_deal(&w->dealer, w->low, (uint32_t)w->staleness, members, count);
    tell_all(w);
}

static void balance(struct world *w)
{
    struct dealer_member members[WORKERS];
    uint32_t count = list_members(w, members);
    if (count > 0 && dealer_balance(&w->dealer, w->low, (uint32_t)w->staleness, members, count))
        tell_all(w);
}

static void notice_death(struct world *w, uint32_t m)
{
    if (w->workers[m].member && !w->workers[m].alive) {
        w->workers[m].member = false;
        deal(w);
    }
}

static void notice_low(struct world *w)
{
    uint64_t low = UINT64_MAX;
    for (uint32_t s = 0; s < SHARDS; s++)
        low = MIN(low, w->window[s].next);
    cr_assert_geq(low, w->low, "low goes back");
    w->low = low;
    dealer_open(&w->dealer, low);
}

/* A copy of a slot of the open step, or, after a stall, the slot itself. */
static void give(struct world *w, uint32_t m, bool copy)
{
    uint32_t slot = roll(w->slots);
    if (!w->workers[m].member)
        return;
    if (!copy)
        dealer_reassign(&w->dealer, w->low, slot, m);
    tell(w, m, 1u << slot);
}

/* ---- workers ---- */

static void join(struct world *w, uint32_t m)
{
    if (w->workers[m].alive || w->workers[m].member)
        return;
    memset(&w->workers[m], 0, sizeof w->workers[m]);
    w->workers[m].alive = w->workers[m].member = true;
    w->workers[m].step = w->low;
    deal(w);
}

static void read_letter(struct worker *worker)
{
    if (worker->read == worker->written)
        return;
    const struct letter *letter = &worker->inbox[worker->read++];
    for (uint64_t step = letter->from; step < STEPS; step++)
        worker->base[step] = letter->slots;
    worker->extra[letter->extra_step] |= letter->extra;
}

/* Goes on where theta of the next step can be had from all shards. */
static void advance(struct world *w, struct worker *worker)
{
    uint64_t next = MAX(worker->step + 1, w->low);
    for (uint32_t s = 0; s < SHARDS; s++)
        if (!steps_pull_ready(&w->window[s], next))
            return;
    for (uint32_t s = 0; s < SHARDS; s++)
        cr_assert_leq(next, w->window[s].next + w->staleness, "the bound");
    worker->step = next;
}

static void complete(struct world *w, uint32_t shard)
{
    struct steps *window = &w->window[shard];
    while (steps_complete(window, window->next)) {
        uint64_t step = window->next;
        for (uint32_t k = 0; k < w->slots; k++) {
            uint32_t times = 0;
            bool holes = step % 5 == 4;
            for (uint32_t node = window->leaves + k; node >= 1; node /= 2)
                times += steps_present(window, step, node);
            /* An empty slot may be under an inner node, and then it adds nothing. */
            cr_assert(times == 1 || (times == 0 && odd_is_empty(&holes, k)), "slot %u is there %u times", k, times);
        }
        steps_advance(window);
        open_steps(w, shard, window->next + w->staleness);
    }
}

/* Pushes a slot, or where both are done a pair of them, to one shard. */
static void push(struct world *w, struct worker *worker, uint32_t shard, uint64_t step, uint32_t slot)
{
    struct steps *window = &w->window[shard];
    uint32_t replaced[SLOTS_MAX], count, owed = worker->base[step] | worker->extra[step];
    uint32_t pair = 3u << (slot & ~1u), leaf = window->leaves + slot;
    bool whole = window->leaves > 1 && (owed & pair) == pair && roll(2);
    enum steps_verdict verdict = steps_offer(window, step, whole ? leaf / 2 : leaf, replaced, &count);
    cr_assert_neq(verdict, STEPS_AHEAD);
    worker->sent[shard][step] |= whole ? pair : 1u << slot;
    complete(w, shard);
}

/* Does some work that is owed at a step; false if there is none. */
static bool work(struct world *w, struct worker *worker, uint64_t step)
{
    uint32_t owed = worker->base[step] | worker->extra[step];
    uint32_t shift = roll(SHARDS * w->slots);
    for (uint32_t i = 0; i < SHARDS * w->slots; i++) {
        uint32_t at = (i + shift) % (SHARDS * w->slots), shard = at % SHARDS, slot = at / SHARDS;
        if (owed >> slot & ~worker->sent[shard][step] >> slot & 1) {
            push(w, worker, shard, step, slot);
            return true;
        }
    }
    return false;
}

/* ---- events ---- */

static void happen(struct world *w)
{
    uint32_t m = roll(WORKERS);
    struct worker *worker = &w->workers[m];
    uint64_t back = roll((uint32_t)w->staleness + 1);
    switch (roll(12)) {
    case 0:
        worker->alive = false;
        break;
    case 1:
        notice_death(w, m);
        break;
    case 2:
        join(w, m);
        break;
    case 3:
        balance(w);
        break;
    case 4:
        give(w, m, roll(2));
        break;
    case 5:
    case 6:
        notice_low(w);
        break;
    case 7:
        if (worker->alive)
            read_letter(worker);
        break;
    case 8:
        if (worker->alive)
            advance(w, worker);
        break;
    default:
        if (worker->alive)
            (void)work(w, worker, worker->step - MIN(worker->step, back));
        break;
    }
}

/* Nobody dies any more, and one at least lives: all is read, all that is owed is done. */
static void settle(struct world *w)
{
    for (uint32_t m = 0; m < WORKERS; m++)
        notice_death(w, m);
    join(w, 0);
    uint64_t want = w->low + 3;
    for (int round = 0; w->low < want; round++) {
        cr_assert_lt(round, 40, "a job of %u slots stands still at step %llu", w->slots, (unsigned long long)w->low);
        for (uint32_t m = 0; m < WORKERS; m++) {
            struct worker *worker = &w->workers[m];
            if (!worker->alive)
                continue;
            while (worker->read < worker->written)
                read_letter(worker);
            for (uint64_t step = w->low; step <= worker->step; step++)
                while (work(w, worker, step))
                    ;
            advance(w, worker);
        }
        notice_low(w);
    }
}

Test(window_dealer, whatever_happens_each_slot_counts_once_and_the_job_goes_on)
{
    static struct world w;
    uint64_t steps = 0;
    for (int sequence = 0; sequence < SEQUENCES; sequence++) {
        world_init(&w);
        for (int event = 0; event < EVENTS; event++)
            happen(&w);
        settle(&w);
        steps += w.low;
        world_fini(&w);
    }
    cr_assert_gt(steps, 3 * (uint64_t)SEQUENCES + SEQUENCES / 20, "steps are completed while workers die, too");
    ASSERT_NO_LEAKS();
}
