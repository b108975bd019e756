/* Values out of a model; see warm.h. Thread: one at a time. */
#include "server/store/warm.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "common/checkpoint/saved.h"

enum { ROW_HEAD = 3 /* words: id low, id high, stamp */, ROWS_WORDS = 1 << 16, STAMP = 1 /* of theta_0 */ };

struct warm_source {
    struct values_source source;
    struct saved saved;
};

static struct warm_source *warm_of(struct values_source *source)
{
    return (struct warm_source *)(void *)source;
}

static dp_err find(const struct saved *saved, const struct tensor *tensor, uint32_t *ret_number, dp_error *err)
{
    const int at = saved_find(saved, tensor->name);
    if (at < 0)
        return dp_fail(err, DP_DATA, "%.400s: has no tensor '%s'", saved->path, tensor->name);
    *ret_number = (uint32_t)at;
    return DP_OK;
}

static dp_err check_finite(const struct saved *saved, const char *tensor, const float *values, size_t count,
                           dp_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return dp_fail(err, DP_DATA,
                           "%.400s: tensor '%s' has elements that are not finite: its training diverged; give another "
                           "model to --init-from",
                           saved->path, tensor);
    return DP_OK;
}

static dp_err read_range(struct values_source *source, const struct shard_job *job, struct range range, float *theta,
                         float *const *state, dp_error *err)
{
    const struct saved *saved = &warm_of(source)->saved;
    struct segment segments[TENSOR_COUNT_MAX];
    size_t n = layout_segments(&job->tensors, range, segments, ARRAY_LEN(segments));
    for (size_t i = 0; i < n; i++) {
        const struct segment *s = &segments[i];
        const struct tensor *tensor = &job->tensors.list[s->tensor];
        const uint64_t begin = range.first + s->offset - tensors_offset(&job->tensors, s->tensor);
        uint32_t number = 0;
        dp_err e = find(saved, tensor, &number, err);
        if (!e)
            e = saved_read(saved, number, begin, s->count, theta + s->offset, err);
        if (!e)
            e = check_finite(saved, tensor->name, theta + s->offset, (size_t)s->count, err);
        if (e)
            return e;
    }
    first_values_state(job, (size_t)range.count, theta, state);
    return DP_OK;
}

/* ---- tables ---- */

/* Rows on their way to a table of the job, in the form of a checkpoint's file. */
struct rows {
    const struct saved *saved;
    const struct shard_job *job;
    uint32_t tensor, dim;
    size_t words; /* of a row */
    struct rows_taker to;
    uint32_t *list; /* [room * words] */
    uint64_t count, room;
    float *initial; /* [dim] */
};

static dp_err flush(struct rows *rows, dp_error *err)
{
    dp_err e = rows->count > 0 ? rows->to.take(rows->to.arg, rows->list, rows->count, err) : DP_OK;
    rows->count = 0;
    return e;
}

/* A row that has its initial value need not be there. */
static dp_err take_row(void *arg, uint64_t id, const float *row, dp_error *err)
{
    struct rows *rows = arg;
    const struct shard_job *job = rows->job;
    const size_t bytes = rows->dim * sizeof *row;
    tensors_init_row(&job->tensors, rows->tensor, job->plan.seed, id, rows->initial);
    if (memcmp(row, rows->initial, bytes) == 0)
        return DP_OK;
    dp_err e = check_finite(rows->saved, job->tensors.list[rows->tensor].name, row, rows->dim, err);
    if (e)
        return e;
    uint32_t *words = rows->list + rows->count++ * rows->words;
    float *values = (float *)(void *)(words + ROW_HEAD), *state[UPDATE_STATE_MAX] = {0};
    memset(words, 0, rows->words * sizeof *words);
    words[0] = (uint32_t)id;
    words[1] = (uint32_t)(id >> 32);
    words[2] = STAMP;
    memcpy(values, row, bytes);
    for (uint32_t s = 0; s < job->rule->state_count; s++)
        state[s] = values + (size_t)rows->dim * (s + 1);
    first_values_state(job, rows->dim, values, state);
    return rows->count == rows->room ? flush(rows, err) : DP_OK;
}

static dp_err read_rows(struct values_source *source, const struct shard_job *job, uint32_t tensor, uint64_t first,
                        uint64_t last, struct rows_taker to, dp_error *err)
{
    const struct saved *saved = &warm_of(source)->saved;
    const uint32_t dim = job->tensors.list[tensor].dim;
    struct rows rows = {.saved = saved, .job = job, .tensor = tensor, .dim = dim, .to = to};
    uint32_t number = 0;
    dp_err e = find(saved, &job->tensors.list[tensor], &number, err);
    if (e)
        return e;
    rows.words = ROW_HEAD + (size_t)dim * (1 + job->rule->state_count);
    rows.room = MAX(ROWS_WORDS / rows.words, (size_t)1);
    AUTOFREE uint32_t *list = mem_array((size_t)rows.room * rows.words, sizeof *list);
    AUTOFREE float *initial = mem_array(dim, sizeof *initial);
    if (!list || !initial)
        return dp_fail(err, DP_NOMEM, "out of memory to read %.400s", saved->path);
    rows.list = list;
    rows.initial = initial;
    e = saved_rows(saved, number, first, last, (struct saved_taker){take_row, &rows}, err);
    return e ? e : flush(&rows, err);
}

static void close_warm(struct values_source *source)
{
    struct warm_source *warm = warm_of(source);
    saved_close(&warm->saved);
    free(warm);
}

static const struct values_source_ops OPS = {.range = read_range, .rows = read_rows, .close = close_warm};

dp_err warm_open(const char *path, struct values_source **ret_source, dp_error *err)
{
    struct warm_source *warm = mem_array_zero(1, sizeof *warm);
    if (!warm)
        return dp_fail(err, DP_NOMEM, "out of memory to read %.400s", path);
    warm->source.ops = &OPS;
    dp_err e = saved_open_again(path, &warm->saved, err);
    if (e)
        free(warm);
    else
        *ret_source = &warm->source;
    return e;
}
