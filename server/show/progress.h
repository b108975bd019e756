/* The display of a training run: an aligned table on a terminal, plain lines elsewhere, JSON lines, or nothing. A
 * formatter that is fed with numbers; it knows no clock but the one it is handed. Thread: head; hide and show: any. */
#ifndef DP_SERVER_SHOW_PROGRESS_H
#define DP_SERVER_SHOW_PROGRESS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "server/show/row.h"

enum progress_mode { PROGRESS_TABLE, PROGRESS_LINES, PROGRESS_JSON, PROGRESS_QUIET };

/* The state of the run, for status and summaries; once it is done, the numbers of the summary. NaN: not known. */
struct progress_snapshot {
    uint64_t epoch; /* the one that is under way, from 1; 0: the run has no epochs */
    uint64_t train_step;
    double loss; /* mean over the epoch so far; over the one before until this one has a step */
    double eval_loss, eval_accuracy;
    double samples_per_s; /* of the last seconds; when done, up to the last step */
    double elapsed_s, eta_s;
};

struct run_summary {
    const char *path;  /* path of the model; NULL: it was not written */
    json_t *dropped;   /* `slots` and `samples`, as in the status; borrowed, may be NULL */
    json_t *staleness; /* of the applied gradients, as in the status; for JSON; borrowed, may be NULL */
};

/* The end of a run that was not done. */
struct run_end {
    const char *event;  /* "stopped", "diverged", "failed" */
    const char *reason; /* one line */
    int exit_code;      /* of the process */
    const char *path;   /* path of the model; NULL: it was not written */
};

/* Samples trained at a time; between two of them lies the rate. */
struct progress_mark {
    uint64_t ms, samples;
};

struct progress {
    enum progress_mode mode;
    FILE *err, *out; /* borrowed */
    struct progress_facts facts;
    struct progress_columns columns;
    struct progress_terms terms;
    pthread_mutex_t mutex; /* log lines of other threads hide and show the live row */
    bool begun, ended;
    bool json_over;  /* its last object has been printed */
    bool live;       /* a row that is still updated stands on the terminal */
    bool epoch_done; /* all of `epoch` has been told, its evaluation too */
    uint64_t epoch;  /* that the last step belonged to, from 0 */
    uint64_t steps;  /* training steps done */
    uint64_t samples;
    uint64_t samples_before; /* of the run before it went on here */
    uint64_t epoch_samples;  /* sums over `epoch` so far */
    double epoch_loss;
    double eval_loss, eval_accuracy; /* the last ones; NaN before */
    uint64_t begin_ms, step_ms, drawn_ms, printed_ms;
    uint64_t done_ms;       /* of progress_done; 0 before */
    uint64_t checkpoint_ms; /* when one was told last; 0: none was */
    struct progress_mark older, newer;
    double samples_per_s; /* of the last seconds; NaN before the first step */
};

/* JSON if asked for, nothing if quiet, a table where `err` is a terminal that can move its cursor, else lines. */
enum progress_mode progress_mode_for(bool json, bool quiet, FILE *err);

void progress_init(struct progress *progress, enum progress_mode mode, FILE *err, FILE *out);
/* The data that the first worker read, for people and programs. */
struct progress_data {
    const char *name; /* of the file */
    uint64_t rows;    /* 0: workers have data of their own */
    uint64_t features;
    const char *label; /* name of the label's column; NULL: it has none */
    uint64_t label_at; /* its number; UINT64_MAX: no column is the label */
    const char *note;  /* assumptions made in reading; "": none */
};
/* Told before the first step, above the head of the table. */
void progress_data(struct progress *progress, const struct progress_data *data);
/* The run's first step can begin: prints the head of the table. */
void progress_begin(struct progress *progress, uint64_t now_ms, const struct progress_facts *facts);
/* Training step `train_step` (from 0) of `epoch` (from 0) is complete; sums over its samples. Cheap: called for every
 * step. */
void progress_step(struct progress *progress, uint64_t now_ms, uint64_t epoch, uint64_t train_step, double loss_sum,
                   uint64_t count, uint64_t correct);
/* The report of the epoch's last step, which is told before the step. */
void progress_set_terms(struct progress *progress, const struct progress_terms *terms);
/* The evaluation that ends `epoch` is complete. */
void progress_eval(struct progress *progress, uint64_t now_ms, uint64_t epoch, double loss_sum, uint64_t count,
                   uint64_t correct);
/* Refreshes the live line (elapsed, ETA) now and then; where lines are plain, adds one when the last is a minute old.
 */
void progress_tick(struct progress *progress, uint64_t now_ms);
/* The job is done: closes the last row and prints the summary. */
void progress_done(struct progress *progress, uint64_t now_ms, const struct run_summary *summary);
/* A warning: between rows, or as an event "warning". False where nothing is shown (quiet), or people do not read what
 * is: then it is for the log. */
bool progress_warning(struct progress *progress, uint64_t now_ms, const char *kind, const char *text);
/* A checkpoint is whole: an event "checkpoint", or for people a line now and then, and of the last one always. */
void progress_checkpoint(struct progress *progress, uint64_t now_ms, const struct checkpoint_made *made);
/* The run has ended in another way; for JSON alone, which ends with this. It may never have begun. */
void progress_ended(struct progress *progress, uint64_t now_ms, const struct run_end *end);
/* The run ends early: leaves what is shown in a state where other text can follow. */
void progress_end(struct progress *progress);
/* Takes the live line off the terminal and puts it back, for log lines in between. Each hide is followed by a show of
 * the same thread; until then nothing else is drawn. */
void progress_hide(struct progress *progress);
void progress_show(struct progress *progress);
void progress_snapshot(const struct progress *progress, uint64_t now_ms, struct progress_snapshot *ret_snapshot);
void progress_fini(struct progress *progress);

#endif
