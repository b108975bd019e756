/* theta of the step at hand and of the next one. Invariants: counts[] counts got[]; now_have[i] != 0 only if slice i of
 * `now` is whole. Thread: the client's. */
#include "worker/client/state/theta.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

dp_err theta_init(struct theta *theta, struct range *slices, uint32_t slice_count, uint32_t part_count, dp_error *err)
{
    *theta = (struct theta){.slices = slices, .slice_count = slice_count, .piece_count = slice_count + part_count};
    for (uint32_t i = 0; i < slice_count; i++)
        theta->elems += slices[i].count;
    theta->room[0] = theta->room[1] = theta->elems;
    theta->own[0] = mem_array(theta->elems, sizeof *theta->own[0]);
    theta->own[1] = mem_array(theta->elems, sizeof *theta->own[1]);
    theta->now = theta->own[0];
    theta->planes = mem_array_zero(slice_count, sizeof *theta->planes);
    theta->now_have = mem_array_zero(slice_count, sizeof *theta->now_have);
    theta->next_have = mem_array_zero(slice_count, sizeof *theta->next_have);
    theta->got = mem_array_zero(theta->piece_count, sizeof *theta->got);
    if (!theta->own[0] || !theta->own[1] || !theta->planes || !theta->now_have || !theta->next_have || !theta->got) {
        dp_err e =
            dp_fail(err, DP_NOMEM, "no memory for two copies of %llu parameters", (unsigned long long)theta->elems);
        theta_fini(theta);
        return e;
    }
    theta_forget(theta);
    return DP_OK;
}

void theta_fini(struct theta *theta)
{
    views_fini(&theta->views);
    free(theta->slices);
    free(theta->own[0]);
    free(theta->own[1]);
    free(theta->planes);
    free(theta->now_have);
    free(theta->next_have);
    free(theta->got);
    *theta = (struct theta){0};
}

void theta_want(struct theta *theta, uint64_t want)
{
    theta->want = want;
    memset(theta->got, THETA_MISSING, theta->piece_count);
    memset(theta->planes, 0, theta->slice_count * sizeof *theta->planes);
    memset(theta->counts, 0, sizeof theta->counts);
    theta->counts[THETA_MISSING] = theta->piece_count;
    theta->want_staleness = 0;
    theta->want_accepted = (struct slot_set){0};
}

/* The index of the buffer in which theta of `want` is assembled. */
static uint32_t theta_next(const struct theta *theta)
{
    return theta->now == theta->own[0];
}

dp_err theta_rows_room(struct theta *theta, uint64_t floats, dp_error *err)
{
    uint32_t next = theta_next(theta);
    if (theta->elems + floats <= theta->room[next])
        return DP_OK;
    uint64_t room = theta->elems + floats + floats / 4; /* the next step's are about as many */
    free(theta->own[next]);
    theta->own[next] = mem_array((size_t)room, sizeof *theta->own[next]);
    theta->room[next] = theta->own[next] ? room : 0;
    return theta->own[next] ? DP_OK
                            : dp_fail(err, DP_NOMEM, "no memory for %llu values of rows", (unsigned long long)floats);
}

static enum theta_got answer_kind(const struct theta_answer *answer)
{
    if (answer->last)
        return THETA_LAST;
    return answer->unchanged ? THETA_UNCHANGED : THETA_NEW;
}

static dp_err answer_check(const struct theta *theta, const struct theta_answer *answer, dp_error *err)
{
    if (answer->slice >= theta->slice_count)
        return dp_fail(err, DP_PROTO, "parameters of slice %u, there are %u", answer->slice, theta->slice_count);
    uint64_t want_bytes = theta->slices[answer->slice].count * sizeof(float);
    enum theta_got kind = answer_kind(answer);
    if (answer->plane > theta->views.count)
        return dp_fail(err, DP_PROTO, "parameters of slice %u are in plane %u, there are %u", answer->slice,
                       answer->plane, theta->views.count);
    if (kind == THETA_NEW && !answer->plane && answer->bytes != want_bytes)
        return dp_fail(err, DP_PROTO, "parameters of slice %u have %zu bytes, the slice has %llu", answer->slice,
                       answer->bytes, (unsigned long long)want_bytes);
    if (kind == THETA_UNCHANGED && theta->now_have[answer->slice] != answer->version + 1)
        return dp_fail(err, DP_PROTO, "slice %u is said to be unchanged at version %llu, which we do not have",
                       answer->slice, (unsigned long long)answer->version);
    return DP_OK;
}

static void piece_got(struct theta *theta, uint32_t piece, enum theta_got kind)
{
    assert(theta->got[piece] == THETA_MISSING && theta->counts[THETA_MISSING] > 0);
    theta->got[piece] = (uint8_t)kind;
    theta->counts[THETA_MISSING]--;
    theta->counts[kind]++;
}

