/* A job as the server describes it, and where its parameters are. Thread: the client's. */
#ifndef DP_WORKER_CLIENT_STATE_LAYOUT_H
#define DP_WORKER_CLIENT_STATE_LAYOUT_H

#include "common/net/endpoint.h"
#include "common/net/shm_wire.h"
#include "common/tensor/label_list.h"
#include "common/tensor/plan.h"
#include "common/tensor/tensor.h"
#include "proto/dp.pb-c.h"
#include "worker/dp.h"

/* Heap copies behind the public view. */
struct client_job {
    dp_job view;
    struct plan plan;                       /* only where the view has tensors */
    uint64_t steps;                         /* of the job, evaluation steps included */
    bool singly;                            /* slots are pushed one by one */
    struct label_list labels, labels_asked; /* behind the view's */
};

/* A description that frame_parse has passed. DP_PROTO where its numbers make no plan, DP_NOMEM. */
DP_MUST_CHECK dp_err client_job_take(const Dp__Job *msg, struct client_job *ret_job, dp_error *err);
void client_job_fini(struct client_job *job);
/* DP_REFUSED, naming the first thing in which `now` differs from `was`. The job's end and `singly` may differ. */
DP_MUST_CHECK dp_err client_job_same(const struct client_job *was, const struct client_job *now, dp_error *err);
/* The job goes on as `now`, which is the same but for its end (--steps, --epochs, given anew where a server goes on
 * from a checkpoint) and `singly`: these are taken. */
void client_job_extend(struct client_job *job, const struct client_job *now);

/* The same of what both say: a job that waits for its first worker does not know yet what data settle. */
DP_MUST_CHECK dp_err client_job_like(const struct client_job *was, const struct client_job *now, dp_error *err);

/* A run of a table's ids; its id on the wire is its index and the number of slices. */
struct job_part {
    uint32_t tensor;
    uint64_t first, last;
};

/* Without slices and parts, the shard has no parameters. */
struct job_shard {
    char shm[SHM_NAME_MAX]; /* its Unix socket for shared memory, empty where there is none */
    struct endpoint endpoint;
    bool at_head; /* at the address of the head; endpoint is not looked at */
    uint32_t first_slice;
    uint32_t slice_count;
    uint32_t first_part;
    uint32_t part_count;
};

static inline uint32_t job_shard_pieces(const struct job_shard *shard)
{
    return shard->slice_count + shard->part_count;
}

struct job_layout {
    uint32_t shard_count;
    struct job_shard *shards;
    uint32_t slice_count;
    struct range *slices; /* by slice id */
    uint32_t part_count;
    struct job_part *parts;
};

/* The shards of a job that frame_parse has passed. DP_PROTO for an endpoint that is none, DP_NOMEM. */
DP_MUST_CHECK dp_err layout_take(const Dp__Job *msg, const char *head_host, struct job_layout *ret_layout,
                                 dp_error *err);
void layout_fini(struct job_layout *layout);

#endif
