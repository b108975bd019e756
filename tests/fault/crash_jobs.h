/* Jobs that are killed and must end as if nothing had happened; one for each kind of state that a checkpoint has.
 * Thread: any. */
#ifndef DP_TESTS_FAULT_CRASH_JOBS_H
#define DP_TESTS_FAULT_CRASH_JOBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Wide: a model of some 7 MiB, so that its states are more than the chunks that wait for the writer
 * (STREAM_CHUNKS_MAX).
 */
enum crash_data { CRASH_DIGITS, CRASH_SPARSE, CRASH_WIDE, CRASH_DATA_COUNT };
/* The model's bits are those of a quiet run; or, where they depend on the order of arrival, each sample counts once. */
enum crash_claim { CRASH_SAME_BITS, CRASH_ALL_SAMPLES };

/* Slow: a checkpoint is written while steps change the state that it has, so that what is kept of it counts. */
enum crash_disk { CRASH_QUICK_DISK, CRASH_SLOW_DISK };

struct crash_job {
    const char *name, *what;
    enum crash_data data;
    enum crash_claim claim;
    enum crash_disk disk;
    const char *options[24]; /* of the server, NULL at the end */
};

/* The last one has no name. */
extern const struct crash_job CRASH_JOBS[];
enum { CRASH_EPOCHS = 200, CRASH_WIDE_EPOCHS = 20, CRASH_DIGITS_ROWS = 1438, CRASH_SPARSE_ROWS = 1200 };

/* NULL: no job has this name. */
const struct crash_job *crash_job_find(const char *name);
/* Writes rows of few features out of many as LIBSVM: of CRASH_SPARSE or CRASH_WIDE. False: it cannot be written. */
bool crash_data_write(enum crash_data data, const char *path);
unsigned crash_job_epochs(const struct crash_job *job);
/* Training samples of the whole job. */
uint64_t crash_job_samples(const struct crash_job *job);

#endif
