/* Values out of a checkpoint; see source.h. Thread: one at a time. */
#include "server/store/source.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "server/store/folder.h"
#include "common/checkpoint/files.h"
#include "common/checkpoint/name.h"

enum { ROWS_WORDS = 1 << 18 /* that are read at a time */ };

struct file_source {
    struct values_source source;
    struct checkpoint_files files;
};

/* Elements of one tensor, numbered within it. */
struct run {
    const struct tensor *tensor;
    uint64_t first, count;
};

static struct file_source *files_of(struct values_source *source)
{
    return (struct file_source *)(void *)source;
}

static dp_err check_rule(const struct shard_file *file, const struct shard_job *job, dp_error *err)
{
    const struct shard_file_facts *facts = &file->facts;
    if (strcmp(facts->rule, job->rule->name) == 0 && facts->states == job->rule->state_count)
        return DP_OK;
    return dp_fail(err, DP_DATA, "%.400s: is of update rule '%s', the job's is '%s'", file->name, facts->rule,
                   job->rule->name);
}

/* ---- dense tensors ---- */

/* As many elements of a run as one file has, with their states; *ret_count of them. */
static dp_err read_some(const struct file_source *files, const struct shard_job *job, const struct run *run,
                        float *theta, float *const *state, uint64_t *ret_count, dp_error *err)
{
    uint32_t r = 0;
    const struct shard_file *file = checkpoint_files_find(&files->files, run->tensor->name, run->first, &r);
    if (!file)
        return dp_fail(err, DP_DATA, "the checkpoint lacks element %" PRIu64 " of tensor '%s'", run->first,
                       run->tensor->name);
    const struct shard_file_range *range = &file->facts.ranges[r];
    uint64_t at = run->first - range->first, count = MIN(run->count, range->count - at);
    dp_err e = check_rule(file, job, err);
    if (!e)
        e = shard_file_read(file, r, -1, at, count, theta, err);
    for (uint32_t s = 0; !e && s < job->rule->state_count; s++)
        e = shard_file_read(file, r, (int)s, at, count, state[s], err);
    *ret_count = count;
    return e;
}

static dp_err read_range(struct values_source *source, const struct shard_job *job, struct range range, float *theta,
                         float *const *state, dp_error *err)
{
    struct segment segments[TENSOR_COUNT_MAX];
    size_t n = layout_segments(&job->tensors, range, segments, ARRAY_LEN(segments));
    for (size_t i = 0; i < n; i++) {
        const struct segment *s = &segments[i];
        uint64_t begin = range.first + s->offset - tensors_offset(&job->tensors, s->tensor);
        for (uint64_t done = 0, count = 0; done < s->count; done += count) {
            const struct run run = {&job->tensors.list[s->tensor], begin + done, s->count - done};
            float *states[UPDATE_STATE_MAX] = {0};
            for (uint32_t k = 0; k < job->rule->state_count; k++)
                states[k] = state[k] + s->offset + done;
            dp_err e = read_some(files_of(source), job, &run, theta + s->offset + done, states, &count, err);
            if (e)
                return e;
        }
    }
    return DP_OK;
}

/* ---- tables ---- */

/* Keeps the rows with ids in [first, last], and of each the first `kept_words`, in place; returns how many. */
static uint64_t keep_between(uint32_t *words, uint64_t count, uint64_t row_words, uint64_t kept_words, uint64_t first,
                             uint64_t last)
{
    uint64_t kept = 0;
    for (uint64_t i = 0; i < count; i++) {
        const uint32_t *row = words + i * row_words;
        uint64_t id = row[0] | (uint64_t)row[1] << 32;
        if (id < first || id > last)
            continue;
        memmove(words + kept * kept_words, row, kept_words * sizeof *row);
        kept++;
    }
    return kept;
}

