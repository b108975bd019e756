/* Checkpoints of the job: when one is made, of which step, and its way to --checkpoint-dir. The head asks the shards to
 * be cut at a step (server/shard/cut.h); once all have written their files, a task of the writer's thread gives the
 * folder its name, which is the commit, and removes checkpoints beyond --keep-checkpoints.
 *
 * Invariants:
 *   1. One cut is under way at a time, and no step waits for it. One that fails costs a warning; the next is made when
 * it is due.
 *   2. The manifest of a checkpoint at step c has the epoch's sums as they were when the steps before c had been
 * reported, and no later one.
 *   3. The server does not end while a checkpoint of steps that are complete is being written.
 *   4. A checkpoint of the job's end is tried once. No checkpoint is made of a job that diverged.
 * Thread: head, unless stated. */
#ifndef DP_SERVER_RESULT_CHECKPOINT_H
#define DP_SERVER_RESULT_CHECKPOINT_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/dp_err.h"
#include "proto/frame.h"
#include "server/members/members.h"
#include "server/store/folder.h"
#include "common/checkpoint/manifest.h"

struct checkpoint_task;
struct event;
struct head;
struct news;
struct writer;

enum { CHECKPOINT_ASKERS_MAX = 8, CHECKPOINT_WAITS_MS = 30000 };

enum checkpoint_phase { CHECKPOINT_IDLE, CHECKPOINT_CUT, CHECKPOINT_COMMIT };

/* The reason for one: --checkpoint-every, or somebody who waits for it, dp-ctl, a signal or the job's end. */
enum checkpoint_reason { CHECKPOINT_EVERY, CHECKPOINT_WANTED };

/* The end of the one under way. */
struct checkpoint_calls {
    void (*ended)(struct head *head, const dp_error *err); /* it is whole, or has failed */
    void (*late)(struct head *head);                       /* a shard is past its step: the next try is farther ahead */
};

/* Warnings of a kind. */
struct checkpoint_news {
    uint64_t told_ms;  /* 0: none was told */
    uint64_t left_out; /* since then */
};

struct checkpoints {
    struct folder folder; /* DIR; its path is "" without --checkpoint-dir */
    struct writer *writer;
    uv_async_t done; /* a task of the writer has ended */
    bool opened;     /* `done` is on the loop */
    /* of the job */
    uint64_t generation;
    void *join; /* the packed message that settled the job; heap */
    size_t join_bytes;
    uint64_t settings;        /* number of the last setting by dp-ctl */
    struct manifest *resumed; /* the checkpoint that the job goes on from; NULL: it began anew */
    /* the one that is being made */
    struct checkpoint_calls calls;
    enum checkpoint_phase phase;
    enum checkpoint_reason reason;
    uint64_t number; /* of cuts that were asked for */
    uint64_t step, train_step;
    uint32_t tries;   /* cuts of it that were late */
    uint32_t missing; /* shards that have not written their file */
    struct manifest_file *files;
    size_t file_count;
    /* of the head, when the steps before `step` have been reported */
    json_t *sums; /* of the epoch; NULL: they have not been */
    struct schedule_past rates;
    struct consistency consistency;
    uint64_t has_settings; /* number of the last one that these have */
    struct checkpoint_task *task;
    dp_error begun; /* of its folder; the writer's until a file has failed */
    uint64_t asked_ms;
    uint64_t waits_ms; /* after this time a job that is over says that it waits for it */
    bool left;         /* the server ends without it */
    /* the next one */
    uint64_t due_step; /* --checkpoint-every N: the multiple of training steps that comes next; 0: not known */
    uint64_t due_ms;   /* --checkpoint-every Ns */
    bool end_tried;    /* that of the job's end, whatever became of it */
    /* the last one; `made`: by this server, else it is the one that the job goes on from */
    bool any, made;
    uint64_t last_step, last_train_step, last_ms;
    char error[sizeof((dp_error *)0)->text]; /* why the last try failed; "": it did not */
    struct checkpoint_news failures, delays;
    /* a signal waits for one */
    int signal;                       /* its number, 0: none does */
    uint64_t signal_ms, signal_after; /* when it came, and the number of the last cut that is not its own */
    void (*then)(struct head *head, int signal);
    /* dp-ctl checkpoint */
    uint32_t asker_count;
    struct checkpoint_asker {
        struct routing_id route;
        uint64_t request;
        uint64_t after; /* number of the last cut that was made before it asked */
        uint64_t asked_ms;
    } askers[CHECKPOINT_ASKERS_MAX];
};

/* Opens --checkpoint-dir and its log, and starts the writer's thread, where one is given. DP_IO, DP_BUSY, DP_SYSTEM. */
DP_MUST_CHECK dp_err head_checkpoint_start(struct head *head, dp_error *err);
/* Once the handles are closed. */
void head_checkpoint_fini(struct head *head);

/* The job is settled by this message. DP_NOMEM. */
DP_MUST_CHECK dp_err head_checkpoint_begin(struct head *head, const Dp__Join *join);
/* It is settled no longer. */
void head_checkpoint_forget(struct head *head);

/* NEWS_STEP, NEWS_TICK, NEWS_OVER, NEWS_FAILED, NEWS_CLOSING. */
void head_checkpoint_step(struct head *head, const struct news *news);
void head_checkpoint_watch(struct head *head, const struct news *news);
void head_checkpoint_over(struct head *head, const struct news *news);
void head_checkpoint_failed(struct head *head, const struct news *news);
void head_checkpoint_close(struct head *head, const struct news *news);

/* dp-ctl checkpoint: it is answered once there is one. */
void head_on_checkpoint(struct head *head, const struct routing_id *route, const Dp__Header *request);
/* Whether one is being made whose step is complete: the end waits for it. */
static inline bool checkpoint_is_busy(const struct checkpoints *c, uint64_t global_low)
{
    return (c->phase == CHECKPOINT_COMMIT && !c->left) || (c->phase == CHECKPOINT_CUT && global_low >= c->step);
}
/* Whether a server that is stopped now goes on with the job once it is started again. */
bool head_checkpoint_returns(const struct head *head);
/* A signal ends the job: a last checkpoint, then `then`. False: there is none to be made, and the caller goes on. */
bool head_checkpoint_at_signal(struct head *head, int signal, void (*then)(struct head *head, int signal));

#endif
