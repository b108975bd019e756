/* Whether training goes anywhere: losses and accuracies of a run against those of theta = 0, of earlier epochs, and of
 * the most frequent class. Numbers in, verdicts out; ordinary noise is no verdict. Thread: head. */
#ifndef DP_SERVER_SHOW_TREND_H
#define DP_SERVER_SHOW_TREND_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct trend_facts {
    double zero_loss;         /* mean loss of theta = 0; 0: not known */
    double majority;          /* share of the most frequent label in the training rows; 0: not known */
    double eval_majority;     /* and in those of the evaluation */
    uint64_t steps_per_epoch; /* or of a period, where there are no epochs */
    uint64_t train_steps;
};

struct trend_sums {
    uint64_t steps, count, correct;
    double loss;
};

struct trend {
    struct trend_facts facts;
    uint64_t steps;                  /* training steps so far */
    uint64_t epochs;                 /* that are whole */
    struct trend_sums epoch, before; /* the one under way, and the one before it */
    struct trend_sums late;          /* from the middle of a short run on */
    double first, last, best; /* mean losses of whole epochs: of the first and last, the least before that; NaN: none */
    double rises;             /* epochs whose loss rose; each that did not takes a quarter back */
    bool told;                /* of rises */
    double eval_accuracy;     /* of the last evaluation, NaN: none */
};

/* Doubts at the end. */
enum {
    TREND_ABOVE_ZERO = 1,    /* the loss is above that of theta = 0 */
    TREND_ABOVE_EARLIER = 2, /* above that of an earlier epoch */
    TREND_MAJORITY = 4,      /* no more rows are right than the most frequent label has */
};

struct trend_verdict {
    unsigned what;
    double loss, earlier;      /* at the end, and the least of an epoch */
    double accuracy, majority; /* shares */
};

void trend_begin(struct trend *trend, const struct trend_facts *facts);
/* Training step `train_step` (from 0): sums over its samples. */
void trend_step(struct trend *trend, uint64_t train_step, double loss_sum, uint64_t count, uint64_t correct);
void trend_eval(struct trend *trend, uint64_t count, uint64_t correct);
/* All that it has heard, for a run that goes on; a new reference. */
json_t *trend_sums_json(const struct trend *trend);
/* The run goes on from there, after trend_begin. A number that is missing stays as it is. */
void trend_resume(struct trend *trend, const json_t *sums);
/* Whether the losses of epochs have risen repeatedly, once: true at the first question after that. */
bool trend_rises(struct trend *trend);
/* The verdict on the whole run; on classes only if `classifies`. */
struct trend_verdict trend_end(const struct trend *trend, bool classifies);

#endif