/* Slots of the step wanted that all slices have; this is the `nth` answer. */
static void accepted_take(struct theta *theta, const struct theta_answer *answer, uint32_t nth)
{
    struct slot_set set = {0};
    for (uint32_t slot = 0; slot < answer->accepted_bytes * 8; slot++)
        if (answer->accepted[slot / 8] >> slot % 8 & 1)
            slot_set_add(&set, slot);
    if (nth == 0)
        theta->want_accepted = set;
    else
        slot_set_intersect(&theta->want_accepted, &set);
    theta->want_staleness = answer->staleness;
}

dp_err theta_take(struct theta *theta, const struct theta_answer *answer, bool *ret_new, dp_error *err)
{
    *ret_new = false;
    if (answer->step != theta->want)
        return DP_OK;
    dp_err e = answer_check(theta, answer, err);
    if (e || theta->got[answer->slice] != THETA_MISSING)
        return e;
    enum theta_got kind = answer_kind(answer);
    if (kind == THETA_NEW) {
        theta->planes[answer->slice] = answer->plane;
        if (!answer->plane)
            memcpy(theta->own[theta_next(theta)] + theta->slices[answer->slice].first, answer->values, answer->bytes);
        theta->next_have[answer->slice] = answer->version + 1;
    }
    accepted_take(theta, answer, theta->piece_count - theta->counts[THETA_MISSING]);
    piece_got(theta, answer->slice, kind);
    *ret_new = true;
    return DP_OK;
}

bool theta_take_part(struct theta *theta, uint32_t piece, bool last, uint64_t at, const void *values, size_t bytes)
{
    assert(piece >= theta->slice_count && piece < theta->piece_count);
    if (theta->got[piece] != THETA_MISSING)
        return false;
    if (!last && bytes > 0)
        memcpy(theta->own[theta_next(theta)] + theta->elems + at, values, bytes);
    piece_got(theta, piece, last ? THETA_LAST : THETA_NEW);
    return true;
}

bool theta_whole(const struct theta *theta)
{
    return theta->counts[THETA_NEW] + theta->counts[THETA_UNCHANGED] == theta->piece_count;
}

bool theta_ended(const struct theta *theta)
{
    return theta->counts[THETA_LAST] == theta->piece_count;
}

/* Completes the buffer by the slices that stayed as they were, and by those that are in planes. */
static const float *theta_gather(struct theta *theta)
{
    float *next = theta->own[theta_next(theta)];
    for (uint32_t i = 0; i < theta->slice_count; i++) {
        struct range slice = theta->slices[i];
        const float *from = theta->now + slice.first;
        if (theta->got[i] == THETA_UNCHANGED)
            theta->next_have[i] = theta->now_have[i];
        else if (theta->planes[i])
            from = views_at(&theta->views, theta->planes[i] - 1, slice.first);
        else
            continue;
        theta->lent |= theta->planes[i] > 0;
        memcpy(next + slice.first, from, slice.count * sizeof(float));
    }
    return next;
}

/* 1 + the plane in which all of theta has come, or 0. */
static uint32_t theta_plane(const struct theta *theta)
{
    if (!theta->views.count || theta->counts[THETA_UNCHANGED] || theta->piece_count > theta->slice_count)
        return 0;
    uint32_t plane = theta->planes[0];
    for (uint32_t i = 1; i < theta->slice_count; i++)
        if (theta->planes[i] != plane)
            return 0;
    return plane;
}

void theta_turn(struct theta *theta)
{
    assert(theta_whole(theta));
    if (theta->counts[THETA_NEW] > 0) {
        uint32_t plane = theta_plane(theta);
        uint64_t *have = theta->now_have;
        theta->lent |= plane > 0;
        theta->now = plane ? views_finish(&theta->views, plane - 1) : theta_gather(theta);
        theta->now_have = theta->next_have;
        theta->next_have = have;
    }
    theta->valid = true;
    theta->step = theta->want;
    theta->staleness = theta->want_staleness;
    theta->accepted = theta->want_accepted;
    theta_want(theta, theta->want + 1);
}

void theta_share(struct theta *theta, struct views *views)
{
    assert(theta->views.count == 0);
    theta->views = *views;
    *views = (struct views){0};
}

/* Begins anew with theta of `want`, of which there is nothing. */
static void theta_restart(struct theta *theta, uint64_t want)
{
    memset(theta->now_have, 0, theta->slice_count * sizeof *theta->now_have);
    theta->now = theta->own[0];
    theta->lent = false;
    theta->valid = false;
    theta_want(theta, want);
}

bool theta_unshare(struct theta *theta)
{
    bool lent = theta->lent;
    if (lent && theta->valid)
        theta_restart(theta, theta->step);
    else
        theta_want(theta, theta->want);
    views_fini(&theta->views);
    return lent;
}

void theta_forget(struct theta *theta)
{
    theta_restart(theta, 0);
}
