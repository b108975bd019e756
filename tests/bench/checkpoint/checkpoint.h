/* Types and calls that the parts of the checkpoint bench share. Thread: main. */
#ifndef DP_TESTS_BENCH_CHECKPOINT_CHECKPOINT_H
#define DP_TESTS_BENCH_CHECKPOINT_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

/* The time from checkpoint to checkpoint. */
enum pace { PACE_NEVER, PACE_10S, PACE_2S, PACES };

enum { RUN_STEPS_MAX = 1 << 20 };

/* The steps and the memory of a job while it was looked at. Bytes are resident: those of the server, and those that the
 * worker has for itself. */
struct run {
    double *times; /* [count] at which the worker had theta of a step, seconds */
    uint32_t count;
    double started; /* the server was, seconds */
    double peak_bytes;
};

/* In a child: pulls and pushes until it is killed; reports the time of each theta to bench.h's crew. */
_Noreturn void checkpoint_worker(const char *endpoint, uint64_t floats);

/* Median and longest of the steps from step `skip` on, steps a second of them, and how many. */
struct steps_seen {
    double median, worst, rate;
    uint32_t count;
};
struct steps_seen run_steps(const struct run *run, uint32_t skip);

#endif
