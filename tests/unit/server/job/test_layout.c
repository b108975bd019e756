/* Cuts of theta into slices: those of a job that goes on from a checkpoint whose slices differ in their slots keep to
 * the cuts between them. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "common/base/util.h"
#include "server/job/layout.h"
#include "server/options/options.h"
#include "tests/unit/support/leaks.h"

enum { A = 3 << 20, B = 1000, SHARDS = 3 };

static void start(struct job *job, const struct server_options *opts, uint64_t *cuts, size_t cut_count)
{
    const uint64_t a = A, b = B;
    dp_error err;
    *job = (struct job){.opts = opts, .cuts = cuts, .cut_count = cut_count};
    cr_assert_eq(tensors_add(&job->core.tensors, "a", 1, &a, INIT_ZEROS, 0, true, &err), DP_OK);
    cr_assert_eq(tensors_add(&job->core.tensors, "b", 1, &b, INIT_ZEROS, 0, true, &err), DP_OK);
    cr_assert_eq(job_settle_layout(job, SHARDS, &err), DP_OK, "%s", err.text);
}

static void end(struct job *job)
{
    for (uint32_t s = 0; s < job->shard_count; s++) {
        free(job->shards[s].slices);
        free(job->shards[s].slice_elems);
        free(job->shards[s].parts);
    }
    free(job->shards);
    *job = (struct job){0};
}

/* Slices lie end to end over all of theta, at legal cuts; returns how many. */
static uint32_t look(const struct job *job)
{
    uint64_t at = 0;
    uint32_t count = 0;
    for (uint32_t s = 0; s < job->shard_count; s++) {
        const struct job_shard *shard = &job->shards[s];
        cr_assert_eq(shard->first_slice, count);
        for (uint32_t i = 0; i < shard->slice_count; i++) {
            cr_assert_eq(shard->slices[i].first, at);
            cr_assert_eq(shard->slice_elems[i], shard->slices[i].count);
            cr_assert_gt(shard->slices[i].count, 0);
            at += shard->slices[i].count;
            cr_assert(layout_is_cut(&job->core.tensors, at));
        }
        cr_assert_eq(at, shard->range.first + shard->range.count);
        count += shard->slice_count;
    }
    cr_assert_eq(at, A + B);
    return count;
}

static bool ends_at(const struct job *job, uint64_t at)
{
    bool ends = false;
    for (uint32_t s = 0; s < job->shard_count; s++)
        for (uint32_t i = 0; i < job->shards[s].slice_count; i++)
            ends |= job->shards[s].slices[i].first + job->shards[s].slices[i].count == at;
    return ends;
}

Test(layout, slices_keep_to_cuts)
{
    static const struct server_options opts = {.min_shard_kib = 0};
    static struct job job;
    uint64_t cuts[] = {4096, 4096, 4097, 8192, 4096 * 100, A, A + B};
    start(&job, &opts, NULL, 0);
    const uint32_t before = look(&job);
    cr_assert_not(ends_at(&job, 4096) || ends_at(&job, 8192));
    end(&job);
    start(&job, &opts, cuts, ARRAY_LEN(cuts));
    cr_assert_gt(look(&job), before);
    cr_assert(ends_at(&job, 4096) && ends_at(&job, 8192) && ends_at(&job, 4096 * 100) && ends_at(&job, A));
    cr_assert_not(ends_at(&job, 4097), "no slice can end there");
    end(&job);
    ASSERT_NO_LEAKS();
}
