/* A slice kept at a step: the bits of a deep copy of that moment, whatever commits follow and whenever they are taken.
 */
#include "server/dense/keep.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "server/dense/on_arrival.h"
#include "server/dense/slice.h"
#include "tests/unit/support/leaks.h"

enum { ELEMS = 1500, SLOTS = 3, STEPS = 200, CUT = 5, ARRAYS = 1 + UPDATE_STATE_MAX };

struct world {
    struct shard_job job;
    struct planes planes;
    struct slice slice;
};

/* The slice as it is, theta first. */
struct copy {
    float arrays[ARRAYS][ELEMS];
};

static void set_up(struct world *w, const struct update_rule *rule, uint32_t staleness, bool shared)
{
    const uint64_t elems = ELEMS;
    const struct range range = {0, ELEMS};
    dp_error err;
    *w = (struct world){.job = {.plan = {.seed = 1, .train_rows = 60, .batch = 6, .train_steps = STEPS, .slots = SLOTS},
                                .rule = rule,
                                .params = {.schedule = {.lr = 0.1, .period = 1, .period_mult = 1, .every = 1},
                                           .momentum = 0.9,
                                           .beta1 = 0.9,
                                           .beta2 = 0.99,
                                           .alpha = 0.95,
                                           .eps = 1e-8,
                                           .ftrl_beta = 1}}};
    cr_assert(consistency_set(&w->job.consistency, 0, staleness));
    cr_assert_eq(tensors_add(&w->job.tensors, "w", 1, &elems, INIT_NORMAL, 1.0F, true, &err), DP_OK);
    if (shared) {
        cr_assert_eq(planes_init(&w->planes, ELEMS, range, &err), DP_OK, "%s", err.text);
        w->planes.readers = 1;
        w->job.planes = &w->planes;
    }
    cr_assert_eq(slice_init(&w->slice, &w->job, range, &err), DP_OK, "%s", err.text);
}

static void tear_down(struct world *w)
{
    slice_fini(&w->slice);
    keep_room_release(w->job.room);
    planes_fini(&w->planes);
}

/* As a shard makes it at its first cut. */
static void make_room(struct world *w)
{
    w->job.room = keep_room_new(1, ELEMS, w->job.rule->state_count + 1);
    cr_assert(w->job.room);
}

static struct blob gradient(uint64_t step, uint32_t slot)
{
    float *g = mem_array(ELEMS, sizeof *g);
    cr_assert(g);
    for (uint32_t i = 0; i < ELEMS; i++)
        g[i] = sinf((float)(i * 7 + slot * 131 + step * 17));
    return (struct blob){g, ELEMS * sizeof *g, g, free};
}

static void commit(struct world *w)
{
    struct slice *slice = &w->slice;
    const uint64_t step = slice->window.next;
    struct metrics m = {.count = 2};
    dp_error err;
    for (uint32_t k = 0; k < SLOTS; k++) {
        struct blob g = gradient(step, k);
        cr_assert_eq(slice_push(slice, step, slice->window.leaves + k, &g, &m), STEPS_KEEP);
    }
    cr_assert(slice_ready(slice));
    cr_assert_eq(slice_commit(slice, &m, &err), DP_OK);
    free(slice_report_take(slice, step));
    slice_release_before(slice, step + 1);
}

/* A slot of a step comes; on arrival. */
static void arrive(struct world *w, uint64_t step, uint32_t slot)
{
    struct slice *slice = &w->slice;
    const struct arrival_read now = {.known = true};
    struct metrics m = {.count = 10 * step + slot, .loss = slot, .correct = step};
    struct blob g = gradient(step, slot);
    enum steps_verdict verdict;
    dp_error err;
    cr_assert_eq(arrival_push(slice, step, slice->window.leaves + slot, &now, &g, &m, &verdict, &err), DP_OK);
    cr_assert_eq(verdict, STEPS_KEEP);
    while (slice_ready(slice)) {
        const uint64_t done = slice->window.next;
        cr_assert_eq(arrival_pass(slice, &m, &err), DP_OK);
        free(slice_report_take(slice, done));
        slice_release_before(slice, done + 1);
    }
}

static struct copy *copy_of(const struct slice *slice)
{
    struct copy *copy = mem_array_zero(1, sizeof *copy);
    cr_assert(copy);
    memcpy(copy->arrays[0], slice_theta(slice, slice->window.next)->theta, sizeof copy->arrays[0]);
    for (uint32_t i = 0; i < slice->job->rule->state_count; i++)
        memcpy(copy->arrays[1 + i], slice->state[i], sizeof copy->arrays[0]);
    return copy;
}

static void take(struct slice *slice, uint32_t array, struct blob *ret_bytes)
{
    if (array == 0)
        *ret_bytes = slice_kept_theta(slice);
    else
        cr_assert_eq(slice_kept_state(slice, array - 1, ret_bytes), DP_OK);
}

