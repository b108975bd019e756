/* Rows of the progress display as text and as JSON. Numbers in, text out. Thread: any. */
#ifndef DP_SERVER_SHOW_ROW_H
#define DP_SERVER_SHOW_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

struct progress_facts {
    uint64_t epochs;
    uint64_t steps_per_epoch;
    uint64_t train_steps; /* of the job; the last epoch may be a part */
    bool open_ended;      /* the two above are bounds: nobody knows when the job will end */
    bool evaluates;
    bool classifies; /* accuracies mean something */
    bool no_epochs;  /* workers go through data of their own: the epochs above are what is reported at a time */
    uint64_t first_train_step, first_epoch; /* training steps and epochs that are over when the run begins */
};

/* A report on theta at the epoch's last step. */
struct progress_terms {
    bool known;
    double regularizer;   /* R(theta) */
    double violation;     /* |C(theta)|, NaN without constraints */
    double sparsity;      /* share of exact zeros */
    double gradient_norm; /* of the mean gradient */
    double lr;
};

struct progress_row {
    struct progress_terms terms;
    uint64_t epoch; /* from 1; 0: the run has no epochs */
    uint64_t step;  /* training steps done */
    bool has_loss;
    double loss;                     /* mean over the epoch so far */
    double eval_loss, eval_accuracy; /* NaN: not known, as in the rest */
    double samples_per_s, elapsed_s, eta_s;
};

/* The columns and their widths; settled once, so that all rows align. */
struct progress_columns {
    uint64_t epochs;
    bool epoch_total;            /* "3/10" rather than "3" */
    int epoch_width, step_width; /* 0: no epochs */
    bool eval_loss, eval_accuracy;
    bool rate, elapsed, eta; /* left out where the width is not enough */
};

/* A checkpoint that was made. */
struct checkpoint_made {
    uint64_t train_step; /* training steps that it has */
    const char *path;    /* of its folder */
    uint64_t bytes;      /* of its files */
    double seconds;      /* from the time when it was asked for */
    bool last;           /* the server ends */
};

enum { PROGRESS_ROW_MAX = 160 };

/* Fits a width in characters as far as it can: first without the count of epochs, then without whole columns. */
void progress_columns_init(struct progress_columns *columns, const struct progress_facts *facts, size_t width);
/* The heads of the columns, and a row under them; without a newline. Both return buf. */
char *progress_head_text(const struct progress_columns *columns, char buf[PROGRESS_ROW_MAX]);
char *progress_row_text(const struct progress_columns *columns, const struct progress_row *row,
                        char buf[PROGRESS_ROW_MAX]);

/* Whether epoch `epoch` (from 1) of `epochs` leaves a row behind: all of them up to 20, else the first and about 20
 * evenly spread ones, the last among them. */
bool progress_is_milestone(uint64_t epoch, uint64_t epochs);

/* {"event":"data",...}: the label is a name, a number from 0, or null. */
void progress_data_json(const char *name, uint64_t rows, uint64_t features, const char *label, uint64_t label_at,
                        const char *note, FILE *out);
/* The row of a run that has not begun. */
struct progress_row progress_row_none(void);

/* {"event":"epoch",...} and {"event":"done",...}, one line each. Numbers that are unknown or not finite are null. */
void progress_row_json(const struct progress_row *row, FILE *out);
void progress_done_json(const struct progress_row *row, const char *model, json_t *staleness, json_t *dropped,
                        uint64_t samples, FILE *out);
/* {"event":"warning","kind":...,"text":...,"step":...} */
void progress_warning_json(const char *kind, const char *text, uint64_t step, FILE *out);
/* {"event":"checkpoint","step":...,"path":...,"bytes":...,"seconds":...} */
void progress_checkpoint_json(const struct checkpoint_made *made, FILE *out);
/* The last line of a run that was not done: {"event":EVENT,...,"model":...,"reason":...,"exit_code":...}. */
void progress_end_json(const struct progress_row *row, const char *event, const char *reason, int exit_code,
                       const char *model, FILE *out);
/* The same of a run that never began: "failed". */
void progress_failed_json(const char *reason, int exit_code, FILE *out);

#endif
