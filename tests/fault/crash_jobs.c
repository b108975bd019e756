/* The jobs; see crash_jobs.h. */
#include "tests/fault/crash_jobs.h"

#include <stdio.h>
#include <string.h>

#include "common/base/rng.h"

enum { FEATURES = 3000, FEATURES_OF_ROW = 8, WIDE_FEATURES = 48000, WIDE_OF_ROW = 30, WIDE_CLASSES = 40, SEED = 16 };

#define DIGITS "--model", "softmax", "--batch", "100"
#define BINARY "--model", "logistic", "--batch", "100"
#define WIDE "--model", "softmax", "--batch", "100"

const struct crash_job CRASH_JOBS[] = {
    {"sgd",
     "dense sgd with L2",
     CRASH_DIGITS,
     CRASH_SAME_BITS,
     CRASH_QUICK_DISK,
     {DIGITS, "--lr", "0.002", "--l2", "0.001"}},
    {"adam-l1",
     "adam with L1 over three shards",
     CRASH_DIGITS,
     CRASH_SAME_BITS,
     CRASH_QUICK_DISK,
     {DIGITS, "--optimizer", "adam", "--l1", "0.001", "--shards", "3"}},
    {"ftrl-sparse",
     "ftrl with L1, rows of a table",
     CRASH_SPARSE,
     CRASH_SAME_BITS,
     CRASH_QUICK_DISK,
     {BINARY, "--sparse", "--optimizer", "ftrl", "--l1", "0.001", "--lr", "0.2"}},
    {"momentum-sparse",
     "momentum with L1, which catches up with rows that were left alone, over two shards",
     CRASH_SPARSE,
     CRASH_SAME_BITS,
     CRASH_QUICK_DISK,
     {BINARY, "--sparse", "--optimizer", "momentum", "--l1", "0.0005", "--lr", "0.05", "--shards", "2"}},
    {"ftrl-slow-disk",
     "ftrl with L1, whose three states change before a slow disk has taken them",
     CRASH_WIDE,
     CRASH_SAME_BITS,
     CRASH_SLOW_DISK,
     {WIDE, "--optimizer", "ftrl", "--l1", "0.001", "--lr", "0.2"}},
    {"sparse-slow-disk",
     "rows of a table that change before a slow disk has taken them",
     CRASH_WIDE,
     CRASH_SAME_BITS,
     CRASH_SLOW_DISK,
     {WIDE, "--sparse", "--optimizer", "ftrl", "--l1", "0.001", "--lr", "0.2"}},
    {"clip-norm",
     "a global rule: the gradient's norm is cut, over two shards",
     CRASH_DIGITS,
     CRASH_SAME_BITS,
     CRASH_QUICK_DISK,
     {DIGITS, "--optimizer", "momentum", "--lr", "0.002", "--clip-norm", "0.5", "--shards", "2"}},
    {"l2-ball",
     "a constraint that wants the norm of all parameters, over two shards",
     CRASH_DIGITS,
     CRASH_SAME_BITS,
     CRASH_QUICK_DISK,
     {DIGITS, "--lr", "0.002", "--constraint", "l2-ball=0.5", "--shards", "2"}},
    {"augmented",
     "multipliers of a constraint",
     CRASH_DIGITS,
     CRASH_SAME_BITS,
     CRASH_QUICK_DISK,
     {DIGITS, "--lr", "0.002", "--constraint", "sum=1", "--constraint-method", "augmented", "--beta", "0.01",
      "--multiplier-every", "5"}},
    {"schedule",
     "a rate with a warm-up and a cosine",
     CRASH_DIGITS,
     CRASH_SAME_BITS,
     CRASH_QUICK_DISK,
     {DIGITS, "--optimizer", "adamw", "--lr-schedule", "cosine", "--warmup-steps", "50"}},
    {"ssp",
     "commits on arrival: each sample counts once",
     CRASH_DIGITS,
     CRASH_ALL_SAMPLES,
     CRASH_QUICK_DISK,
     {DIGITS, "--lr", "0.002", "--consistency", "ssp:3", "--shards", "2"}},
    {"async",
     "the same over the widest window",
     CRASH_DIGITS,
     CRASH_ALL_SAMPLES,
     CRASH_QUICK_DISK,
     {DIGITS, "--optimizer", "momentum", "--lr", "0.0005", "--consistency", "async"}},
    {0},
};

const struct crash_job *crash_job_find(const char *name)
{
    for (const struct crash_job *job = CRASH_JOBS; job->name; job++)
        if (strcmp(job->name, name) == 0)
            return job;
    return NULL;
}

/* Some rows of the table are touched in each step and most are left alone for long. */
struct shape {
    uint64_t features, of_row, classes;
};
static const struct shape SHAPES[CRASH_DATA_COUNT] = {
    [CRASH_SPARSE] = {FEATURES, FEATURES_OF_ROW, 2},
    [CRASH_WIDE] = {WIDE_FEATURES, WIDE_OF_ROW, WIDE_CLASSES},
};

static void write_row(FILE *file, const struct shape *shape, uint64_t row)
{
    uint64_t at = 0;
    double sum = 0;
    char text[1024] = "";
    size_t length = 0;
    for (uint64_t i = 0; i < shape->of_row; i++) {
        at += 1 + rng_u64(SEED, RNG_STREAM_INIT, row, i) % (2 * shape->features / shape->of_row - 100);
        float value = rng_uniform(SEED, RNG_STREAM_SHUFFLE, row, i);
        sum += at % 2 ? value : -value;
        length += (size_t)snprintf(text + length, sizeof text - length, " %llu:%.3f", (unsigned long long)at, value);
    }
    if (shape->classes == 2)
        fprintf(file, "%d%s\n", sum > 0 ? 1 : -1, text);
    else
        fprintf(file, "%llu%s\n", (unsigned long long)((row + (sum > 0)) % shape->classes), text);
}

bool crash_data_write(enum crash_data data, const char *path)
{
    FILE *file = fopen(path, "we");
    for (uint64_t row = 0; file && row < CRASH_SPARSE_ROWS; row++)
        write_row(file, &SHAPES[data], row);
    return file && fclose(file) == 0;
}

unsigned crash_job_epochs(const struct crash_job *job)
{
    return job->data == CRASH_WIDE ? CRASH_WIDE_EPOCHS : CRASH_EPOCHS;
}

uint64_t crash_job_samples(const struct crash_job *job)
{
    return (uint64_t)crash_job_epochs(job) * (job->data == CRASH_DIGITS ? CRASH_DIGITS_ROWS : CRASH_SPARSE_ROWS);
}