static dp_err read_part(const struct shard_file *file, uint32_t p, uint64_t first, uint64_t last, struct rows_taker to,
                        dp_error *err)
{
    const struct shard_file_part *part = &file->facts.parts[p];
    const uint64_t row_words = shard_file_row_words(&file->facts, part);
    const uint64_t kept_words = row_words - (part->current ? part->dim : 0); /* a job goes on from the record alone */
    const uint64_t most = MAX(ROWS_WORDS / row_words, (uint64_t)1);
    AUTOFREE uint32_t *words = mem_array(most * row_words, sizeof *words);
    if (!words)
        return dp_fail(err, DP_NOMEM, "out of memory to read %.400s", file->name);
    dp_err e = DP_OK;
    for (uint64_t done = 0, n; !e && done < part->rows; done += n) {
        n = MIN(most, part->rows - done);
        e = shard_file_read_rows(file, p, done, n, words, err);
        uint64_t kept = e ? 0 : keep_between(words, n, row_words, kept_words, first, last);
        if (kept > 0)
            e = to.take(to.arg, words, kept, err);
    }
    return e;
}

static dp_err read_rows(struct values_source *source, const struct shard_job *job, uint32_t tensor, uint64_t first,
                        uint64_t last, struct rows_taker to, dp_error *err)
{
    const struct file_source *files = files_of(source);
    const struct tensor *table = &job->tensors.list[tensor];
    dp_err e = checkpoint_files_check_rows(&files->files, table->name, first, last, err);
    for (size_t f = 0; !e && f < files->files.count; f++) {
        const struct shard_file *file = &files->files.list[f];
        for (uint32_t p = 0; !e && p < file->facts.part_count; p++) {
            const struct shard_file_part *part = &file->facts.parts[p];
            if (strcmp(part->tensor, table->name) != 0 || part->last < first || part->first > last)
                continue;
            e = check_rule(file, job, err);
            if (!e && part->dim != table->dim)
                e = dp_fail(err, DP_DATA, "%.400s: rows of table '%s' have %u floats, the job's have %u", file->name,
                            table->name, part->dim, table->dim);
            if (!e)
                e = read_part(file, p, first, last, to, err);
        }
    }
    return e;
}

/* ---- on arrival ---- */

static bool same_slots(const struct shard_file_arrivals *a, const struct shard_file_arrivals *b, size_t bytes)
{
    return a->open == b->open && memcmp(a->accepted, b->accepted, a->open * bytes) == 0;
}

/* Elements that both have. */
static uint64_t common(const struct shard_file_arrivals *a, struct range range)
{
    const uint64_t first = MAX(a->first, range.first), end = MIN(a->first + a->count, range.first + range.count);
    return end > first ? end - first : 0;
}

static dp_err differ(dp_error *err)
{
    return dp_fail(err, DP_REFUSED,
                   "gradients of the open steps have come to some of the checkpoint's slices and not to others: go on "
                   "with as many --shards as the job had, then change them under bsp");
}

/* Looks at the arrivals of a file that concern the range; *covered elements of it have some. */
static dp_err look_at_arrivals(const struct shard_file *file, const struct shard_job *job, struct range range,
                               const struct shard_file_arrivals **found, uint64_t *covered, dp_error *err)
{
    const struct shard_file_facts *facts = &file->facts;
    for (uint32_t i = 0; i < facts->arrival_count; i++) {
        const struct shard_file_arrivals *a = &facts->arrivals[i];
        if (common(a, range) == 0)
            continue;
        if (facts->slots != job->plan.slots)
            return dp_fail(err, DP_DATA, "%.400s: is of a job with %u slots, the job has %u", file->name, facts->slots,
                           job->plan.slots);
        if (*found && !same_slots(*found, a, (facts->slots + 7) / 8))
            return differ(err);
        *found = a;
        *covered += common(a, range);
    }
    return DP_OK;
}

static dp_err read_arrivals(struct values_source *source, const struct shard_job *job, struct range range,
                            struct first_arrivals *ret_arrivals, dp_error *err)
{
    const struct file_source *files = files_of(source);
    const struct shard_file_arrivals *found = NULL;
    uint64_t covered = 0;
    for (size_t f = 0; f < files->files.count; f++) {
        dp_err e = look_at_arrivals(&files->files.list[f], job, range, &found, &covered, err);
        if (e)
            return e;
    }
    if (!found)
        return DP_OK;
    if (covered != range.count)
        return differ(err);
    *ret_arrivals = (struct first_arrivals){found->open, found->sums, found->accepted, (job->plan.slots + 7) / 8};
    return DP_OK;
}

