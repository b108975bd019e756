/* The display of a training run: an aligned table on a terminal, plain lines elsewhere, JSON lines, or nothing. A
 * formatter that is fed with numbers; it knows no clock but the one it is handed. Thread: head. */
#ifndef DP_PROGRESS_H
#define DP_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum progress_mode { PROGRESS_TABLE, PROGRESS_LINES, PROGRESS_JSON, PROGRESS_QUIET };

struct progress_facts {
    uint64_t epochs;
    uint64_t steps_per_epoch;
    uint64_t train_steps; /* of the job; the last epoch may be a part */
    bool evaluates;
    bool classifies; /* accuracies mean something */
};

/* What the run has come to, for status and summaries. NaN: not known. */
struct progress_snapshot {
    uint64_t epoch; /* the one that is under way, from 1 */
    uint64_t train_step;
    double loss; /* mean over the epoch so far */
    double eval_loss, eval_accuracy;
    double samples_per_s;
    double elapsed_s, eta_s;
};

struct run_summary {
    const char *path; /* where the model went; NULL: nowhere */
};

struct progress {
    enum progress_mode mode;
    FILE *err, *out; /* borrowed */
    struct progress_facts facts;
    void *impl; /* progress.c's */
};

void progress_init(struct progress *progress, enum progress_mode mode, FILE *err, FILE *out);
/* The first step can begin: prints the head of the table. */
void progress_begin(struct progress *progress, uint64_t now_ms, const struct progress_facts *facts);
/* Training step `train_step` (from 0) of `epoch` (from 0) is complete; sums over its samples. Cheap: called for every
 * step. */
void progress_step(struct progress *progress, uint64_t now_ms, uint64_t epoch, uint64_t train_step, double loss_sum,
                   uint64_t count, uint64_t correct);
/* The evaluation that ends `epoch` is complete. */
void progress_eval(struct progress *progress, uint64_t now_ms, uint64_t epoch, double loss_sum, uint64_t count,
                   uint64_t correct);
/* Refreshes the live line (elapsed, ETA) now and then. */
void progress_tick(struct progress *progress, uint64_t now_ms);
/* The job is done: closes the last row and prints the summary. */
void progress_done(struct progress *progress, uint64_t now_ms, const struct run_summary *summary);
/* The run ends early: leaves what is shown in a state where other text can follow. */
void progress_end(struct progress *progress);
/* Takes the live line off the terminal and puts it back, for log lines in between. */
void progress_hide(struct progress *progress);
void progress_show(struct progress *progress);
void progress_snapshot(const struct progress *progress, uint64_t now_ms, struct progress_snapshot *ret_snapshot);
void progress_fini(struct progress *progress);

#endif
