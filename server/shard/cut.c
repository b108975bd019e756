/* The cut of a shard; see cut.h. Thread: shard. */
#include "server/shard/cut.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/checkpoint/shard_file.h"
#include "server/dense/keep_room.h"

_Static_assert((int)SHARD_FILE_STATES_MAX == (int)UPDATE_STATE_MAX && (int)SHARD_FILE_SLOTS_MAX == (int)STEPS_SLOTS_MAX,
               "a checkpoint's files have what a job has");

/* ---- pieces are kept ---- */

/* A commit in passes that is past its first pass has changed the state of its step already. */
static bool is_late(const struct shard *shard, uint64_t step)
{
    const struct phases *phases = &shard->phases;
    bool late = phases->busy && phases->step == step && phases->pass != PASS_GATHER;
    for (uint32_t i = 0; i < shard->piece_count; i++)
        late |= shard->pieces[i].window->next > step;
    return late;
}

static void keep(struct shard *shard, struct piece *piece)
{
    struct cut *cut = &shard->cut;
    if (piece == &shard->pieces[0]) /* a part may be there before the slices' commit has changed them */
        cut->multipliers = shard->phases.multipliers;
    if (!cut->fault)
        cut->fault = piece->ops->infinite_from(piece) ? DP_DIVERGED : piece->ops->keep(piece);
    cut->kept++;
}

struct keep_room *cut_room(struct shard *shard)
{
    const uint32_t arrays = shard->own.rule->state_count + (shard->own.planes ? 1 : 0);
    uint64_t floats = 0;
    for (uint32_t i = 0; i < shard->slice_count; i++)
        floats += shard->slices[i].range.count;
    if (!shard->own.room && floats > 0 && arrays > 0)
        shard->own.room = keep_room_new(shard->slice_count, floats, arrays);
    return shard->own.room;
}

uint32_t cut_copies(const struct shard *shard)
{
    return shard->own.rule->state_count + (shard->planes.readers > 0 ? 1 : 0);
}

dp_err cut_arm(struct shard *shard, uint64_t step, uint64_t train_step, dp_error *err)
{
    cut_drop(shard);
    if (!shard->job)
        return dp_fail(err, DP_BUSY, "there is no job on shard %u", shard->id);
    if (shard->failed)
        return dp_fail(err, DP_BUSY, "the job has failed on shard %u", shard->id);
    if (step < shard->own.first_step || step > shard->total_steps)
        return dp_fail(err, DP_DATA, "step %llu is none of the job", (unsigned long long)step);
    if (is_late(shard, step))
        return dp_fail(err, DP_RANGE, "shard %u is past step %llu", shard->id, (unsigned long long)step);
    shard->cut = (struct cut){.armed = true, .step = step, .train_step = train_step};
    for (uint32_t i = 0; i < shard->piece_count; i++)
        if (shard->pieces[i].window->next == step)
            keep(shard, &shard->pieces[i]);
    return DP_OK;
}

void cut_reached(struct shard *shard, struct piece *piece)
{
    const struct cut *cut = &shard->cut;
    if (!cut->armed || piece->window->next != cut->step)
        return;
    keep(shard, piece);
    if (cut_is_ready(shard) && shard->calls.cut)
        shard->calls.cut(shard->calls.arg);
}

bool cut_is_ready(const struct shard *shard)
{
    const struct cut *cut = &shard->cut;
    return cut->armed && (cut->fault || cut->kept == shard->piece_count);
}

void cut_drop(struct shard *shard)
{
    for (uint32_t i = 0; shard->cut.armed && i < shard->piece_count; i++)
        shard->pieces[i].ops->kept_drop(&shard->pieces[i]);
    shard->cut = (struct cut){0};
}

/* ---- bytes of the file ---- */

/* With room for what each piece may add. DP_NOMEM leaves what shard_file_facts_fini frees. */
static dp_err facts_new(const struct shard *shard, struct shard_file_facts *facts)
{
    const struct cut *cut = &shard->cut;
    *facts = (struct shard_file_facts){.step = cut->step,
                                       .train_step = cut->train_step,
                                       .shard = shard->id,
                                       .slots = shard->own.plan.slots,
                                       .states = shard->own.rule->state_count,
                                       .multipliers = cut->multipliers};
    (void)str_copy(facts->rule, sizeof facts->rule, shard->own.rule->name);
    facts->ranges = mem_array_zero(TENSOR_COUNT_MAX, sizeof *facts->ranges);
    facts->parts = mem_array_zero(shard->piece_count, sizeof *facts->parts);
    facts->arrivals = mem_array_zero(shard->piece_count, sizeof *facts->arrivals);
    return facts->ranges && facts->parts && facts->arrivals ? DP_OK : DP_NOMEM;
}

static dp_err head(const struct shard *shard, struct blob *ret_bytes)
{
    struct shard_file_facts facts;
    char *text;
    size_t bytes;
    dp_err e = facts_new(shard, &facts);
    for (uint32_t i = 0; e == DP_OK && i < shard->piece_count; i++)
        e = shard->pieces[i].ops->kept_facts(&shard->pieces[i], &facts);
    if (e == DP_OK)
        e = shard_file_head(&facts, &text, &bytes);
    if (e == DP_OK)
        *ret_bytes = (struct blob){text, bytes, text, free};
    shard_file_facts_fini(&facts);
    return e;
}

/* Goes on to the next piece, or section. */
static void move_on(struct shard *shard)
{
    struct cut *cut = &shard->cut;
    if (++cut->piece < shard->piece_count)
        return;
    cut->piece = 0;
    cut->section++;
}

static dp_err values(struct shard *shard, struct blob *ret_bytes)
{
    struct cut *cut = &shard->cut;
    for (bool more = false; cut->section < KEPT_SECTIONS && ret_bytes->bytes == 0 && !more;) {
        struct piece *piece = &shard->pieces[cut->piece];
        if (piece->ops->kept_next(piece, cut->section, ret_bytes, &more))
            return DP_NOMEM;
        if (!more)
            move_on(shard);
    }
    return DP_OK;
}

dp_err cut_next(struct shard *shard, struct blob *ret_bytes, bool *ret_more)
{
    struct cut *cut = &shard->cut;
    struct blob bytes = {0};
    assert(cut_is_ready(shard) && shard->piece_count > 0);
    dp_err e = cut->fault ? cut->fault : cut->begun ? values(shard, &bytes) : head(shard, &bytes);
    if (e)
        return e;
    cut->begun = true;
    *ret_bytes = bytes;
    *ret_more = cut->section < KEPT_SECTIONS;
    return DP_OK;
}