static int by_first(const void *a, const void *b)
{
    const struct shard_file_arrivals *const *x = a, *const *y = b;
    return ((*x)->first > (*y)->first) - ((*x)->first < (*y)->first);
}

/* Those of all files, in order of theta; heap. NULL when out of memory. */
static const struct shard_file_arrivals **sorted_arrivals(const struct file_source *files, size_t *ret_count)
{
    size_t count = 0, n = 0;
    for (size_t f = 0; f < files->files.count; f++)
        count += files->files.list[f].facts.arrival_count;
    const struct shard_file_arrivals **list = mem_array(count, sizeof *list);
    for (size_t f = 0; list && f < files->files.count; f++)
        for (uint32_t i = 0; i < files->files.list[f].facts.arrival_count; i++)
            list[n++] = &files->files.list[f].facts.arrivals[i];
    if (list)
        qsort(list, count, sizeof *list, by_first);
    *ret_count = count;
    return list;
}

dp_err source_cuts(struct values_source *source, uint64_t **ret_cuts, size_t *ret_count, dp_error *err)
{
    const struct file_source *files = files_of(source);
    size_t count, n = 0;
    AUTOFREE const struct shard_file_arrivals **list = sorted_arrivals(files, &count);
    uint64_t *cuts = mem_array(2 * count, sizeof *cuts);
    if (!list || !cuts) {
        free(cuts);
        return dp_fail(err, DP_NOMEM, "out of memory for a checkpoint");
    }
    const size_t bytes = count ? (files->files.list[0].facts.slots + 7) / 8 : 0;
    for (size_t i = 0; i < count; i++) {
        const struct shard_file_arrivals *a = list[i];
        const uint64_t end = a->first + a->count;
        const bool last = i + 1 == count;
        if (!last && list[i + 1]->first == end && same_slots(a, list[i + 1], bytes))
            continue;
        cuts[n++] = end;
        if (!last)
            cuts[n++] = list[i + 1]->first;
    }
    *ret_cuts = cuts;
    *ret_count = n;
    return DP_OK;
}

/* They are the same on all shards that have elements of theta; others do not follow them. */
static void read_multipliers(struct values_source *source, struct multipliers *ret_multipliers)
{
    const struct file_source *files = files_of(source);
    size_t f = 0;
    while (f + 1 < files->files.count && files->files.list[f].facts.range_count == 0)
        f++;
    *ret_multipliers = files->files.list[f].facts.multipliers;
}

static void close_files(struct values_source *source)
{
    struct file_source *files = files_of(source);
    checkpoint_files_close(&files->files);
    free(files);
}

static const struct values_source_ops OPS = {read_range, read_rows, read_arrivals, read_multipliers, close_files};

/* ---- files ---- */

dp_err source_open(const struct folder *folder, uint64_t train_step, struct values_source **ret_source, dp_error *err)
{
    char path[PATH_MAX];
    struct manifest manifest;
    if (!folder_path(folder, train_step, CHECKPOINT_MANIFEST, path))
        return dp_fail(err, DP_IO, "the path is too long: %.80s...", folder->path);
    dp_err e = manifest_read(path, &manifest, err);
    if (e)
        return e;
    struct file_source *files = mem_array_zero(1, sizeof *files);
    if (!files) {
        manifest_fini(&manifest);
        return dp_fail(err, DP_NOMEM, "out of memory for a checkpoint");
    }
    files->source.ops = &OPS;
    (void)folder_path(folder, train_step, "", path); /* fits: that of its manifest did */
    e = checkpoint_files_open(path, &manifest, &files->files, err);
    manifest_fini(&manifest);
    struct values_source *source = &files->source;
    if (e)
        source_close(&source);
    else
        *ret_source = source;
    return e;
}

void source_close(struct values_source **source)
{
    values_source_close(source);
}
