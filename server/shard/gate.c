/* The gate of a shard; the invariants are in gate.h. Thread: shard. */
#include "server/shard/gate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "server/shard/tell.h"

void gate_init(struct gate *gate)
{
    *gate = (struct gate){.barrier = UINT64_MAX};
}

dp_err gate_attend(struct gate *gate, uint32_t slots, uint64_t first)
{
    gate->on = true;
    gate->go = gate->told_ready = first;
    gate->live = mem_array_zero(slots, 1);
    gate->coming = mem_array_zero(slots, 1);
    return gate->live && gate->coming ? DP_OK : DP_NOMEM;
}

void gate_fini(struct gate *gate)
{
    free(gate->live);
    free(gate->coming);
    gate_init(gate);
}

bool gate_lets(const struct gate *gate, uint64_t step)
{
    return step < gate->barrier && (!gate->on || step < gate->go);
}

bool gate_lets_commit(const struct shard *shard, const struct piece *piece)
{
    return !shard->failed && gate_lets(&shard->gate, piece->window->next) && piece->ops->ready(piece);
}

void gate_asked(struct gate *gate)
{
    gate->told_few = false;
}

void gate_go(struct gate *gate, uint64_t go)
{
    gate->go = MAX(gate->go, go);
    gate_asked(gate); /* the last word was about the step before */
}

uint32_t gate_dropped(const struct gate *gate, uint64_t step)
{
    return step == gate->drop_step ? gate->drop_count : 0;
}

/* Whether each piece has committed all that may go. */
static bool all_at_go(const struct shard *shard)
{
    for (uint32_t i = 0; i < shard->piece_count; i++)
        if (shard->pieces[i].window->next < MIN(shard->gate.go, shard->total_steps))
            return false;
    return true;
}

static void revise_all(struct shard *shard, const uint8_t *live)
{
    for (uint32_t i = 0; i < shard->piece_count; i++) {
        assert(shard->pieces[i].ops->revise && shard->pieces[i].window->next <= shard->gate.go);
        shard->pieces[i].ops->revise(&shard->pieces[i], live);
    }
}

/* The first step that is not ready on all pieces: complete, with a slot that is not void. */
static uint64_t first_unready(const struct shard *shard)
{
    uint64_t first = UINT64_MAX;
    for (uint32_t i = 0; i < shard->piece_count; i++) {
        const struct steps *window = shard->pieces[i].window;
        bool ready = steps_held(window, window->next) > 0 && steps_complete(window, window->next);
        first = MIN(first, window->next + ready);
    }
    return first;
}

static void look_at_ready(struct shard *shard)
{
    struct gate *gate = &shard->gate;
    uint64_t ready = first_unready(shard);
    if (ready == gate->told_ready && gate->number == gate->told_number)
        return;
    gate->told_ready = ready;
    gate->told_number = gate->number;
    tell_ready(shard, ready, gate->number);
}

/* The most that a piece is owed of the open step; UINT32_MAX unless all pieces are at it and slots may be left out of
 * it. */
static uint32_t most_owed(const struct shard *shard)
{
    uint64_t step = shard->gate.go;
    uint32_t most = 0;
    if (step >= shard->total_steps || !plan_question(&shard->own.plan, step)->droppable)
        return UINT32_MAX;
    for (uint32_t i = 0; i < shard->piece_count; i++) {
        if (shard->pieces[i].window->next != step)
            return UINT32_MAX;
        most = MAX(most, steps_missing(shard->pieces[i].window, step));
    }
    return most;
}

static void look_at_few(struct shard *shard)
{
    struct gate *gate = &shard->gate;
    if (shard->own.slowest == 0 || gate->told_few || most_owed(shard) > shard->own.slowest)
        return;
    gate->told_few = true;
    tell_few(shard, gate->go);
}

void gate_look(struct shard *shard)
{
    struct gate *gate = &shard->gate;
    if (gate->number != gate->coming_number && all_at_go(shard)) {
        memcpy(gate->live, gate->coming, shard->own.plan.slots);
        gate->number = gate->coming_number;
        revise_all(shard, gate->live);
    }
    look_at_ready(shard);
    look_at_few(shard);
}

void gate_drop(struct shard *shard, uint64_t step, const uint8_t *live, uint32_t count)
{
    assert(shard->gate.go == step && all_at_go(shard));
    shard->gate.drop_step = step;
    shard->gate.drop_count = count;
    revise_all(shard, live);
    gate_go(&shard->gate, step + 1);
}

void gate_roster(struct shard *shard, uint64_t number, const uint8_t *live)
{
    if (!shard->gate.live || !shard->gate.coming)
        return; /* the job could not start here, which the head hears */
    shard->gate.coming_number = number;
    memcpy(shard->gate.coming, live, shard->own.plan.slots);
    gate_look(shard);
}
