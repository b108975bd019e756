/* First values of a job: theta, the optimizer's state and the multipliers as they are when its first step opens, from
 * the tensors' initializers and the seed, or from a checkpoint, where the job has a source of them. Every piece takes
 * them from here. Thread: any; a source has one user at a time. */
#ifndef DP_SERVER_STEP_FIRST_VALUES_H
#define DP_SERVER_STEP_FIRST_VALUES_H

#include "server/step/job.h"

/* Takes rows of a table, as common/checkpoint/shard_file.h writes them: words[count][3 + dim * (1 + states)]. */
struct rows_taker {
    dp_err (*take)(void *arg, const uint32_t *words, uint64_t count, dp_error *err);
    void *arg;
};

/* On arrival: the slots of the steps from the first on that are in theta already. */
struct first_arrivals {
    uint64_t open;              /* steps */
    const struct metrics *sums; /* [open] of these slots; borrowed from the source */
    const uint8_t *accepted;    /* [open][accepted_bytes], a bit a slot; borrowed likewise */
    size_t accepted_bytes;
};

struct values_source_ops {
    /* Elements of a range of theta to theta[range.count], and states of the rule to state[i][range.count]. DP_DATA,
     * DP_IO naming the file, or what is missing. */
    dp_err (*range)(struct values_source *source, const struct shard_job *job, struct range range, float *theta,
                    float *const *state, dp_error *err);
    /* Rows of a table with ids [first, last] that were touched, in any order, each once. */
    dp_err (*rows)(struct values_source *source, const struct shard_job *job, uint32_t tensor, uint64_t first,
                   uint64_t last, struct rows_taker to, dp_error *err);
    /* DP_REFUSED where parts of the range have other slots. NULL: no slots have come. */
    dp_err (*arrivals)(struct values_source *source, const struct shard_job *job, struct range range,
                       struct first_arrivals *ret_arrivals, dp_error *err);
    /* NULL: they are those of a job that begins. */
    void (*multipliers)(struct values_source *source, struct multipliers *ret_multipliers);
    void (*close)(struct values_source *source);
};

struct values_source {
    const struct values_source_ops *ops;
};

/* Accepts NULL. */
void values_source_close(struct values_source **source);

/* The optimizer's state at theta_0 of n elements that begin at w, to state[i][n], which are zeros. */
void first_values_state(const struct shard_job *job, size_t n, const float *w, float *const *state);
/* Elements of `range` of theta, to theta[range.count], and their state, whose arrays [range.count] are zeros. The same
 * values however theta is cut. Fails only where there is a source. */
DP_MUST_CHECK dp_err first_values_range(const struct shard_job *job, struct range range, float *theta,
                                        float *const *state, dp_error *err);
/* A row of a table, to w[dim], and its state, to state[i][dim]: of a row that no commit has touched. */
void first_values_row(const struct shard_job *job, uint32_t tensor, uint64_t id, float *w, float *const *state);
/* Rows of a table that were touched before the job's first step: none without a source. */
DP_MUST_CHECK dp_err first_values_rows(const struct shard_job *job, uint32_t tensor, uint64_t first, uint64_t last,
                                       struct rows_taker to, dp_error *err);
/* None without a source. */
DP_MUST_CHECK dp_err first_values_arrivals(const struct shard_job *job, struct range range,
                                           struct first_arrivals *ret_arrivals, dp_error *err);
/* Multipliers of augmented constraints: the shards' and the head's are the same at each step. */
void first_values_multipliers(const struct shard_job *job, struct multipliers *ret_multipliers);

#endif