static void check(const struct copy *copy, uint32_t array, struct blob *bytes, const char *rule)
{
    cr_assert_eq(bytes->bytes, sizeof copy->arrays[0]);
    cr_assert_eq(memcmp(bytes->data, copy->arrays[array], bytes->bytes), 0, "%s: array %u has other bits", rule, array);
    blob_release(bytes);
}

static const struct update_rule *const RULES[] = {&rule_sgd,     &rule_momentum, &rule_nesterov, &rule_adagrad,
                                                  &rule_rmsprop, &rule_adam,     &rule_adamw,    &rule_ftrl};

/* Array i is taken after after[i] commits. */
static void run(const struct update_rule *rule, const uint32_t *after, bool shared, bool room)
{
    struct world w;
    struct blob taken[ARRAYS] = {{0}};
    const uint32_t arrays = 1 + rule->state_count;
    set_up(&w, rule, 0, shared);
    if (room)
        make_room(&w);
    while (w.slice.window.next < CUT)
        commit(&w);
    AUTOFREE struct copy *copy = copy_of(&w.slice);
    cr_assert_eq(slice_keep(&w.slice), DP_OK);
    cr_assert_eq(w.slice.kept->open, 0);
    for (uint32_t commits = 0; commits < 4; commits++) {
        for (uint32_t i = 0; i < arrays; i++)
            if (after[i] == commits)
                take(&w.slice, i, &taken[i]);
        commit(&w);
    }
    for (uint32_t i = 0; i < arrays; i++)
        check(copy, i, &taken[i], rule->name);
    slice_kept_drop(&w.slice);
    cr_assert_null(w.slice.kept);
    tear_down(&w);
}

Test(keep, has_the_bits_of_the_cut_whatever_commits_follow)
{
    for (size_t r = 0; r < ARRAY_LEN(RULES); r++)
        for (uint32_t theta = 0; theta < 3; theta++)
            for (uint32_t first = 0; first < 3; first++)
                for (uint32_t others = 0; others < 3; others++)
                    for (int shared = 0; shared < 2; shared++)
                        for (int room = 0; room < 2; room++)
                            run(RULES[r], (const uint32_t[ARRAYS]){theta, first, others, others}, shared, room);
    ASSERT_NO_LEAKS();
}

Test(keep, changes_no_bit_of_training)
{
    for (size_t r = 0; r < ARRAY_LEN(RULES); r++) {
        struct world quiet, kept;
        set_up(&quiet, RULES[r], 0, false);
        set_up(&kept, RULES[r], 0, false);
        for (uint32_t i = 0; i < 2 * CUT; i++) {
            if (i == CUT)
                cr_assert_eq(slice_keep(&kept.slice), DP_OK);
            commit(&quiet);
            commit(&kept);
        }
        AUTOFREE struct copy *a = copy_of(&quiet.slice), *b = copy_of(&kept.slice);
        cr_assert_eq(memcmp(a, b, sizeof *a), 0, "%s", RULES[r]->name);
        tear_down(&quiet);
        tear_down(&kept); /* with what nobody took */
    }
    ASSERT_NO_LEAKS();
}

Test(keep, may_be_dropped_half_taken_and_begun_again)
{
    struct world w;
    struct blob theta, state;
    set_up(&w, &rule_adam, 0, false);
    commit(&w);
    cr_assert_eq(slice_keep(&w.slice), DP_OK);
    AUTOFREE struct copy *first = copy_of(&w.slice);
    commit(&w);
    theta = slice_kept_theta(&w.slice);
    slice_kept_drop(&w.slice);
    commit(&w);
    AUTOFREE struct copy *second = copy_of(&w.slice);
    cr_assert_eq(slice_keep(&w.slice), DP_OK);
    commit(&w);
    cr_assert_eq(slice_kept_state(&w.slice, 1, &state), DP_OK);
    check(second, 2, &state, "adam");
    check(first, 0, &theta, "adam");
    slice_kept_drop(&w.slice);
    slice_kept_drop(&w.slice); /* nothing is kept */
    tear_down(&w);
    ASSERT_NO_LEAKS();
}

