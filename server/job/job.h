/* The job: what the options ask for, completed by what the first worker found in its data. Thread: head. */
#ifndef DP_SERVER_JOB_JOB_H
#define DP_SERVER_JOB_JOB_H

#include "common/tensor/label_list.h"
#include "proto/frame.h"
#include "server/dense/slice.h"
#include "server/options/options.h"
#include "server/table/part.h"

struct job_data {
    char name[FRAME_NAME_MAX + 1];
    uint64_t rows;
    uint64_t features;
    uint64_t fingerprint;
    /* For warnings alone, as in Dataset. */
    double zero_loss;
    uint64_t majority;
    char scales[FRAME_TEXT_MAX + 1];
};

/* A shard's part of theta. */
struct job_shard {
    struct range range;
    uint32_t first_slice;
    uint32_t slice_count;
    struct range *slices;  /* [slice_count] */
    uint64_t *slice_elems; /* [slice_count], as sent */
    uint32_t first_part;
    uint32_t part_count;
    struct part_range *parts; /* [part_count] */
};

/* Whether the shard holds anything. */
static inline bool job_shard_holds(const struct job_shard *shard)
{
    return shard->slice_count + shard->part_count > 0;
}

/* Whether it has slice 0, or part 0 if the job has no slices. The head hears of slots that arrive at that one. */
static inline bool job_shard_holds_first(const struct job_shard *shard)
{
    return (shard->slice_count > 0 && shard->first_slice == 0) || (shard->part_count > 0 && shard->first_part == 0);
}

struct manifest;

struct job {
    const struct server_options *opts;
    uint64_t incarnation;
    bool settled;
    char numerics[FRAME_NAME_MAX + 1];         /* of the first worker that joined, "" before */
    char settled_numerics[FRAME_NAME_MAX + 1]; /* when it was settled */
    struct job_data train, eval;
    uint64_t features;
    uint32_t classes;
    struct label_list labels; /* class -> label; may come late in a local job (job_learn_labels) */
    struct shard_job core;
    uint32_t shard_count;
    struct job_shard *shards;     /* [shard_count] */
    struct schedule set_schedule; /* of an incarnation before, for what was set while it was there */
    struct consistency set_consistency;
    struct schedule_past past_rates; /* set long ago, for tables that go on from a checkpoint */
    const struct manifest *begin;    /* the checkpoint that it goes on from; borrowed, NULL: it begins */
    uint64_t *cuts;                  /* of theta, ascending: slices of a job that goes on are cut there too; heap */
    size_t cut_count;
    bool over;          /* local: its workers have finished, whatever the plan says */
    bool batch_cut;     /* --batch was larger than the data */
    Dp__Schema *schema; /* of the data that settled the job; owned, NULL: not known */
    Dp__Job *wire;      /* the job as messages carry it; owned, freed with the job */
    Dp__Job *asked;     /* as it was before it was settled; likewise */
};

/* A job that waits for its data. DP_NOMEM. */
DP_MUST_CHECK dp_err job_init(struct job *job, const struct server_options *opts, dp_error *err);
void job_fini(struct job *job);

/* Takes back what settling made: another incarnation waits for its data. Settings that were made while it was settled
 * stay. DP_NOMEM. */
DP_MUST_CHECK dp_err job_reopen(struct job *job, dp_error *err);
/* The same where nobody has been told of it: this incarnation waits for other data. DP_NOMEM. */
DP_MUST_CHECK dp_err job_unsettle(struct job *job, dp_error *err);
/* The first worker's data and tensors make the job whole: plan, tensors, ranges of shards and slices.
 * `endpoints[shard]` are what workers are told. DP_REFUSED or DP_MODEL with what is wrong; the job is then as before.
 */
DP_MUST_CHECK dp_err job_settle(struct job *job, const Dp__Join *join, uint32_t shards, const char *const *endpoints,
                                dp_error *err);
/* Whether another worker brings the same. DP_REFUSED naming the difference, with what the job has; *ret_brief names it
 * without. */
DP_MUST_CHECK dp_err job_check(const struct job *job, const Dp__Join *join, const char **ret_brief, dp_error *err);
#define JOB_ASK_LOG " (dp-server's log says how they differ)"

static inline bool job_has_tables(const struct job *job)
{
    for (uint32_t t = 0; t < job->core.tensors.count; t++)
        if (job->core.tensors.list[t].kind != TENSOR_DENSE)
            return true;
    return false;
}

/* Whether slots may be left out of a step. */
static inline bool job_droppable(const struct server_options *opts)
{
    return opts->drop_slowest > 0 || opts->on_stall == ON_STALL_DROP;
}

/* A job that is local and has no --steps ends when its workers have finished. */
bool job_open_ended(const struct job *job);
/* Steps that one epoch has, and the epochs of the job (the last may be a part). */
uint64_t job_epochs(const struct job *job);

#endif
