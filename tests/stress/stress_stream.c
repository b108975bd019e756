/* A slice that trains while it is kept, its arrays going to the writer's thread by a stream, which is given up now and
 * then: each file that is whole has the bits of its cut; versions are released on the other thread. */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "server/dense/keep.h"
#include "server/dense/slice.h"
#include "server/store/stream.h"
#include "server/store/writer.h"
#include "tests/stress/stress.h"

enum { ELEMS = 20000, STEPS = 600, EVERY = 5, ARRAYS = 3, GIVE_UP_EVERY = 7 };

struct bell {
    pthread_mutex_t mutex;
    pthread_cond_t rung;
    bool on;
};

static struct shard_job job = {
    .plan = {.train_rows = 1, .batch = 1, .train_steps = STEPS, .slots = 1},
    .rule = &rule_adam,
    .params = {
        .schedule = {.lr = 0.1, .period = 1, .period_mult = 1, .every = 1}, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8}};
static struct slice slice;
static struct bell bell = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
static float want[ARRAYS][ELEMS], got[ARRAYS][ELEMS];

static void ring(void *arg)
{
    struct bell *to = arg;
    pthread_mutex_lock(&to->mutex);
    to->on = true;
    pthread_cond_signal(&to->rung);
    pthread_mutex_unlock(&to->mutex);
}

static void await(struct bell *of)
{
    pthread_mutex_lock(&of->mutex);
    while (!of->on)
        pthread_cond_wait(&of->rung, &of->mutex);
    of->on = false;
    pthread_mutex_unlock(&of->mutex);
}

static void commit(void)
{
    const uint64_t step = slice.window.next;
    float *g = mem_array(ELEMS, sizeof *g);
    struct metrics m = {.count = 1};
    dp_error err;
    MUST(g, "no memory");
    for (uint32_t i = 0; i < ELEMS; i++)
        g[i] = (float)((i + step) % 13) - 6;
    struct blob gradient = {g, ELEMS * sizeof *g, g, free};
    MUST(slice_push(&slice, step, 1, &gradient, &m) == STEPS_KEEP, "step %llu", (unsigned long long)step);
    MUST(slice_commit(&slice, &m, &err) == DP_OK, "%s", err.text);
    free(slice_report_take(&slice, step));
    slice_release_before(&slice, step + 1);
}

static void remember(void)
{
    memcpy(want[0], slice_theta(&slice, slice.window.next)->theta, sizeof want[0]);
    memcpy(want[1], slice.state[0], sizeof want[1]);
    memcpy(want[2], slice.state[1], sizeof want[2]);
}

static void put(struct stream *stream, uint32_t array)
{
    struct blob bytes;
    if (array == 0)
        bytes = slice_kept_theta(&slice);
    else
        MUST(slice_kept_state(&slice, array - 1, &bytes) == DP_OK, "no memory");
    while (!stream_has_room(stream))
        await(&bell);
    stream_put(stream, &bytes);
}

static void check(const char *path, const struct stream_outcome *outcome)
{
    int fd = open(path, O_RDONLY);
    MUST(fd >= 0 && read(fd, got, sizeof got) == (ssize_t)sizeof got, "%s is not whole", path);
    close(fd);
    MUST(outcome->bytes == sizeof got && outcome->digest == XXH3_64bits(got, sizeof got), "another digest");
    MUST(memcmp(got, want, sizeof got) == 0, "%s has other bits than its cut", path);
}

/* Returns whether it was written. */
static bool cut(struct writer *writer, const char *path, uint32_t number)
{
    struct stream *stream;
    struct stream_outcome outcome;
    const bool give_up = number % GIVE_UP_EVERY == 0;
    remember();
    MUST(slice_keep(&slice) == DP_OK && stream_new(writer, path, (struct stream_waker){ring, &bell}, &stream) == DP_OK,
         "no memory");
    for (uint32_t i = 0; i < ARRAYS; i++) {
        if (number % 2 == 0)
            commit();
        if (give_up && i == number % ARRAYS)
            break;
        put(stream, i);
    }
    slice_kept_drop(&slice);
    if (!give_up) {
        stream_end(stream, true);
        while (!stream_done(stream, &outcome)) {
            commit();
            await(&bell);
        }
        MUST(outcome.err.code == DP_OK, "%s", outcome.err.text);
        check(path, &outcome);
        unlink(path);
    }
    stream_free(&stream);
    return !give_up;
}

int main(void)
{
    const uint64_t elems = ELEMS;
    const char *tmp = getenv("TMPDIR");
    char folder[PATH_MAX], path[PATH_MAX + 8];
    struct writer *writer;
    dp_error err;
    uint32_t written = 0;
    snprintf(folder, sizeof folder, "%s/dp-stress-XXXXXX", tmp ? tmp : "/tmp");
    MUST(mkdtemp(folder), "no folder");
    snprintf(path, sizeof path, "%s/shard", folder);
    MUST(tensors_add(&job.tensors, "w", 1, &elems, INIT_NORMAL, 1, true, &err) == DP_OK, "%s", err.text);
    MUST(slice_init(&slice, &job, (struct range){0, ELEMS}, &err) == DP_OK, "%s", err.text);
    MUST(writer_start(&writer, &err) == DP_OK, "%s", err.text);
    for (uint32_t number = 1; slice.window.next + 20 * ARRAYS < STEPS; number++) {
        for (uint32_t i = 0; i < EVERY; i++)
            commit();
        written += cut(writer, path, number);
    }
    writer_stop(&writer);
    slice_fini(&slice);
    MUST(written > 10, "only %u files", written);
    MUST(rmdir(folder) == 0, "files are left in %s", folder);
    PASS("stream");
}