/* A cut is dropped while the writer has bytes of it still; those of the next have other memory. */
Test(keep, leaves_alone_what_a_writer_still_has)
{
    struct world w;
    struct blob before[2], after[2];
    set_up(&w, &rule_adam, 0, false);
    make_room(&w);
    commit(&w);
    AUTOFREE struct copy *first = copy_of(&w.slice);
    cr_assert_eq(slice_keep(&w.slice), DP_OK);
    commit(&w);
    for (uint32_t i = 0; i < 2; i++)
        cr_assert_eq(slice_kept_state(&w.slice, i, &before[i]), DP_OK);
    slice_kept_drop(&w.slice);
    keep_room_rest(w.job.room);
    AUTOFREE struct copy *second = copy_of(&w.slice);
    cr_assert_eq(slice_keep(&w.slice), DP_OK);
    commit(&w);
    keep_room_retain(w.job.room);
    keep_room_fault_in(w.job.room, 3);
    keep_room_release(w.job.room);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_eq(slice_kept_state(&w.slice, i, &after[i]), DP_OK);
        cr_assert_neq(before[i].data, after[i].data);
        check(first, 1 + i, &before[i], "adam");
    }
    tear_down(&w); /* before the writer is done */
    for (uint32_t i = 0; i < 2; i++)
        check(second, 1 + i, &after[i], "adam");
    ASSERT_NO_LEAKS();
}

Test(keep, has_the_same_memory_from_cut_to_cut)
{
    struct world w;
    struct blob state;
    void *data = NULL;
    set_up(&w, &rule_momentum, 0, false);
    make_room(&w);
    for (uint32_t cut = 0; cut < 3; cut++) {
        AUTOFREE struct copy *copy = copy_of(&w.slice);
        cr_assert_eq(slice_keep(&w.slice), DP_OK);
        commit(&w);
        cr_assert_eq(slice_kept_state(&w.slice, 0, &state), DP_OK);
        cr_assert(!data || data == state.data);
        data = state.data;
        check(copy, 1, &state, "momentum");
        slice_kept_drop(&w.slice);
        keep_room_rest(w.job.room);
    }
    tear_down(&w);
    ASSERT_NO_LEAKS();
}

/* A plane that a checkpoint held for long would keep versions from workers of this machine. */
Test(keep, holds_no_plane_that_workers_map)
{
    struct world w;
    set_up(&w, &rule_sgd, 0, true);
    const uint32_t plane = slice_theta(&w.slice, 0)->plane;
    cr_assert_neq(plane, VERSION_UNSHARED);
    AUTOFREE struct copy *copy = copy_of(&w.slice);
    cr_assert_eq(slice_keep(&w.slice), DP_OK);
    cr_assert_lt(w.planes.count + 2, STEPS);
    for (uint32_t i = 1; i < w.planes.count + 2; i++) {
        commit(&w);
        cr_assert_neq(slice_theta(&w.slice, i)->plane, VERSION_UNSHARED, "version %u is in no plane", i);
    }
    struct blob theta = slice_kept_theta(&w.slice);
    check(copy, 0, &theta, "sgd");
    tear_down(&w);
    ASSERT_NO_LEAKS();
}

/* ---- on arrival ---- */

static bool accepted(const struct slice_kept *kept, uint64_t open, uint32_t slot)
{
    return kept->accepted[open * kept->accepted_bytes + slot / 8] >> slot % 8 & 1;
}

Test(keep, on_arrival_has_the_slots_of_open_steps_that_are_in_theta)
{
    enum { STALENESS = 2 };
    const struct update_rule *const rules[] = {&rule_sgd, &rule_momentum, &rule_adam};
    for (size_t r = 0; r < ARRAY_LEN(rules); r++) {
        struct world w;
        struct blob taken[ARRAYS] = {{0}};
        set_up(&w, rules[r], STALENESS, false);
        arrive(&w, 1, 2); /* of the step after the one that is open */
        arrive(&w, 0, 0);
        arrive(&w, 0, 1);
        arrive(&w, 2, 0);
        arrive(&w, 0, 2); /* it is complete now */
        arrive(&w, 1, 0);
        cr_assert_eq(w.slice.window.next, 1);
        AUTOFREE struct copy *copy = copy_of(&w.slice);
        cr_assert_eq(slice_keep(&w.slice), DP_OK);
        arrive(&w, 1, 1);
        arrive(&w, 2, 1);
        arrive(&w, 3, 1);
        const struct slice_kept *kept = w.slice.kept;
        cr_assert_eq(kept->open, STALENESS + 1);
        for (uint64_t i = 0; i < kept->open; i++)
            for (uint32_t k = 0; k < SLOTS; k++)
                cr_assert_eq(accepted(kept, i, k), (i == 0 && k != 1) || (i == 1 && k == 0), "step %d slot %u",
                             1 + (int)i, k);
        cr_assert(kept->arrived[0].count == 12 + 10 && kept->arrived[0].loss == 2 && kept->arrived[0].correct == 2);
        cr_assert(kept->arrived[1].count == 20 && kept->arrived[1].correct == 2);
        cr_assert(kept->arrived[2].count == 0 && kept->arrived[2].loss == 0);
        for (uint32_t i = 0; i <= rules[r]->state_count; i++) {
            take(&w.slice, i, &taken[i]);
            arrive(&w, 4, i);
            check(copy, i, &taken[i], rules[r]->name);
        }
        tear_down(&w);
    }
    ASSERT_NO_LEAKS();
}
