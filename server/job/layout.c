/* Cuts of theta; see layout.h. Thread: head. */
#include "server/job/layout.h"

#include <assert.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "server/job/parts.h"

/* Slices of a shard are enough for receiving, committing and sending to overlap, but not smaller than the least, where
 * headers and wake-ups cost more than that saves; of larger ones than the most, less stays in a core's cache between
 * the socket and the sum. */
enum { SLICE_LEAST_BYTES = 1 << 20, SLICE_MOST_BYTES = SLICE_BYTES, SLICES_WANTED = 8 };

static uint64_t slice_elems(struct range range)
{
    uint64_t bytes = range.count * sizeof(float) / SLICES_WANTED;
    return MIN(MAX(bytes, (uint64_t)SLICE_LEAST_BYTES), (uint64_t)SLICE_MOST_BYTES) / sizeof(float);
}

/* As layout_slices, and no slice goes beyond one of the job's cuts. A checkpoint may say any; those where slices cannot
 * end are left to the shard, which refuses what lies on both sides. */
static size_t cut_range(const struct job *job, struct range range, struct range *slices, size_t max)
{
    const struct tensors *tensors = &job->core.tensors;
    const uint64_t most = slice_elems(range), end = range.first + range.count;
    uint64_t at = range.first;
    size_t n = 0;
    for (size_t i = 0; i <= job->cut_count; i++) {
        const uint64_t to = i < job->cut_count ? MIN(job->cuts[i], end) : end;
        if (to <= at || !layout_is_cut(tensors, to))
            continue;
        const struct range piece = {at, to - at};
        n += n < max ? layout_slices(tensors, piece, most, slices + n, max - n)
                     : layout_slices(tensors, piece, most, NULL, 0);
        at = to;
    }
    return n;
}

/* Cuts one shard's range into slices; `next_slice` runs on over the shards. */
static dp_err settle_shard(struct job *job, struct job_shard *shard, uint32_t *next_slice)
{
    size_t count = cut_range(job, shard->range, NULL, 0);
    shard->first_slice = *next_slice;
    shard->slice_count = (uint32_t)count;
    shard->slices = mem_array(count, sizeof *shard->slices);
    shard->slice_elems = mem_array(count, sizeof *shard->slice_elems);
    if (!shard->slices || !shard->slice_elems)
        return DP_NOMEM;
    (void)cut_range(job, shard->range, shard->slices, count);
    for (size_t i = 0; i < count; i++)
        shard->slice_elems[i] = shard->slices[i].count;
    *next_slice += (uint32_t)count;
    return DP_OK;
}

/* Shards that the dense parameters are spread over. A step costs each worker a message to each of these and an answer;
 * where they carry little, that is nearly all of its cost. */
static uint32_t shards_worth(const struct job *job, uint64_t elems, uint32_t shards)
{
    uint64_t least = job->opts->min_shard_kib << 10;
    return least == 0 ? shards : (uint32_t)MIN(MAX(elems * sizeof(float) / least, UINT64_C(1)), (uint64_t)shards);
}

/* The shards after these have empty ranges at the end of theta. */
static void settle_ranges(const struct job *job, uint32_t shards, struct range *ranges)
{
    uint64_t elems = tensors_total(&job->core.tensors);
    uint32_t used = shards_worth(job, elems, shards);
    layout_shards(&job->core.tensors, used, ranges);
    for (uint32_t s = used; s < shards; s++)
        ranges[s] = (struct range){elems, 0};
}

dp_err job_settle_layout(struct job *job, uint32_t shards, dp_error *err)
{
    struct range *ranges __attribute__((cleanup(mem_freep))) = mem_array(shards, sizeof *ranges);
    job->shards = mem_array_zero(shards, sizeof *job->shards);
    if (!ranges || !job->shards)
        return dp_fail(err, DP_NOMEM, "out of memory for the layout");
    job->shard_count = shards;
    settle_ranges(job, shards, ranges);
    uint32_t next_slice = 0;
    for (uint32_t s = 0; s < shards; s++) {
        assert(s == 0 || ranges[s].first == ranges[s - 1].first + ranges[s - 1].count);
        job->shards[s].range = ranges[s];
        if (settle_shard(job, &job->shards[s], &next_slice))
            return dp_fail(err, DP_NOMEM, "out of memory for the layout");
    }
    if (next_slice > FRAME_SLICES_MAX)
        return dp_fail(err, DP_REFUSED, "the model has %u slices of %d MiB; the most is %d", next_slice,
                       SLICE_MOST_BYTES >> 20, FRAME_SLICES_MAX);
    return job_settle_parts(job, next_slice, err);
}
