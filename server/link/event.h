/* Events: a shard's news for the head. An event owns all that it points to; event_fini frees it. The values know no
 * thread and no address, so that they can be sent to another process (server/link/wire). Thread: any. */
#ifndef DP_SERVER_LINK_EVENT_H
#define DP_SERVER_LINK_EVENT_H

#include "common/base/dp_err.h"
#include "server/dense/slice.h"
#include "server/step/job.h"
#include "server/table/copy.h"
#include "server/table/part.h"

enum event_kind {
    EVENT_COMPLETED,
    EVENT_PINNED,
    EVENT_OWED,
    EVENT_FAILED,
    EVENT_SUMS,
    EVENT_PREPARED,
    EVENT_READY,
    EVENT_FEW,
    EVENT_CUT,
    EVENT_ARRIVED, /* this and the next have ways of their own within the process: shard_link_take does not return them
                    */
    EVENT_FENCED,
    EVENT_KINDS
};

/* All pieces of the shard have completed the step; in order, each once. */
struct event_completed {
    uint64_t step;
    struct metrics metrics; /* of the shard's first piece */
    struct blame blame;     /* source of the gradient, if the loss is not finite */
};
/* theta of a step, as COMMAND_PIN asked for it. */
struct event_pinned {
    uint64_t step, pin;
    uint32_t version_count, copy_count;
    struct version **versions; /* [version_count] a reference each, NULL where it is not held; heap. NULL: not held */
    struct rows_copy *copies;  /* [copy_count] per part; heap. NULL: not held */
};
/* Slots that are still to come at a step, the first that is not complete. */
struct event_owed {
    uint64_t step;
    uint32_t count;
    uint32_t *slots; /* [count] ascending, heap */
};
/* Sums of all blocks of the shard, to be added up over all shards (server/step/block_sums.h). COMMAND_TOTALS answers
 * them, but for those of phase EXCHANGE_REPORT, which come before the step is completed. */
struct event_sums {
    uint64_t step;
    uint32_t phase;
    uint32_t values; /* of a block */
    uint64_t count;
    double *sums; /* [count], heap */
};
/* The shard commits nothing of this step, nor of later ones, until COMMAND_SET. */
struct event_prepared {
    uint64_t step;
};
/* The steps before this one have all that a roster wants. */
struct event_ready {
    uint64_t step;
    uint64_t roster; /* number */
};
/* So few slots of the step are owed that they may be left out; told anew after COMMAND_OWED. */
struct event_few {
    uint64_t step;
};

/* The end of what COMMAND_CUT asked for. */
enum cut_outcome {
    CUT_WRITTEN, /* the file is on the disk; of a shard that holds nothing there is none, and it has no bytes */
    CUT_LATE,    /* the shard is past the step */
    CUT_FAILED,
    CUT_OUTCOMES
};
struct event_cut {
    uint64_t number;
    uint64_t step;
    enum cut_outcome outcome;
    uint64_t bytes, digest; /* of the file: its length and XXH3 */
    char *text;             /* the reason, heap; NULL: written, or out of memory for it */
};

/* A node that came to the job's first piece, needed or too late. Arrivals only draw a picture: they may be lost. */
struct arrival {
    uint32_t session; /* number */
    uint32_t node;
    uint64_t step;
    uint64_t at_us; /* monotonic, of the shard's host */
};
/* The shard knows this fence. */
struct event_fenced {
    uint64_t fence;
};

struct event {
    enum event_kind kind;
    uint64_t incarnation; /* of the job that it is of */
    union {
        struct event_completed completed;
        struct event_pinned pinned;
        struct event_owed owed;
        dp_error *failed; /* heap; NULL: out of memory for the reason */
        struct event_sums sums;
        struct event_prepared prepared;
        struct event_ready ready;
        struct event_few few;
        struct event_cut cut;
        struct arrival arrived;
        struct event_fenced fenced;
    };
};

/* The time by which the head must hear of an event. */
enum event_haste {
    EVENT_NOW,
    EVENT_SOON,  /* only its successors need it: a completed step */
    EVENT_LATER, /* with the event that follows it: a report */
};
enum event_haste event_wakes(const struct event *event);

/* Frees what the event owns. */
void event_fini(struct event *event);

#endif
